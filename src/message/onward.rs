//! Heads as the next one gets them: the request on its way to the origin, the response on its way back.
//!
//! Line by line from the bytes that came, without what was meant for us only, with our mark. What frames and routes the message
//! is never copied but written by what is known of it, so that the next one reads the very message that we have read. Pure: no
//! clock, no sockets.

use std::{io::Write as _, net::IpAddr};

use http::{StatusCode, Version};

use super::{
    edits::Edits,
    field::{Field, Name},
    framing::{Framing, ResponseBody},
    hop_by_hop::{HopByHop, Nominated, Upgrade, may_be_trailer},
    response_head::ResponseHead,
    trace::{ClientAddress, Pseudonym, RequestId},
};
use crate::net::authority::Authority;

/// What is written of a request besides its lines.
#[derive(Clone, Copy, Debug)]
pub struct RequestOnward<'a> {
    /// As it was received.
    pub method: &'a [u8],
    /// In origin-form, or `*`.
    pub target: &'a [u8],
    /// Where it goes: `Host`.
    pub origin: &'a Authority,
    /// The port that `Host` need not say.
    pub default_port: u16,
    /// The version that the client speaks.
    pub received: Version,
    /// The body that follows.
    pub framing: Framing,
    /// Who signs it, where that is wanted.
    pub via: Option<&'a Pseudonym>,
    /// What is told of the client, and its address.
    pub client_address: ClientAddress,
    /// The client.
    pub client: IpAddr,
    /// What the request is called in our log, and the field that tells it to the origin, where that is wanted.
    pub request_id: Option<(&'a str, RequestId)>,
    /// What else is changed of its fields. It says the last word, also on what is told of the client.
    pub edits: Option<Edits<'a>>,
    /// What `Max-Forwards` is to say.
    pub max_forwards: Option<u32>,
    /// Send names as they were received, and not in lower case.
    pub keep_case: bool,
}

/// Writes the head of a request. The upgrade that it asks for is returned, for the answer has to agree to it.
pub fn write_request<'a>(
    out: &mut Vec<u8>,
    onward: &RequestOnward<'_>,
    hop_by_hop: &HopByHop,
    fields: impl Iterator<Item = Field<'a>> + Clone,
) -> Option<Upgrade> {
    let is_current = onward.received != Version::HTTP_10;
    let upgrade = match onward.framing {
        Framing::None if is_current => hop_by_hop.upgrade(fields.clone()),
        _ => None,
    };
    for part in [onward.method, b" ", onward.target, b" HTTP/1.1\r\nhost: "] {
        out.extend_from_slice(part);
    }
    onward.origin.write_host(out, onward.default_port);
    out.extend_from_slice(b"\r\n");
    let is_taken = |name: &[u8]| onward.edits.is_some_and(|edits| edits.fields.takes(name));
    for field in fields.clone() {
        let passes = match field.known {
            Name::Other | Name::Accept | Name::Date | Name::TraceParent => {
                onward.request_id.is_none_or(|(name, _)| !field.name.eq_ignore_ascii_case(name.as_bytes()))
            }
            Name::Via => onward.via.is_none(),
            // Nobody may wait for a 100 that an HTTP/1.0 client does not understand.
            Name::Expect => is_current,
            Name::MaxForwards => onward.max_forwards.is_none(),
            known => onward.client_address.passes(known),
        };
        if passes && hop_by_hop.passes(&field) && !is_taken(field.name) {
            write_line(out, &field, onward.keep_case);
        }
    }
    if let Some(left) = onward.max_forwards {
        out.extend_from_slice(b"max-forwards: ");
        decimal(out, u64::from(left));
        out.extend_from_slice(b"\r\n");
    }
    if let Some((name, id)) = onward.request_id
        && !is_taken(name.as_bytes())
    {
        // Writing to memory does not fail.
        let _ = write!(out, "{name}: {id}\r\n");
    }
    if !onward.client_address.writes().is_some_and(|name| is_taken(name.as_bytes())) {
        onward.client_address.write(out, onward.client, &fields);
    }
    if let Some(edits) = &onward.edits {
        edits.write(out, onward.keep_case);
    }
    sign(out, onward.via, onward.received, fields);
    match onward.framing {
        Framing::None => {}
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => out.extend_from_slice(CHUNKED),
    }
    if let Some(upgrade) = &upgrade {
        write_upgrade(out, upgrade.value());
    } else if hop_by_hop.accepts_trailers {
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    out.extend_from_slice(b"\r\n");
    upgrade
}

/// Adds a line to a head that was written.
pub fn add_line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(head.ends_with(b"\r\n\r\n"), "it has its end");
    head.truncate(head.len().saturating_sub(2));
    for part in [name, b": ", value, b"\r\n\r\n"] {
        head.extend_from_slice(part);
    }
}

/// What is written of a response besides its lines.
#[derive(Clone, Copy, Debug)]
pub struct ResponseOnward<'a> {
    /// How its body is written.
    pub body: ResponseCoding,
    /// Who signs it, where that is wanted.
    pub via: Option<&'a Pseudonym>,
    /// Says that the connection ends with it.
    pub closes: bool,
    /// Tells the time, for a response that does not say when it was made (RFC 9110 6.6.1).
    pub date: fn() -> [u8; 29],
    /// Send names as they were received, and not in lower case.
    pub keep_case: bool,
}

/// How the body of a response is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseCoding {
    /// There is none, and the fields that speak of its length are about another (HEAD, 304).
    Absent,
    /// This many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// The connection ends with it.
    UntilClose,
}

impl ResponseCoding {
    /// How a body that came as `body` goes to a client that speaks `client`.
    #[must_use]
    pub fn of(body: ResponseBody, client: Version) -> Self {
        match body {
            ResponseBody::None => Self::Absent,
            ResponseBody::Length(length) => Self::Length(length),
            ResponseBody::Chunked | ResponseBody::UntilClose if client == Version::HTTP_10 => {
                Self::UntilClose
            }
            ResponseBody::Chunked | ResponseBody::UntilClose => Self::Chunked,
        }
    }
}

/// Writes the head of a final response.
pub fn write_response(out: &mut Vec<u8>, onward: &ResponseOnward<'_>, head: &ResponseHead<'_>) {
    write_status(out, head.status, head.reason);
    let mut has_date = false;
    for field in head.fields() {
        has_date |= field.known == Name::Date;
        let is_ours = field.known == Name::Via && onward.via.is_some();
        if !is_ours && head.hop_by_hop.passes(&field) {
            write_line(out, &field, onward.keep_case);
        }
    }
    if !has_date {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(&(onward.date)());
        out.extend_from_slice(b"\r\n");
    }
    sign(out, onward.via, head.version, head.fields());
    match onward.body {
        ResponseCoding::Absent => write_absent_length(out, head),
        ResponseCoding::Length(length) => write_length(out, length),
        ResponseCoding::Chunked => out.extend_from_slice(CHUNKED),
        ResponseCoding::UntilClose => {}
    }
    if onward.closes {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an interim response, or of the one that changes the protocol to `upgrade`.
pub fn write_interim(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    via: Option<&Pseudonym>,
    upgrade: Option<&[u8]>,
    keep_case: bool,
) {
    write_status(out, head.status, head.reason);
    for field in head.fields() {
        let is_ours = field.known == Name::Via && via.is_some();
        if !is_ours && head.hop_by_hop.passes(&field) {
            write_line(out, &field, keep_case);
        }
    }
    sign(out, via, head.version, head.fields());
    if let Some(protocol) = upgrade {
        write_upgrade(out, protocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body: the last chunk, and of its trailers those that may stand there. `trailers` are the
/// lines between the last chunk and the empty line.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &[u8], nominated: &Nominated, keep_case: bool) {
    out.extend_from_slice(b"0\r\n");
    for line in trailers.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let field =
            Field { name: &line[..colon], value: super::list::trim(&line[colon + 1..]), known: Name::Other };
        if may_be_trailer(field.name) && !nominated.names(field.name) {
            write_line(out, &field, keep_case);
        }
    }
    out.extend_from_slice(b"\r\n");
}

const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

fn write_status(out: &mut Vec<u8>, status: StatusCode, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, field: &Field<'_>, keep_case: bool) {
    let start = out.len();
    out.extend_from_slice(field.name);
    if !keep_case {
        out[start..].make_ascii_lowercase();
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(field.value);
    out.extend_from_slice(b"\r\n");
}

/// Writes `Via` with all that others have written, and us as its last member (RFC 9110 7.6.3); nothing without a name.
pub fn sign<'a>(
    out: &mut Vec<u8>,
    via: Option<&Pseudonym>,
    received: Version,
    fields: impl Iterator<Item = Field<'a>>,
) {
    let Some(via) = via else { return };
    out.extend_from_slice(b"via: ");
    for field in fields.filter(|field| field.known == Name::Via && !field.value.is_empty()) {
        out.extend_from_slice(field.value);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(via.member(received));
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// The answer to HEAD and 304 tell the length of what they do not send; 1xx and 204 may tell none (RFC 9110 8.6). The coding of
/// it is between two hops and means nothing beyond, and an HTTP/1.0 client may not get it (RFC 9112 6.1).
fn write_absent_length(out: &mut Vec<u8>, head: &ResponseHead<'_>) {
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        return;
    }
    let told = |wanted| head.fields().find(move |field| field.known == wanted);
    if told(Name::TransferEncoding).is_none()
        && let Some(length) = told(Name::ContentLength)
        && let Some(length) = super::list::members(length.value).next()
    {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(length);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_upgrade(out: &mut Vec<u8>, protocols: &[u8]) {
    // A connection that changes its protocol has no trailers, and some servers read one Connection option only.
    out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
    out.extend_from_slice(protocols);
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut Vec<u8>, value: u64) {
    if value >= 10 {
        decimal(out, value / 10);
    }
    out.push(b'0' + (value % 10) as u8);
}

#[cfg(test)]
mod tests;
