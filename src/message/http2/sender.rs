//! What stands behind a head, written in HTTP/1.1, as the frames of a stream.
//!
//! As much is taken as the peer's window allows. Invariant: END_STREAM is sent with the last byte of a complete message, and by
//! nothing else than the end of a tunnel. Must not know what carries the frames, nor any deadline.

use std::{
    mem,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;

use super::request::{Content, push};
use crate::message::framing::{ChunkLimits, ChunkScan, Piece};

/// The content of a message on its way into a stream.
#[derive(Debug)]
pub struct Sender {
    stream: SendStream<Bytes>,
    /// The most that the stream may hold of it, in bytes.
    room: usize,
    rest: Rest,
}

/// What is still to come.
#[derive(Debug)]
enum Rest {
    /// So much content.
    Content(u64),
    /// Boxed, as few messages are such.
    Chunks(Box<Chunks>),
    Tunnel,
    Nothing,
}

#[derive(Debug)]
struct Chunks {
    scan: ChunkScan,
    trailers: Vec<u8>,
}

/// Why content cannot be sent.
#[derive(Debug)]
pub enum SendError {
    /// It is none that HTTP/2 has words for.
    Malformed,
    /// There is more than was announced.
    Ended,
    /// The peer takes no more.
    Closed,
    /// The stream has failed.
    Stream(h2::Error),
}

impl From<h2::Error> for SendError {
    fn from(error: h2::Error) -> Self {
        Self::Stream(error)
    }
}

impl Sender {
    /// Sends `content` on `stream`, whose head is sent, and which holds no more than `room` bytes at a time.
    #[must_use]
    pub fn new(stream: SendStream<Bytes>, content: Content, room: usize) -> Self {
        let rest = match content {
            Content::None => Rest::Nothing,
            Content::Length(length) => Rest::Content(length),
            Content::Chunked => {
                let scan = ChunkScan::new(ChunkLimits::default());
                Rest::Chunks(Box::new(Chunks { scan, trailers: Vec::new() }))
            }
        };
        Self { stream, room, rest }
    }

    /// Sends whatever comes, as it is.
    #[must_use]
    pub fn tunnel(stream: SendStream<Bytes>, room: usize) -> Self {
        Self { stream, room, rest: Rest::Tunnel }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut SendStream<Bytes> {
        &mut self.stream
    }

    /// Whether it is a tunnel that has not ended.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        matches!(self.rest, Rest::Tunnel)
    }

    /// Whether END_STREAM was sent.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    /// Sends what there is room for; how many bytes of HTTP/1.1 that was, one at least.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. Nothing more can be sent then.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, SendError>> {
        match self.rest {
            Rest::Content(left) => {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let room = ready!(self.poll_room(cx, most))?;
                let is_last = room as u64 == left;
                self.send(&bytes[..room], is_last)?;
                self.rest = if is_last { Rest::Nothing } else { Rest::Content(left - room as u64) };
                Poll::Ready(Ok(room))
            }
            Rest::Chunks(_) => self.poll_write_chunks(cx, bytes),
            Rest::Tunnel => {
                let room = ready!(self.poll_room(cx, bytes.len()))?;
                self.send(&bytes[..room], false)?;
                Poll::Ready(Ok(room))
            }
            Rest::Nothing => Poll::Ready(Err(SendError::Ended)),
        }
    }

    /// Ends a tunnel this way. Anything else that is not complete is for its owner to reset.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub fn finish(&mut self) -> Result<(), SendError> {
        if self.is_tunnel() {
            self.send(b"", true)?;
            self.rest = Rest::Nothing;
        }
        Ok(())
    }

    fn poll_write_chunks(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, SendError>> {
        let Rest::Chunks(mut chunks) = mem::replace(&mut self.rest, Rest::Nothing) else {
            return Poll::Ready(Err(SendError::Ended));
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
            let Some((piece, length)) = chunks.scan.piece(rest).map_err(|_| SendError::Malformed)? else {
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
            self.rest = Rest::Chunks(chunks);
        }
        moved
    }

    /// Room for so many bytes at most, one at least.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, SendError>> {
        let wanted = wanted.min(self.room);
        self.stream.reserve_capacity(wanted);
        loop {
            let room = self.stream.capacity().min(wanted);
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(room) => drop(room?),
                None => return Poll::Ready(Err(SendError::Closed)),
            }
        }
    }

    fn send(&mut self, content: &[u8], is_last: bool) -> Result<(), SendError> {
        Ok(self.stream.send_data(Bytes::copy_from_slice(content), is_last)?)
    }

    fn end_with(&mut self, trailers: &[u8]) -> Result<(), SendError> {
        let mut fields = HeaderMap::new();
        for line in trailers.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let colon = memchr::memchr(b':', line).ok_or(SendError::Malformed)?;
            let value = Bytes::copy_from_slice(line[colon + 1..].trim_ascii());
            push(&mut fields, &line[..colon], value).ok_or(SendError::Malformed)?;
        }
        if fields.is_empty() {
            return self.send(b"", true);
        }
        Ok(self.stream.send_trailers(fields)?)
    }
}
