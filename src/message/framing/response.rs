//! How a response is framed, and whether its connection may serve again.
//!
//! Must not know the client. A response that two readers could read differently is either made plain (RFC 9112 6.3
//! says how) and its connection given up, or refused as a whole.

use http::{Method, StatusCode, Version};

use super::length::{Coding, content_length};
use crate::message::list;

/// The body of a response (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// None, whatever the fields say: 1xx, 204, 304, the answer to HEAD, 2xx to CONNECT.
    None,
    /// This many bytes; may be 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the origin closes.
    UntilClose,
}

/// How to take a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// Its body.
    pub body: ResponseBody,
    /// Whether the framing leaves the connection in a known state for another request. Not whether the origin wants to keep
    /// it open.
    pub reusable: bool,
}

/// Why a response cannot be used: 502 `http_protocol_error`, and the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not digits, or too many.
    #[error("the response's Content-Length is not a decimal number below 2^63")]
    BadLength,
    /// Several, not equal.
    #[error("the response has different Content-Lengths")]
    DifferentLengths,
    /// HTTP/1.0 has no transfer codings.
    #[error("Transfer-Encoding in an HTTP/1.0 response")]
    CodingInOldVersion,
    /// Anything but `chunked`, once.
    #[error("the response's Transfer-Encoding is not \"chunked\"")]
    BadCoding,
}

/// Which length rule holds for the answer to `method` with these lines (name, value).
///
/// `Content-Length` beside `Transfer-Encoding: chunked` is answered by RFC 9112 6.3: chunked holds, the length goes
/// (it is not written on), the connection is not used again.
///
/// # Errors
/// Lengths that are not numbers or differ, and codings that we do not do.
pub fn response_framing<'a>(
    method: &Method,
    status: StatusCode,
    version: Version,
    lines: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<ResponseFraming, ResponseError> {
    let mut length = None;
    let mut coding = Coding::Absent;
    for (name, value) in lines {
        if name.eq_ignore_ascii_case(b"content-length") {
            let before = length.is_some();
            for member in list::members(value) {
                let value = content_length(member).ok_or(ResponseError::BadLength)?;
                if *length.get_or_insert(value) != value {
                    return Err(ResponseError::DifferentLengths);
                }
            }
            if length.is_none() && !before {
                return Err(ResponseError::BadLength);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            coding = coding.and(value);
        }
    }
    if has_no_body(method, status) {
        // 1xx and 204 may not carry either field (RFC 9110 8.6, RFC 9112 6.1): an origin that does may also send a body.
        let reusable = !forbids_length(status) || (coding == Coding::Absent && length.unwrap_or(0) == 0);
        return Ok(ResponseFraming { body: ResponseBody::None, reusable });
    }
    match coding {
        Coding::Absent => Ok(length
            .map_or(ResponseFraming { body: ResponseBody::UntilClose, reusable: false }, |length| {
                ResponseFraming { body: ResponseBody::Length(length), reusable: true }
            })),
        _ if version < Version::HTTP_11 => Err(ResponseError::CodingInOldVersion),
        Coding::Chunked => Ok(ResponseFraming { body: ResponseBody::Chunked, reusable: length.is_none() }),
        Coding::Unknown | Coding::Malformed => Err(ResponseError::BadCoding),
    }
}

fn forbids_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

fn has_no_body(method: &Method, status: StatusCode) -> bool {
    forbids_length(status)
        || status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD
        || (*method == Method::CONNECT && status.is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = &'static [(&'static str, &'static str)];
    type Expected = Result<ResponseFraming, ResponseError>;

    const fn framing(body: ResponseBody, reusable: bool) -> Expected {
        Ok(ResponseFraming { body, reusable })
    }

    #[test]
    fn bodies() {
        use ResponseBody::{Chunked, Length, None, UntilClose};
        use ResponseError::{BadCoding, BadLength, CodingInOldVersion, DifferentLengths};
        let (get, head, connect) = (Method::GET, Method::HEAD, Method::CONNECT);
        let (v10, v11) = (Version::HTTP_10, Version::HTTP_11);
        let cases: &[(&str, &Method, u16, Version, Lines, Expected)] = &[
            ("length", &get, 200, v11, &[("Content-Length", "5")], framing(Length(5), true)),
            ("chunked", &get, 200, v11, &[("Transfer-Encoding", "CHUNKED")], framing(Chunked, true)),
            ("until close", &get, 200, v11, &[], framing(UntilClose, false)),
            ("C37", &get, 200, v10, &[], framing(UntilClose, false)),
            (
                "C31",
                &get,
                200,
                v11,
                &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
                framing(Chunked, false),
            ),
            (
                "C31",
                &get,
                200,
                v11,
                &[("Transfer-Encoding", "chunked"), ("Content-Length", "5")],
                framing(Chunked, false),
            ),
            ("C35", &get, 200, v11, &[("Content-Length", "+5")], Err(BadLength)),
            ("C35", &get, 200, v11, &[("Content-Length", "-1")], Err(BadLength)),
            ("C35", &get, 200, v11, &[("Content-Length", "0x5")], Err(BadLength)),
            ("C35", &get, 200, v11, &[("Content-Length", "5 5")], Err(BadLength)),
            ("C35", &get, 200, v11, &[("Content-Length", "")], Err(BadLength)),
            ("C35", &get, 200, v11, &[("Content-Length", "5, 6")], Err(DifferentLengths)),
            ("C35", &get, 200, v11, &[("Content-Length", "123456789012345678901234567890")], Err(BadLength)),
            (
                "C35",
                &get,
                200,
                v11,
                &[("Content-Length", "5"), ("Content-Length", "6")],
                Err(DifferentLengths),
            ),
            (
                "C35 equal",
                &get,
                200,
                v11,
                &[("Content-Length", "5"), ("Content-Length", "5, 5")],
                framing(Length(5), true),
            ),
            (
                "C35 bad beside chunked",
                &get,
                200,
                v11,
                &[("Transfer-Encoding", "chunked"), ("Content-Length", "x")],
                Err(BadLength),
            ),
            ("coding", &get, 200, v11, &[("Transfer-Encoding", "gzip, chunked")], Err(BadCoding)),
            ("coding", &get, 200, v11, &[("Transfer-Encoding", "chunked, chunked")], Err(BadCoding)),
            ("coding in 1.0", &get, 200, v10, &[("Transfer-Encoding", "chunked")], Err(CodingInOldVersion)),
            ("C43 HEAD", &head, 200, v11, &[("Content-Length", "9")], framing(None, true)),
            ("C43 304", &get, 304, v11, &[("Content-Length", "9")], framing(None, true)),
            ("C43 304", &get, 304, v11, &[("Transfer-Encoding", "chunked")], framing(None, true)),
            ("C43 204", &get, 204, v11, &[], framing(None, true)),
            ("C43 204", &get, 204, v11, &[("Content-Length", "0")], framing(None, true)),
            ("C43 204", &get, 204, v11, &[("Content-Length", "9")], framing(None, false)),
            ("C43 204", &get, 204, v11, &[("Transfer-Encoding", "chunked")], framing(None, false)),
            ("C48 103", &get, 103, v11, &[], framing(None, true)),
            ("C60 CONNECT", &connect, 200, v11, &[("Content-Length", "9")], framing(None, true)),
            ("CONNECT refused", &connect, 403, v11, &[("Content-Length", "9")], framing(Length(9), true)),
        ];
        for (row, method, status, version, lines, expected) in cases {
            let pairs = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let status = StatusCode::from_u16(*status).unwrap();
            assert_eq!(response_framing(method, status, *version, pairs), *expected, "{row} {lines:?}");
        }
    }
}
