//! Standard error, for who cannot wait for its reader.
//!
//! A terminal that was stopped or a pipe that nobody reads must not stop a process that serves: so much is written as is
//! taken at once, and what is not taken soon is dropped and counted.

use std::{
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// How long a reader may take before it is taken for stuck.
const PATIENCE: Duration = Duration::from_millis(100);

/// A pipe that says it can be written to takes so much.
const PIPE_BUF: usize = 4096;

/// Standard error.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// The last line was not taken: then none is waited for until one is.
    is_stuck: AtomicBool,
    dropped: AtomicU64,
}

impl Console {
    /// Whether a person looks at it.
    pub(super) fn is_terminal() -> bool {
        io::stderr().is_terminal()
    }

    /// Lines that were lost since this was last asked; none is told of while nobody reads.
    pub(super) fn losses(&self) -> u64 {
        if self.is_stuck.load(Ordering::Relaxed) { 0 } else { self.dropped.swap(0, Ordering::Relaxed) }
    }

    /// Writes a line, unless nobody takes it.
    pub(super) fn write(&self, line: &[u8]) {
        let mut stderr = io::stderr().lock();
        let is_taken = line.chunks(PIPE_BUF).all(|chunk| {
            let patience = if self.is_stuck.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
            takes(&stderr, patience) && stderr.write_all(chunk).is_ok()
        });
        self.is_stuck.store(!is_taken, Ordering::Relaxed);
        if !is_taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a write would not block.
#[cfg(unix)]
fn takes(stream: &impl std::os::fd::AsFd, patience: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    let mut polled = [PollFd::new(stream, PollFlags::OUT)];
    // Some systems cannot poll everything that can be written to. Then it is tried.
    poll(&mut polled, Some(&timeout)) != Ok(0)
}

#[cfg(not(unix))]
fn takes(_: &impl Sized, _: Duration) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::net::UnixStream, time::Instant};

    use super::*;

    #[test]
    fn who_does_not_read_is_not_waited_for() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        assert!(takes(&writer, Duration::ZERO));
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[0; PIPE_BUF]).is_ok() {}
        let start = Instant::now();
        assert!(!takes(&writer, PATIENCE));
        assert!(start.elapsed() >= PATIENCE);
        drop(reader);
        assert!(takes(&writer, PATIENCE), "a write would fail at once");
    }
}
