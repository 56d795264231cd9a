//! What is written for an origin in HTTP/1.1, as the frames of a stream.
//!
//! The head is collected until it is whole; of the rest as much is taken as the origin's window allows. Invariant: END_STREAM is
//! sent with the last byte of a complete request, and by nothing else.

use std::{
    mem,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method};

use super::bounds::SEND_BUFFER;
use crate::message::{
    framing::{ChunkLimits, ChunkScan, Piece},
    head::find_end,
    http2::request::{self, Content},
};

/// The request on one stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: Option<SendStream<Bytes>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So much of it is here.
    Head(SendRequest<Bytes>, Vec<u8>),
    /// So much content is still to come.
    Content(u64),
    /// Boxed, as few requests are such.
    Chunks(Box<Chunks>),
    Done,
}

#[derive(Debug)]
struct Chunks {
    scan: ChunkScan,
    trailers: Vec<u8>,
}

/// What has become of bytes that were to be written.
#[derive(Debug)]
pub(super) enum Written {
    /// So many were taken.
    Some(usize),
    /// So many were, and the stream has begun: this is where the response to such a request comes.
    Begun(usize, Method, ResponseFuture),
}

impl Outgoing {
    pub(super) fn new(send: SendRequest<Bytes>) -> Self {
        Self { stream: None, state: State::Head(send, Vec::new()) }
    }

    /// Resets the stream.
    pub(super) fn reset(&mut self, reason: Reason) {
        if let Some(stream) = &mut self.stream {
            stream.send_reset(reason);
        }
    }

    /// Sends what there is room for, one byte of HTTP/1.1 at least.
    ///
    /// # Errors
    ///
    /// The stream's; none where there is no stream, and there will be none.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<Written, Option<h2::Error>>> {
        match &mut self.state {
            State::Head(_, head) => Poll::Ready({
                let before = head.len();
                head.extend_from_slice(bytes);
                match find_end(head, before) {
                    Some(end) => self
                        .begin(end)
                        .map(|(method, response)| Written::Begun(end - before, method, response)),
                    None => Ok(Written::Some(bytes.len())),
                }
            }),
            State::Content(left) => {
                let left = *left;
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let room = ready!(self.poll_room(cx, most))?;
                let is_last = room as u64 == left;
                self.send(&bytes[..room], is_last)?;
                self.state = if is_last { State::Done } else { State::Content(left - room as u64) };
                Poll::Ready(Ok(Written::Some(room)))
            }
            State::Chunks(_) => self.poll_write_chunks(cx, bytes).map_ok(Written::Some),
            State::Done => Poll::Ready(Err(None)),
        }
    }

    /// Sends the head, which ends at `end` in what is here.
    fn begin(&mut self, end: usize) -> Result<(Method, ResponseFuture), Option<h2::Error>> {
        let State::Head(mut send, mut head) = mem::replace(&mut self.state, State::Done) else {
            return Err(None);
        };
        head.truncate(end);
        let (request, content) = request::read(&head.into()).ok_or(None)?;
        let method = request.method().clone();
        let (response, stream) = send.send_request(request, content == Content::None)?;
        self.stream = Some(stream);
        self.state = match content {
            Content::None => State::Done,
            Content::Length(length) => State::Content(length),
            Content::Chunked => {
                let scan = ChunkScan::new(ChunkLimits::default());
                State::Chunks(Box::new(Chunks { scan, trailers: Vec::new() }))
            }
        };
        Ok((method, response))
    }

    fn poll_write_chunks(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Option<h2::Error>>> {
        let State::Chunks(mut chunks) = mem::replace(&mut self.state, State::Done) else {
            return Poll::Ready(Err(None));
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
            // They were written by ourselves.
            let Some((piece, length)) = chunks.scan.piece(rest).map_err(|_| None)? else {
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
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Option<h2::Error>>> {
        let stream = self.stream.as_mut().ok_or(None)?;
        let wanted = wanted.min(SEND_BUFFER);
        stream.reserve_capacity(wanted);
        loop {
            let room = stream.capacity().min(wanted);
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(Some(error))),
                None => return Poll::Ready(Err(None)),
            }
        }
    }

    fn send(&mut self, content: &[u8], is_last: bool) -> Result<(), Option<h2::Error>> {
        let stream = self.stream.as_mut().ok_or(None)?;
        stream.send_data(Bytes::copy_from_slice(content), is_last).map_err(Some)
    }

    fn end_with(&mut self, trailers: &[u8]) -> Result<(), Option<h2::Error>> {
        let mut fields = HeaderMap::new();
        for line in trailers.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let colon = memchr::memchr(b':', line).ok_or(None)?;
            let value = Bytes::copy_from_slice(line[colon + 1..].trim_ascii());
            request::push(&mut fields, &line[..colon], value).ok_or(None)?;
        }
        if fields.is_empty() {
            return self.send(b"", true);
        }
        let stream = self.stream.as_mut().ok_or(None)?;
        stream.send_trailers(fields).map_err(Some)
    }
}
