//! What an origin sends on a stream, as the bytes of an HTTP/1.1 response.
//!
//! Its window grows only as those bytes are taken. Invariant: a response is told to be complete when it is as long as its
//! length says, or when the origin has said END_STREAM, and at no other time.

use std::{
    future::Future,
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{RecvStream, client::ResponseFuture};
use http::Method;
use tokio::io::ReadBuf;

use crate::message::http2::response::{self, Content};

/// The response on one stream.
#[derive(Debug)]
pub(super) struct Incoming {
    method: Method,
    state: State,
    /// Heads and framing, which are read first.
    framing: Vec<u8>,
    framing_at: usize,
    /// Of a DATA frame.
    rest: Bytes,
}

#[derive(Debug)]
enum State {
    Head(ResponseFuture),
    Content(RecvStream, Content),
    Trailers(RecvStream),
    Ended,
}

impl Incoming {
    /// The response to a request of this method.
    pub(super) fn new(method: Method, response: ResponseFuture) -> Self {
        Self { method, state: State::Head(response), framing: Vec::new(), framing_at: 0, rest: Bytes::new() }
    }

    /// Reads some of it; nothing at the end.
    ///
    /// # Errors
    ///
    /// The stream's; none when what has come is no response.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Option<h2::Error>>> {
        let before = buf.remaining();
        loop {
            self.copy(buf)?;
            if buf.remaining() == 0 || self.is_at_end() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_more(cx) {
                // What was read before it is given out first; who asks again finds it again.
                Poll::Ready(Err(_)) | Poll::Pending if buf.remaining() < before => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(more) => more?,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Where the end of a stream is still to come, though all of the content is here.
    pub(super) fn left(self) -> Option<RecvStream> {
        match self.state {
            State::Content(body, Content::Plain(0)) if !body.is_end_stream() => Some(body),
            _ => None,
        }
    }

    fn is_at_end(&self) -> bool {
        matches!(self.state, State::Ended) && self.rest.is_empty() && self.framing_at == self.framing.len()
    }

    fn copy(&mut self, buf: &mut ReadBuf<'_>) -> Result<(), Option<h2::Error>> {
        let framing = &self.framing[self.framing_at..];
        let count = framing.len().min(buf.remaining());
        buf.put_slice(&framing[..count]);
        self.framing_at += count;
        let count = self.rest.len().min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.rest[..count]);
            self.rest.advance(count);
            if let State::Content(body, content) = &mut self.state {
                body.flow_control().release_capacity(count)?;
                match content {
                    Content::Chunked if self.rest.is_empty() => {
                        self.frame(|framing| framing.extend_from_slice(b"\r\n"));
                        return self.copy(buf);
                    }
                    Content::Chunked => {}
                    Content::Plain(left) => *left = left.saturating_sub(count as u64),
                }
            }
        }
        Ok(())
    }

    /// Takes the next frame. Nothing is left of the one before.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Option<h2::Error>>> {
        match &mut self.state {
            State::Head(response) => {
                if let Some(interim) = ready!(response.poll_informational(cx)) {
                    let (interim, method) = (interim?, self.method.clone());
                    return Poll::Ready(self.write_head(&interim, &method, false).map(|_| ()));
                }
                let (head, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
                let (head, method) = (http::Response::from_parts(head, ()), self.method.clone());
                let content = self.write_head(&head, &method, body.is_end_stream())?;
                self.state = State::Content(body, content);
            }
            State::Content(body, content) => match ready!(body.poll_data(cx)) {
                Some(data) => {
                    self.rest = data?;
                    if *content == Content::Chunked && !self.rest.is_empty() {
                        let size = self.rest.len();
                        self.frame(|framing| {
                            // Writing to memory does not fail.
                            let _: io::Result<()> = write!(framing, "{size:x}\r\n");
                        });
                    }
                }
                None => {
                    if let State::Content(body, Content::Chunked) =
                        std::mem::replace(&mut self.state, State::Ended)
                    {
                        self.state = State::Trailers(body);
                    }
                }
            },
            State::Trailers(body) => {
                let trailers = ready!(body.poll_trailers(cx))?.unwrap_or_default();
                self.state = State::Ended;
                let mut is_lawful = None;
                self.frame(|framing| {
                    framing.extend_from_slice(b"0\r\n");
                    is_lawful = response::write_trailers(framing, &trailers);
                });
                if is_lawful.is_none() {
                    self.framing.clear();
                    return Poll::Ready(Err(None));
                }
            }
            State::Ended => {}
        }
        Poll::Ready(Ok(()))
    }

    fn write_head(
        &mut self,
        head: &http::Response<()>,
        method: &Method,
        is_whole: bool,
    ) -> Result<Content, Option<h2::Error>> {
        let mut content = None;
        self.frame(|framing| content = response::write(framing, head, method, is_whole));
        if content.is_none() {
            self.framing.clear();
        }
        content.ok_or(None)
    }

    fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.framing.clear();
        self.framing_at = 0;
        write(&mut self.framing);
    }
}
