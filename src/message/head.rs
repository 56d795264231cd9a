//! The head of a request, judged as a whole before anybody acts on it.
//!
//! It finds the end of a head in the bytes of a connection, and says either what the head holds or what is wrong with it.
//! Must not know sockets, nor who reads the bytes afterwards. What passes here is well-formed and can be read in one way only.

use std::{mem::MaybeUninit, ops::Range};

use http::{Method, StatusCode, Version};

use super::{
    field::Fields,
    framing::{Framing, FramingError, check_host, request_framing},
    list,
    target::{Target, TargetError},
};

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Request line and header section together, in bytes.
    pub max_bytes: usize,
    /// Header fields.
    pub max_headers: usize,
}

/// What a good head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadFacts<'a> {
    /// The method, its case kept.
    pub method: Method,
    /// The target, understood.
    pub target: Target<'a>,
    /// Where the target stands in the head.
    pub raw_target: Range<usize>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Which body follows. None for CONNECT: what follows is the tunnel's.
    pub framing: Framing,
    /// Whether the client wants to send another request: never in HTTP/1.0, which a proxy may not keep alive
    /// (RFC 9112 C.2.2).
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Where the header fields stand in the head.
    pub fields: Fields,
}

/// Why a head is refused. The connection cannot go on after any of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Something before the request line that is no empty line, or too many of them.
    #[error("more than {BLANK_LINES_MAX} empty lines before the request line")]
    BlankLines,
    /// A TLS ClientHello.
    #[error(
        "this is TLS, and the port speaks plain HTTP: set the proxy's URL to http://, whatever is fetched through it"
    )]
    Tls,
    /// A SOCKS greeting.
    #[error("this is SOCKS, and the port speaks HTTP: set the kind of proxy to HTTP")]
    Socks,
    /// The first byte can begin no method.
    #[error("this is not HTTP")]
    NotHttp,
    /// Not `method target version`, with one space between.
    #[error("malformed request line: \"METHOD target HTTP/1.1\" is accepted")]
    RequestLine,
    /// The method is no token.
    #[error("malformed method")]
    Method,
    /// HTTP, but a version we do not speak here.
    #[error("HTTP version not supported: HTTP/1.0 and HTTP/1.1 are")]
    Version,
    /// See [`TargetError`].
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The request line does not fit [`HeadLimits::max_bytes`], or the target is longer than anybody takes.
    #[error("request-target too long")]
    TargetTooLong,
    /// The head does not fit [`HeadLimits::max_bytes`].
    #[error("header section too large")]
    TooLarge,
    /// More fields than [`HeadLimits::max_headers`].
    #[error("too many header fields")]
    TooManyHeaders,
    /// A line that ends in LF or CR alone.
    #[error("line does not end in CRLF")]
    LineEnd,
    /// Not a token and a colon: whitespace before the colon, or a folded line, too.
    #[error("malformed header field name, white space before the colon, or folded line")]
    FieldName,
    /// A control byte.
    #[error("control byte in a header field")]
    FieldValue,
    /// See [`FramingError`].
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// CONNECT has no body, and what follows could be taken for one or for the tunnel.
    #[error("CONNECT with a body")]
    ConnectBody,
}

impl HeadError {
    /// 400, 414, 431, 501 or 505.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLarge | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Target(error) => error.status(),
            Self::Framing(error) => error.status(),
            Self::BlankLines
            | Self::Tls
            | Self::Socks
            | Self::NotHttp
            | Self::RequestLine
            | Self::Method
            | Self::LineEnd
            | Self::FieldName
            | Self::FieldValue
            | Self::ConnectBody => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether an HTTP answer means anything to who sent this.
    pub const fn speaks_http(&self) -> bool {
        !matches!(self, Self::Tls | Self::Socks)
    }
}

/// Where the head that begins `buffer` ends, just behind its empty line; none while that has not arrived.
///
/// `scanned` bytes of the buffer have been looked at before without finding it, so that a head that comes byte by byte is not
/// read over and over. A line's end is any LF here: a head that is wrong in that has an end, too, and is refused by
/// [`check_request_head`] at once, not when the client's time is up.
pub fn find_end(buffer: &[u8], scanned: usize) -> Option<usize> {
    let mut at = scanned.saturating_sub(2).max(blank_prefix(buffer));
    loop {
        let line_end = at + memchr::memchr(b'\n', buffer.get(at..)?)?;
        at = line_end + 1;
        match &buffer[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// What can be said against a head whose end has not arrived.
///
/// # Errors
/// What is no HTTP at all, and what is too long already.
pub fn check_partial_head(buffer: &[u8], limits: HeadLimits) -> Result<(), HeadError> {
    let blank = blank_prefix(buffer);
    check_blank_lines(blank)?;
    let head = &buffer[blank..];
    check_first_byte(head)?;
    if head.len() <= limits.max_bytes { Ok(()) } else { Err(too_long(head, limits)) }
}

/// What a complete head says, from its first byte to its empty line as found by [`find_end`].
///
/// # Errors
/// Everything that is not a well-formed, unambiguous HTTP/1 request within the limits.
pub fn check_request_head(raw: &[u8], limits: HeadLimits) -> Result<HeadFacts<'_>, HeadError> {
    let blank = blank_prefix(raw);
    check_blank_lines(blank)?;
    let head = &raw[blank..];
    check_first_byte(head)?;
    if head.len() > limits.max_bytes {
        return Err(too_long(head, limits));
    }
    // More than anybody sends: only a configuration that allows more and a request that has more cost an allocation.
    let mut few = [const { MaybeUninit::uninit() }; HEADERS_INLINE];
    match read(raw, blank, limits, &mut few) {
        Err(HeadError::TooManyHeaders) if limits.max_headers > HEADERS_INLINE => {
            // No field is shorter than "a:" and a line's end.
            let most = limits.max_headers.min(head.len() / 3);
            let mut many: Vec<_> = std::iter::repeat_with(MaybeUninit::uninit).take(most).collect();
            read(raw, blank, limits, &mut many)
        }
        facts => facts,
    }
}

fn read<'a>(
    raw: &'a [u8],
    blank: usize,
    limits: HeadLimits,
    headers: &mut [MaybeUninit<httparse::Header<'a>>],
) -> Result<HeadFacts<'a>, HeadError> {
    let head = &raw[blank..];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(head, headers).map_err(|error| explain(error, head))?;
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HeadError::RequestLine);
    };
    let ends_in_crlf = memchr::memchr_iter(b'\n', head).all(|at| at > 0 && head[at - 1] == b'\r');
    if parsed != httparse::Status::Complete(head.len()) || !ends_in_crlf {
        return Err(HeadError::LineEnd);
    }
    if request.headers.len() > limits.max_headers {
        return Err(HeadError::TooManyHeaders);
    }
    if target.len() > TARGET_MAX {
        return Err(HeadError::TargetTooLong);
    }
    // The request line is "method target version", so the target stands one space behind the method.
    let start = blank + method.len() + 1;
    let raw_target = start..start + target.len();
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Method)?;
    let lines = || request.headers.iter().map(|header| (header.name.as_bytes(), header.value));
    let mut framing = request_framing(version, lines())?;
    check_host(version, lines())?;
    let target = Target::parse(&method, target.as_bytes())?;
    if method == Method::CONNECT {
        if !matches!(framing, Framing::None | Framing::Length(0)) {
            return Err(HeadError::ConnectBody);
        }
        framing = Framing::None;
    }
    let is_current = version == Version::HTTP_11;
    let closes = || {
        has_line(lines(), b"connection", |value| {
            list::members(value).any(|option| option.eq_ignore_ascii_case(b"close"))
        })
    };
    let expects = || has_line(lines(), b"expect", |value| value.eq_ignore_ascii_case(b"100-continue"));
    Ok(HeadFacts {
        keep_alive: is_current && !closes(),
        expects_continue: is_current && expects(),
        fields: Fields::found(raw, request.headers),
        method,
        target,
        raw_target,
        version,
        framing,
    })
}

fn has_line<'a>(
    mut lines: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    name: &[u8],
    is_wanted: impl Fn(&[u8]) -> bool,
) -> bool {
    lines.any(|(found, value)| found.eq_ignore_ascii_case(name) && is_wanted(value))
}

/// What the parser means. It stops at the first fault, and the request line comes first.
fn explain(error: httparse::Error, head: &[u8]) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Token | httparse::Error::Version | httparse::Error::Status => {
            explain_request_line(head)
        }
    }
}

fn explain_request_line(head: &[u8]) -> HeadError {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.splitn(2, |&byte| byte == b' ');
    let (method, Some(rest)) = (words.next().unwrap_or_default(), words.next()) else {
        return HeadError::RequestLine;
    };
    if !list::is_token(method) {
        return HeadError::Method;
    }
    let Some(space) = rest.iter().rposition(|&byte| byte == b' ') else {
        // HTTP/0.9, or a version forgotten.
        return HeadError::RequestLine;
    };
    let (target, version) = (&rest[..space], &rest[space + 1..]);
    if let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = version
        && major.is_ascii_digit()
        && minor.is_ascii_digit()
        && !matches!((major, minor), (b'1', b'0' | b'1'))
    {
        return HeadError::Version;
    }
    match Method::from_bytes(method).map(|method| Target::parse(&method, target)) {
        Ok(Err(error)) if !target.is_empty() => HeadError::Target(error),
        _ => HeadError::RequestLine,
    }
}

fn too_long(head: &[u8], limits: HeadLimits) -> HeadError {
    match memchr::memchr(b'\n', &head[..limits.max_bytes]) {
        Some(end) if end <= TARGET_MAX => HeadError::TooLarge,
        _ => HeadError::TargetTooLong,
    }
}

/// Length of the empty lines in front. A server should pass over one (RFC 9112 2.2): some clients end a body with one.
fn blank_prefix(buffer: &[u8]) -> usize {
    buffer.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

const fn check_blank_lines(length: usize) -> Result<(), HeadError> {
    if length <= BLANK_LINES_MAX * 2 { Ok(()) } else { Err(HeadError::BlankLines) }
}

fn check_first_byte(head: &[u8]) -> Result<(), HeadError> {
    match head {
        [0x16, ..] => Err(HeadError::Tls),
        [4 | 5, ..] => Err(HeadError::Socks),
        // The first half of an empty line.
        [] | [b'\r'] => Ok(()),
        [first, ..] if list::is_tchar(*first) => Ok(()),
        [b'\r' | b'\n', ..] => Err(HeadError::LineEnd),
        [b' ' | b'\t', ..] => Err(HeadError::RequestLine),
        _ => Err(HeadError::NotHttp),
    }
}

/// Empty lines that are passed over before a request line.
const BLANK_LINES_MAX: usize = 2;

/// Longest target, in bytes, that most software takes.
const TARGET_MAX: usize = u16::MAX as usize - 1;

/// Header fields that are read without an allocation.
const HEADERS_INLINE: usize = 100;

#[cfg(test)]
mod tests;
