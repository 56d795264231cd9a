//! Deadlines. The only place that lets time pass without waiting for bytes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything that should happen at once may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Lets time pass, for a peer that is slow: there the time itself is what is tested. Never to wait for something.
pub(crate) fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// Asks `condition` until it holds; false when `deadline` has passed.
pub(crate) fn within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        // Another process's state has nothing to block on: it can only be asked again. Nobody unparks us.
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Asks `look` until it finds something, and returns that; panics with `what` when it never does.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    let held = within(PATIENCE, || {
        found = look();
        found.is_some()
    });
    assert!(held, "still not so after {PATIENCE:?}: {what}");
    found.expect("held means found")
}
