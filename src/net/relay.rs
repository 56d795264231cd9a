//! Both ways until both ends finish.
//!
//! Each direction moves by itself and holds a buffer only while bytes are on their way. The end of one side is passed on
//! once everything in front of it is written; an error on one side ends both. One timer a relay, moved lazily. On Linux a
//! direction that moves many bytes goes through the kernel. Must not know what the bytes are.

mod buffer;
mod direction;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use self::direction::{Direction, Fault, Way};

/// Deadlines of a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayOptions {
    /// Nothing moves either way.
    pub idle: Duration,
    /// One side has finished, and the other is silent.
    pub half_close: Duration,
}

/// How fast a relay may be.
pub trait Pace: Send + Sync {
    /// So many bytes have moved: until when no more may; none = more may at once.
    fn moved(&self, bytes: u64) -> Option<Instant>;
}

/// Who else is told of bytes, as soon as they have passed.
pub trait Meter: Send + Sync {
    /// So many went from the client to the origin.
    fn up(&self, bytes: u64);

    /// So many went from the origin to the client.
    fn down(&self, bytes: u64);
}

/// Bytes that a relay has passed on. Outlives a relay that is dropped.
#[derive(Default)]
pub struct RelayCounts {
    up: AtomicU64,
    down: AtomicU64,
    meter: Option<Arc<dyn Meter>>,
}

impl RelayCounts {
    /// Counts of which `meter` is told as well.
    #[must_use]
    pub fn metered(meter: Arc<dyn Meter>) -> Self {
        Self { meter: Some(meter), ..Self::default() }
    }

    /// From the client to the origin.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// From the origin to the client.
    #[must_use]
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    fn add(&self, way: Way, bytes: u64) {
        let count = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        count.fetch_add(bytes, Ordering::Relaxed);
        match (&self.meter, way) {
            (Some(meter), Way::Up) => meter.up(bytes),
            (Some(meter), Way::Down) => meter.down(bytes),
            (None, _) => {}
        }
    }
}

impl fmt::Debug for RelayCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayCounts").field("up", &self.up).field("down", &self.down).finish_non_exhaustive()
    }
}

/// How a relay ended.
#[derive(Debug)]
pub enum RelayOutcome {
    /// Both sides finished.
    Finished,
    /// Nothing moved for [`RelayOptions::idle`].
    Idle,
    /// One side had finished, and the other was silent for [`RelayOptions::half_close`].
    HalfClosed,
    /// The client's connection failed.
    ClientFailed(io::Error),
    /// The origin's connection failed.
    OriginFailed(io::Error),
}

/// One end of a relay: a socket, or what has one underneath.
pub trait Conduit: AsyncRead + AsyncWrite + Unpin {
    /// The socket whose bytes are the very bytes that are relayed, where there is one: it can be moved by the kernel.
    fn plain(&self) -> Option<&TcpStream>;

    /// Has the connection reset when it is closed, for what it carries is not complete.
    fn abort(&self);
}

impl Conduit for TcpStream {
    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn abort(&self) {
        let _ = self.set_zero_linger();
    }
}

/// Moves bytes between `client` and `origin` until both have finished; `early` bytes go first.
///
/// Dropping it closes both connections. `counts` tells what has moved at any time.
pub fn relay<C: Conduit, O: Conduit>(
    (client, client_early): (C, Bytes),
    (origin, origin_early): (O, Bytes),
    options: RelayOptions,
    pace: Option<Box<dyn Pace>>,
    counts: Arc<RelayCounts>,
) -> Relay<C, O> {
    Relay {
        up: Direction::new(Way::Up, client_early, pace.is_some()),
        down: Direction::new(Way::Down, origin_early, pace.is_some()),
        client,
        origin,
        counts,
        pace,
        timer: Timer::new(options),
        brake: Brake::default(),
        deaf: None,
    }
}

/// A relay that runs when it is awaited. It is as large as what it holds, for there may be many that wait.
#[must_use = "it moves nothing unless it is awaited"]
pub struct Relay<C, O> {
    client: C,
    origin: O,
    up: Direction,
    down: Direction,
    counts: Arc<RelayCounts>,
    pace: Option<Box<dyn Pace>>,
    timer: Timer,
    brake: Brake,
    deaf: Option<Deaf>,
}

impl<C: Conduit, O: Conduit> Future for Relay<C, O> {
    type Output = RelayOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RelayOutcome> {
        let relay = &mut *self;
        let outcome = ready!(relay.poll_outcome(cx));
        Poll::Ready(relay.close(outcome))
    }
}

impl<C: Conduit, O: Conduit> Relay<C, O> {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<RelayOutcome> {
        if self.brake.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let (up, down) = (&mut self.up, &mut self.down);
        let before = up.moved() + down.moved();
        let up_done = match up.poll(cx, (&mut self.client, &mut self.origin), &self.counts, down.is_done()) {
            Poll::Ready(Err(Fault::Source(error))) => return Poll::Ready(RelayOutcome::ClientFailed(error)),
            Poll::Ready(Err(Fault::Sink(error))) => {
                self.deaf = Some(Deaf { error, down: down.moved(), ended: down.is_done() });
                up.discard();
                cx.waker().wake_by_ref();
                false
            }
            polled => polled.is_ready(),
        };
        let down_done = match down.poll(cx, (&mut self.origin, &mut self.client), &self.counts, up_done) {
            Poll::Ready(Err(Fault::Source(error))) => return Poll::Ready(RelayOutcome::OriginFailed(error)),
            Poll::Ready(Err(Fault::Sink(error))) => return Poll::Ready(RelayOutcome::ClientFailed(error)),
            polled => polled.is_ready(),
        };
        if down_done && let Some(deaf) = self.deaf.take_if(|deaf| !deaf.ended && deaf.down == down.moved()) {
            return Poll::Ready(RelayOutcome::OriginFailed(deaf.error));
        }
        if up_done && down_done {
            return Poll::Ready(RelayOutcome::Finished);
        }
        let moved = up.moved() + down.moved() - before;
        if moved > 0
            && let Some(pace) = &self.pace
        {
            self.brake.until = pace.moved(moved);
            // Who has to wait is told when to go on, and who does not goes on.
            cx.waker().wake_by_ref();
        }
        self.timer.poll(cx, moved > 0, up_done || down_done)
    }

    /// Has both sides see how it ended.
    fn close(&mut self, outcome: RelayOutcome) -> RelayOutcome {
        if matches!(outcome, RelayOutcome::ClientFailed(_) | RelayOutcome::OriginFailed(_)) {
            // What one side has lost must not look finished to the other.
            self.client.abort();
            self.origin.abort();
        }
        if matches!(outcome, RelayOutcome::Idle | RelayOutcome::HalfClosed) {
            // What one side does not take is not kept for it in the kernel.
            if self.down.is_holding() {
                self.client.abort();
            }
            if self.up.is_holding() {
                self.origin.abort();
            }
        }
        match self.deaf.take() {
            Some(deaf) if !deaf.ended => RelayOutcome::OriginFailed(deaf.error),
            _ => outcome,
        }
    }
}

impl<C, O> fmt::Debug for Relay<C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// An origin that takes no more, though there is something to send to it.
///
/// It may have said all it had to say before, as a server does that refuses an upload and hangs up. What it said is still
/// passed on, and the client's connection is not reset while that is on its way: what the client sends is read and
/// dropped until it has finished too. Only an origin that had nothing more to say has failed.
struct Deaf {
    error: io::Error,
    /// What had come from it by then.
    down: u64,
    /// Whether its end had been passed on by then.
    ended: bool,
}

/// Holds a relay that was too fast. Nothing else is looked at meanwhile, deadlines neither: they begin anew when it goes on.
#[derive(Default)]
struct Brake {
    until: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Brake {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else { return Poll::Ready(()) };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        ready!(sleep.as_mut().poll(cx));
        self.until = None;
        Poll::Ready(())
    }
}

/// The one timer of a relay. It is armed when the relay begins to wait, and looks at the clock only when it fires or when
/// something has moved.
struct Timer {
    options: RelayOptions,
    last_moved: Instant,
    half_closed: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn new(options: RelayOptions) -> Self {
        Self { options, last_moved: Instant::now(), half_closed: false, sleep: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>, moved: bool, half_closed: bool) -> Poll<RelayOutcome> {
        if moved || half_closed != self.half_closed {
            self.last_moved = Instant::now();
            self.half_closed = half_closed;
        }
        let (patience, outcome) = if half_closed {
            (self.options.half_close.min(self.options.idle), RelayOutcome::HalfClosed)
        } else {
            (self.options.idle, RelayOutcome::Idle)
        };
        let at = self.last_moved + patience;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(outcome);
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}
