//! One stream of HTTP/2 as a connection of HTTP/1.1 that carries one request.
//!
//! Writing takes the request, reading gives the response. Must not know who reads and writes.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    fault::StreamFault,
    incoming::Incoming,
    outgoing::{Outgoing, Written},
    session::Session,
};
use crate::{message::http2::sender::SendError, net::stream::Carried};

/// One stream. Dropping it resets it, unless both ways have ended.
#[derive(Debug)]
pub(in crate::upstream) struct Carriage {
    session: Arc<Session>,
    outgoing: Outgoing,
    /// None before the head was sent.
    incoming: Option<Incoming>,
    /// Why there is nothing to read, and will never be.
    failure: Option<StreamFault>,
    /// It is to be reset when it is dropped.
    is_aborted: AtomicBool,
}

impl Carriage {
    pub(super) fn new(send: SendRequest<Bytes>, session: Arc<Session>) -> Self {
        let outgoing = Outgoing::new(send);
        Self { session, outgoing, incoming: None, failure: None, is_aborted: AtomicBool::new(false) }
    }
}

impl AsyncRead for Carriage {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(failure) = &this.failure {
            return Poll::Ready(Err(failure.clone().into()));
        }
        // Whoever reads is who writes, and reads again when he has written.
        let Some(incoming) = &mut this.incoming else { return Poll::Pending };
        let read = ready!(incoming.poll_read(cx, buf));
        this.session.settle();
        Poll::Ready(read.map_err(|error| {
            let fault = error.map_or(StreamFault::Malformed, |error| this.session.fault(&error));
            this.failure.insert(fault).clone().into()
        }))
    }
}

impl AsyncWrite for Carriage {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match ready!(this.outgoing.poll_write(cx, bytes)) {
            Ok(Written::Some(count)) => Poll::Ready(Ok(count)),
            Ok(Written::Begun(count, method, response)) => {
                this.incoming = Some(Incoming::new(method, response));
                Poll::Ready(Ok(count))
            }
            Err(error) => {
                if this.incoming.is_none() {
                    // There is no stream: the session has ended, or was never able to carry this.
                    this.failure = Some(StreamFault::Unprocessed);
                }
                if let SendError::Stream(error) = error {
                    tracing::debug!(%error, "an HTTP/2 stream cannot be written");
                }
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    /// What was written is on its way: the session sends it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A request ends where it says that it does.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Carried for Carriage {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.session.local)
    }

    fn reset_on_close(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Carriage {
    /// What has not ended both ways is cancelled in any case, but only this takes back what was written and not sent.
    fn drop(&mut self) {
        if *self.is_aborted.get_mut() {
            self.outgoing.reset(Reason::CANCEL);
        } else if let Some(body) = self.incoming.take().and_then(Incoming::left) {
            self.session.leave(body);
        }
    }
}
