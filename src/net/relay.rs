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
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use self::direction::{Direction, Fault};

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

/// Bytes that a relay has passed on. Outlives a relay that is dropped.
#[derive(Debug, Default)]
pub struct RelayCounts {
    up: Count,
    down: Count,
}

/// Who else is told of bytes, as soon as they have passed.
pub type Meter = Box<dyn Fn(u64) + Send + Sync>;

/// Bytes that went one way.
#[derive(Default)]
struct Count {
    bytes: AtomicU64,
    meter: Option<Meter>,
}

impl Count {
    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(meter) = &self.meter {
            meter(bytes);
        }
    }
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl RelayCounts {
    /// Counts of which these two are told as well.
    #[must_use]
    pub fn metered(up: Meter, down: Meter) -> Self {
        let count = |meter| Count { bytes: AtomicU64::new(0), meter: Some(meter) };
        Self { up: count(up), down: count(down) }
    }

    /// From the client to the origin.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.up.bytes.load(Ordering::Relaxed)
    }

    /// From the origin to the client.
    #[must_use]
    pub fn down(&self) -> u64 {
        self.down.bytes.load(Ordering::Relaxed)
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
/// Dropping the future closes both connections. `counts` tells what has moved at any time.
pub async fn relay<C: Conduit, O: Conduit>(
    mut client: C,
    client_early: Bytes,
    mut origin: O,
    origin_early: Bytes,
    options: RelayOptions,
    pace: Option<&dyn Pace>,
    counts: &RelayCounts,
) -> RelayOutcome {
    let mut up = Direction::new(client_early, pace.is_some());
    let mut down = Direction::new(origin_early, pace.is_some());
    let mut timer = Timer::new(options);
    let mut brake = Brake::default();
    let mut deaf = None;
    let outcome = poll_fn(|cx| {
        if brake.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let before = up.moved() + down.moved();
        let up_done = match up.poll(cx, &mut client, &mut origin, &counts.up) {
            Poll::Ready(Err(Fault::Source(error))) => return Poll::Ready(RelayOutcome::ClientFailed(error)),
            Poll::Ready(Err(Fault::Sink(error))) => {
                deaf = Some(Deaf { error, down: down.moved(), ended: down.is_done() });
                up.discard();
                cx.waker().wake_by_ref();
                false
            }
            polled => polled.is_ready(),
        };
        let down_done = match down.poll(cx, &mut origin, &mut client, &counts.down) {
            Poll::Ready(Err(Fault::Source(error))) => return Poll::Ready(RelayOutcome::OriginFailed(error)),
            Poll::Ready(Err(Fault::Sink(error))) => return Poll::Ready(RelayOutcome::ClientFailed(error)),
            polled => polled.is_ready(),
        };
        if down_done && let Some(deaf) = deaf.take_if(|deaf| !deaf.ended && deaf.down == down.moved()) {
            return Poll::Ready(RelayOutcome::OriginFailed(deaf.error));
        }
        if up_done && down_done {
            return Poll::Ready(RelayOutcome::Finished);
        }
        let moved = up.moved() + down.moved() - before;
        if moved > 0
            && let Some(pace) = pace
        {
            brake.until = pace.moved(moved);
            // Who has to wait is told when to go on, and who does not goes on.
            cx.waker().wake_by_ref();
        }
        timer.poll(cx, moved > 0, up_done || down_done)
    })
    .await;
    if matches!(outcome, RelayOutcome::ClientFailed(_) | RelayOutcome::OriginFailed(_)) {
        // What one side has lost must not look finished to the other.
        client.abort();
        origin.abort();
    }
    if matches!(outcome, RelayOutcome::Idle | RelayOutcome::HalfClosed) {
        // What one side does not take is not kept for it in the kernel.
        if down.is_holding() {
            client.abort();
        }
        if up.is_holding() {
            origin.abort();
        }
    }
    match deaf {
        Some(deaf) if !deaf.ended => RelayOutcome::OriginFailed(deaf.error),
        _ => outcome,
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
