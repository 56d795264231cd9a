//! Both ways until both ends finish.
//!
//! Each direction moves by itself: readiness first, then a read into a buffer of the thread's pool, which is held only
//! while bytes are on their way. The end of one side is passed on once everything in front of it is written; an
//! error on one side ends both. One timer a relay, moved lazily. Must not know what the bytes are.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// How much is moved at a time.
const BUFFER_SIZE: usize = 64 * 1024;

/// Buffers that a thread keeps for the next bytes.
const POOLED_BUFFERS: usize = 16;

/// How often one direction may move before the other has its turn.
const TURNS: usize = 8;

/// Deadlines of a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayOptions {
    /// Nothing moves either way.
    pub idle: Duration,
    /// One side has finished, and the other is silent.
    pub half_close: Duration,
}

/// Bytes that a relay has passed on. Outlives a relay that is dropped.
#[derive(Debug, Default)]
pub struct RelayCounts {
    up: AtomicU64,
    down: AtomicU64,
}

impl RelayCounts {
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

/// Moves bytes between `client` and `origin` until both have finished; `early` bytes go first.
///
/// Dropping the future closes both connections. `counts` tells what has moved at any time.
pub async fn relay(
    client: TcpStream,
    client_early: Bytes,
    origin: TcpStream,
    origin_early: Bytes,
    options: RelayOptions,
    counts: &RelayCounts,
) -> RelayOutcome {
    let mut up = Direction::new(client_early);
    let mut down = Direction::new(origin_early);
    let mut timer = Timer::new(options);
    let outcome = poll_fn(|cx| {
        let before = up.moved + down.moved;
        let up_done = match up.poll(cx, &client, &origin, &counts.up) {
            Poll::Ready(Err(end)) => return Poll::Ready(end.outcome(true)),
            polled => polled.is_ready(),
        };
        let down_done = match down.poll(cx, &origin, &client, &counts.down) {
            Poll::Ready(Err(end)) => return Poll::Ready(end.outcome(false)),
            polled => polled.is_ready(),
        };
        if up_done && down_done {
            return Poll::Ready(RelayOutcome::Finished);
        }
        timer.poll(cx, up.moved + down.moved != before, up_done || down_done)
    })
    .await;
    if matches!(outcome, RelayOutcome::ClientFailed(_) | RelayOutcome::OriginFailed(_)) {
        // What one side has lost must not look finished to the other.
        let _ = client.set_zero_linger();
        let _ = origin.set_zero_linger();
    }
    outcome
}

/// Which end of a direction failed.
enum End {
    Source(io::Error),
    Sink(io::Error),
}

impl End {
    fn outcome(self, upward: bool) -> RelayOutcome {
        match (self, upward) {
            (Self::Source(error), true) | (Self::Sink(error), false) => RelayOutcome::ClientFailed(error),
            (Self::Source(error), false) | (Self::Sink(error), true) => RelayOutcome::OriginFailed(error),
        }
    }
}

/// One way.
struct Direction {
    /// Read and not yet written.
    held: Bytes,
    moved: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has finished; what is held is still to be written.
    Ending,
    Done,
}

impl Direction {
    fn new(early: Bytes) -> Self {
        Self { held: early, moved: 0, state: State::Open }
    }

    /// Ready when the source has finished and the sink knows.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        count: &AtomicU64,
    ) -> Poll<Result<(), End>> {
        for _ in 0..TURNS {
            if self.state == State::Done {
                return Poll::Ready(Ok(()));
            }
            if !self.held.is_empty() {
                ready!(sink.poll_write_ready(cx)).map_err(End::Sink)?;
                match sink.try_write(&self.held) {
                    Ok(written) => {
                        drop(self.held.split_to(written));
                        self.passed(written, count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(End::Sink(error))),
                }
            } else if self.state == State::Ending {
                // An error here says that the sink is gone, which its own direction finds out.
                let _ = SockRef::from(sink).shutdown(Shutdown::Write);
                self.state = State::Done;
            } else {
                ready!(source.poll_read_ready(cx)).map_err(End::Source)?;
                ready!(self.pump(cx, source, sink, count))?;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes what was read; what the sink does not take is held.
    fn pump(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        count: &AtomicU64,
    ) -> Poll<Result<(), End>> {
        with_buffer(|buffer| {
            let read = match source.try_read(buffer) {
                Ok(0) => {
                    self.state = State::Ending;
                    return Poll::Ready(Ok(()));
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(End::Source(error))),
            };
            let mut written = 0;
            while written < read {
                match sink.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Sink(error))),
                    Poll::Pending => break,
                }
                match sink.try_write(&buffer[written..read]) {
                    Ok(more) => written += more,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(End::Sink(error))),
                }
            }
            self.passed(written, count);
            if written < read {
                self.held = Bytes::copy_from_slice(&buffer[written..read]);
            }
            Poll::Ready(Ok(()))
        })
    }

    fn passed(&mut self, bytes: usize, count: &AtomicU64) {
        self.moved += bytes as u64;
        count.fetch_add(bytes as u64, Ordering::Relaxed);
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

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer for as long as `use_it` runs.
fn with_buffer<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    let pooled = BUFFERS.with(|buffers| buffers.borrow_mut().pop());
    let mut buffer = pooled.unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice());
    let result = use_it(&mut buffer);
    BUFFERS.with(|buffers| {
        let mut buffers = buffers.borrow_mut();
        if buffers.len() < POOLED_BUFFERS {
            buffers.push(buffer);
        }
    });
    result
}
