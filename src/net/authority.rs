//! Host and port, parsed strictly.
//!
//! What is accepted here is dialled, compared with rules and sent as `Host`, so there is one spelling of each: names in
//! lower case, addresses as addresses, a port always. The old spellings of IPv4 (`0177.0.0.1`, `2130706433`) that
//! some resolvers take for addresses are refused. Must not know schemes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;

/// The longest name of a host (RFC 1035 section 2.3.4, with a trailing dot).
const MAX_NAME: usize = 254;

/// The longest label of a name.
const MAX_LABEL: usize = 63;

/// A host: a name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case. A trailing dot is kept.
    Name(Box<str>),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
}

/// Where a connection can be made to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port; never 0.
    pub port: u16,
}

/// Why a text is not `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// There is no host.
    #[error("the host is empty")]
    EmptyHost,
    /// There is no port, and no default.
    #[error("the port is missing")]
    NoPort,
    /// The port is no number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    BadPort,
    /// `user@`.
    #[error("user information is not accepted")]
    UserInformation,
    /// A byte that no host name has, or an empty or too long label.
    #[error("the host name is malformed")]
    BadName,
    /// Digits that are not a dotted IPv4 address.
    #[error("the host is not an IPv4 address in dotted decimal")]
    BadIpv4,
    /// Not an IPv6 address in brackets, or one with a zone.
    #[error("the host is not an IPv6 address in brackets, without a zone")]
    BadIpv6,
}

impl Host {
    /// Parses a host without a port; an IPv6 address stands in brackets.
    ///
    /// # Errors
    ///
    /// Everything that is not one of the three forms.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(AuthorityError::BadIpv6)?;
            return inner.parse().map(Self::V6).map_err(|_| AuthorityError::BadIpv6);
        }
        if text.is_empty() {
            return Err(AuthorityError::EmptyHost);
        }
        if text.contains('@') {
            return Err(AuthorityError::UserInformation);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::V4(address));
        }
        check_name(text)?;
        Ok(Self::Name(text.to_ascii_lowercase().into_boxed_str()))
    }

    /// The address, where it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some((*address).into()),
            Self::V6(address) => Some((*address).into()),
        }
    }
}

impl Authority {
    /// Appends what `Host` says of it: without the port where that is `default_port`. As `Display` has it, without its cost.
    pub fn write_host(&self, out: &mut Vec<u8>, default_port: u16) {
        use std::io::Write as _;
        // Writing to memory does not fail.
        let _ = match &self.host {
            Host::Name(name) => out.write_all(name.as_bytes()),
            Host::V4(address) => {
                for (at, octet) in address.octets().into_iter().enumerate() {
                    if at > 0 {
                        out.push(b'.');
                    }
                    decimal(out, u32::from(octet));
                }
                Ok(())
            }
            Host::V6(address) => write!(out, "[{address}]"),
        };
        if self.port != default_port {
            out.push(b':');
            decimal(out, u32::from(self.port));
        }
    }

    /// Parses `host`, `host:` and `host:port`; the first two only with a default port.
    ///
    /// # Errors
    ///
    /// Everything that does not name exactly one host and one port.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, AuthorityError> {
        // The colon in front of the port is the last one, unless it stands inside the brackets of an address.
        let (host, port) = match text.rfind(':') {
            Some(at) if !text[at..].contains(']') => (&text[..at], &text[at + 1..]),
            _ => (text, ""),
        };
        let host = Host::parse(host)?;
        let port = if port.is_empty() {
            default_port.ok_or(AuthorityError::NoPort)?
        } else if port.bytes().all(|byte| byte.is_ascii_digit()) {
            port.parse().map_err(|_| AuthorityError::BadPort)?
        } else {
            return Err(AuthorityError::BadPort);
        };
        if port == 0 { Err(AuthorityError::BadPort) } else { Ok(Self { host, port }) }
    }
}

fn check_name(text: &str) -> Result<(), AuthorityError> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = text.strip_suffix('.').unwrap_or(text);
    if text.len() > MAX_NAME {
        return Err(AuthorityError::BadName);
    }
    let mut last = "";
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL || !label.bytes().all(is_name_byte) {
            return Err(AuthorityError::BadName);
        }
        last = label;
    }
    // A name whose last label is a number is taken for an address by inet_aton and by browsers (WHATWG URL, "ends in a number").
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_number { Err(AuthorityError::BadIpv4) } else { Ok(()) }
}

fn decimal(out: &mut Vec<u8>, value: u32) {
    if value >= 10 {
        decimal(out, value / 10);
    }
    out.push(b'0' + (value % 10) as u8);
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            // It is in every line of the access log: put together at once, it costs a tenth.
            Self::V4(address) => {
                let mut text = [0; 15];
                let mut end = 0;
                for (at, octet) in address.octets().into_iter().enumerate() {
                    let digits = 1 + usize::from(octet > 9) + usize::from(octet > 99);
                    if at > 0 {
                        text[end] = b'.';
                        end += 1;
                    }
                    let mut left = octet;
                    for place in text[end..end + digits].iter_mut().rev() {
                        *place = b'0' + left % 10;
                        left /= 10;
                    }
                    end += digits;
                }
                f.write_str(std::str::from_utf8(&text[..end]).expect("digits and dots are ASCII"))
            }
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_one_spelling_of_each() {
        for (text, default, expected) in [
            ("a.test:443", None, "a.test:443"),
            ("A.TEST:443", None, "a.test:443"),
            ("a.test", Some(80), "a.test:80"),
            ("a.test:", Some(80), "a.test:80"),
            ("a.test.:443", None, "a.test.:443"),
            ("a_b-c.test:1", None, "a_b-c.test:1"),
            ("localhost:65535", None, "localhost:65535"),
            ("127.0.0.1:443", None, "127.0.0.1:443"),
            ("[::1]:443", None, "[::1]:443"),
            ("[::FFFF:7f00:1]:443", None, "[::ffff:127.0.0.1]:443"),
            ("[2001:db8::1]", Some(80), "[2001:db8::1]:80"),
            ("xn--bcher-kva.test:80", None, "xn--bcher-kva.test:80"),
            ("1.a:80", None, "1.a:80"),
        ] {
            let parsed = Authority::parse(text, default).map(|authority| authority.to_string());
            assert_eq!(parsed.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        use AuthorityError as Error;
        for (text, default, expected) in [
            ("", Some(80), Error::EmptyHost),
            (":443", None, Error::EmptyHost),
            ("a.test", None, Error::NoPort),
            ("a.test:", None, Error::NoPort),
            ("a.test:0", None, Error::BadPort),
            ("a.test:65536", None, Error::BadPort),
            ("a.test:99999", Some(80), Error::BadPort),
            ("a.test:x", Some(80), Error::BadPort),
            ("a.test:+1", Some(80), Error::BadPort),
            ("a.test: 1", Some(80), Error::BadPort),
            ("u@a.test:443", None, Error::UserInformation),
            ("u:p@a.test:443", None, Error::UserInformation),
            ("a b:80", None, Error::BadName),
            ("a..b:80", None, Error::BadName),
            (".a:80", None, Error::BadName),
            ("a%2e:80", None, Error::BadName),
            ("b\u{fc}cher.test:80", None, Error::BadName),
            ("a/b:80", None, Error::BadName),
            ("::1:443", None, Error::BadName),
            ("[::1", Some(80), Error::BadIpv6),
            ("[::1]x:80", None, Error::BadIpv6),
            ("[fe80::1%eth0]:80", None, Error::BadIpv6),
            ("[fe80::1%25eth0]:80", None, Error::BadIpv6),
            ("[127.0.0.1]:80", None, Error::BadIpv6),
            ("2130706433:80", None, Error::BadIpv4),
            ("0x7f000001:80", None, Error::BadIpv4),
            ("0177.0.0.1:80", None, Error::BadIpv4),
            ("127.1:80", None, Error::BadIpv4),
            ("127.0.0.1.:80", None, Error::BadIpv4),
            ("1.2.3.256:80", None, Error::BadIpv4),
            ("a.0x7f:80", None, Error::BadIpv4),
        ] {
            assert_eq!(Authority::parse(text, default), Err(expected), "{text}");
        }
        assert!(Authority::parse(&format!("{}:80", "a".repeat(64)), None).is_err());
        assert!(Authority::parse(&format!("{}:80", "a.".repeat(200)), None).is_err());
    }
}
