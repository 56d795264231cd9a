//! The bytes of a session.
//!
//! It keeps why TLS has failed, which the reader of frames would forget, and gives way after a while: a flood of frames that mean
//! nothing must not take the thread from others.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bounds::TURN;
use crate::net::{stream::Stream, tls::TlsError};

/// A connection of which frames are read and written.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    failure: Arc<OnceLock<TlsError>>,
    /// So much was read without a pause.
    read: usize,
}

impl Wire {
    /// `failure` gets to know why TLS has failed.
    pub(super) fn new(stream: Stream, failure: Arc<OnceLock<TlsError>>) -> Self {
        Self { stream, failure, read: 0 }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= TURN {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_pending() {
            self.read = 0;
        }
        if let Err(error) = ready!(polled) {
            if let Some(tls) = TlsError::of(&error) {
                // The first one is the reason.
                let _ = self.failure.set(tls);
            }
            return Poll::Ready(Err(error));
        }
        self.read += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stream.say_farewell();
    }
}
