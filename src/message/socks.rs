//! SOCKS5 (RFC 1928) with user names and passwords (RFC 1929): what a client says before its tunnel begins.
//!
//! Each of the three messages is looked for at the beginning of what has come: none while it is not complete, else with the bytes
//! that it takes. None is longer than 513 bytes, and what is wrong is told as soon as it is there.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::authority::{Authority, AuthorityError, Host};

/// The first byte of a client that speaks it: nothing that HTTP begins with.
pub const VERSION: u8 = 5;

/// How a client may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// Not at all.
    None = 0x00,
    /// By name and password.
    Password = 0x02,
    /// There is no way.
    Unacceptable = 0xff,
}

/// The ways in which a client offers to log in, of those that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Not at all.
    pub none: bool,
    /// By name and password.
    pub password: bool,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A tunnel; anything else is not served.
    pub is_connect: bool,
    /// Where to.
    pub authority: Authority,
}

/// Why nothing can be made of what a client says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    /// Another version, or a byte that has to be zero and is not.
    #[error("malformed SOCKS5 message")]
    Malformed,
    /// Not IPv4, IPv6 or a name.
    #[error("unknown type of address in a SOCKS5 request")]
    AddressType,
    /// No name, or no port, that can be.
    #[error("SOCKS5 request: {0}")]
    Authority(#[from] AuthorityError),
}

/// What is answered to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// The tunnel begins.
    Succeeded = 0,
    /// Something else.
    Failure = 1,
    /// A rule says no.
    NotAllowed = 2,
    /// There is no way there.
    NetworkUnreachable = 3,
    /// There is nobody, or nobody answers.
    HostUnreachable = 4,
    /// Nobody listens there.
    Refused = 5,
    /// Only tunnels are served.
    CommandNotSupported = 7,
    /// Neither an address nor a name.
    AddressTypeNotSupported = 8,
}

/// A message and the bytes it takes; none while it is not complete.
type Found<T> = Result<Option<(T, usize)>, SocksError>;

/// The first message: version, count, ways to log in.
///
/// # Errors
///
/// [`SocksError::Malformed`].
pub fn greeting(bytes: &[u8]) -> Found<Offer> {
    check(bytes, 0, VERSION)?;
    let Some(&count) = bytes.get(1) else { return Ok(None) };
    let end = 2 + usize::from(count);
    let offer = |methods: &[u8]| Offer {
        none: methods.contains(&(Method::None as u8)),
        password: methods.contains(&(Method::Password as u8)),
    };
    Ok(bytes.get(2..end).map(|methods| (offer(methods), end)))
}

/// The second, where a name and a password were asked for.
///
/// # Errors
///
/// [`SocksError::Malformed`].
pub fn login(bytes: &[u8]) -> Found<(&[u8], &[u8])> {
    check(bytes, 0, LOGIN_VERSION)?;
    let counted = |at: usize| {
        let end = at + 1 + usize::from(*bytes.get(at)?);
        Some((bytes.get(at + 1..end)?, end))
    };
    Ok(counted(1).and_then(|(user, end)| counted(end).map(|(password, end)| ((user, password), end))))
}

/// The last: what the client wants.
///
/// # Errors
///
/// [`SocksError`].
pub fn request(bytes: &[u8]) -> Found<Request> {
    check(bytes, 0, VERSION)?;
    check(bytes, 2, 0)?;
    let length = match bytes.get(3) {
        None => return Ok(None),
        Some(0x01) => 4,
        Some(0x04) => 16,
        Some(0x03) => match bytes.get(4) {
            Some(&length) => 1 + usize::from(length),
            None => return Ok(None),
        },
        Some(_) => return Err(SocksError::AddressType),
    };
    let end = 4 + length + 2;
    let Some(whole) = bytes.get(..end) else { return Ok(None) };
    let (address, port) = whole[4..].split_at(length);
    let host = match (address, address.first_chunk::<4>(), address.first_chunk::<16>()) {
        ([_, name @ ..], ..) if whole[3] == 0x03 => {
            Host::parse(std::str::from_utf8(name).map_err(|_| AuthorityError::BadName)?)?
        }
        (_, _, Some(octets)) => Host::V6(Ipv6Addr::from(*octets)),
        (_, Some(octets), None) => Host::V4(Ipv4Addr::from(*octets)),
        _ => return Err(SocksError::Malformed),
    };
    let port = port.first_chunk().map_or(0, |octets| u16::from_be_bytes(*octets));
    if port == 0 {
        return Err(AuthorityError::BadPort.into());
    }
    Ok(Some((Request { is_connect: whole[1] == CONNECT, authority: Authority { host, port } }, end)))
}

/// The answer to a request. `bound` is our end of the connection that was made.
#[must_use]
pub fn reply(reply: Reply, bound: Option<SocketAddr>) -> Vec<u8> {
    let mut bytes = vec![VERSION, reply as u8, 0];
    match bound.unwrap_or_else(|| SocketAddr::from(([0; 4], 0))) {
        SocketAddr::V4(bound) => {
            bytes.push(0x01);
            bytes.extend_from_slice(&bound.ip().octets());
            bytes.extend_from_slice(&bound.port().to_be_bytes());
        }
        SocketAddr::V6(bound) => {
            bytes.push(0x04);
            bytes.extend_from_slice(&bound.ip().octets());
            bytes.extend_from_slice(&bound.port().to_be_bytes());
        }
    }
    bytes
}

/// The answer to a greeting.
#[must_use]
pub fn choice(method: Method) -> [u8; 2] {
    [VERSION, method as u8]
}

/// The answer to a name and a password.
#[must_use]
pub fn verdict(is_right: bool) -> [u8; 2] {
    [LOGIN_VERSION, u8::from(!is_right)]
}

fn check(bytes: &[u8], at: usize, wanted: u8) -> Result<(), SocksError> {
    match bytes.get(at) {
        Some(byte) if *byte != wanted => Err(SocksError::Malformed),
        _ => Ok(()),
    }
}

/// The version of RFC 1929.
const LOGIN_VERSION: u8 = 1;

/// The command for a tunnel.
const CONNECT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every beginning is one that is not complete, and what follows is no part of it.
    #[track_caller]
    fn expect<'a, T: PartialEq + std::fmt::Debug>(
        parse: impl Fn(&'a [u8]) -> Found<T>,
        bytes: &'a [u8],
        found: &T,
    ) {
        let whole = bytes.strip_suffix(b"|").unwrap();
        for end in 0..whole.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
        }
        let (read, length) = parse(bytes).unwrap().unwrap();
        assert_eq!((&read, length), (found, whole.len()), "{}", bytes.escape_ascii());
    }

    #[test]
    fn c79_greetings() {
        expect(greeting, b"\x05\x00|", &Offer::default());
        expect(greeting, b"\x05\x01\x00|", &Offer { none: true, password: false });
        expect(greeting, b"\x05\x03\x00\x01\x02|", &Offer { none: true, password: true });
        expect(greeting, b"\x05\x02\x01\x80|", &Offer::default());
        assert_eq!(greeting(b"\x04\x01\x00"), Err(SocksError::Malformed));
    }

    #[test]
    fn c80_logins() {
        expect(login, b"\x01\x03ann\x06secret|", &(b"ann", b"secret"));
        expect(login, b"\x01\x00\x00|", &(b"", b""));
        assert_eq!(login(b"\x05\x03ann\x06secret"), Err(SocksError::Malformed));
    }

    #[test]
    fn c79_requests() {
        let to = |is_connect, text| Request { is_connect, authority: Authority::parse(text, None).unwrap() };
        expect(request, b"\x05\x01\0\x01\xc0\0\x02\x07\x01\xbb|", &to(true, "192.0.2.7:443"));
        expect(request, b"\x05\x01\0\x03\x06A.test\x01\xbb|", &to(true, "a.test:443"));
        expect(request, b"\x05\x01\0\x03\x07a.test.\0\x50|", &to(true, "a.test.:80"));
        expect(request, b"\x05\x01\0\x03\x09127.0.0.1\0\x50|", &to(true, "127.0.0.1:80"));
        let v6 = b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x01\xbb|";
        expect(request, v6, &to(true, "[2001:db8::7]:443"));
        expect(request, b"\x05\x02\0\x01\xc0\0\x02\x07\x01\xbb|", &to(false, "192.0.2.7:443"));
        expect(request, b"\x05\x03\0\x01\0\0\0\0\0\x01|", &to(false, "0.0.0.0:1"));
    }

    #[test]
    fn c79_what_is_no_request() {
        use AuthorityError::{BadIpv4, BadName, BadPort, EmptyHost, UserInformation};
        for (bytes, error) in [
            (&b"\x04\x01"[..], SocksError::Malformed),
            (b"\x05\x01\x01", SocksError::Malformed),
            (b"\x05\x01\0\x09", SocksError::AddressType),
            (b"\x05\x01\0\0", SocksError::AddressType),
            (b"\x05\x01\0\x01\xc0\0\x02\x07\0\0", BadPort.into()),
            (b"\x05\x01\0\x03\0\x01\xbb", EmptyHost.into()),
            (b"\x05\x01\0\x03\x03a b\x01\xbb", BadName.into()),
            (b"\x05\x01\0\x03\x04a..b\x01\xbb", BadName.into()),
            (b"\x05\x01\0\x03\x03a\0b\x01\xbb", BadName.into()),
            (b"\x05\x01\0\x03\x02\xff\xfe\x01\xbb", BadName.into()),
            (b"\x05\x01\0\x03\x03u@a\x01\xbb", UserInformation.into()),
            (b"\x05\x01\0\x03\x05127.1\x01\xbb", BadIpv4.into()),
            (b"\x05\x01\0\x03\x04a:80\x01\xbb", BadName.into()),
        ] {
            assert_eq!(request(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn answers() {
        assert_eq!(choice(Method::Unacceptable), *b"\x05\xff");
        assert_eq!([verdict(true), verdict(false)], [*b"\x01\x00", *b"\x01\x01"]);
        assert_eq!(reply(Reply::Refused, None), b"\x05\x05\0\x01\0\0\0\0\0\0");
        let bound = |text: &str| reply(Reply::Succeeded, Some(text.parse().unwrap()));
        assert_eq!(bound("192.0.2.7:258"), b"\x05\0\0\x01\xc0\0\x02\x07\x01\x02");
        assert_eq!(bound("[::1]:258"), b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02");
    }
}
