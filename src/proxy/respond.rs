//! Every answer that we make ourselves. The only place.
//!
//! Each one says who made it and why (`Proxy-Status`, RFC 9209, and `Via`), in one line of text or as
//! `application/problem+json` where the client prefers that.

use std::{fmt::Write as _, future::Future, pin::Pin};

use bytes::Bytes;
use http::{StatusCode, Version};

use super::{date, error::ProxyError, exchange::Exchange};
use crate::{
    message::{field::Name, framing::Framing},
    net::tls::alert_name,
    server::{After, Client, RequestHead},
};

/// What of the request decides the form of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// `application/problem+json` instead of text.
    pub(super) problem_json: bool,
    /// The connection ends with this answer: what stands behind the request is not read.
    pub(super) close: bool,
    /// The request has a body, and the client may still be sending it.
    pub(super) has_body: bool,
}

impl Form {
    /// The form that the client of this request wants. What stands behind one that is refused is read only where its end is
    /// known for sure.
    pub(super) fn wanted(head: &RequestHead, is_draining: bool) -> Self {
        let wanted: &[u8] = b"application/problem+json";
        let problem_json =
            head.values(Name::Accept).any(|value| value.windows(wanted.len()).any(|part| part == wanted));
        let has_body = head.framing != Framing::None;
        Self { problem_json, close: is_draining || !head.keep_alive || has_body, has_body }
    }
}

/// An answer on its way. Boxed, so that a request which passes does not carry the room for it.
pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = After> + Send + 'a>>;

/// Answers a failure, and writes it into the exchange.
#[expect(clippy::needless_pass_by_value, reason = "whoever awaits the answer has not to keep it so long")]
pub(super) fn failure(
    client: &mut Client,
    mut exchange: Box<Exchange>,
    error: ProxyError,
    form: Form,
) -> Answering<'_> {
    let answer = build(&mut exchange, &error, form);
    Box::pin(deliver(client, exchange, answer, form))
}

/// An answer of our own that is no failure: the page at `/`, a `TRACE` that ends here. `fields` are whole lines.
pub(super) fn content<'a>(
    client: &'a mut Client,
    mut exchange: Box<Exchange>,
    content_type: &str,
    content: &[u8],
    fields: &str,
    form: Form,
) -> Answering<'a> {
    let lines = format!("content-type: {content_type}\r\n{fields}");
    exchange.respond(StatusCode::OK);
    let answer = write(&exchange, StatusCode::OK, &lines, content, form);
    exchange.complete();
    Box::pin(deliver(client, exchange, answer, form))
}

/// An answer as the bytes of a whole message, for a client whose request was none.
pub(super) fn message(mut exchange: Box<Exchange>, error: &ProxyError) -> Bytes {
    build(&mut exchange, error, Form { close: true, ..Form::default() }).into()
}

async fn deliver(client: &mut Client, exchange: Box<Exchange>, answer: Vec<u8>, form: Form) -> After {
    let sent = client.send(&answer).await;
    drop(exchange);
    match sent {
        Ok(()) if form.has_body => After::Linger,
        Ok(()) if form.close => After::Close,
        Ok(()) => After::KeepAlive,
        Err(_) => After::Broken,
    }
}

/// The answer to a failure.
fn build(exchange: &mut Exchange, error: &ProxyError, form: Form) -> Vec<u8> {
    exchange.refused(error);
    exchange.respond(error.status);
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
    let name = exchange.name().pseudonym.as_str();
    let mut lines = format!(
        "content-type: {content_type}\r\ncache-control: no-store\r\nproxy-status: {}\r\n",
        proxy_status(name, error)
    );
    for (name, value) in &error.fields {
        let _ = write!(lines, "{name}: {value}\r\n");
    }
    write(exchange, status, &lines, text.as_bytes(), form)
}

/// The bytes of an answer with these lines besides those that each has.
fn write(exchange: &Exchange, status: StatusCode, lines: &str, content: &[u8], form: Form) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("Error");
    let mut answer = format!("HTTP/1.1 {} {reason}\r\n{lines}", status.as_u16()).into_bytes();
    if let Some(via) = exchange.name().via() {
        for part in [b"via: ", via.member(Version::HTTP_11), b"\r\n"] {
            answer.extend_from_slice(part);
        }
    }
    if form.close {
        answer.extend_from_slice(b"connection: close\r\n");
    }
    answer.extend_from_slice(format!("content-length: {}\r\ndate: ", content.len()).as_bytes());
    answer.extend_from_slice(&date::now());
    answer.extend_from_slice(b"\r\n\r\n");
    if !exchange.is_head() {
        answer.extend_from_slice(content);
    }
    answer
}

/// `Proxy-Status: name; error=type; rcode="..."; details="..."` (RFC 9209 section 2).
fn proxy_status(pseudonym: &str, error: &ProxyError) -> String {
    let mut text = String::with_capacity(96);
    text.push_str(pseudonym);
    let _ = write!(text, "; error={}", error.kind.name());
    if let Some(rcode) = &error.rcode {
        push_string(&mut text, "rcode", rcode);
    }
    if let Some(alert) = error.alert {
        let _ = write!(text, "; alert-id={alert}");
        push_string(&mut text, "alert-message", alert_name(alert));
    }
    if let Some(rule) = &error.rule {
        push_string(&mut text, "details", rule.as_str());
    } else {
        push_string(&mut text, "details", &error.details);
    }
    text
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
