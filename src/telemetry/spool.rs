//! Lines on their way to a file: bounded memory, and a thread of its own that writes.
//!
//! Who adds a line never waits for a disk: a file system that is full, slow or hangs costs lines, which are counted, and
//! nothing else. Knows neither what the lines say nor where they go.
//!
//! ```text
//! push -> lines (memory) -> the writer lets some gather, takes all -> Sink
//! ```
//!
//! Invariant: lines leave in the order in which they came, and a line that was counted as dropped is never written.

use std::{
    fmt, io, mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::log_file::Unwritten;

/// Lines in memory, in bytes; more are dropped.
const MAX_PENDING: usize = 1 << 20;

/// So many bytes are not let gather any longer: what is left of [`MAX_PENDING`] is for what comes meanwhile.
const CROWDED: usize = 256 << 10;

/// What two buffers may each keep while there is nothing to do.
const KEPT_CAPACITY: usize = 16 << 10;

/// How long a larger buffer is kept for the next peak.
const PEAK_MEMORY: Duration = Duration::from_secs(1);

/// How long [`Spool::reopen`] waits for the file system.
const REOPEN_PATIENCE: Duration = Duration::from_secs(1);

/// How long a spool that is dropped waits for its last lines.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// The writer has no deep calls.
const STACK: usize = 128 << 10;

/// Where lines go. Used by the writer's thread only, so it may block.
pub(super) trait Sink: Send + 'static {
    /// Writes whole lines.
    fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten>;

    /// Opens anew what has a name.
    fn reopen(&mut self) -> io::Result<()>;
}

/// Lines on their way. Dropping it waits for what is there, two seconds at most.
pub(super) struct Spool {
    shared: Arc<Shared>,
    turn: Mutex<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the writer.
    wake: Condvar,
    /// Wakes those who wait for the writer.
    progress: Condvar,
    dropped: AtomicU64,
}

struct State {
    lines: Vec<u8>,
    /// Bytes that were ever added, and those of them that the writer is done with.
    added: u64,
    done: u64,
    phase: Phase,
    /// Somebody waits: nothing is let gather.
    is_urgent: bool,
    is_closed: bool,
    reopen: Reopen,
}

/// What the writer is at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the first line.
    Idle,
    /// Lets lines gather, or is about to.
    Gathering,
    /// Has lines in hand.
    Writing,
}

enum Reopen {
    No,
    Asked,
    Done(io::Result<()>),
}

impl Spool {
    /// Starts a writer with this thread name, which lets lines gather for `gather` before it writes.
    ///
    /// # Errors
    ///
    /// When there is no thread for it.
    pub(super) fn start(name: &str, gather: Duration, sink: impl Sink) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                lines: Vec::new(),
                added: 0,
                done: 0,
                phase: Phase::Gathering,
                is_urgent: false,
                is_closed: false,
                reopen: Reopen::No,
            }),
            wake: Condvar::new(),
            progress: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || writer.write_until_closed(gather, sink))?;
        Ok(Self { shared, turn: Mutex::default() })
    }

    /// Adds the line that `format` appends; whether it was added. Where memory is full of lines, it is dropped and counted.
    pub(super) fn push(&self, format: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.shared.state();
        let before = state.lines.len();
        if before < MAX_PENDING {
            format(&mut state.lines);
        }
        let after = state.lines.len();
        if after == before || after > MAX_PENDING {
            state.lines.truncate(before);
            drop(state);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        state.added += (after - before) as u64;
        // A wake-up is a system call: one for the first line, one when there are very many.
        let wakes = match state.phase {
            Phase::Idle => true,
            Phase::Gathering => before < CROWDED && after >= CROWDED,
            Phase::Writing => false,
        };
        if wakes {
            state.phase = Phase::Gathering;
            drop(state);
            self.shared.wake.notify_one();
        }
        true
    }

    /// Waits until all that was added before is written or lost; whether it was in time.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let goal = self.shared.state().added;
        self.shared.wait(patience, |state| state.done >= goal, |state| state.is_urgent = state.done < goal)
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.shared.state();
        state.done == state.added
    }

    /// Opens the sink anew, once the lines that were added before are written.
    ///
    /// # Errors
    ///
    /// The sink's; or that the file system does not answer. Then it is opened anew when it does.
    pub(super) fn reopen(&self) -> io::Result<()> {
        // One at a time: an outcome is told to who asked for it.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let is_done = |state: &State| matches!(state.reopen, Reopen::Done(_));
        if self.shared.wait(REOPEN_PATIENCE, is_done, |state| state.reopen = Reopen::Asked)
            && let Reopen::Done(result) = mem::replace(&mut self.shared.state().reopen, Reopen::No)
        {
            return result;
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the file system does not answer; the file is opened anew as soon as it does",
        ))
    }

    /// Lines that were lost.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.wait(LAST_PATIENCE, |state| state.done == state.added, |state| state.is_closed = true);
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Shared {
    /// A thread that panicked left nothing half done that matters more than the lines of the others.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the writer a wish and waits until it is fulfilled; whether it was in time.
    fn wait(
        &self,
        patience: Duration,
        is_fulfilled: impl Fn(&State) -> bool,
        wish: impl FnOnce(&mut State),
    ) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        wish(&mut state);
        self.wake.notify_one();
        while !is_fulfilled(&state) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            state = self.progress.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The writer's life.
    fn write_until_closed(&self, gather: Duration, mut sink: impl Sink) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.gathered(gather, &mut batch);
            mem::swap(&mut state.lines, &mut batch);
            state.phase = Phase::Writing;
            state.is_urgent = false;
            let reopens = matches!(state.reopen, Reopen::Asked);
            drop(state);

            if !batch.is_empty()
                && let Err(lost) = sink.write(&batch)
            {
                self.dropped.fetch_add(lost.lines, Ordering::Relaxed);
            }
            let reopened = reopens.then(|| sink.reopen());

            let mut state = self.state();
            state.done += batch.len() as u64;
            batch.clear();
            if let Some(result) = reopened {
                state.reopen = Reopen::Done(result);
            }
            let is_over = state.is_closed && state.lines.is_empty();
            drop(state);
            self.progress.notify_all();
            if is_over {
                return;
            }
        }
    }

    /// Waits until there is something to do: lines that have gathered, or a wish.
    fn gathered(&self, gather: Duration, batch: &mut Vec<u8>) -> MutexGuard<'_, State> {
        let has_wish =
            |state: &State| state.is_closed || state.is_urgent || matches!(state.reopen, Reopen::Asked);
        let mut state = self.state();
        while state.lines.is_empty() && !has_wish(&state) {
            state.phase = Phase::Idle;
            if state.lines.capacity().max(batch.capacity()) <= KEPT_CAPACITY {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                let (woken, time) =
                    self.wake.wait_timeout(state, PEAK_MEMORY).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if time.timed_out() && state.lines.is_empty() {
                    state.lines = Vec::new();
                    *batch = Vec::new();
                }
            }
        }
        state.phase = Phase::Gathering;
        let deadline = Instant::now() + gather;
        while state.lines.len() < CROWDED && !has_wish(&state) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }
}

#[cfg(test)]
mod tests;
