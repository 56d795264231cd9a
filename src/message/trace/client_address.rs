//! What the origin learns of the client's address (RFC 7239, and `X-Forwarded-For`).
//!
//! Must not know how the address was found. What others have written keeps its order and its bytes; ours is the last
//! member and cannot be hidden in a quotation that another left open.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{Entry, FORWARDED},
};

/// `forwarding.client_address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// Remove what the client sent: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`.
    Delete,
    /// Append to `Forwarded`.
    Forwarded,
    /// Touch nothing.
    Off,
    /// Append to `X-Forwarded-For`.
    XForwardedFor,
}

/// Do to a request what the configuration says. IPv4 that comes in an IPv6 socket is written as IPv4.
pub fn mark_client(mode: ClientAddress, client: IpAddr, headers: &mut HeaderMap) {
    let client = client.to_canonical();
    match mode {
        ClientAddress::Off => {}
        ClientAddress::Delete => delete(headers),
        ClientAddress::XForwardedFor => append(headers, X_FORWARDED_FOR, &client.to_string()),
        ClientAddress::Forwarded => {
            drop_open_quotations(headers);
            let member = match client {
                IpAddr::V4(address) => format!("for={address}"),
                // A colon is no token character, hence the quotes (RFC 7239 4 and 6).
                IpAddr::V6(address) => format!("for=\"[{address}]\""),
            };
            append(headers, FORWARDED, &member);
        }
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    match headers.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(HeaderValue::from_str(member).expect("an address is a field value"));
        }
        Entry::Occupied(mut entry) => {
            let mut lines: Vec<_> =
                entry.iter().map(HeaderValue::as_bytes).filter(|line| !line.is_empty()).collect();
            lines.push(member.as_bytes());
            let joined = HeaderValue::from_bytes(&lines.join(b", ".as_slice()));
            entry.insert(joined.expect("field values joined by a comma are a field value"));
        }
    }
}

fn drop_open_quotations(headers: &mut HeaderMap) {
    if headers.get_all(FORWARDED).iter().any(|value| has_open_quotation(value.as_bytes())) {
        headers.remove(FORWARDED);
    }
}

fn has_open_quotation(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                bytes.next();
            }
            _ => {}
        }
    }
    quoted
}

fn delete(headers: &mut HeaderMap) {
    let is_address = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
    };
    let found: Vec<_> = headers.keys().filter(|name| is_address(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = &'static [(&'static str, &'static str)];

    #[test]
    fn addresses_c29() {
        use ClientAddress::{Delete, Forwarded, Off, XForwardedFor};
        let (v4, v6, mapped) = ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7");
        let cases: &[(ClientAddress, &str, Lines, Lines)] = &[
            (
                Forwarded,
                v6,
                &[("forwarded", "for=1.2.3.4")],
                &[("forwarded", "for=1.2.3.4, for=\"[2001:db8::1]\"")],
            ),
            (Forwarded, v4, &[], &[("forwarded", "for=192.0.2.7")]),
            (Forwarded, mapped, &[], &[("forwarded", "for=192.0.2.7")]),
            (
                Forwarded,
                v4,
                &[("forwarded", "for=a;by=\"b"), ("forwarded", "for=c")],
                &[("forwarded", "for=192.0.2.7")],
            ),
            (
                Forwarded,
                v4,
                &[("forwarded", r#"for="a\"b""#)],
                &[("forwarded", r#"for="a\"b", for=192.0.2.7"#)],
            ),
            (
                XForwardedFor,
                v6,
                &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8")],
                &[("x-forwarded-for", "1.2.3.4, 5.6.7.8, 2001:db8::1")],
            ),
            (XForwardedFor, mapped, &[("x-forwarded-for", "")], &[("x-forwarded-for", "192.0.2.7")]),
            (
                Delete,
                v4,
                &[
                    ("forwarded", "for=x"),
                    ("x-forwarded-for", "1"),
                    ("x-forwarded-for", "2"),
                    ("x-forwarded-proto", "http"),
                    ("x-real-ip", "3"),
                    ("via", "1.1 a"),
                ],
                &[("via", "1.1 a")],
            ),
            (Delete, v4, &[("a", "1")], &[("a", "1")]),
            (Off, v4, &[("x-forwarded-for", "1")], &[("x-forwarded-for", "1")]),
            (Off, v4, &[], &[]),
        ];
        for (mode, client, before, after) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *before {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            mark_client(*mode, client.parse().unwrap(), &mut headers);
            let found: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            assert_eq!(found, *after, "C29 {mode:?} {before:?}");
        }
    }
}
