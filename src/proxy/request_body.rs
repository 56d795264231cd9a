//! The body of a request on its way to the origin: counted, limited, held back while the client waits for a 100.
//!
//! It is polled while the origin's connection is driven, so what it has seen is left in an [`Upload`] that the
//! exchange reads: for the record, for the deadlines, and for the cause when it ended early.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use super::limiter::Pace;
use crate::net::relay::Pace as _;

use crate::shared_memory::Seat;

/// What is known of a request body while it is sent.
#[derive(Debug)]
pub(super) struct Upload {
    bytes: AtomicU64,
    seat: Seat,
    /// Closed while `Expect: 100-continue` holds the body back.
    gate_open: AtomicBool,
    /// The next byte has to come from the client, not from us.
    waits_for_client: AtomicBool,
    too_large: AtomicBool,
    /// It has been too fast, and waits.
    is_paused: AtomicBool,
    progress: Mutex<Progress>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    last: Instant,
    done: bool,
}

impl Upload {
    fn new(gate_open: bool, seat: Seat) -> Self {
        Self {
            seat,
            bytes: AtomicU64::new(0),
            gate_open: AtomicBool::new(gate_open),
            waits_for_client: AtomicBool::new(false),
            too_large: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            progress: Mutex::new(Progress { last: Instant::now(), done: false }),
        }
    }

    /// Bytes of content that were sent on.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether anything was taken from the body.
    pub(super) fn is_touched(&self) -> bool {
        self.bytes() > 0 || self.done_at().is_some()
    }

    /// When the body was at its end.
    pub(super) fn done_at(&self) -> Option<Instant> {
        let progress = self.progress();
        progress.done.then_some(progress.last)
    }

    /// When something moved last.
    pub(super) fn last_progress(&self) -> Instant {
        self.progress().last
    }

    /// Whether the body was over `limits.max_body_size`.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Relaxed)
    }

    /// Whether everything that the client sent has been taken by the origin's connection.
    pub(super) fn waits_for_client(&self) -> bool {
        self.waits_for_client.load(Ordering::Relaxed)
    }

    /// Whether it is held back for having been too fast: nobody is late then.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    /// Whether the body may flow.
    pub(super) fn is_gate_open(&self) -> bool {
        self.gate_open.load(Ordering::Relaxed)
    }

    /// Lets the body flow. It does when the origin's connection is driven next.
    pub(super) fn open_gate(&self) {
        self.gate_open.store(true, Ordering::Relaxed);
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).last = Instant::now();
    }

    fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, done: bool) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) =
            Progress { last: Instant::now(), done };
    }
}

/// Why a request body could not be sent on to its end.
#[derive(Debug, Error)]
pub(super) enum RequestBodyError {
    #[error("the request body is larger than limits.max_body_size")]
    TooLarge,
    #[error("the request body ended early")]
    Client(#[source] hyper::Error),
}

/// A request body. The empty one costs nothing.
#[derive(Debug)]
pub(super) enum RequestBody {
    Empty,
    Stream { incoming: Incoming, upload: Arc<Upload>, left: u64, brake: Option<Box<Brake>> },
}

/// Holds back a body that may not move as fast as it could. It has a timer of its own, for it may outlive the exchange.
#[derive(Debug)]
pub(super) struct Brake {
    pace: Pace,
    sleep: Pin<Box<Sleep>>,
    is_on: bool,
}

impl Brake {
    fn new(pace: Pace) -> Box<Self> {
        Box::new(Self { pace, sleep: Box::pin(sleep_until(Instant::now())), is_on: false })
    }

    fn moved(&mut self, bytes: u64) {
        if let Some(until) = self.pace.moved(bytes) {
            self.sleep.as_mut().reset(until);
            self.is_on = true;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_on {
            ready!(self.sleep.as_mut().poll(cx));
            self.is_on = false;
        }
        Poll::Ready(())
    }
}

impl RequestBody {
    /// A body that is sent on as it comes, up to `limit` bytes (0 = no limit), at once or when the gate is opened.
    /// Its bytes are counted in `seat` as they pass. `pace` says how fast; none = as fast as it goes.
    pub(super) fn stream(
        incoming: Incoming,
        limit: u64,
        gate_open: bool,
        pace: Option<Pace>,
        seat: Seat,
    ) -> (Self, Arc<Upload>) {
        let upload = Arc::new(Upload::new(gate_open, seat));
        let left = if limit == 0 { u64::MAX } else { limit };
        let brake = pace.map(Brake::new);
        (Self::Stream { incoming, upload: Arc::clone(&upload), left, brake }, upload)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let Self::Stream { incoming, upload, left, brake } = self.get_mut() else { return Poll::Ready(None) };
        if !upload.is_gate_open() {
            // Whoever opens the gate drives the connection, and with it this body, right after.
            return Poll::Pending;
        }
        if let Some(brake) = brake {
            upload.is_paused.store(true, Ordering::Relaxed);
            ready!(brake.poll(cx));
            upload.is_paused.store(false, Ordering::Relaxed);
        }
        upload.waits_for_client.store(true, Ordering::Relaxed);
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        upload.waits_for_client.store(false, Ordering::Relaxed);
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(RequestBodyError::Client(error)))),
            None => {
                upload.mark(true);
                return Poll::Ready(None);
            }
        };
        if let Some(content) = frame.data_ref() {
            let size = content.len() as u64;
            let Some(rest) = left.checked_sub(size) else {
                upload.too_large.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge)));
            };
            *left = rest;
            upload.bytes.fetch_add(size, Ordering::Relaxed);
            upload.seat.counters().bytes_in.fetch_add(size, Ordering::Relaxed);
            if let Some(brake) = brake {
                brake.moved(size);
            }
        }
        upload.mark(incoming.is_end_stream());
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { incoming, .. } => incoming.size_hint(),
        }
    }
}
