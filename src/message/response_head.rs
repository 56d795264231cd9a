//! The head of a response, as an origin sends it.
//!
//! Must not know the client. What is wrong in it is not told in detail: the client gets a 502, whatever it is, and the
//! connection is closed. White space in front of a colon is passed over (RFC 9112 5.1), for a proxy is to remove it.

use std::{mem::MaybeUninit, time::Duration};

use http::{Method, StatusCode, Version};

use super::{
    field::{Field, Fields, Name},
    framing::{ResponseFraming, response_framing},
    head::HeadLimits,
    hop_by_hop::HopByHop,
};

/// A response head that can be passed on.
#[derive(Debug)]
pub struct ResponseHead<'a> {
    /// The status; 1xx is no final one.
    pub status: StatusCode,
    /// The reason phrase, which may be empty.
    pub reason: &'a [u8],
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// How the body is framed, and whether the connection can serve again after it.
    pub framing: ResponseFraming,
    /// What its lines say about the connection.
    pub hop_by_hop: HopByHop,
    raw: &'a [u8],
    fields: Fields,
}

/// Why a response head cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseHeadError {
    /// It is not HTTP/1, or its framing is ambiguous.
    #[error("the response head is malformed")]
    Malformed,
    /// It is over its bounds.
    #[error("the response head is too large")]
    TooLarge,
}

/// Room in which the lines of a head are found.
pub type Lines<'a> = [MaybeUninit<httparse::Header<'a>>];

/// How many lines fit into room on the stack. Origins that send more cost an allocation.
pub const LINES_INLINE: usize = 100;

impl<'a> ResponseHead<'a> {
    /// Reads a complete head: the response to `method`.
    ///
    /// # Errors
    ///
    /// See [`ResponseHeadError`]; `TooLarge` also when there are more lines than fit into `lines`.
    pub fn read(raw: &'a [u8], method: &Method, lines: &mut Lines<'a>) -> Result<Self, ResponseHeadError> {
        let mut config = httparse::ParserConfig::default();
        config.allow_spaces_after_header_name_in_responses(true);
        let mut response = httparse::Response::new(&mut []);
        let parsed = config.parse_response_with_uninit_headers(&mut response, raw, lines);
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == raw.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(ResponseHeadError::TooLarge),
            _ => return Err(ResponseHeadError::Malformed),
        }
        let headers: &[httparse::Header<'_>] = response.headers;
        let (Some(code), Some(minor)) = (response.code, response.version) else {
            return Err(ResponseHeadError::Malformed);
        };
        let status = StatusCode::from_u16(code).map_err(|_| ResponseHeadError::Malformed)?;
        let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let pairs = headers.iter().map(|field| (field.name.as_bytes(), field.value));
        let framing =
            response_framing(method, status, version, pairs).map_err(|_| ResponseHeadError::Malformed)?;
        let mut head = Self {
            status,
            reason: response.reason.unwrap_or_default().as_bytes(),
            version,
            framing,
            hop_by_hop: HopByHop::default(),
            raw,
            fields: Fields::found(raw, headers),
        };
        head.hop_by_hop = HopByHop::read(head.fields());
        Ok(head)
    }

    /// Its lines.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + Clone {
        self.fields.of(self.raw)
    }

    /// Whether the origin keeps the connection open after it.
    #[must_use]
    pub fn keeps_connection(&self) -> bool {
        let wishes = if self.version == Version::HTTP_11 { true } else { self.hop_by_hop.keeps_alive };
        wishes && !self.hop_by_hop.closes && self.framing.reusable
    }

    /// How long the origin says that it keeps the connection: `timeout` of `Keep-Alive`, less a second for the way (its unit is
    /// seconds).
    #[must_use]
    pub fn keep_alive(&self) -> Option<Duration> {
        let value = self.fields().find(|field| field.known == Name::KeepAlive)?.value;
        let value = std::str::from_utf8(value).ok()?;
        let timeout = value.split(',').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("timeout")
                .then(|| value.trim().trim_matches('"').parse::<u32>().ok())?
        })?;
        Some(Duration::from_secs(u64::from(timeout.saturating_sub(1))))
    }

    /// Whether this is an interim response: another one follows it. 101 is the last.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// What can be said against a head whose end has not come: it is not HTTP/1 at all. Empty lines in front are passed over.
///
/// # Errors
///
/// `Malformed`.
pub fn check_beginning(bytes: &[u8]) -> Result<(), ResponseHeadError> {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let length = (bytes.len() - start).min(BEGINNING.len());
    if bytes[start..start + length] == BEGINNING[..length] {
        Ok(())
    } else {
        Err(ResponseHeadError::Malformed)
    }
}

/// What can be said against the size of a head that is not complete yet, or is.
///
/// # Errors
///
/// It is too large already.
pub fn check_size(bytes: usize, limits: HeadLimits) -> Result<(), ResponseHeadError> {
    if bytes <= limits.max_bytes { Ok(()) } else { Err(ResponseHeadError::TooLarge) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::framing::ResponseBody;

    fn read<T>(raw: &str, see: impl FnOnce(Result<ResponseHead<'_>, ResponseHeadError>) -> T) -> T {
        let mut lines = [const { MaybeUninit::uninit() }; 8];
        see(ResponseHead::read(raw.as_bytes(), &Method::GET, &mut lines))
    }

    #[test]
    fn heads_are_read() {
        for (raw, status, reason, body, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200, "OK", ResponseBody::Length(3), true),
            ("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", 200, "", ResponseBody::Length(3), true),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: x, Close\r\n\r\n",
                200,
                "OK",
                ResponseBody::Length(3),
                false,
            ),
            (
                "HTTP/1.0 404 Who Knows\r\nContent-Length: 0\r\n\r\n",
                404,
                "Who Knows",
                ResponseBody::Length(0),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
                200,
                "OK",
                ResponseBody::Length(0),
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", 200, "OK", ResponseBody::UntilClose, false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n",
                200,
                "OK",
                ResponseBody::Chunked,
                true,
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, "No Content", ResponseBody::None, true),
        ] {
            read(raw, |head| {
                let head = head.expect(raw);
                assert_eq!((head.status.as_u16(), head.reason), (status, reason.as_bytes()), "{raw}");
                assert_eq!((head.framing.body, head.keeps_connection()), (body, keeps), "{raw}");
            });
        }
    }

    #[test]
    fn keep_alive_is_read_with_a_margin() {
        for (value, expected) in [
            ("timeout=5", Some(4)),
            ("max=100, Timeout = \"15\"", Some(14)),
            ("timeout=0", Some(0)),
            ("max=100", None),
            ("timeout=soon", None),
        ] {
            read(&format!("HTTP/1.1 204 No Content\r\nKeep-Alive: {value}\r\n\r\n"), |head| {
                assert_eq!(head.unwrap().keep_alive(), expected.map(Duration::from_secs), "{value}");
            });
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        use ResponseHeadError::{Malformed, TooLarge};
        for (raw, error) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3", Malformed),
            ("HTTP/1.1 20x OK\r\n\r\n", Malformed),
            ("HTTP/1.1 099 OK\r\n\r\n", Malformed),
            ("HTTP/2 200 OK\r\n\r\n", Malformed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", Malformed),
            ("HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n", Malformed),
            ("HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n\r\n", Malformed),
            ("HTTP/1.1 200 OK\r\nA: 1\0\r\n\r\n", Malformed),
            ("HTTP/1.1 200 OK\r\n\r\nrest", Malformed),
            (
                "HTTP/1.1 200 OK\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\na:1\r\n\r\n",
                TooLarge,
            ),
        ] {
            read(raw, |head| assert_eq!(head.map(|_| ()), Err(error), "{raw:?}"));
        }
    }
}
