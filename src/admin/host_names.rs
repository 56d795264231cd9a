//! Under which names the endpoint may be asked over TCP.
//!
//! A page of any web site can have a browser ask `http://its.name:9901/` and give its own name this host's address (DNS
//! rebinding): then the browser takes our answers for the site's own. It cannot have the browser say another name than its
//! own. So what names an address, `localhost`, or a name of the configuration is answered, and nothing else.

use crate::net::authority::Host;

/// The names of `admin.host_names`.
#[derive(Clone, Debug, Default)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// These names, in lower case, besides addresses and `localhost`.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Whether what stands in a `Host` field, or as the authority of a target, is one of them.
    pub(super) fn accept(&self, authority: &str) -> bool {
        let host = match authority.rsplit_once(':') {
            // An IPv6 address without a port ends with its bracket.
            Some((host, port)) if !port.ends_with(']') => {
                if port.parse::<u16>().is_err() {
                    return false;
                }
                host
            }
            _ => authority,
        };
        match Host::parse(host) {
            Ok(Host::V4(_) | Host::V6(_)) => true,
            Ok(Host::Name(name)) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                name == "localhost" || self.0.iter().any(|known| known == name)
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_known_names_only() {
        let names = HostNames::new(vec!["proxy.example.com".into()]);
        for authority in [
            "127.0.0.1:9901",
            "127.0.0.1",
            "[::1]:9901",
            "[::1]",
            "10.1.2.3:1",
            "localhost",
            "LocalHost.:9901",
            "proxy.example.com:9901",
            "Proxy.Example.Com",
        ] {
            assert!(names.accept(authority), "{authority}");
        }
        for authority in [
            "",
            ":9901",
            "evil.test",
            "evil.test:9901",
            "localhost.evil.test",
            "notlocalhost",
            "x.proxy.example.com",
            "127.0.0.1.evil.test:9901",
            "localhost:9901@evil.test",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "[::1",
            "a b",
        ] {
            assert!(!names.accept(authority), "{authority}");
        }
    }
}
