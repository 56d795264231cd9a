//! One way of an exchange: a head and the body behind it, from one socket to the other.
//!
//! What was read leaves before anything more is read, so that a slow reader slows its sender down and nothing piles up. Head and
//! content leave in one write where they are there together; much content goes through the kernel. Must not know which way it is, nor any deadline; it tells since
//! when it waits, and for whom.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::AsyncWrite,
    time::{Instant, Sleep, sleep_until},
};

use super::limiter::Pace;
#[cfg(target_os = "linux")]
use crate::net::bulk::Bulk;
use crate::{
    message::body::Body,
    net::{
        inbox::{self, Inbox},
        relay::{Conduit, Pace as _},
    },
};

/// How often it moves before others have their turn.
const TURNS: usize = 16;

/// Content that is copied rather than waited with, in bytes.
pub(super) const LITTLE: usize = 4 * 1024;

/// Why it cannot go on.
#[derive(Debug)]
pub(super) enum FlowError {
    /// The source has ended inside the body, or failed.
    Ended,
    /// The chunks of the source are malformed.
    Malformed,
    /// There is more content than allowed.
    TooLarge,
    /// The sink has failed.
    Sink,
}

/// Whom it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The source has sent nothing.
    Source,
    /// The sink takes nothing.
    Sink,
}

/// One way.
#[derive(Debug)]
pub(super) struct Flow {
    /// What is to be written in front of the content: the head, and chunks that are written anew.
    out: Vec<u8>,
    at: usize,
    body: Body,
    /// The most content that may pass.
    limit: u64,
    /// Whether the content may pass yet.
    is_open: bool,
    has_begun: bool,
    took_content: bool,
    waiting: Option<(Waiting, Instant)>,
    /// How fast the content may move; none = as fast as it goes.
    brake: Option<Box<Brake>>,
    #[cfg(target_os = "linux")]
    bulk: Bulk,
}

/// Holds back content that may not move as fast as it could. It has a timer of its own, as both ways of an exchange may be held
/// back.
#[derive(Debug)]
struct Brake {
    pace: Pace,
    sleep: Pin<Box<Sleep>>,
    is_on: bool,
}

impl Flow {
    /// `head`, and then `body`, of which no more than `limit` bytes may be content.
    pub(super) fn new(head: Vec<u8>, body: Body, limit: u64) -> Self {
        Self {
            out: head,
            at: 0,
            body,
            limit,
            is_open: true,
            has_begun: false,
            took_content: false,
            waiting: None,
            brake: None,
            #[cfg(target_os = "linux")]
            bulk: Bulk::default(),
        }
    }

    /// Has the content move at this pace.
    pub(super) fn paced(mut self, pace: Option<Pace>) -> Self {
        self.brake = pace
            .map(|pace| Box::new(Brake { pace, sleep: Box::pin(sleep_until(Instant::now())), is_on: false }));
        self
    }

    /// Holds the content back until [`Self::open`].
    pub(super) fn close(&mut self) {
        self.is_open = false;
    }

    /// Lets the content pass.
    pub(super) fn open(&mut self) {
        self.is_open = true;
        self.waiting = None;
    }

    /// Whether the content may pass.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a byte of it was written.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether content was taken from the source.
    pub(super) fn took_content(&self) -> bool {
        self.took_content
    }

    /// Bytes of content that have passed.
    pub(super) fn content(&self) -> u64 {
        self.body.content()
    }

    /// For whom it waits, and since when. Known after it was polled and is pending.
    pub(super) fn waiting(&self) -> Option<(Waiting, Instant)> {
        self.waiting
    }

    /// Begins once more, as if nothing had been written. Only where no content was taken.
    pub(super) fn restart(&mut self) {
        debug_assert!(!self.took_content, "content that was taken is gone");
        self.at = 0;
        self.has_begun = false;
        self.waiting = None;
    }

    /// All that is to be written, where it is here already and little: then the source need not be kept until the sink has
    /// taken it.
    pub(super) fn take_whole(&mut self, inbox: &mut Inbox) -> Option<Vec<u8>> {
        let left = if self.body.is_done() { 0 } else { usize::try_from(self.body.plain_bytes()?).ok()? };
        if left > LITTLE || left > inbox.unread().len() || self.brake.is_some() || self.has_begun {
            return None;
        }
        if left > 0 {
            self.out.extend_from_slice(&inbox.unread()[..left]);
            inbox.consume(left);
            self.body.sent(left);
        }
        Some(std::mem::take(&mut self.out))
    }

    /// Moves as much as there is. Ready when all of it is written.
    pub(super) fn poll<S, D>(
        &mut self,
        cx: &mut Context<'_>,
        (inbox, source): (&mut Inbox, &mut S),
        sink: &mut D,
    ) -> Poll<Result<(), FlowError>>
    where
        S: Conduit,
        D: Conduit,
    {
        for _ in 0..TURNS {
            if self.brake.as_mut().is_some_and(|brake| brake.poll(cx).is_pending()) {
                // Nobody is late then.
                self.waiting = None;
                return Poll::Pending;
            }
            if self.at < self.out.len()
                || (self.is_open && !inbox.is_empty() && self.body.plain_bytes().is_some())
            {
                let written = match self.poll_write(cx, inbox, sink) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(FlowError::Sink)),
                    Poll::Ready(Ok(written)) => written,
                    Poll::Pending => return self.wait_for(Waiting::Sink),
                };
                self.wrote(written, inbox);
                continue;
            }
            #[cfg(target_os = "linux")]
            if let Some(moved) = self.poll_bulk(cx, inbox, source, sink) {
                ready!(moved)?;
                continue;
            }
            // Nothing for a socket; what encrypts may have kept something back.
            let flushed = Pin::new(&mut *sink).poll_flush(cx);
            if matches!(flushed, Poll::Ready(Err(_))) {
                return Poll::Ready(Err(FlowError::Sink));
            }
            if self.body.is_done() {
                return if flushed.is_ready() { Poll::Ready(Ok(())) } else { self.wait_for(Waiting::Sink) };
            }
            if !self.is_open {
                return self.wait_for(Waiting::Source);
            }
            if inbox.is_empty() {
                match inbox.poll_fill(cx, source) {
                    Poll::Ready(Ok(0)) => self.end()?,
                    Poll::Ready(Ok(read)) => self.filled(read),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(FlowError::Ended)),
                    Poll::Pending => return self.wait_for(Waiting::Source),
                }
            } else {
                self.pass(inbox)?;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves what need not be seen through the kernel; none where that is not worth it, or cannot be done.
    #[cfg(target_os = "linux")]
    fn poll_bulk<S: Conduit, D: Conduit>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &Inbox,
        source: &S,
        sink: &D,
    ) -> Option<Poll<Result<(), FlowError>>> {
        let (source, sink) = (source.plain()?, sink.plain()?);
        if self.bulk.is_holding() {
            return Some(match self.bulk.drain(cx, sink) {
                Poll::Ready(Ok(None)) => Poll::Ready(Ok(())),
                Poll::Ready(Ok(Some(0)) | Err(_)) => Poll::Ready(Err(FlowError::Sink)),
                Poll::Ready(Ok(Some(moved))) => {
                    self.waiting = None;
                    self.body.sent(moved);
                    Poll::Ready(Ok(()))
                }
                Poll::Pending => self.wait_for(Waiting::Sink),
            });
        }
        // Paced content moves in pieces that can be counted before there are too many.
        if !self.bulk.is_on() || !self.is_open || !inbox.is_empty() || self.brake.is_some() {
            return None;
        }
        let left = usize::try_from(self.body.plain_bytes()?).unwrap_or(usize::MAX);
        Some(match self.bulk.fill(cx, source, left) {
            Poll::Ready(Ok(Some(0))) => Poll::Ready(self.end()),
            Poll::Ready(Ok(_)) => {
                self.took_content = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(FlowError::Ended)),
            Poll::Pending => self.wait_for(Waiting::Source),
        })
    }

    fn poll_write<D: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        inbox: &Inbox,
        sink: &mut D,
    ) -> Poll<io::Result<usize>> {
        let first = &self.out[self.at..];
        let content = match self.body.plain_bytes() {
            Some(left) if self.is_open => {
                let unread = inbox.unread();
                &unread[..usize::try_from(left).unwrap_or(usize::MAX).min(unread.len())]
            }
            _ => &[],
        };
        let sink = Pin::new(sink);
        match (first.is_empty(), content.is_empty()) {
            (false, false) => sink.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(content)]),
            (false, true) => sink.poll_write(cx, first),
            (true, _) => sink.poll_write(cx, content),
        }
    }

    fn wrote(&mut self, written: usize, inbox: &mut Inbox) {
        self.waiting = None;
        self.has_begun = true;
        let first = written.min(self.out.len() - self.at);
        self.at += first;
        if written > first {
            inbox.consume(written - first);
            self.body.sent(written - first);
            self.moved(written - first);
        }
    }

    /// Writes anew what came in chunks.
    fn pass(&mut self, inbox: &mut Inbox) -> Result<(), FlowError> {
        self.make_room();
        let before = self.body.content();
        let taken = self.body.pass(inbox.unread(), &mut self.out).map_err(|_| FlowError::Malformed)?;
        inbox.consume(taken);
        self.moved(usize::try_from(self.body.content() - before).unwrap_or(usize::MAX));
        if self.body.content() > self.limit { Err(FlowError::TooLarge) } else { Ok(()) }
    }

    /// So many bytes were read at once.
    fn filled(&mut self, read: usize) {
        self.waiting = None;
        #[cfg(target_os = "linux")]
        self.bulk.note(read);
        #[cfg(not(target_os = "linux"))]
        let _ = read;
    }

    fn moved(&mut self, content: usize) {
        self.took_content = true;
        if let Some(brake) = &mut self.brake
            && let Some(until) = brake.pace.moved(content as u64)
        {
            brake.sleep.as_mut().reset(until);
            brake.is_on = true;
        }
    }

    fn end(&mut self) -> Result<(), FlowError> {
        self.make_room();
        if self.body.end(&mut self.out) { Ok(()) } else { Err(FlowError::Ended) }
    }

    /// What was in front is written: there is room for chunks.
    fn make_room(&mut self) {
        if self.out.capacity() < inbox::ROOM {
            self.out = inbox::take_room();
        }
        self.out.clear();
        self.at = 0;
    }

    fn wait_for<T>(&mut self, whom: Waiting) -> Poll<T> {
        if self.at == self.out.len() && self.out.capacity() >= inbox::ROOM {
            // Who waits needs no room.
            inbox::give_room(std::mem::take(&mut self.out));
            self.at = 0;
        }
        if self.waiting.is_none_or(|(before, _)| before != whom) {
            self.waiting = Some((whom, Instant::now()));
        }
        Poll::Pending
    }
}

impl Brake {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_on {
            ready!(self.sleep.as_mut().poll(cx));
            self.is_on = false;
        }
        Poll::Ready(())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        inbox::give_room(std::mem::take(&mut self.out));
    }
}
