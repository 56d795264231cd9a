//! Requests that are addressed to the proxy itself.
//!
//! Origin-form on the proxy's port is never forwarded: whoever sends it has taken the proxy for a web server.

use http::{HeaderName, Method, Response, StatusCode};

use super::{
    error::{Blame, ProxyError},
    exchange::Exchange,
    respond::{self, Form},
    response_body::ProxyBody,
};
use crate::{message::trace::may_be_reflected, telemetry::names::ProxyErrorType};

/// Answers a request for `path` of the proxy itself.
pub(super) fn answer(
    exchange: Box<Exchange>,
    method: &Method,
    path: &[u8],
    form: Form,
) -> Response<ProxyBody> {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or(path);
    if path == b"/" && matches!(*method, Method::GET | Method::HEAD) {
        let address = exchange.local();
        let page = format!(
            "This is an HTTP forward proxy. Use it as one:\n\n    \
             curl -x http://{address} http://example.com/\n    \
             export http_proxy=http://{address} https_proxy=http://{address}\n"
        );
        return respond::content(exchange, StatusCode::OK, "text/plain; charset=utf-8", page, form);
    }
    let error = ProxyError::new(
        Blame::Downstream,
        StatusCode::NOT_FOUND,
        ProxyErrorType::HttpRequestError,
        "this is a proxy, not an origin: name the host in the request target, as a client with a proxy does",
    );
    respond::failure(exchange, &error, form)
}

/// Answers `OPTIONS` that ends here (`*`, or `Max-Forwards: 0`): what the proxy itself can do.
pub(super) fn options(exchange: Box<Exchange>, form: Form) -> Response<ProxyBody> {
    let mut response =
        respond::content(exchange, StatusCode::OK, "text/plain; charset=utf-8", String::new(), form);
    response.headers_mut().insert(
        http::header::ALLOW,
        http::HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT"),
    );
    response
}

/// Answers `TRACE` that ends here: the request as it was received, without what is secret in it (RFC 9110 section 9.3.8).
pub(super) fn trace(exchange: Box<Exchange>, raw: &[u8], form: Form) -> Response<ProxyBody> {
    let mut text = Vec::with_capacity(raw.len());
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or(line);
        if HeaderName::from_bytes(name).map_or(true, |name| may_be_reflected(&name)) {
            text.extend_from_slice(line);
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    respond::content(exchange, StatusCode::OK, "message/http", text, form)
}
