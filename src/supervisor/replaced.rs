//! Why workers were replaced, and how often. Plain numbers.

use serde::{Deserialize, Serialize};

/// Why a worker was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It ended by itself.
    Exited,
    /// Somebody else has killed it.
    Killed,
    /// An operator wanted a new one.
    Renewed,
    /// It did not start, answer or leave in time, and was killed.
    Unresponsive,
}

/// How often, since the instance began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replaced {
    exited: u64,
    killed: u64,
    renewed: u64,
    unresponsive: u64,
}

impl Replaced {
    pub(super) fn note(&mut self, reason: Reason) {
        *match reason {
            Reason::Exited => &mut self.exited,
            Reason::Killed => &mut self.killed,
            Reason::Renewed => &mut self.renewed,
            Reason::Unresponsive => &mut self.unresponsive,
        } += 1;
    }

    /// With the names that metrics give them.
    pub(super) fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("exited", self.exited),
            ("killed", self.killed),
            ("renewed", self.renewed),
            ("unresponsive", self.unresponsive),
        ]
    }
}
