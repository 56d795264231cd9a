//! The access log: records become lines in memory, and a thread of its own writes them.
//!
//! Who writes a record never waits for a disk. Lines gather in a bounded buffer; the writer is woken when the first one
//! arrives, lets some more gather, and appends them as whole lines, so that several processes can share the file.
//! What does not fit is dropped and counted.

use std::{
    io::{self, Write},
    mem,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{access_format, access_record::AccessRecord, log_file::LogFile};

/// Lines in memory, in bytes; more are dropped.
const MAX_PENDING: usize = 1 << 20;

/// What is kept of a buffer between two writes.
const KEPT_CAPACITY: usize = 64 << 10;

/// How long the writer lets lines gather.
const GATHER: Duration = Duration::from_millis(50);

/// Bytes of whole lines in one write.
const MAX_WRITE: usize = 64 << 10;

/// The longest wait of [`AccessLog::flush`].
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Where the lines go.
#[derive(Debug)]
enum Sink {
    File(LogFile),
    Stdout,
}

/// The access log of this process. Clones are the same log; one that is off costs nothing.
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    sink: Sink,
    pending: Mutex<Pending>,
    /// Wakes the writer, and whoever waits for it.
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    /// The writer has lines in hand.
    writing: bool,
    /// Write at once: somebody waits.
    hurry: bool,
}

impl AccessLog {
    /// A log that is not written.
    #[must_use]
    pub fn off() -> Self {
        Self { shared: None }
    }

    /// A log in a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or the thread cannot be started.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        Self::start(Sink::File(LogFile::open(path)?))
    }

    /// A log on standard output.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn to_stdout() -> io::Result<Self> {
        Self::start(Sink::Stdout)
    }

    fn start(sink: Sink) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            sink,
            pending: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writer = Arc::downgrade(&shared);
        thread::Builder::new().name("access-log".into()).stack_size(64 << 10).spawn(move || {
            while let Some(shared) = writer.upgrade() {
                shared.write_once();
            }
        })?;
        Ok(Self { shared: Some(shared) })
    }

    /// Adds a record. Never waits for the disk.
    pub fn write(&self, record: &AccessRecord<'_>) {
        let Some(shared) = &self.shared else { return };
        let mut pending = shared.pending();
        let before = pending.lines.len();
        if before < MAX_PENDING {
            access_format::json(record, &mut pending.lines);
        }
        let after = pending.lines.len();
        if after == before || after > MAX_PENDING {
            pending.lines.truncate(before);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        } else if before == 0 && !pending.writing {
            drop(pending);
            shared.changed.notify_all();
        }
    }

    /// Lines that were lost: because memory was full of them, or because the file could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }

    /// Waits until what was added is written; two seconds at most.
    pub fn flush(&self) {
        let Some(shared) = &self.shared else { return };
        let deadline = Instant::now() + FLUSH_PATIENCE;
        let mut pending = shared.pending();
        while !pending.lines.is_empty() || pending.writing {
            pending.hurry = true;
            shared.changed.notify_all();
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            pending = shared.changed.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Opens the file again, after it was moved away.
    ///
    /// # Errors
    ///
    /// When it cannot be opened; then the old one is still written to.
    pub fn reopen(&self) -> io::Result<()> {
        match self.shared.as_deref() {
            Some(Shared { sink: Sink::File(file), .. }) => file.reopen(),
            _ => Ok(()),
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn of the writer: waits for lines, lets more gather, writes them. Returns now and then without having done
    /// anything, so that the writer sees when the log is gone.
    fn write_once(&self) {
        let mut pending = self.pending();
        if pending.lines.is_empty() {
            pending = self.wait(pending, Duration::from_secs(1));
        }
        if pending.lines.is_empty() {
            return;
        }
        pending.writing = true;
        let deadline = Instant::now() + GATHER;
        while !pending.hurry && pending.lines.len() < MAX_PENDING / 2 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            pending = self.wait(pending, left);
        }
        let mut lines = mem::take(&mut pending.lines);
        drop(pending);
        self.write_out(&lines);
        lines.clear();
        lines.shrink_to(KEPT_CAPACITY);
        let mut pending = self.pending();
        if pending.lines.is_empty() {
            pending.lines = lines;
        }
        pending.writing = false;
        pending.hurry = false;
        self.changed.notify_all();
    }

    fn wait<'a>(&self, pending: MutexGuard<'a, Pending>, patience: Duration) -> MutexGuard<'a, Pending> {
        self.changed.wait_timeout(pending, patience).unwrap_or_else(PoisonError::into_inner).0
    }

    fn write_out(&self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let some = &lines[..lines.len().min(MAX_WRITE)];
            // Whole lines only: each is far shorter than what is written at a time.
            let size = some.iter().rposition(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
            let (batch, rest) = lines.split_at(size);
            let written = match &self.sink {
                Sink::File(file) => file.append(batch),
                Sink::Stdout => {
                    io::stdout().lock().write_all(batch).and_then(|()| io::stdout().lock().flush())
                }
            };
            if written.is_err() {
                let lost = batch.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            }
            lines = rest;
        }
    }
}
