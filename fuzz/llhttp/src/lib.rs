//! llhttp, the HTTP/1 parser of Node.js, as a second opinion on where a message ends and what it says.
//!
//! For tests only. It shares no code and no author with us or with httparse, decides framing and persistence by itself, and
//! is what a great many origins read requests with. Nothing is lenient here: what it takes, it takes by its strict rules.
//! The C sources in `c/` are those of release 9.3.1, unchanged (MIT, see `c/LICENSE`).
//!
//! A [`Message`] is read by a parser of its own, from its first byte to its last: where it ends is llhttp's word alone.

mod ffi;

use std::{
    ffi::{CStr, c_char, c_int},
    ptr::addr_of,
    slice,
};

/// What kind of message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// A response to a request that may be answered with a body.
    Response,
    /// A response to HEAD, or a success in answer to CONNECT: there is no body, whatever the fields say.
    BodilessResponse,
}

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No field says anything.
    #[default]
    Unsaid,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// A `Transfer-Encoding` that does not end in chunked.
    OtherCoding,
}

/// A message, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Of a request.
    pub method: Vec<u8>,
    /// Of a request.
    pub target: Vec<u8>,
    /// Of a response.
    pub status: u16,
    /// Major and minor.
    pub version: (u8, u8),
    /// Header fields in order: name and value as they stand there.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Trailer fields.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the fields say of the body.
    pub framing: Framing,
    /// The content, without chunk framing.
    pub body: Vec<u8>,
    /// Whether another message may follow on the connection.
    pub keep_alive: bool,
    /// What follows is another protocol.
    pub upgrade: bool,
    /// Bytes of the message; what is behind them belongs to the next one.
    pub length: usize,
}

/// What became of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A whole message.
    Complete(Message),
    /// It goes on, or it ends when the connection does. The head may be incomplete, too.
    Open {
        /// What was read.
        so_far: Message,
        /// Its head is complete, and all of it that will come has come when the connection ends here.
        ends_with_connection: bool,
    },
    /// llhttp does not take it.
    Refused {
        /// In llhttp's words.
        reason: String,
        /// The byte at which it gave up.
        at: usize,
    },
}

/// Reads the message that begins `bytes`.
#[must_use]
pub fn read(kind: Kind, bytes: &[u8]) -> Reading {
    let mut reader = Reader { kind, ..Reader::default() };
    let settings = settings();
    let mut parser = ffi::Parser::ZERO;
    let role = if kind == Kind::Request { ffi::REQUEST } else { ffi::RESPONSE };
    // SAFETY: parser and settings outlive every call below and are not moved between them; `reader` is reached through
    // `data` in callbacks only, which run inside these calls; `bytes` is as long as it says.
    let (error, position) = unsafe {
        ffi::llhttp_init(&raw mut parser, role, addr_of!(settings));
        parser.data = (&raw mut reader).cast();
        let error = ffi::llhttp_execute(&raw mut parser, bytes.as_ptr().cast(), bytes.len());
        (error, ffi::llhttp_get_error_pos(&raw const parser))
    };
    let at = if position.is_null() { bytes.len() } else { position.addr() - bytes.as_ptr().addr() };
    match error {
        ffi::OK => {
            // SAFETY: as above.
            let finished = unsafe { ffi::llhttp_finish(&raw mut parser) };
            let ends_with_connection = matches!(finished, ffi::OK | ffi::PAUSED) && reader.head_done;
            Reading::Open { so_far: reader.message, ends_with_connection }
        }
        // The one place where a callback pauses is the end of the message.
        ffi::PAUSED | ffi::PAUSED_UPGRADE => {
            reader.message.length = at;
            Reading::Complete(reader.message)
        }
        _ => {
            // SAFETY: the reason is a static text or null.
            let reason = unsafe { ffi::llhttp_get_error_reason(&raw const parser) };
            let reason = if reason.is_null() {
                String::new()
            } else {
                // SAFETY: as above.
                unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned()
            };
            Reading::Refused { reason, at }
        }
    }
}

/// Whether llhttp knows this method. It has a closed list, where RFC 9110 section 9.1 has tokens.
#[must_use]
pub fn knows_method(method: &[u8]) -> bool {
    let head = [method, b" / HTTP/1.1\r\n\r\n"].concat();
    method != b"PRI" && !matches!(read(Kind::Request, &head), Reading::Refused { .. }) || method == b"CONNECT"
}

struct Reader {
    kind: Kind,
    message: Message,
    field: Vec<u8>,
    value: Vec<u8>,
    head_done: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            kind: Kind::Request,
            message: Message::default(),
            field: Vec::new(),
            value: Vec::new(),
            head_done: false,
        }
    }
}

fn settings() -> ffi::Settings {
    ffi::Settings {
        on_url: Some(on_url),
        on_method: Some(on_method),
        on_header_field: Some(on_header_field),
        on_header_value: Some(on_header_value),
        on_header_value_complete: Some(on_header_value_complete),
        on_headers_complete: Some(on_headers_complete),
        on_body: Some(on_body),
        on_message_complete: Some(on_message_complete),
        ..ffi::Settings::default()
    }
}

/// The reader of this parser, and the parser.
fn parts<'a>(parser: *mut ffi::Parser) -> (&'a mut Reader, &'a ffi::Parser) {
    // SAFETY: only callbacks call this, with the parser that `read` has set up, and use it until they return.
    unsafe { (&mut *(*parser).data.cast(), &*parser) }
}

fn span<'a>(at: *const c_char, length: usize) -> &'a [u8] {
    // SAFETY: llhttp gives a part of the bytes that it was given, which are used until the callback returns.
    if length == 0 { &[] } else { unsafe { slice::from_raw_parts(at.cast(), length) } }
}

extern "C" fn on_method(parser: *mut ffi::Parser, at: *const c_char, length: usize) -> c_int {
    parts(parser).0.message.method.extend_from_slice(span(at, length));
    ffi::OK
}

extern "C" fn on_url(parser: *mut ffi::Parser, at: *const c_char, length: usize) -> c_int {
    parts(parser).0.message.target.extend_from_slice(span(at, length));
    ffi::OK
}

extern "C" fn on_header_field(parser: *mut ffi::Parser, at: *const c_char, length: usize) -> c_int {
    parts(parser).0.field.extend_from_slice(span(at, length));
    ffi::OK
}

extern "C" fn on_header_value(parser: *mut ffi::Parser, at: *const c_char, length: usize) -> c_int {
    parts(parser).0.value.extend_from_slice(span(at, length));
    ffi::OK
}

extern "C" fn on_header_value_complete(parser: *mut ffi::Parser) -> c_int {
    let reader = parts(parser).0;
    let line = (std::mem::take(&mut reader.field), std::mem::take(&mut reader.value));
    if reader.head_done { &mut reader.message.trailers } else { &mut reader.message.fields }.push(line);
    ffi::OK
}

extern "C" fn on_headers_complete(parser: *mut ffi::Parser) -> c_int {
    let (reader, parser) = parts(parser);
    reader.head_done = true;
    reader.message.status = parser.status_code;
    reader.message.version = (parser.http_major, parser.http_minor);
    reader.message.upgrade = parser.upgrade != 0;
    reader.message.framing = if parser.flags & ffi::F_CHUNKED != 0 {
        Framing::Chunked
    } else if parser.flags & ffi::F_TRANSFER_ENCODING != 0 {
        Framing::OtherCoding
    } else if parser.flags & ffi::F_CONTENT_LENGTH != 0 {
        Framing::Length(parser.content_length)
    } else {
        Framing::Unsaid
    };
    // 1 = there is no body.
    c_int::from(reader.kind == Kind::BodilessResponse)
}

extern "C" fn on_body(parser: *mut ffi::Parser, at: *const c_char, length: usize) -> c_int {
    parts(parser).0.message.body.extend_from_slice(span(at, length));
    ffi::OK
}

extern "C" fn on_message_complete(parser: *mut ffi::Parser) -> c_int {
    let (reader, parser) = parts(parser);
    // SAFETY: it only looks.
    reader.message.keep_alive = unsafe { ffi::llhttp_should_keep_alive(parser) } != 0;
    ffi::PAUSED
}
