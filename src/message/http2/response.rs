//! The head of a response in HTTP/2, as an origin would have written it in HTTP/1.1.
//!
//! It is judged as any other head after that; what is found here is only what HTTP/2 itself forbids (RFC 9113 sections 8.2 and 8.6).
//! Fields of a connection, names in capitals, and lengths that differ never get here: the reader of frames refuses them. Must
//! not know the stream.

use http::{HeaderMap, Method, Response, StatusCode, header};

/// What stands behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// So many bytes, or nothing that anybody would read.
    Plain(u64),
    /// Chunks, and trailers.
    Chunked,
}

/// Writes the head of a response to `method`, and says what stands behind it; none when there is no such response. `is_whole` says
/// that nothing does.
pub fn write<T>(
    out: &mut Vec<u8>,
    response: &Response<T>,
    method: &Method,
    is_whole: bool,
) -> Option<Content> {
    let (status, fields) = (response.status(), response.headers());
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    write_fields(out, fields)?;
    let has_content = *method != Method::HEAD
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED;
    let content = match fields.get(header::CONTENT_LENGTH) {
        _ if !has_content => Content::Plain(0),
        Some(length) => Content::Plain(decimal(length.as_bytes())?),
        None if is_whole => {
            out.extend_from_slice(b"content-length: 0\r\n");
            Content::Plain(0)
        }
        None => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Content::Chunked
        }
    };
    out.extend_from_slice(b"\r\n");
    Some(content)
}

/// Writes the lines of a trailer section and the empty one behind them; none when they are not lawful.
pub fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) -> Option<()> {
    write_fields(out, trailers)?;
    out.extend_from_slice(b"\r\n");
    Some(())
}

fn write_fields(out: &mut Vec<u8>, fields: &HeaderMap) -> Option<()> {
    for (name, value) in fields {
        let value = value.as_bytes();
        if matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) || FORBIDDEN.contains(&name.as_str()) {
            return None;
        }
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    Some(())
}

fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// Fields of a connection (RFC 9113 section 8.2.2).
const FORBIDDEN: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

#[cfg(test)]
mod tests {
    use super::*;

    fn written(method: &str, status: u16, fields: &[(&str, &str)], is_whole: bool) -> Option<String> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let mut out = Vec::new();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        write(&mut out, &response.body(()).unwrap(), &method, is_whole)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn heads_are_those_of_http_1() {
        for (method, status, fields, is_whole, expected) in [
            (
                "GET",
                200,
                &[("content-length", "3")][..],
                false,
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
            ),
            ("GET", 200, &[], false, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            ("GET", 404, &[], true, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            ("GET", 204, &[], true, "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                "GET",
                304,
                &[("content-length", "9")],
                true,
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            ),
            ("HEAD", 200, &[("content-length", "9")], true, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
            ("HEAD", 200, &[], true, "HTTP/1.1 200 OK\r\n\r\n"),
            ("GET", 103, &[("link", "</a>")], false, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
            ("GET", 799, &[], true, "HTTP/1.1 799 \r\ncontent-length: 0\r\n\r\n"),
            (
                "GET",
                200,
                &[("set-cookie", "a"), ("set-cookie", "b")],
                true,
                "HTTP/1.1 200 OK\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n\r\n",
            ),
        ] {
            assert_eq!(written(method, status, fields, is_whole).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_http_2_forbids() {
        for (status, fields) in [
            (101, &[][..]),
            (200, &[("x", " y")]),
            (200, &[("x", "y\t")]),
            (200, &[("connection", "close")]),
            (200, &[("transfer-encoding", "chunked")]),
            (200, &[("content-length", "+1")]),
        ] {
            let found = written("GET", status, fields, false);
            assert!(found.is_none(), "{status} {fields:?}: {found:?}");
        }
    }
}
