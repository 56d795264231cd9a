//! Requests that are addressed to the proxy itself.
//!
//! Origin-form on the proxy's port is never forwarded: whoever sends it has taken the proxy for a web server.

use http::{Method, StatusCode};

use super::{
    error::{Blame, ProxyError},
    exchange::Exchange,
    respond::{self, Answering, Form},
};
use crate::{message::trace::may_be_reflected, server::Client, telemetry::names::ProxyErrorType};

/// Answers a request for `path` of the proxy itself.
pub(super) fn answer<'a>(
    client: &'a mut Client,
    exchange: Box<Exchange>,
    method: &Method,
    path: &[u8],
    form: Form,
) -> Answering<'a> {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or(path);
    if path == b"/" && matches!(*method, Method::GET | Method::HEAD) {
        let address = client.local();
        let page = format!(
            "This is an HTTP forward proxy. Use it as one:\n\n    \
             curl -x http://{address} http://example.com/\n    \
             export http_proxy=http://{address} https_proxy=http://{address}\n"
        );
        return respond::content(client, exchange, TEXT, page.as_bytes(), "", form);
    }
    let error = ProxyError::new(
        Blame::Downstream,
        StatusCode::NOT_FOUND,
        ProxyErrorType::HttpRequestError,
        "this is a proxy, not an origin: name the host in the request target, as a client with a proxy does",
    );
    respond::failure(client, exchange, error, form)
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers `OPTIONS` that ends here (`*`, or `Max-Forwards: 0`): what the proxy itself can do.
pub(super) fn options(client: &mut Client, exchange: Box<Exchange>, form: Form) -> Answering<'_> {
    const ALLOW: &str = "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT\r\n";
    respond::content(client, exchange, TEXT, b"", ALLOW, form)
}

/// Answers `TRACE` that ends here: the request as it was received, without what is secret in it (RFC 9110 section 9.3.8).
pub(super) fn trace<'a>(
    client: &'a mut Client,
    exchange: Box<Exchange>,
    raw: &[u8],
    form: Form,
) -> Answering<'a> {
    let mut text = Vec::with_capacity(raw.len());
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if may_be_reflected(line.split(|byte| *byte == b':').next().unwrap_or(line)) {
            text.extend_from_slice(line);
        }
    }
    respond::content(client, exchange, "message/http", &text, "", form)
}
