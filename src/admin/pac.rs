//! `/proxy.pac`: the configuration as browsers understand it.
//!
//! Everything goes to this proxy, but what it could not reach in a client's stead: the client's own host, names without a dot, and
//! addresses of the client's own link. There is no way around the proxy when it does not answer: who is told to use one
//! is not to go without it unnoticed.

use std::{fmt::Write as _, net::SocketAddr};

/// The media type.
pub(super) const CONTENT_TYPE: &str = "application/x-ns-proxy-autoconfig";

/// The script, with the listeners that `tls` names among `listeners` behind the others. `asked` is what the client has called this host, in a form that needs no escapes.
pub(super) fn script(listeners: &[SocketAddr], tls: &[SocketAddr], asked: Option<&str>) -> String {
    let mut proxies = String::new();
    for listener in listeners {
        let kind = if tls.contains(listener) { "HTTPS" } else { "PROXY" };
        let separator = if proxies.is_empty() { "" } else { "; " };
        let _ = match asked.filter(|_| listener.ip().is_unspecified()) {
            // The client knows this host by that.
            Some(host) => write!(proxies, "{separator}{kind} {host}:{}", listener.port()),
            None => write!(proxies, "{separator}{kind} {listener}"),
        };
    }
    format!(
        r#"// Point your browser at the address of this file.
function FindProxyForURL(url, host) {{
    host = host.toLowerCase().replace(/^\[|\]$/g, "");
    // An IPv6 address has no dot either.
    if (isPlainHostName(host) && host.indexOf(":") < 0) return "DIRECT";
    if (host === "localhost" || dnsDomainIs(host, ".localhost")) return "DIRECT";
    if (/^127\.\d+\.\d+\.\d+$/.test(host) || host === "::1") return "DIRECT";
    if (/^169\.254\.\d+\.\d+$/.test(host) || /^fe[89ab][0-9a-f]:/.test(host)) return "DIRECT";
    return "{proxies}";
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_named_as_the_client_knows_them() {
        let listeners = ["0.0.0.0:8080".parse().unwrap(), "[::1]:3128".parse().unwrap()];
        let named = script(&listeners, &[], Some("proxy.example.com"));
        assert!(named.contains(r#"return "PROXY proxy.example.com:8080; PROXY [::1]:3128";"#), "{named}");
        assert!(script(&listeners[1..], &[], Some("x")).contains(r#"return "PROXY [::1]:3128";"#));
        let named = script(&listeners, &listeners[1..], Some("x"));
        assert!(named.contains(r#"return "PROXY x:8080; HTTPS [::1]:3128";"#), "{named}");
        assert_eq!(named.matches('{').count(), named.matches('}').count());
    }
}
