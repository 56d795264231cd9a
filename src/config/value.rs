//! Addresses and names as the configuration writes them. The error says what was wrong and what is accepted.

use std::net::IpAddr;

use ipnet::IpNet;

use super::settings::DestinationPattern;
use crate::net::{
    authority::Host,
    filter::{NetPattern, NetSet},
};

const PATTERNS: &str = "loopback, private, link_local, metadata, special, an address, a CIDR prefix";

/// Who or what: a named set, an address, or a prefix without bits behind its length. Such bits are more often an
/// address whose length is wrong than a network, and what is taken for one lets in thousands.
pub(super) fn net_pattern(text: &str) -> Result<NetPattern, String> {
    if let Some(set) = NetSet::named(text) {
        return Ok(NetPattern::Set(set));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(NetPattern::Prefix(address.into()));
    }
    let net: IpNet = text.parse().map_err(|_| format!("{PATTERNS} is accepted"))?;
    if net.trunc() != net {
        return Err(format!("{} (the network) or {} (the address) is accepted", net.trunc(), net.addr()));
    }
    Ok(NetPattern::Prefix(net))
}

/// Where to: what [`net_pattern`] takes, a host name, or a suffix.
pub(super) fn destination(text: &str) -> Result<DestinationPattern, String> {
    if text.contains('/') || NetSet::named(text).is_some() || text.parse::<IpAddr>().is_ok() {
        return net_pattern(text).map(DestinationPattern::Net);
    }
    let (is_suffix, name) = text.strip_prefix('.').map_or((false, text), |name| (true, name));
    match Host::parse(name.strip_suffix('.').unwrap_or(name)) {
        Ok(Host::Name(name)) if is_suffix => Ok(DestinationPattern::Suffix(name.into())),
        Ok(Host::Name(name)) => Ok(DestinationPattern::Host(name.into())),
        _ => match text.strip_prefix("*.") {
            Some(name) => Err(format!("a suffix is written .{name}")),
            None => Err(format!("{PATTERNS}, a host name or a suffix such as .example.com is accepted")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_addresses_and_prefixes() {
        for (text, shown) in [
            ("loopback", "loopback"),
            ("link_local", "link_local"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7/32", "192.0.2.7/32"),
            ("::1", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(net_pattern(text).map(|pattern| pattern.to_string()).as_deref(), Ok(shown), "{text}");
        }
        for (text, accepted) in [
            ("10.0.0.1/8", "10.0.0.0/8 (the network) or 10.0.0.1 (the address)"),
            ("2001:db8::1/64", "2001:db8::/64 (the network) or 2001:db8::1 (the address)"),
            ("10.0.0.0/33", "a CIDR prefix is accepted"),
            ("10.0.0.0/255.0.0.0", "a CIDR prefix is accepted"),
            ("10.1", "a CIDR prefix is accepted"),
            ("[::1]", "a CIDR prefix is accepted"),
            ("127.0.0.1:80", "a CIDR prefix is accepted"),
            ("Loopback", "loopback, private"),
            ("", "loopback, private"),
        ] {
            let refused = net_pattern(text).unwrap_err();
            assert!(refused.contains(accepted), "{text}: {refused}");
        }
    }

    #[test]
    fn names_and_suffixes() {
        let host = |name: &str| Ok(DestinationPattern::Host(name.into()));
        let suffix = |name: &str| Ok(DestinationPattern::Suffix(name.into()));
        assert_eq!(destination("Example.COM"), host("example.com"));
        assert_eq!(destination("example.com."), host("example.com"));
        assert_eq!(destination(".Example.com"), suffix("example.com"));
        assert_eq!(destination("special"), Ok(NetSet::Special.into()));
        assert!(matches!(destination("::1"), Ok(DestinationPattern::Net(_))));
        for (text, accepted) in [
            ("*.example.com", "a suffix is written .example.com"),
            ("10.0.0.1/8", "10.0.0.0/8 (the network)"),
            ("http://a.test/", "is accepted"),
            ("a.test:80", "a host name or a suffix"),
            ("127.1", "a host name or a suffix"),
            ("0x7f000001", "a host name or a suffix"),
            ("a b", "a host name or a suffix"),
            ("", "a host name or a suffix"),
            (".", "a host name or a suffix"),
            ("..a", "a host name or a suffix"),
        ] {
            let refused = destination(text).unwrap_err();
            assert!(refused.contains(accepted), "{text}: {refused}");
        }
    }
}
