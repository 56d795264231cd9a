//! The service manager where there is none that could be told.

use std::time::Duration;

/// Nobody.
#[derive(Debug, Default)]
pub struct Notifier;

impl Notifier {
    /// Never.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        None
    }

    /// Says nothing.
    pub fn ready(&self, _: &str) {}

    /// Says nothing.
    pub fn reloading(&self) {}

    /// Says nothing.
    pub fn stopping(&self, _: Duration) {}

    /// Says nothing.
    pub fn alive(&self) {}
}
