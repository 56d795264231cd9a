//! Host and port as a client names them, parsed strictly.
//!
//! Knows the grammar of RFC 3986 3.2 as far as RFC 9110 4.2 and 9.3.6 leave it to HTTP, and no resolver.
//! The invariant: what has been parsed means the same to every program that is given its `Display`. So
//! every spelling that some libraries read as an IPv4 address and others as a name is refused.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The host of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A registered name: lower case, a trailing dot kept (it makes the name absolute), at most 253 bytes
    /// without it, of letters, digits, `-`, `_` and `.`.
    Name(Box<str>),
    /// A dotted-decimal IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; written in brackets.
    V6(Ipv6Addr),
}

/// Host and port: where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port; never 0 when parsed.
    pub port: u16,
}

/// Why a text is not an authority. Carries nothing of the text, which a client chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A byte that no host name has.
    #[error("the host has a character other than a letter, a digit, '-', '_' or '.'")]
    BadCharacter,
    /// `[` without `]`, something but a port after `]`, or no IPv6 address between them.
    #[error("brackets must hold an IPv6 address and nothing but a port may follow")]
    BadIpv6,
    /// Not 1 to 65535 in decimal.
    #[error("the port must be a number from 1 to 65535")]
    BadPort,
    /// Nothing before the port.
    #[error("the host is empty")]
    EmptyHost,
    /// Two dots in a row, or one at the start.
    #[error("the host name has an empty label")]
    EmptyLabel,
    /// No port, and no default for it.
    #[error("the port is missing")]
    MissingPort,
    /// The last label is a number, and the whole is no IPv4 address in dotted-decimal form.
    #[error("the host ends in a number but is not an IPv4 address of four decimal parts")]
    NotIpv4,
    /// More than 253 bytes, or a label of more than 63 (RFC 1035 2.3.4).
    #[error("the host name is too long")]
    TooLong,
    /// More than one colon outside brackets.
    #[error("an IPv6 address must be in brackets")]
    UnbracketedIpv6,
    /// `user@` or `user:password@` (RFC 9110 4.2.4).
    #[error("user information is not accepted")]
    UserInfo,
    /// `%eth0` in an IPv6 address: interfaces are our business, not a client's.
    #[error("an IPv6 zone is not accepted")]
    Zone,
}

impl Authority {
    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// An absent or empty port is `default_port`, and an error without one. Nothing is decoded: a
    /// percent sign in a name is a bad character.
    ///
    /// # Errors
    ///
    /// One [`AuthorityError`] for the first thing found wrong.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInfo);
        }
        let (host, port) = split_port(text)?;
        let host = Host::parse(host)?;
        let port = match port {
            None | Some("") => default_port.ok_or(AuthorityError::MissingPort)?,
            Some(digits) => parse_port(digits)?,
        };
        Ok(Self { host, port })
    }
}

impl Host {
    /// Parses a host without a port; an IPv6 address in brackets.
    ///
    /// # Errors
    ///
    /// As [`Authority::parse`].
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(AuthorityError::BadIpv6)?;
            if inner.contains('%') {
                return Err(AuthorityError::Zone);
            }
            return inner.parse().map(Self::V6).map_err(|_| AuthorityError::BadIpv6);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::V4(address));
        }
        check_name(text)?;
        Ok(Self::Name(text.to_ascii_lowercase().into_boxed_str()))
    }

    /// The address, when the host is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(address)),
            Self::V6(address) => Some(IpAddr::V6(address)),
        }
    }

    /// The name as it was given but in lower case, when the host is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::V4(_) | Self::V6(_) => None,
        }
    }

    /// The name without its trailing dot: what a rule compares, lest a dot evade it.
    #[must_use]
    pub fn name_without_dot(&self) -> Option<&str> {
        self.name().map(|name| name.strip_suffix('.').unwrap_or(name))
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(AuthorityError::BadIpv6)? + 1;
        let (host, rest) = text.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AuthorityError::BadIpv6),
        };
    }
    let Some((host, port)) = text.split_once(':') else {
        return if text.is_empty() { Err(AuthorityError::EmptyHost) } else { Ok((text, None)) };
    };
    if port.contains(':') {
        return Err(AuthorityError::UnbracketedIpv6);
    }
    if host.is_empty() {
        return Err(AuthorityError::EmptyHost);
    }
    Ok((host, Some(port)))
}

fn parse_port(digits: &str) -> Result<u16, AuthorityError> {
    // `u16::from_str` takes a leading '+'; and a port of forty zeros helps nobody.
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthorityError::BadPort);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(AuthorityError::BadPort),
        Ok(port) => Ok(port),
    }
}

fn check_name(name: &str) -> Result<(), AuthorityError> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.is_empty() {
        return Err(AuthorityError::EmptyHost);
    }
    if bare.len() > MAX_NAME {
        return Err(AuthorityError::TooLong);
    }
    let mut last = "";
    for label in bare.split('.') {
        if label.is_empty() {
            return Err(AuthorityError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(AuthorityError::TooLong);
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return Err(AuthorityError::BadCharacter);
        }
        last = label;
    }
    if is_number(last) { Err(AuthorityError::NotIpv4) } else { Ok(()) }
}

/// Whether `inet_aton` and the WHATWG host parser would take the label for part of an IPv4 address.
fn is_number(label: &str) -> bool {
    if label.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_texts_print_in_one_form() {
        for (text, expected) in [
            ("a.test:80", "a.test:80"),
            ("A.Test:8081", "a.test:8081"),
            ("a.test", "a.test:443"),
            ("a.test:", "a.test:443"),
            ("a.test.", "a.test.:443"),
            ("a.test.:1", "a.test.:1"),
            ("a.test:00080", "a.test:80"),
            ("a.test:65535", "a.test:65535"),
            ("localhost:80", "localhost:80"),
            ("_dmarc.x-y.test", "_dmarc.x-y.test:443"),
            ("1.2.3.4.test", "1.2.3.4.test:443"),
            ("0x7f.test", "0x7f.test:443"),
            ("0xzz", "0xzz:443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:443", "[::1]:443"),
            ("[::1]", "[::1]:443"),
            ("[::1]:", "[::1]:443"),
            ("[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1"),
            ("[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80"),
        ] {
            let parsed = Authority::parse(text, Some(443));
            assert_eq!(parsed.map(|authority| authority.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn refused_texts() {
        use AuthorityError as E;
        for (text, expected) in [
            ("", E::EmptyHost),
            (":443", E::EmptyHost),
            (":", E::EmptyHost),
            (".", E::EmptyHost),
            (".:80", E::EmptyHost),
            ("a..b", E::EmptyLabel),
            (".a", E::EmptyLabel),
            ("a.test..", E::EmptyLabel),
            ("a.test:0", E::BadPort),
            ("a.test:65536", E::BadPort),
            ("a.test:99999", E::BadPort),
            ("a.test:000080", E::BadPort),
            ("a.test:x", E::BadPort),
            ("a.test:+80", E::BadPort),
            ("a.test:-1", E::BadPort),
            ("a.test: 80", E::BadPort),
            ("a.test:8\u{0661}", E::BadPort),
            ("u@a.test:443", E::UserInfo),
            ("u:p@a.test", E::UserInfo),
            ("@a.test", E::UserInfo),
            ("http://a.test:443", E::UnbracketedIpv6),
            ("/", E::BadCharacter),
            ("a.test/x", E::BadCharacter),
            ("a b", E::BadCharacter),
            ("a%2etest", E::BadCharacter),
            ("bücher.test", E::BadCharacter),
            ("a.test\r", E::BadCharacter),
            ("a\0.test", E::BadCharacter),
            ("*", E::BadCharacter),
            ("::1", E::UnbracketedIpv6),
            ("::1:443", E::UnbracketedIpv6),
            ("a.test:80:80", E::UnbracketedIpv6),
            ("[::1", E::BadIpv6),
            ("[]", E::BadIpv6),
            ("[::1]x", E::BadIpv6),
            ("[::1]80", E::BadIpv6),
            ("[a.test]", E::BadIpv6),
            ("[127.0.0.1]", E::BadIpv6),
            ("[v1.x]", E::BadIpv6),
            ("[[::1]]", E::BadIpv6),
            ("::1]", E::UnbracketedIpv6),
            ("[fe80::1%eth0]:80", E::Zone),
            ("[fe80::1%25eth0]:80", E::Zone),
            ("2130706433", E::NotIpv4),
            ("0x7f000001", E::NotIpv4),
            ("0X7F.1", E::NotIpv4),
            ("0x7f.0x1", E::NotIpv4),
            ("a.0x", E::NotIpv4),
            ("0177.0.0.1", E::NotIpv4),
            ("127.1", E::NotIpv4),
            ("127.0.0.01", E::NotIpv4),
            ("127.0.0.1.", E::NotIpv4),
            ("256.1.1.1", E::NotIpv4),
            ("1.2.3.4.5", E::NotIpv4),
            ("a.test.80", E::NotIpv4),
        ] {
            assert_eq!(Authority::parse(text, Some(443)), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn port_may_have_to_be_there() {
        for text in ["a.test", "a.test:", "127.0.0.1", "[::1]", "[::1]:"] {
            assert_eq!(Authority::parse(text, None), Err(AuthorityError::MissingPort), "{text}");
        }
        assert!(Authority::parse("a.test:443", None).is_ok());
    }

    #[test]
    fn lengths_are_those_of_dns() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(Authority::parse(&format!("{longest}.:80"), None).is_ok());
        for name in [format!("{longest}a"), "a".repeat(64), "a.".repeat(40_000)] {
            assert_eq!(Authority::parse(&name, Some(80)), Err(AuthorityError::TooLong));
        }
    }

    #[test]
    fn names_compare_without_their_dot() {
        let host = Host::parse("A.test.").unwrap();
        assert_eq!((host.name(), host.name_without_dot()), (Some("a.test."), Some("a.test")));
        assert_eq!(Host::parse("[::1]").unwrap().ip(), Some("::1".parse().unwrap()));
    }
}
