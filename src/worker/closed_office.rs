//! The office where there are no unix sockets: nobody comes, and nobody is told.

use std::time::Duration;

use crate::{admin::Outcome, control::signals::Signal};

/// Nothing.
#[derive(Debug)]
pub(super) struct Office;

impl Office {
    pub(super) fn ready(&self) {}

    pub(super) async fn next(&mut self) -> Signal {
        std::future::pending().await
    }

    pub(super) fn reloading(&self) {}

    pub(super) fn reloaded(&mut self, _: Outcome, _: Option<Duration>) {}

    pub(super) fn stopping(&mut self) {}

    pub(super) async fn close(&mut self, _: u64) {}
}
