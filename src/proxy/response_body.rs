//! The body of a response on its way to the client.
//!
//! It owns the exchange and the connection that it comes from. When the last byte has been handed on, the
//! connection goes back to the pool; whatever else happens to this body, the connection is closed. The end of
//! the exchange is the end of this body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Instant;

use super::{exchange::Exchange, limiter::Pace, request_body::RequestBody};
use crate::{
    message::hop_by_hop::{self, Nominated},
    net::relay::Pace as _,
    server::Wire,
    telemetry::names::ProxyErrorType,
    upstream::{Connection, Pool},
};

/// Why a response was cut short. The client sees a message that is not complete.
#[derive(Debug, Error)]
pub enum ResponseBodyError {
    /// The origin closed or failed inside the body.
    #[error("the response ended early")]
    Origin(#[source] hyper::Error),
    /// The origin sent nothing for `timeouts.body_idle`.
    #[error("the origin sent nothing for timeouts.body_idle")]
    Timeout,
}

/// The body of an answer.
#[derive(Debug)]
pub enum ProxyBody {
    /// No content.
    Empty,
    /// Content of our own.
    Full(Option<Bytes>),
    /// What the origin sends.
    Stream(Box<Streamed>),
}

/// A response body that streams.
#[derive(Debug)]
pub struct Streamed {
    incoming: Incoming,
    lease: Option<Lease>,
    /// What `Connection` named must not come back as a trailer.
    nominated: Nominated,
    exchange: Box<Exchange>,
    wire: Arc<Wire>,
    body_idle: Duration,
    waiting: Option<Instant>,
    pace: Option<Pace>,
    /// What has moved is to be paid for first.
    paused: Option<Instant>,
    /// What went wrong, kept back until what came before it is on its way to the client.
    failure: Option<ResponseBodyError>,
}

/// A connection that is borrowed from the pool until the response is complete.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection<RequestBody>,
    pub(super) pool: Arc<Pool<RequestBody>>,
}

impl Lease {
    /// The exchange is complete: the next one may use the connection.
    pub(super) fn finish(self) {
        self.pool.put(self.connection);
    }
}

impl ProxyBody {
    pub(super) fn full(text: String) -> Self {
        Self::Full(Some(text.into()))
    }

    pub(super) fn stream(
        incoming: Incoming,
        lease: Lease,
        nominated: Nominated,
        mut exchange: Box<Exchange>,
        wire: Arc<Wire>,
        body_idle: Duration,
    ) -> Self {
        if incoming.is_end_stream() {
            exchange.complete();
            lease.finish();
            return Self::Empty;
        }
        let pace = exchange.pace();
        Self::Stream(Box::new(Streamed {
            incoming,
            lease: Some(lease),
            nominated,
            exchange,
            wire,
            body_idle,
            waiting: None,
            pace,
            paused: None,
            failure: None,
        }))
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        if let Some(until) = self.paused {
            ready!(self.wire.poll_until(cx, until));
            self.paused = None;
        }
        let polled = match &mut self.lease {
            Some(lease) => lease.connection.poll_frame(&mut self.incoming, cx),
            None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = None;
                Poll::Ready(Some(Ok(self.pass(frame))))
            }
            Poll::Ready(Some(Err(error))) => {
                self.exchange.fail(ProxyErrorType::HttpResponseIncomplete);
                self.fail(ResponseBodyError::Origin(error), cx)
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let since = *self.waiting.get_or_insert_with(Instant::now);
                if self.wire.poll_until(cx, since + self.body_idle).is_pending() {
                    return Poll::Pending;
                }
                self.exchange.fail(ProxyErrorType::HttpResponseTimeout);
                self.fail(ResponseBodyError::Timeout, cx)
            }
        }
    }

    /// Fails with the next poll. hyper throws away what it has not written when a body fails, so it is given the time
    /// between two polls to write it: the client sees as much of the message as there was.
    fn fail<T>(&mut self, failure: ResponseBodyError, cx: &mut Context<'_>) -> Poll<T> {
        self.failure = Some(failure);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn pass(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(content) = frame.data_ref() {
            let size = content.len() as u64;
            self.exchange.count_out(size);
            self.paused = self.pace.as_ref().and_then(|pace| pace.moved(size));
        } else if let Some(trailers) = frame.trailers_mut() {
            hop_by_hop::strip_trailers(trailers, &self.nominated);
        }
        if self.incoming.is_end_stream() {
            self.finish();
        }
        frame
    }

    /// The last byte is here: the record says so, and the connection is free.
    fn finish(&mut self) {
        self.exchange.complete();
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Stream(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(content) => content.is_none(),
            Self::Stream(streamed) => streamed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(content) => {
                SizeHint::with_exact(content.as_ref().map_or(0, |content| content.len() as u64))
            }
            Self::Stream(streamed) => streamed.incoming.size_hint(),
        }
    }
}
