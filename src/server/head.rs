//! The head of a request, kept as it came and as it was understood.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use tokio::time::Instant;

use crate::{
    message::{
        framing::Framing,
        head::HeadFacts,
        target::{Scheme, Target},
    },
    net::authority::Authority,
};

/// A request-target that outlives the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestTarget {
    /// To be forwarded.
    Absolute {
        /// Http or https.
        scheme: Scheme,
        /// Where it goes.
        authority: Authority,
        /// Path and query, byte for byte: empty, or begins with `/` or `?`.
        path_and_query: Bytes,
    },
    /// `CONNECT`.
    Authority(Authority),
    /// Addressed to the proxy itself: the path and query.
    Origin(Bytes),
    /// Addressed to the proxy itself.
    Asterisk,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Request line and fields, byte for byte, up to and including the empty line.
    pub raw: Bytes,
    /// Where it wants to go.
    pub target: RequestTarget,
    /// Which body follows.
    pub framing: Framing,
    /// The client speaks HTTP/1.0: no interim response, no keep-alive.
    pub http10: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// When its first byte was there.
    pub started: Instant,
}

impl RequestHead {
    /// The head of which `facts` were found in `raw`.
    pub(super) fn new(raw: Bytes, facts: HeadFacts<'_>, started: Instant) -> Self {
        let target_end = facts.raw_target.end;
        let owned = |text: &str| raw.slice(target_end - text.len()..target_end);
        let target = match facts.target {
            Target::Absolute { scheme, authority, path_and_query } => {
                RequestTarget::Absolute { scheme, authority, path_and_query: owned(path_and_query) }
            }
            Target::Authority(authority) => RequestTarget::Authority(authority),
            Target::Origin(path) => RequestTarget::Origin(owned(path)),
            Target::Asterisk => RequestTarget::Asterisk,
        };
        Self {
            target,
            framing: facts.framing,
            http10: facts.version == Version::HTTP_10,
            expects_continue: facts.expects_continue,
            started,
            raw,
        }
    }

    /// The fields once more, for a request that is sent a second time. Their number is that of the head, which was
    /// checked when it came.
    #[must_use]
    pub fn fields(&self) -> HeaderMap {
        let lines = self.raw.iter().filter(|byte| **byte == b'\n').count();
        let mut headers = vec![httparse::EMPTY_HEADER; lines];
        let mut request = httparse::Request::new(&mut headers);
        let mut fields = HeaderMap::new();
        if request.parse(&self.raw).is_ok() {
            for header in request.headers.iter() {
                let name = HeaderName::from_bytes(header.name.as_bytes());
                let value = HeaderValue::from_bytes(header.value);
                if let (Ok(name), Ok(value)) = (name, value) {
                    fields.append(name, value);
                }
            }
        }
        fields
    }
}

/// The head of an HTTP/1.0 request as hyper gets it: `keep-alive` is `close`, for a proxy must not keep a connection with such
/// a client (RFC 9112 section C.2.2), and hyper would.
pub(super) fn without_keep_alive(raw: &Bytes) -> Bytes {
    const WISH: &[u8] = b"keep-alive";
    const ANSWER: &[u8; WISH.len()] = b"close     ";
    const FIELD: &[u8] = b"connection:";
    let mut head = raw.to_vec();
    for line in head.split_mut(|byte| *byte == b'\n') {
        if line.len() < FIELD.len() || !line[..FIELD.len()].eq_ignore_ascii_case(FIELD) {
            continue;
        }
        for at in FIELD.len()..=line.len().saturating_sub(WISH.len()) {
            if line[at..at + WISH.len()].eq_ignore_ascii_case(WISH) {
                line[at..at + WISH.len()].copy_from_slice(ANSWER);
            }
        }
    }
    head.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_becomes_close_in_connection_only() {
        let raw = Bytes::from_static(
            b"GET / HTTP/1.0\r\nX-A: keep-alive\r\nConnection: X-B, Keep-Alive\r\nconnection: keep-alive\r\n\r\n",
        );
        let shown = without_keep_alive(&raw);
        assert_eq!(
            shown,
            &b"GET / HTTP/1.0\r\nX-A: keep-alive\r\nConnection: X-B, close     \r\nconnection: close     \r\n\r\n"[..]
        );
    }
}
