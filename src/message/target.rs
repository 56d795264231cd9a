//! The four forms of a request-target (RFC 9112 3.2), and what the next hop gets of it.
//!
//! Works on the raw bytes, because `http::Uri` tells `OPTIONS http://a` and `OPTIONS http://a/` apart no more, takes port
//! 99999 for no port, and accepts an empty host. Must not know where anything listens. Path and query are passed on byte
//! for byte.

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::net::authority::{Authority, AuthorityError};

/// What an absolute target is to be fetched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS to the origin, or nothing: never clear text.
    Https,
}

impl Scheme {
    /// The port where none is written.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// As it is written in a URI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A request-target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `http://host[:port]/path?query`: to be forwarded.
    Absolute {
        /// Http or https.
        scheme: Scheme,
        /// Where it goes, and its `Host`.
        authority: Authority,
        /// The raw text as received: empty, or begins with `/` or `?`. See [`origin_form`].
        path_and_query: &'a str,
    },
    /// `host:port`, of CONNECT only.
    Authority(Authority),
    /// `/path?query`: addressed to the proxy itself.
    Origin(&'a str),
    /// `*`, of OPTIONS only: addressed to the proxy itself.
    Asterisk,
}

/// Why a request-target is refused. Says nothing of what the target said, which may hold credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing there.
    #[error("empty request-target")]
    Empty,
    /// A byte that no URI has. Browsers escape these; scripts forget to.
    #[error("byte 0x{0:02x} in the request-target: it must be percent-encoded")]
    BadByte(u8),
    /// `#…` is never sent (RFC 9112 3.2).
    #[error("fragment in the request-target")]
    Fragment,
    /// None of the four forms.
    #[error("request-target is neither an absolute URI nor a path: \"http://host/path\" is accepted")]
    NoForm,
    /// `*` with another method.
    #[error("request-target \"*\" with a method other than OPTIONS")]
    Asterisk,
    /// CONNECT with a URI or a path.
    #[error("the target of CONNECT must be \"host:port\"")]
    Connect,
    /// Something else than http and https, and no scheme at all where the text is empty.
    #[error("scheme {0:?} is not supported: http and https are")]
    Scheme(String),
    /// `user:password@` (RFC 9110 4.2.4).
    #[error("user information in the request-target")]
    UserInformation,
    /// The host or the port.
    #[error("malformed authority in the request-target")]
    Authority(#[source] AuthorityError),
}

impl TargetError {
    /// 501 for a scheme that we do not do, otherwise 400.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Scheme(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Empty
            | Self::BadByte(_)
            | Self::Fragment
            | Self::NoForm
            | Self::Asterisk
            | Self::Connect
            | Self::UserInformation
            | Self::Authority(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl<'a> Target<'a> {
    /// Classify a raw request-target. Nothing is normalised but the host's case.
    ///
    /// # Errors
    /// Everything that is not exactly one of the forms, for this method.
    pub fn parse(method: &Method, raw: &'a [u8]) -> Result<Self, TargetError> {
        let text = checked_text(raw)?;
        if *method == Method::CONNECT {
            return parse_connect(text);
        }
        match raw {
            b"*" if *method == Method::OPTIONS => Ok(Self::Asterisk),
            b"*" => Err(TargetError::Asterisk),
            [b'/', ..] => Ok(Self::Origin(text)),
            _ => parse_absolute(text),
        }
    }
}

/// The target in origin-form, or asterisk-form, for an origin (RFC 9112 3.2.1, 3.2.4): what was received, and a path
/// where there was none.
#[must_use]
pub fn origin_form(method: &Method, path_and_query: Bytes) -> Bytes {
    match *path_and_query {
        [] if *method == Method::OPTIONS => Bytes::from_static(b"*"),
        [] => Bytes::from_static(b"/"),
        [b'?', ..] => [b"/", &path_and_query[..]].concat().into(),
        _ => path_and_query,
    }
}

fn checked_text(raw: &[u8]) -> Result<&str, TargetError> {
    if raw.is_empty() {
        return Err(TargetError::Empty);
    }
    match raw.iter().copied().find(|&byte| !ALLOWED[byte as usize]) {
        Some(b'#') => Err(TargetError::Fragment),
        Some(byte) => Err(TargetError::BadByte(byte)),
        None => Ok(std::str::from_utf8(raw).expect("the allowed bytes are ASCII")),
    }
}

fn parse_connect(text: &str) -> Result<Target<'_>, TargetError> {
    if text.contains(['/', '?', '*']) {
        return Err(TargetError::Connect);
    }
    parse_authority(text, None).map(Target::Authority)
}

fn parse_absolute(text: &str) -> Result<Target<'_>, TargetError> {
    let parts = text.split_once(':').and_then(|(scheme, rest)| Some((scheme, rest.strip_prefix("//")?)));
    let Some((scheme, rest)) = parts else { return Err(TargetError::NoForm) };
    let scheme = if scheme.eq_ignore_ascii_case("http") {
        Scheme::Http
    } else if scheme.eq_ignore_ascii_case("https") {
        Scheme::Https
    } else if is_scheme(scheme) {
        return Err(TargetError::Scheme(scheme.chars().take(SCHEME_SHOWN).collect()));
    } else {
        return Err(TargetError::NoForm);
    };
    let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = parse_authority(authority, Some(scheme.default_port()))?;
    Ok(Target::Absolute { scheme, authority, path_and_query })
}

fn parse_authority(text: &str, default_port: Option<u16>) -> Result<Authority, TargetError> {
    if text.contains('@') {
        return Err(TargetError::UserInformation);
    }
    Authority::parse(text, default_port).map_err(TargetError::Authority)
}

fn is_scheme(text: &str) -> bool {
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_scheme_byte)
}

/// Visible ASCII without what strict readers refuse in a path or a query. `\ ^ { | }` are no URI characters either, but are
/// sent and understood everywhere.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        allowed[byte as usize] = !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`');
        byte += 1;
    }
    allowed
};

/// Characters of an unknown scheme that are repeated to its sender.
const SCHEME_SHOWN: usize = 32;

#[cfg(test)]
mod tests;
