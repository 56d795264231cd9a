//! What is written for a client in HTTP/1.1, as the frames of a stream.
//!
//! The head is collected until it is whole; what stands behind it is for a [`Sender`].

use std::{
    io, mem,
    mem::MaybeUninit,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::{Method, Response, StatusCode, header};

use super::bounds::SEND_BUFFER;
use crate::message::{
    field::{Field, Name},
    framing::ResponseBody,
    head::find_end,
    http2::{
        request::{Content, push},
        sender::{SendError, Sender},
    },
    response_head::{LINES_INLINE, ResponseHead, ResponseHeadError},
};

/// The answer on one stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Shared with who watches for a reset, in the same task.
    respond: Arc<Mutex<SendResponse<Bytes>>>,
    method: Method,
    /// What the origin has to answer to the key of a WebSocket.
    key: Option<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So much of it is here.
    Head(Vec<u8>),
    /// It is sent.
    Content(Sender),
}

/// Tells that a client has given up a stream before it was answered, while nobody reads or writes it.
#[derive(Debug)]
pub(super) struct Abandonment(Arc<Mutex<SendResponse<Bytes>>>);

impl Abandonment {
    /// Ready when it has. Never once the answer has begun: who writes that finds out by himself.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        match lock(&self.0).poll_reset(cx) {
            Poll::Ready(Ok(_)) => Poll::Ready(()),
            // To ask after the answer has begun is an error as well, of another kind.
            Poll::Ready(Err(error)) if error.is_io() || error.is_go_away() || error.is_reset() => {
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

fn lock(respond: &Mutex<SendResponse<Bytes>>) -> MutexGuard<'_, SendResponse<Bytes>> {
    respond.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outgoing {
    pub(super) fn new(respond: SendResponse<Bytes>, method: Method, key: Option<String>) -> Self {
        let respond = Arc::new(Mutex::new(respond));
        Self { respond, method, key, state: State::Head(Vec::new()) }
    }

    /// Who watches for a reset while nobody writes.
    pub(super) fn abandonment(&self) -> Abandonment {
        Abandonment(Arc::clone(&self.respond))
    }

    /// Whether HTTP has ended on the stream, and bytes go both ways.
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(&self.state, State::Content(sender) if sender.is_tunnel())
    }

    /// Whether END_STREAM was sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(&self.state, State::Content(sender) if sender.is_done())
    }

    /// Whether what is to be answered is CONNECT, or was.
    pub(super) fn is_connect(&self) -> bool {
        self.method == Method::CONNECT
    }

    /// Resets the stream.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.state {
            State::Content(sender) => sender.stream().send_reset(reason),
            State::Head(_) => lock(&self.respond).send_reset(reason),
        }
    }

    /// Ready when the client has reset the stream, or is gone.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        match &mut self.state {
            State::Content(sender) => sender.stream().poll_reset(cx),
            State::Head(_) => lock(&self.respond).poll_reset(cx),
        }
    }

    /// Sends what there is room for; how many bytes of HTTP/1.1 that was, one at least.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Head(head) => {
                let before = head.len();
                // Most come whole.
                let whole = if before == 0 { find_end(bytes, 0).map(|end| &bytes[..end]) } else { None };
                if let Some(whole) = whole {
                    return Poll::Ready(self.begin(&Bytes::copy_from_slice(whole)).map(|()| whole.len()));
                }
                head.extend_from_slice(bytes);
                Poll::Ready(match find_end(head, before) {
                    Some(end) => {
                        let head = Bytes::from(mem::take(head)).slice(..end);
                        self.begin(&head).map(|()| end - before)
                    }
                    None => Ok(bytes.len()),
                })
            }
            State::Content(sender) => sender.poll_write(cx, bytes).map_err(unsent),
        }
    }

    /// Ends a tunnel this way. Anything else that is not complete is reset when it is dropped.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Content(sender) => sender.finish().map_err(unsent),
            State::Head(_) => Ok(()),
        }
    }

    /// Sends the head.
    fn begin(&mut self, raw: &Bytes) -> io::Result<()> {
        // A WebSocket is asked for with GET, whatever the client has said.
        let method = if self.key.is_some() { Method::GET } else { self.method.clone() };
        let mut few = [const { MaybeUninit::uninit() }; LINES_INLINE];
        match ResponseHead::read(raw, &method, &mut few) {
            Err(ResponseHeadError::TooLarge) => {
                let mut many: Vec<_> =
                    std::iter::repeat_with(MaybeUninit::uninit).take(raw.len() / 3).collect();
                let head = ResponseHead::read(raw, &method, &mut many).map_err(|_| malformed())?;
                self.begin_with(raw, &head)
            }
            head => self.begin_with(raw, &head.map_err(|_| malformed())?),
        }
    }

    fn begin_with(&mut self, raw: &Bytes, head: &ResponseHead<'_>) -> io::Result<()> {
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        for field in head.fields().filter(|field| passes(field)) {
            push(response.headers_mut(), field.name, raw.slice_ref(field.value)).ok_or_else(malformed)?;
        }
        if head.is_interim() {
            self.state = State::Head(Vec::new());
            return lock(&self.respond).send_informational(response).map_err(|error| broken(&error));
        }
        let mut is_tunnel = self.is_connect() && head.status.is_success();
        if let Some(key) = self.key.take() {
            is_tunnel = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if is_tunnel {
                let answer = response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
                if answer.is_none_or(|answer| answer.as_bytes() != answer_to(&key).as_bytes()) {
                    return Err(malformed());
                }
                *response.status_mut() = StatusCode::OK;
            } else if head.status.is_success() {
                // To the client this would be a WebSocket that is open.
                *response.status_mut() = StatusCode::BAD_GATEWAY;
            }
        }
        let content = if is_tunnel { Content::None } else { content_of(head.framing.body)? };
        let is_last = !is_tunnel && content == Content::None;
        let stream = lock(&self.respond).send_response(response, is_last).map_err(|error| broken(&error))?;
        self.state = State::Content(if is_tunnel {
            Sender::tunnel(stream, SEND_BUFFER)
        } else {
            Sender::new(stream, content, SEND_BUFFER)
        });
        Ok(())
    }
}

fn content_of(body: ResponseBody) -> io::Result<Content> {
    match body {
        ResponseBody::None | ResponseBody::Length(0) => Ok(Content::None),
        ResponseBody::Length(length) => Ok(Content::Length(length)),
        ResponseBody::Chunked => Ok(Content::Chunked),
        // It is never written to who does not speak HTTP/1.0.
        ResponseBody::UntilClose => Err(malformed()),
    }
}

/// Whether a line is one of HTTP/2, too (RFC 9113 section 8.2.2).
fn passes(field: &Field<'_>) -> bool {
    !matches!(
        field.known,
        Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::Upgrade
            | Name::Http2Settings
    )
}

/// RFC 6455 section 4.2.2.
fn answer_to(key: &str) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest.finish())
}

fn unsent(error: SendError) -> io::Error {
    match error {
        SendError::Malformed => malformed(),
        SendError::Ended => io::ErrorKind::BrokenPipe.into(),
        SendError::Closed => io::ErrorKind::ConnectionReset.into(),
        SendError::Stream(error) => broken(&error),
    }
}

fn broken(error: &h2::Error) -> io::Error {
    tracing::debug!(%error, "an HTTP/2 stream cannot be written");
    io::ErrorKind::ConnectionReset.into()
}

/// What was to be written is no answer that can be sent in HTTP/2.
fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_as_in_rfc_6455() {
        assert_eq!(answer_to("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
