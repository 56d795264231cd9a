//! The head of a request, as an HTTP/1.1 client would have written it.
//!
//! It is judged as any other head after that; what is found here is only what HTTP/2 itself forbids and what has no place in HTTP/1.1
//! (RFC 9113 sections 8.2 and 8.3). Fields of a connection, `te` other than `trailers`, and pseudo-fields that are missing, come
//! twice or stand where they may not never get here: the reader of frames refuses them. Must not know the stream.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, StatusCode, header, request::Parts, uri::Uri};

use crate::net::authority::Authority;

/// Why a request is refused before it has a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// It breaks a rule of HTTP/2: the stream is reset.
    #[error("malformed HTTP/2 request: {0}")]
    Malformed(&'static str),
    /// `:protocol` is something else than `websocket`.
    #[error("extended CONNECT for another protocol than \"websocket\"")]
    Protocol,
}

impl StreamFault {
    /// 400, or 501.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Protocol => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// Whether the stream is reset, and gets no answer.
    pub(super) const fn is_malformed(self) -> bool {
        matches!(self, Self::Malformed(_))
    }
}

/// What stands behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes as they are: of a known length, or of a tunnel, or none.
    Plain,
    /// Chunks, and trailers.
    Chunked,
}

/// A head in HTTP/1.1.
#[derive(Debug)]
pub struct Written {
    /// With the empty line at its end.
    pub head: Vec<u8>,
    /// How what comes behind it is written.
    pub content: Content,
    /// The key of a WebSocket that was asked for: the origin has to answer it.
    pub key: Option<String>,
}

/// Writes the head. `protocol` is `:protocol`; `is_whole` says that nothing comes behind it.
///
/// # Errors
///
/// The request breaks a rule of HTTP/2, or asks for a protocol that is not spoken.
pub fn write(request: &Parts, protocol: Option<&str>, is_whole: bool) -> Result<Written, StreamFault> {
    let fields = &request.headers;
    if fields.values().any(|value| is_padded(value.as_bytes())) {
        return Err(StreamFault::Malformed("white space around a field value"));
    }
    let is_websocket = match protocol {
        None => false,
        Some("websocket") => true,
        Some(_) => return Err(StreamFault::Protocol),
    };
    let mut head = Vec::with_capacity(512);
    let method = if is_websocket { "GET" } else { request.method.as_str() };
    head.extend_from_slice(method.as_bytes());
    head.push(b' ');
    write_target(&mut head, &request.method, is_websocket, &request.uri)?;
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    head.extend_from_slice(host(&request.uri, fields)?);
    head.extend_from_slice(b"\r\n");
    write_cookies(&mut head, fields);
    for (name, value) in fields {
        if *name != header::HOST
            && *name != header::COOKIE
            && !(is_websocket && *name == header::SEC_WEBSOCKET_KEY)
        {
            write_line(&mut head, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let has_length = fields.contains_key(header::CONTENT_LENGTH);
    let is_tunnel = request.method == Method::CONNECT;
    let content = if is_whole || has_length || is_tunnel { Content::Plain } else { Content::Chunked };
    if content == Content::Chunked {
        write_line(&mut head, b"transfer-encoding", b"chunked");
    }
    let key = is_websocket.then(fresh_key);
    if let Some(key) = &key {
        write_line(&mut head, b"connection", b"upgrade");
        write_line(&mut head, b"upgrade", b"websocket");
        write_line(&mut head, b"sec-websocket-key", key.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    Ok(Written { head, content, key })
}

/// The request line of what was refused, for the log.
pub(super) fn first_line(request: &Parts) -> Vec<u8> {
    format!("{} {} HTTP/2.0\r\n", request.method, request.uri).into_bytes()
}

/// Lines of the trailer section and the empty one behind them.
pub(super) fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers {
        write_line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn write_target(
    head: &mut Vec<u8>,
    method: &Method,
    is_websocket: bool,
    uri: &Uri,
) -> Result<(), StreamFault> {
    if *method == Method::CONNECT && !is_websocket {
        let authority = uri.authority().ok_or(StreamFault::Malformed("CONNECT without :authority"))?;
        head.extend_from_slice(authority.as_str().as_bytes());
        return Ok(());
    }
    let path = uri.path_and_query().map(|path| path.as_str()).ok_or(StreamFault::Malformed("no :path"))?;
    // OPTIONS of a whole server, which a URI writes without a path.
    let is_asterisk = path == "*" && *method == Method::OPTIONS;
    if !path.starts_with('/') && !is_asterisk {
        return Err(StreamFault::Malformed(":path does not begin with \"/\""));
    }
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => {
            for part in [scheme, "://", authority.as_str(), if is_asterisk { "" } else { path }] {
                head.extend_from_slice(part.as_bytes());
            }
        }
        // It names no origin: it is for the proxy itself.
        _ if !is_websocket => head.extend_from_slice(path.as_bytes()),
        _ => return Err(StreamFault::Malformed("a WebSocket without :authority")),
    }
    Ok(())
}

/// What `Host` says: `:authority`, and if there is a `Host`, it has to name the same (RFC 9113 section 8.3.1).
fn host<'a>(uri: &'a Uri, fields: &'a HeaderMap) -> Result<&'a [u8], StreamFault> {
    let mut hosts = fields.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(StreamFault::Malformed("more than one Host"));
    }
    match (uri.authority(), host) {
        (Some(authority), Some(host)) if !is_same(authority.as_str(), host.as_bytes(), uri.scheme_str()) => {
            Err(StreamFault::Malformed("Host differs from :authority"))
        }
        (Some(authority), _) => Ok(authority.as_str().as_bytes()),
        (None, Some(host)) => Ok(host.as_bytes()),
        (None, None) => Err(StreamFault::Malformed("neither :authority nor Host")),
    }
}

fn is_same(authority: &str, host: &[u8], scheme: Option<&str>) -> bool {
    let port = match scheme {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    };
    let Ok(host) = std::str::from_utf8(host) else { return false };
    authority.eq_ignore_ascii_case(host)
        || match (Authority::parse(authority, port), Authority::parse(host, port)) {
            (Ok(authority), Ok(host)) => authority == host,
            _ => false,
        }
}

/// All crumbs in one line (RFC 9113 section 8.2.3).
fn write_cookies(head: &mut Vec<u8>, fields: &HeaderMap) {
    let mut crumbs = fields.get_all(header::COOKIE).iter();
    let Some(first) = crumbs.next() else { return };
    head.extend_from_slice(b"cookie: ");
    head.extend_from_slice(first.as_bytes());
    for crumb in crumbs {
        head.extend_from_slice(b"; ");
        head.extend_from_slice(crumb.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn is_padded(value: &[u8]) -> bool {
    matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// 16 bytes that nobody can guess (RFC 6455 section 4.1).
fn fresh_key() -> String {
    let mut bytes = [0; 16];
    // Without a source of randomness the key is one that could be guessed, and the origin still has to answer it.
    let _ = getrandom::fill(&mut bytes);
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn written(
        method: &str,
        uri: &str,
        fields: &[(&str, &str)],
        protocol: Option<&str>,
    ) -> Result<String, StreamFault> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        write(&parts, protocol, true).map(|written| String::from_utf8(written.head).unwrap())
    }

    #[test]
    fn heads_are_those_of_http_1() {
        for (method, uri, fields, expected) in [
            (
                "GET",
                "http://a.test/x?y",
                &[("accept", "*/*")][..],
                "GET http://a.test/x?y HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\n\r\n",
            ),
            (
                "GET",
                "https://a.test:8443/",
                &[],
                "GET https://a.test:8443/ HTTP/1.1\r\nhost: a.test:8443\r\n\r\n",
            ),
            ("CONNECT", "a.test:443", &[], "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n"),
            ("GET", "/", &[("host", "px")], "GET / HTTP/1.1\r\nhost: px\r\n\r\n"),
            (
                "GET",
                "http://a.test/",
                &[("host", "A.test:80")],
                "GET http://a.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n",
            ),
            (
                "GET",
                "http://a.test/",
                &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")],
                "GET http://a.test/ HTTP/1.1\r\nhost: a.test\r\ncookie: a=1; b=2; c=3\r\nx: y\r\n\r\n",
            ),
        ] {
            assert_eq!(written(method, uri, fields, None).as_deref(), Ok(expected), "{method} {uri}");
        }
    }

    #[test]
    fn what_http_2_forbids() {
        for (method, uri, fields) in [
            ("GET", "http://a.test/", &[("host", "b.test")][..]),
            ("GET", "http://a.test/", &[("host", "a.test:81")]),
            ("GET", "http://a.test/", &[("host", "a.test"), ("host", "a.test")]),
            ("GET", "/", &[]),
            ("GET", "*", &[("host", "a.test")]),
            ("CONNECT", "/", &[("host", "a.test:443")]),
            ("GET", "http://a.test/", &[("x", " y")]),
        ] {
            let found = written(method, uri, fields, None);
            assert!(matches!(found, Err(StreamFault::Malformed(_))), "{method} {uri} {fields:?}: {found:?}");
        }
        assert_eq!(
            written("CONNECT", "http://a.test/", &[], Some("connect-udp")),
            Err(StreamFault::Protocol)
        );
    }

    #[test]
    fn a_websocket_is_asked_for_with_a_key_of_ours() {
        let fields = [("sec-websocket-version", "13"), ("sec-websocket-key", "theirs")];
        let head = written("CONNECT", "http://a.test/chat", &fields, Some("websocket")).unwrap();
        assert!(head.starts_with("GET http://a.test/chat HTTP/1.1\r\n"), "{head}");
        assert!(
            head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n") && !head.contains("theirs"),
            "{head}"
        );
        assert_eq!(head.matches("sec-websocket-key").count(), 1);
    }
}
