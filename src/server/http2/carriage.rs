//! One stream of HTTP/2 as a connection of HTTP/1.1 that carries one request.
//!
//! Reading gives what stands behind the head of the request, writing takes the answer. Must not know who reads and writes.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    incoming::Incoming,
    outgoing::{Abandonment, Outgoing},
    request::Written,
    tally::Tally,
};
use crate::net::stream::Carried;

/// One stream. Dropping it resets it, unless both ways have ended.
#[derive(Debug)]
pub(super) struct Carriage {
    incoming: Incoming,
    outgoing: Outgoing,
    local: SocketAddr,
    tally: Arc<Tally>,
    /// It was reset.
    is_over: bool,
    /// It is to be reset when it is dropped, complete or not.
    is_aborted: AtomicBool,
}

impl Carriage {
    /// The stream on which `method` was received, with what was written of it.
    pub(super) fn new(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        (method, written): (Method, &Written),
        local: SocketAddr,
        tally: &Arc<Tally>,
    ) -> Self {
        Self {
            incoming: Incoming::new(body, written.content),
            outgoing: Outgoing::new(respond, method, written.key.clone()),
            local,
            tally: Arc::clone(tally),
            is_over: false,
            is_aborted: AtomicBool::new(false),
        }
    }

    /// Who watches for a reset while nobody reads or writes.
    pub(super) fn abandonment(&self) -> Abandonment {
        self.outgoing.abandonment()
    }

    /// Resets the stream at once.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.outgoing.reset(reason);
        self.is_over = true;
    }

    /// What a stream that failed is to others.
    fn failed(&mut self, error: &h2::Error) -> io::Error {
        self.note(error.is_reset() && error.is_remote());
        io::ErrorKind::ConnectionReset.into()
    }

    fn note(&mut self, is_reset: bool) {
        if is_reset && !self.is_over {
            self.is_over = true;
            self.tally.note_reset();
        }
    }
}

impl AsyncRead for Carriage {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if !this.incoming.is_at_end() {
            match ready!(this.incoming.poll_read(cx, buf)) {
                Ok(()) if buf.filled().len() == before && buf.remaining() > 0 => {}
                Ok(()) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(this.failed(&error))),
            }
        }
        if this.is_over {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if this.outgoing.is_connect() && (this.outgoing.is_tunnel() || this.outgoing.is_done()) {
            return Poll::Ready(Ok(()));
        }
        // That a request is complete says nothing of who waits for its answer.
        match ready!(this.outgoing.poll_reset(cx)) {
            Ok(_) => this.note(true),
            Err(error) => this.note(error.is_reset() && error.is_remote()),
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Carriage {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.outgoing.poll_write(cx, bytes)
    }

    /// What was written is on its way: the connection sends it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.outgoing.finish())
    }
}

impl Carried for Carriage {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn reset_on_close(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Carriage {
    /// What is complete needs no reset; if the client still sends, it is told that nobody wants it (RFC 9113 section 8.1).
    fn drop(&mut self) {
        let is_aborted = *self.is_aborted.get_mut();
        if self.is_over || (self.outgoing.is_done() && !is_aborted) {
            return;
        }
        // Who was writing, or waiting for somebody else, has not seen why he could not go on.
        if let Poll::Ready(reset) = self.outgoing.poll_reset(&mut Context::from_waker(Waker::noop())) {
            self.note(reset.is_ok());
            return;
        }
        let reason = match (self.outgoing.is_connect(), is_aborted) {
            (true, true) => Reason::CONNECT_ERROR,
            (true, false) => Reason::CANCEL,
            (false, _) => Reason::INTERNAL_ERROR,
        };
        self.outgoing.reset(reason);
    }
}
