//! The head of a request in HTTP/1.1, as the header fields of HTTP/2 (RFC 9113 sections 8.2 and 8.3).
//!
//! It was written by ourselves, and is only taken apart again. Must not know the stream.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::message::field::Name;

/// What stands behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    None,
    /// So many bytes, one at least.
    Length(u64),
    /// Chunks, and trailers.
    Chunked,
}

/// The longest path and query that can be written, in bytes: all that passes is made of bytes that can.
const MAX_PATH: usize = 60_000;

/// Whether HTTP/2 can carry this path and query.
#[must_use]
pub fn fits(path_and_query: &[u8]) -> bool {
    path_and_query.len() <= MAX_PATH
}

/// Takes a head apart, which is one that [`write_request`](crate::message::onward::write_request) has written; none when HTTP/2 has no
/// words for it.
#[must_use]
pub fn read(raw: &Bytes) -> Option<(Request<()>, Content)> {
    let end = memchr::memchr(b'\r', raw)?;
    let first = memchr::memchr(b' ', &raw[..end])?;
    let last = memchr::memrchr(b' ', &raw[..end])?;
    let method = Method::from_bytes(&raw[..first]).ok()?;
    let mut content = Content::None;
    let mut host = None;
    let mut fields = HeaderMap::with_capacity(16);
    let mut at = end + 2;
    while raw.get(at..at + 2)? != b"\r\n" {
        let length = memchr::memchr(b'\r', &raw[at..])?;
        let colon = at + memchr::memchr(b':', &raw[at..at + length])?;
        let (name, mut value) = (&raw[at..colon], raw.slice(colon + 1..at + length));
        if value.first() == Some(&b' ') {
            value = value.slice(1..);
        }
        at += length + 2;
        let known = Name::of(name);
        match known {
            Name::Host if host.is_none() => host = Some(value),
            Name::TransferEncoding => content = Content::Chunked,
            Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::Upgrade
            | Name::Http2Settings
            | Name::Host => {}
            _ => {
                if known == Name::ContentLength {
                    content = match std::str::from_utf8(&value).ok()?.parse().ok()? {
                        0 => Content::None,
                        length => Content::Length(length),
                    };
                }
                push(&mut fields, name, value)?;
            }
        }
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri(raw.slice(first + 1..last), host?)?;
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields;
    Some((request, content))
}

/// Adds a field of a head or of trailers; none when it is no field.
pub fn push(fields: &mut HeaderMap, name: &[u8], value: Bytes) -> Option<()> {
    let name = HeaderName::from_bytes(name).ok()?;
    let mut value = HeaderValue::from_maybe_shared(value).ok()?;
    // Many clients share the table of a session: what is secret must not be guessed by how well it compresses (RFC 7541
    // section 7.1).
    value.set_sensitive(SECRETS.contains(&name));
    fields.try_append(name, value).ok().map(|_| ())
}

const SECRETS: [HeaderName; 3] =
    [http::header::AUTHORIZATION, http::header::COOKIE, http::header::PROXY_AUTHORIZATION];

/// What is asked for: of the host that is named by `Host`, with TLS, or else what a proxy is asked for by its whole URL.
fn uri(target: Bytes, host: Bytes) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    let (scheme, path) = match target.strip_prefix(b"http://") {
        None => (Scheme::HTTPS, target),
        Some(rest) => {
            let at = target.len() - rest.len();
            let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            // Without a path, it is the whole server that is asked for.
            (Scheme::HTTP, path.map_or(Bytes::from_static(b"*"), |path| target.slice(at + path..)))
        }
    };
    parts.scheme = Some(scheme);
    parts.authority = Some(Authority::from_maybe_shared(host).ok()?);
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(raw: &str) -> Option<(String, String, Content)> {
        let (request, content) = read(&Bytes::from(raw.to_owned()))?;
        let fields = request.headers().iter().map(|(name, value)| {
            let mark = if value.is_sensitive() { "!" } else { "" };
            format!("{mark}{name}: {}", value.to_str().unwrap())
        });
        let fields = fields.collect::<Vec<_>>().join(", ");
        Some((format!("{} {}", request.method(), request.uri()), fields, content))
    }

    #[test]
    fn heads_are_taken_apart() {
        for (raw, request, fields, content) in [
            (
                "GET /x?y HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\nte: trailers\r\nconnection: te\r\n\r\n",
                "GET https://a.test/x?y",
                "accept: */*, te: trailers",
                Content::None,
            ),
            (
                "POST / HTTP/1.1\r\nhost: a.test:8443\r\nX-Big: a  b\r\nCookie: a=1; b=2\r\ncontent-length: 5\r\n\r\n",
                "POST https://a.test:8443/",
                "x-big: a  b, !cookie: a=1; b=2, content-length: 5",
                Content::Length(5),
            ),
            (
                "PUT / HTTP/1.1\r\nhost: [::1]\r\nempty:\r\ntransfer-encoding: chunked\r\n\r\n",
                "PUT https://[::1]/",
                "empty: ",
                Content::Chunked,
            ),
            (
                "GET http://a.test/z HTTP/1.1\r\nhost: a.test\r\nproxy-authorization: Basic x\r\n\r\n",
                "GET http://a.test/z",
                "!proxy-authorization: Basic x",
                Content::None,
            ),
        ] {
            assert_eq!(seen(raw), Some((request.into(), fields.into(), content)), "{raw}");
        }
        let (request, _) = read(&Bytes::from_static(b"OPTIONS * HTTP/1.1\r\nhost: a.test\r\n\r\n")).unwrap();
        assert_eq!(request.uri().path(), "*");
        let raw = Bytes::from_static(b"OPTIONS http://a.test HTTP/1.1\r\nhost: a.test\r\n\r\n");
        assert_eq!(read(&raw).unwrap().0.uri().path(), "*");
    }

    #[test]
    fn every_path_that_passes_can_be_written() {
        let bytes: Vec<_> = (b'!'..=b'~').filter(|byte| !br##""#<>`"##.contains(byte)).collect();
        for path in [[b"/", &bytes[..]].concat(), [b"/?", &bytes[..]].concat(), vec![b'/'; MAX_PATH]] {
            assert!(fits(&path) && PathAndQuery::from_maybe_shared(Bytes::from(path)).is_ok());
        }
    }

    #[test]
    fn what_has_no_words_is_told() {
        for raw in
            ["", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n", "GET / HTTP/1.1\r\nhost: a"]
        {
            assert_eq!(seen(raw), None, "{raw}");
        }
    }
}
