//! The time that words in the segment are in: one clock for all processes of an instance.

use std::time::Duration;

/// Since a beginning that is the same for all processes. No system call where the kernel has none for it.
#[cfg(unix)]
pub fn now() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Since it was asked first: there is one process.
#[cfg(not(unix))]
pub fn now() -> Duration {
    use std::{sync::OnceLock, time::Instant};
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    BEGINNING.get_or_init(Instant::now).elapsed()
}
