//! A connection that is closed so that the client can read what was sent to it.
//!
//! A socket that is closed with unread bytes in it resets the connection, and the reset can destroy what the client has not read
//! yet; a client of HTTP/2 has always something to send. So the shutdown of such a stream is over when the client has closed, too,
//! within bounds. What is read on the way there is looked at by [`Opened`].

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{frames::Opened, tally::Tally};
use crate::{net::stream::Stream, server::linger::MAX_DISCARD};

/// A stream that is shut down in this way.
#[derive(Debug)]
pub(super) struct Farewell {
    stream: Stream,
    /// How long the client has to close.
    patience: Duration,
    opened: Opened,
    tally: Arc<Tally>,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    deadline: Pin<Box<Sleep>>,
    is_shut: bool,
    /// So much more may come.
    left: usize,
}

impl Farewell {
    pub(super) fn new(stream: Stream, patience: Duration, tally: &Arc<Tally>) -> Self {
        Self { stream, patience, opened: Opened::new(), tally: Arc::clone(tally), ending: None }
    }
}

impl Ending {
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if !self.is_shut {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        let mut bytes = [0; 4096];
        loop {
            let mut space = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut space));
            self.left = self.left.saturating_sub(space.filled().len());
            if read.is_err() || space.filled().is_empty() || self.left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Farewell {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.tally.note_opened(this.opened.see(&buf.filled()[before..]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Farewell {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, patience, ending, .. } = &mut *self;
        let ending = ending.get_or_insert_with(|| Ending {
            deadline: Box::pin(sleep(*patience)),
            is_shut: false,
            left: MAX_DISCARD,
        });
        ending.poll(cx, stream)
    }
}
