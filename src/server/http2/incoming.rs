//! What a client sends on a stream, as the bytes that stand behind an HTTP/1.1 head.
//!
//! Its window grows only as those bytes are taken. Invariant: the end is told when the client has said END_STREAM, and at no
//! other time.

use std::{
    io::{self, Write as _},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

use super::request::{self, Content};

/// The body of one request, or one way of a tunnel.
#[derive(Debug)]
pub(super) struct Incoming {
    body: RecvStream,
    content: Content,
    /// Framing that is read first.
    framing: Vec<u8>,
    framing_at: usize,
    /// Of a DATA frame.
    rest: Bytes,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Ended,
}

impl Incoming {
    pub(super) fn new(body: RecvStream, content: Content) -> Self {
        Self { body, content, framing: Vec::new(), framing_at: 0, rest: Bytes::new(), state: State::Data }
    }

    /// Whether all of it was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.state == State::Ended && self.rest.is_empty() && self.framing_at == self.framing.len()
    }

    /// Reads some of it; nothing at the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        let before = buf.remaining();
        loop {
            self.copy(buf)?;
            if buf.remaining() == 0 || self.is_at_end() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(cx) {
                Poll::Ready(more) => more?,
                Poll::Pending if buf.remaining() < before => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn copy(&mut self, buf: &mut ReadBuf<'_>) -> Result<(), h2::Error> {
        let framing = &self.framing[self.framing_at..];
        let count = framing.len().min(buf.remaining());
        buf.put_slice(&framing[..count]);
        self.framing_at += count;
        let count = self.rest.len().min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.rest[..count]);
            self.rest.advance(count);
            self.body.flow_control().release_capacity(count)?;
            if self.rest.is_empty() && self.content == Content::Chunked {
                self.frame(|framing| framing.extend_from_slice(b"\r\n"));
                return self.copy(buf);
            }
        }
        Ok(())
    }

    /// Takes the next frame. Nothing is left of the one before.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        match self.state {
            State::Data => match ready!(self.body.poll_data(cx)) {
                Some(data) => {
                    self.rest = data?;
                    if self.content == Content::Chunked && !self.rest.is_empty() {
                        let size = self.rest.len();
                        self.frame(|framing| {
                            // Writing to memory does not fail.
                            let _: io::Result<()> = write!(framing, "{size:x}\r\n");
                        });
                    }
                }
                None if self.content == Content::Chunked => self.state = State::Trailers,
                None => self.state = State::Ended,
            },
            State::Trailers => {
                let trailers = ready!(self.body.poll_trailers(cx))?.unwrap_or_default();
                self.state = State::Ended;
                self.frame(|framing| {
                    framing.extend_from_slice(b"0\r\n");
                    request::write_trailers(framing, &trailers);
                });
            }
            State::Ended => {}
        }
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.framing.clear();
        self.framing_at = 0;
        write(&mut self.framing);
    }
}
