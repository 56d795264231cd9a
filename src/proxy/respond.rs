//! Every answer that we make ourselves. The only place.
//!
//! Each one says who made it and why (`Proxy-Status`, RFC 9209, and `Via`), in one line of text or as
//! `application/problem+json` where the client prefers that.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};

use super::{error::ProxyError, exchange::Exchange, response_body::ProxyBody};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What of the request decides the form of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// `application/problem+json` instead of text.
    pub(super) problem_json: bool,
    /// The connection ends with this answer: what stands behind the request is not read.
    pub(super) close: bool,
}

impl Form {
    /// The form that the client of a request with these fields wants.
    pub(super) fn wanted(headers: &HeaderMap, close: bool) -> Self {
        let problem_json = headers
            .get_all(header::ACCEPT)
            .iter()
            .any(|value| value.to_str().is_ok_and(|value| value.contains("application/problem+json")));
        Self { problem_json, close }
    }
}

/// Answers a failure, and writes it into the exchange.
pub(super) fn failure(mut exchange: Box<Exchange>, error: &ProxyError, form: Form) -> Response<ProxyBody> {
    exchange.refused(error);
    let response = build(&exchange, error, form);
    exchange.respond(response.status());
    response
}

/// The answer to a failure.
fn build(exchange: &Exchange, error: &ProxyError, form: Form) -> Response<ProxyBody> {
    let id = exchange.id();
    let status = error.status;
    let reason = status.canonical_reason().unwrap_or("Error");
    let (content_type, text) = if form.problem_json {
        let problem = serde_json::json!({
            "type": format!("https://www.iana.org/assignments/http-proxy-status#{}", error.kind.name()),
            "title": reason,
            "status": status.as_u16(),
            "detail": error.details,
            "error": error.kind.name(),
            "id": id.to_string(),
        });
        ("application/problem+json", format!("{problem}\n"))
    } else {
        let text = format!(
            "{} {reason}: {}: {} (request {id})\n",
            status.as_u16(),
            error.kind.name(),
            error.details
        );
        ("text/plain; charset=utf-8", text)
    };
    let mut response = Response::new(ProxyBody::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PROXY_STATUS, proxy_status(exchange.name().pseudonym.as_str(), error));
    for (name, value) in &error.fields {
        headers.append(name, value.clone());
    }
    finish(headers, exchange, form);
    response
}

/// An answer of our own that is no failure: the page at `/`, a `TRACE` that ends here.
pub(super) fn content(
    mut exchange: Box<Exchange>,
    status: StatusCode,
    content_type: &'static str,
    text: String,
    form: Form,
) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    finish(headers, &exchange, form);
    exchange.respond(status);
    exchange.complete();
    response
}

/// An answer as the bytes of a whole message, for a client whose request was none.
pub(super) fn message(mut exchange: Box<Exchange>, error: &ProxyError) -> Bytes {
    exchange.refused(error);
    exchange.respond(error.status);
    let response = build(&exchange, error, Form { problem_json: false, close: true });
    let (parts, body) = response.into_parts();
    let ProxyBody::Full(Some(content)) = body else { unreachable!("a failure is answered with text") };
    let mut text = format!(
        "HTTP/1.1 {} {}\r\n",
        parts.status.as_u16(),
        parts.status.canonical_reason().unwrap_or("Error")
    )
    .into_bytes();
    for (name, value) in &parts.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    text.extend_from_slice(format!("content-length: {}\r\ndate: {date}\r\n\r\n", content.len()).as_bytes());
    text.extend_from_slice(&content);
    text.into()
}

fn finish(headers: &mut HeaderMap, exchange: &Exchange, form: Form) {
    exchange.name().sign(Version::HTTP_11, headers);
    if form.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// `Proxy-Status: name; error=type; rcode="..."; details="..."` (RFC 9209 section 2).
fn proxy_status(pseudonym: &str, error: &ProxyError) -> HeaderValue {
    let mut text = String::with_capacity(96);
    text.push_str(pseudonym);
    let _ = write!(text, "; error={}", error.kind.name());
    if let Some(rcode) = &error.rcode {
        push_string(&mut text, "rcode", rcode);
    }
    if let Some(rule) = &error.rule {
        push_string(&mut text, "details", rule.as_str());
    } else {
        push_string(&mut text, "details", &error.details);
    }
    HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("proxy; error=proxy_internal_error"))
}

/// `; name="text"` as a structured-field String (RFC 8941 section 3.3.3): what it cannot hold becomes `?`.
fn push_string(text: &mut String, name: &str, value: &str) {
    let _ = write!(text, "; {name}=\"");
    for char in value.chars() {
        match char {
            '"' | '\\' => {
                text.push('\\');
                text.push(char);
            }
            ' '..='~' => text.push(char),
            _ => text.push('?'),
        }
    }
    text.push('"');
}
