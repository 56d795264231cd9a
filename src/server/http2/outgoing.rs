//! What is written for a client in HTTP/1.1, as the frames of a stream.
//!
//! The head is collected until it is whole; of the rest as much is taken as the client's window allows. Invariant: END_STREAM is
//! sent with the last byte of a complete message, and by nothing else than the end of a tunnel.

use std::{
    io, mem,
    mem::MaybeUninit,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::bounds::SEND_BUFFER;
use crate::message::{
    field::{Field, Name},
    framing::{ChunkLimits, ChunkScan, Piece, ResponseBody},
    head::find_end,
    response_head::{LINES_INLINE, ResponseHead, ResponseHeadError},
};

/// The answer on one stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Shared with who watches for a reset, in the same task.
    respond: Arc<Mutex<SendResponse<Bytes>>>,
    stream: Option<SendStream<Bytes>>,
    method: Method,
    /// What the origin has to answer to the key of a WebSocket.
    key: Option<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So much of it is here.
    Head(Vec<u8>),
    /// So much content is still to come.
    Content(u64),
    /// Boxed, as few answers are such.
    Chunks(Box<Chunks>),
    Tunnel,
    Done,
}

#[derive(Debug)]
struct Chunks {
    scan: ChunkScan,
    trailers: Vec<u8>,
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
        Self { respond, stream: None, method, key, state: State::Head(Vec::new()) }
    }

    /// Who watches for a reset while nobody writes.
    pub(super) fn abandonment(&self) -> Abandonment {
        Abandonment(Arc::clone(&self.respond))
    }

    /// Whether HTTP has ended on the stream, and bytes go both ways.
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel)
    }

    /// Whether END_STREAM was sent.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether what is to be answered is CONNECT, or was.
    pub(super) fn is_connect(&self) -> bool {
        self.method == Method::CONNECT
    }

    /// Resets the stream.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(reason),
            None => lock(&self.respond).send_reset(reason),
        }
    }

    /// Ready when the client has reset the stream, or is gone.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        match &mut self.stream {
            Some(stream) => stream.poll_reset(cx),
            None => lock(&self.respond).poll_reset(cx),
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
            State::Content(left) => {
                let left = *left;
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let room = ready!(self.poll_room(cx, most))?;
                let is_last = room as u64 == left;
                self.send(&bytes[..room], is_last)?;
                self.state = if is_last { State::Done } else { State::Content(left - room as u64) };
                Poll::Ready(Ok(room))
            }
            State::Chunks(_) => self.poll_write_chunks(cx, bytes),
            State::Tunnel => {
                let room = ready!(self.poll_room(cx, bytes.len()))?;
                self.send(&bytes[..room], false)?;
                Poll::Ready(Ok(room))
            }
            State::Done => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Ends a tunnel this way. Anything else that is not complete is reset when it is dropped.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.is_tunnel() {
            self.send(b"", true)?;
            self.state = State::Done;
        }
        Ok(())
    }

    fn poll_write_chunks(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let State::Chunks(mut chunks) = mem::replace(&mut self.state, State::Done) else {
            return Poll::Ready(Err(malformed()));
        };
        let mut at = 0;
        let moved = loop {
            let rest = &bytes[at..];
            let rest = if chunks.scan.is_in_data() && !rest.is_empty() {
                match self.poll_room(cx, rest.len()) {
                    Poll::Ready(room) => &rest[..room?],
                    Poll::Pending if at == 0 => break Poll::Pending,
                    Poll::Pending => break Poll::Ready(Ok(at)),
                }
            } else {
                rest
            };
            let Some((piece, length)) = chunks.scan.piece(rest).map_err(|_| malformed())? else {
                break Poll::Ready(Ok(at));
            };
            match piece {
                Piece::Data => self.send(&rest[..length], false)?,
                Piece::Trailers => chunks.trailers.extend_from_slice(&rest[..length]),
                Piece::Framing => {}
            }
            at += length;
        };
        if chunks.scan.is_done() {
            self.end_with(&chunks.trailers)?;
        } else {
            self.state = State::Chunks(chunks);
        }
        moved
    }

    /// Room for so many bytes at most, one at least.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let stream = self.stream.as_mut().ok_or_else(malformed)?;
        let wanted = wanted.min(SEND_BUFFER);
        stream.reserve_capacity(wanted);
        loop {
            let room = stream.capacity().min(wanted);
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
    }

    fn send(&mut self, content: &[u8], is_last: bool) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or_else(malformed)?;
        stream.send_data(Bytes::copy_from_slice(content), is_last).map_err(|error| broken(&error))
    }

    fn end_with(&mut self, trailers: &[u8]) -> io::Result<()> {
        let mut fields = HeaderMap::new();
        for line in trailers.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let colon = memchr::memchr(b':', line).ok_or_else(malformed)?;
            let value = Bytes::copy_from_slice(line[colon + 1..].trim_ascii());
            push(&mut fields, &line[..colon], value)?;
        }
        if fields.is_empty() {
            return self.send(b"", true);
        }
        let stream = self.stream.as_mut().ok_or_else(malformed)?;
        stream.send_trailers(fields).map_err(|error| broken(&error))
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
            push(response.headers_mut(), field.name, raw.slice_ref(field.value))?;
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
        let body = if is_tunnel { State::Tunnel } else { State::behind(head.framing.body)? };
        let is_last = matches!(body, State::Done);
        let stream = lock(&self.respond).send_response(response, is_last).map_err(|error| broken(&error))?;
        self.stream = Some(stream);
        self.state = body;
        Ok(())
    }
}

impl State {
    fn behind(body: ResponseBody) -> io::Result<Self> {
        match body {
            ResponseBody::None | ResponseBody::Length(0) => Ok(Self::Done),
            ResponseBody::Length(length) => Ok(Self::Content(length)),
            ResponseBody::Chunked => {
                let scan = ChunkScan::new(ChunkLimits::default());
                Ok(Self::Chunks(Box::new(Chunks { scan, trailers: Vec::new() })))
            }
            // It is never written to who does not speak HTTP/1.0.
            ResponseBody::UntilClose => Err(malformed()),
        }
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

fn push(fields: &mut HeaderMap, name: &[u8], value: Bytes) -> io::Result<()> {
    let name = HeaderName::from_bytes(name).map_err(|_| malformed())?;
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| malformed())?;
    fields.try_append(name, value).map(|_| ()).map_err(|_| malformed())
}

/// RFC 6455 section 4.2.2.
fn answer_to(key: &str) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest.finish())
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
