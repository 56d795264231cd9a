//! A stream that is read in large pieces, for somebody who asks for small ones.
//!
//! TLS asks for 4 KiB at a time: four system calls for one record, where one is enough for several. Room is held only while
//! something is in it. Must not know what the bytes are. Invariant: bytes leave in the order in which they came, and none is lost.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    inbox::{Inbox, ROOM},
    stream::Stream,
};

/// A stream, and what was read from it ahead of need.
#[derive(Debug)]
pub struct Ahead {
    stream: Stream,
    inbox: Inbox,
    /// The reader holds little room for what it has not got yet.
    is_modest: bool,
    /// The last read did not fill its room: for the moment there is no more.
    is_short: bool,
}

/// What a reader asks for that holds little room.
const MODEST: usize = 4096;

impl Ahead {
    /// `stream`, of which the bytes of `early` were read already.
    #[must_use]
    pub fn new(stream: Stream, early: &[u8]) -> Self {
        Self { stream, inbox: Inbox::holding(early), is_modest: false, is_short: false }
    }

    /// Whether nothing was read ahead of need, and the last read has taken all there was.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.inbox.is_empty() && self.is_short
    }

    /// Whether there is nothing to read, neither here nor in the stream; the task is woken when there is. What cannot tell
    /// without reading says no, and so does a reader with much room, which gives it back when it asks in vain.
    pub fn is_silent(&self, cx: &mut Context<'_>) -> bool {
        self.is_modest
            && self.inbox.is_empty()
            && matches!(&self.stream, Stream::Tcp(socket) if socket.poll_read_ready(cx).is_pending())
    }

    /// The stream. What was read ahead of need is not in it.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, without what was read ahead of need.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Ahead {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, inbox, is_modest, is_short } = self.get_mut();
        *is_modest = buf.remaining() <= MODEST;
        if inbox.is_empty() {
            let read = ready!(inbox.poll_fill(cx, stream))?;
            *is_short = read < ROOM;
        }
        let unread = inbox.unread();
        let count = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..count]);
        inbox.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
