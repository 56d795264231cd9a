//! How a request is framed, and whether its `Host` can be believed.
//!
//! Works on the raw lines, because a header map has forgotten what matters here. Must not know the target or the
//! body. Whatever passes has one length that every reader agrees on.

use http::{StatusCode, Version};

use super::length::{Coding, content_length};

/// The body of a request (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// This many bytes; may be 0.
    Length(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked,
}

/// Why a request's length or host cannot be told. The connection cannot go on after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Not digits, or too many.
    #[error("Content-Length is not a decimal number below 2^63")]
    BadLength,
    /// Several, also when they are equal.
    #[error("more than one Content-Length")]
    RepeatedLength,
    /// The classic of smuggling.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// HTTP/1.0 has no transfer codings.
    #[error("Transfer-Encoding in an HTTP/1.0 request")]
    CodingInOldVersion,
    /// `chunked` not last or not once, or not a list of codings.
    #[error("malformed Transfer-Encoding: only \"chunked\", once, is accepted")]
    BadCoding,
    /// A coding that we do not know.
    #[error("unknown Transfer-Encoding: only \"chunked\" is implemented")]
    UnknownCoding,
    /// HTTP/1.1 without `Host`.
    #[error("no Host field in an HTTP/1.1 request")]
    NoHost,
    /// Several.
    #[error("more than one Host field")]
    RepeatedHost,
    /// Not `host[:port]`.
    #[error("malformed Host field: \"name\" or \"name:port\" is accepted")]
    BadHost,
}

impl FramingError {
    /// 501 for an unknown coding (RFC 9112 6.1), otherwise 400.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::BadLength
            | Self::RepeatedLength
            | Self::LengthAndCoding
            | Self::CodingInOldVersion
            | Self::BadCoding
            | Self::NoHost
            | Self::RepeatedHost
            | Self::BadHost => StatusCode::BAD_REQUEST,
        }
    }
}

/// Which length rule holds for a request with these lines (name, value).
///
/// # Errors
/// Everything that two readers could read differently.
pub fn request_framing<'a>(
    version: Version,
    lines: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Framing, FramingError> {
    let mut length = None;
    let mut coding = Coding::Absent;
    for (name, value) in lines {
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() || value.contains(&b',') {
                return Err(FramingError::RepeatedLength);
            }
            length = Some(content_length(value).ok_or(FramingError::BadLength)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            coding = coding.and(value);
        }
    }
    match (coding, length) {
        (Coding::Absent, None) => Ok(Framing::None),
        (Coding::Absent, Some(length)) => Ok(Framing::Length(length)),
        (_, _) if version < Version::HTTP_11 => Err(FramingError::CodingInOldVersion),
        (Coding::Malformed, _) => Err(FramingError::BadCoding),
        (Coding::Unknown, _) => Err(FramingError::UnknownCoding),
        (Coding::Chunked, Some(_)) => Err(FramingError::LengthAndCoding),
        (Coding::Chunked, None) => Ok(Framing::Chunked),
    }
}

/// Whether the `Host` of a request is there, once, and a host (RFC 9112 3.2).
///
/// That it differs from an absolute target is no error: it is replaced.
///
/// # Errors
/// `NoHost`, `RepeatedHost`, `BadHost`.
pub fn check_host<'a>(
    version: Version,
    lines: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), FramingError> {
    let mut hosts = lines.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(FramingError::NoHost),
        (Some(_), Some(_)) => Err(FramingError::RepeatedHost),
        (Some((_, value)), None) if is_host(value) => Ok(()),
        (Some(_), None) => Err(FramingError::BadHost),
    }
}

/// `uri-host [ ":" port ]`, which may be empty. Looser than an authority we connect to, as it is never used.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
        let is_address =
            rest[..end].iter().all(|&byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        if end == 0 || !is_address {
            return false;
        }
        ([].as_slice(), &rest[end + 1..])
    } else {
        value.split_at(value.iter().position(|&byte| byte == b':').unwrap_or(value.len()))
    };
    // Sub-delims without the comma: two hosts in one field are two hosts.
    let is_name_byte = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
            || matches!(byte, b'*' | b'+' | b';' | b'=')
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_port && host.iter().all(is_name_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = &'static [(&'static str, &'static str)];

    fn pairs(lines: Lines) -> impl Iterator<Item = (&'static [u8], &'static [u8])> {
        lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    #[test]
    fn lengths() {
        use FramingError::{
            BadCoding, BadLength, CodingInOldVersion, LengthAndCoding, RepeatedLength, UnknownCoding,
        };
        let (v10, v11) = (Version::HTTP_10, Version::HTTP_11);
        let cases: &[(&str, Version, Lines, Result<Framing, FramingError>)] = &[
            ("none", v11, &[("A", "1")], Ok(Framing::None)),
            ("length", v11, &[("content-LENGTH", "5")], Ok(Framing::Length(5))),
            ("length 0", v10, &[("Content-Length", "0")], Ok(Framing::Length(0))),
            (
                "largest",
                v11,
                &[("Content-Length", "9223372036854775807")],
                Ok(Framing::Length(i64::MAX as u64)),
            ),
            ("chunked", v11, &[("Transfer-Encoding", "Chunked")], Ok(Framing::Chunked)),
            ("C30", v11, &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")], Err(LengthAndCoding)),
            ("C30", v11, &[("Transfer-Encoding", "chunked"), ("Content-Length", "5")], Err(LengthAndCoding)),
            ("C32", v11, &[("Transfer-Encoding", "chunked, identity")], Err(BadCoding)),
            ("C32", v11, &[("Transfer-Encoding", "gzip")], Err(UnknownCoding)),
            ("C32", v11, &[("Transfer-Encoding", "gzip, chunked")], Err(UnknownCoding)),
            ("C32", v11, &[("Transfer-Encoding", "xchunked")], Err(UnknownCoding)),
            ("C32", v11, &[("Transfer-Encoding", "identity")], Err(UnknownCoding)),
            (
                "C32",
                v11,
                &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
                Err(BadCoding),
            ),
            ("C32", v11, &[("Transfer-Encoding", "chunked, chunked")], Err(BadCoding)),
            ("C32", v11, &[("Transfer-Encoding", "\u{b}chunked")], Err(BadCoding)),
            ("C32", v11, &[("Transfer-Encoding", "chunked;a=b")], Err(UnknownCoding)),
            ("C32", v11, &[("Transfer-Encoding", "chun ked")], Err(BadCoding)),
            ("C32", v11, &[("Transfer-Encoding", "")], Err(BadCoding)),
            ("C32", v11, &[("Transfer-Encoding", ""), ("Transfer-Encoding", "chunked")], Err(BadCoding)),
            ("C33", v10, &[("Transfer-Encoding", "chunked")], Err(CodingInOldVersion)),
            ("C34", v11, &[("Content-Length", "+5")], Err(BadLength)),
            ("C34", v11, &[("Content-Length", "-1")], Err(BadLength)),
            ("C34", v11, &[("Content-Length", "0x5")], Err(BadLength)),
            ("C34", v11, &[("Content-Length", "5 5")], Err(BadLength)),
            ("C34", v11, &[("Content-Length", "")], Err(BadLength)),
            ("C34", v11, &[("Content-Length", "5, 6")], Err(RepeatedLength)),
            ("C34", v11, &[("Content-Length", "5, 5")], Err(RepeatedLength)),
            ("C34", v11, &[("Content-Length", "123456789012345678901234567890")], Err(BadLength)),
            ("C34", v11, &[("Content-Length", "9223372036854775808")], Err(BadLength)),
            ("C34", v11, &[("Content-Length", "5"), ("Content-Length", "6")], Err(RepeatedLength)),
        ];
        for (row, version, lines, expected) in cases {
            assert_eq!(request_framing(*version, pairs(lines)), *expected, "{row} {lines:?}");
        }
        assert_eq!(UnknownCoding.status(), StatusCode::NOT_IMPLEMENTED);
        assert_eq!(BadCoding.status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn hosts_c4() {
        let check = |version, lines| check_host(version, pairs(lines));
        assert_eq!(check(Version::HTTP_11, &[("A", "b")]), Err(FramingError::NoHost), "C4");
        assert_eq!(check(Version::HTTP_10, &[("A", "b")]), Ok(()));
        let twice: Lines = &[("Host", "a.test"), ("host", "a.test")];
        assert_eq!(check(Version::HTTP_11, twice), Err(FramingError::RepeatedHost), "C4");
        assert_eq!(check(Version::HTTP_10, twice), Err(FramingError::RepeatedHost), "C4");
        for good in
            ["a.test", "a.test:8081", "", "a.test:", "[::1]:443", "[::ffff:192.0.2.1]", "192.0.2.1", "a_b"]
        {
            let line = (b"Host".as_slice(), good.as_bytes());
            assert_eq!(check_host(Version::HTTP_11, [line]), Ok(()), "{good}");
        }
        for bad in [
            "a b",
            "a.test, b.test",
            "a.test,b.test",
            "u@a.test",
            "a.test/x",
            "a:x",
            "a:1:2",
            "[::1",
            "[]",
            "[::1]x",
            "a.test?",
            "http://a.test",
            "a\u{e9}",
            "[fe80::1%25eth0]",
        ] {
            let line = (b"Host".as_slice(), bad.as_bytes());
            assert_eq!(check_host(Version::HTTP_11, [line]), Err(FramingError::BadHost), "C4 {bad}");
        }
    }
}
