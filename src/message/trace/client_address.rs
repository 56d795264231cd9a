//! What the origin learns of the client's address (RFC 7239, and `X-Forwarded-For`).
//!
//! Must not know how the address was found. What others have written keeps its order and its bytes; ours is the last
//! member and cannot be hidden in a quotation that another left open.

use std::{io::Write as _, net::IpAddr};

use crate::message::field::{Field, Name};

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

impl ClientAddress {
    /// Whether this line travels on as it is. What does not is either unwanted, or written anew by [`Self::write`].
    #[must_use]
    pub fn passes(self, known: Name) -> bool {
        match self {
            Self::Off => true,
            Self::Delete => {
                !matches!(known, Name::Forwarded | Name::XForwarded | Name::XForwardedFor | Name::XRealIp)
            }
            Self::Forwarded => known != Name::Forwarded,
            Self::XForwardedFor => known != Name::XForwardedFor,
        }
    }

    /// The field that is written, if one is.
    #[must_use]
    pub fn writes(self) -> Option<&'static str> {
        match self {
            Self::Off | Self::Delete => None,
            Self::Forwarded => Some("forwarded"),
            Self::XForwardedFor => Some("x-forwarded-for"),
        }
    }

    /// Writes the line that tells of `client`, with what others have told before. IPv4 that comes in an IPv6 socket is
    /// written as IPv4.
    pub fn write<'a>(
        self,
        out: &mut Vec<u8>,
        client: IpAddr,
        fields: &(impl Iterator<Item = Field<'a>> + Clone),
    ) {
        let told = |wanted| {
            fields
                .clone()
                .filter(move |field| field.known == wanted && !field.value.is_empty())
                .map(|field| field.value)
        };
        let Some(name) = self.writes() else { return };
        let wanted = Name::of(name.as_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        if !(self == Self::Forwarded && told(wanted).any(has_open_quotation)) {
            for value in told(wanted) {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
        // Writing to memory does not fail.
        let _ = match (self, client.to_canonical()) {
            (Self::Forwarded, IpAddr::V4(address)) => write!(out, "for={address}"),
            // A colon is no token character, hence the quotes (RFC 7239 4 and 6).
            (Self::Forwarded, IpAddr::V6(address)) => write!(out, "for=\"[{address}]\""),
            (_, address) => write!(out, "{address}"),
        };
        out.extend_from_slice(b"\r\n");
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

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = &'static [(&'static str, &'static str)];

    #[test]
    fn addresses_c29() {
        use ClientAddress::{Delete, Forwarded, Off, XForwardedFor};
        let (v4, v6, mapped) = ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7");
        let cases: &[(ClientAddress, &str, Lines, &str)] = &[
            (
                Forwarded,
                v6,
                &[("forwarded", "for=1.2.3.4")],
                "forwarded: for=1.2.3.4, for=\"[2001:db8::1]\"\r\n",
            ),
            (Forwarded, v4, &[], "forwarded: for=192.0.2.7\r\n"),
            (Forwarded, mapped, &[], "forwarded: for=192.0.2.7\r\n"),
            (
                Forwarded,
                v4,
                &[("forwarded", "for=a;by=\"b"), ("Forwarded", "for=c")],
                "forwarded: for=192.0.2.7\r\n",
            ),
            (
                Forwarded,
                v4,
                &[("forwarded", r#"for="a\"b""#)],
                "forwarded: for=\"a\\\"b\", for=192.0.2.7\r\n",
            ),
            (
                XForwardedFor,
                v6,
                &[("x-forwarded-for", "1.2.3.4"), ("X-Forwarded-For", "5.6.7.8")],
                "x-forwarded-for: 1.2.3.4, 5.6.7.8, 2001:db8::1\r\n",
            ),
            (XForwardedFor, mapped, &[("x-forwarded-for", "")], "x-forwarded-for: 192.0.2.7\r\n"),
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
                "via: 1.1 a\r\n",
            ),
            (Delete, v4, &[("a", "1")], "a: 1\r\n"),
            (Off, v4, &[("x-forwarded-for", "1")], "x-forwarded-for: 1\r\n"),
            (Off, v4, &[], ""),
        ];
        for (mode, client, before, after) in cases {
            let fields = before.iter().map(|(name, value)| Field {
                name: name.as_bytes(),
                value: value.as_bytes(),
                known: Name::of(name.as_bytes()),
            });
            let mut out = Vec::new();
            for field in fields.clone().filter(|field| mode.passes(field.known)) {
                out.extend([field.name, b": ", field.value, b"\r\n"].concat());
            }
            mode.write(&mut out, client.parse().unwrap(), &fields);
            assert_eq!(String::from_utf8(out).unwrap(), *after, "C29 {mode:?} {before:?}");
        }
    }
}
