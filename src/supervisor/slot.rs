//! A worker's place among N, and what is known of whoever is in it. Plain state; [`super::fleet`] moves it.

use std::time::{Duration, Instant};

use super::respawn::History;

/// One process, from its start to its end. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Life(pub(super) u64);

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Its exit status, if it ended by itself.
    pub(super) code: Option<i32>,
    /// For the log.
    pub(super) text: String,
}

/// A worker's place.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// What happened here before.
    pub(super) history: History,
    /// Who serves here, or is about to.
    pub(super) current: Option<Life>,
    /// Who takes over when it is ready.
    pub(super) successor: Option<Life>,
    /// Who accepts from this slot's sockets while nobody here does.
    pub(super) lent_to: Option<Life>,
    /// Why nobody is here, if nobody is.
    pub(super) vacancy: Vacancy,
    /// How often a worker was started here because another had died.
    pub(super) restarts: u64,
    /// Whether a worker has ever been ready here.
    pub(super) was_ready: bool,
}

/// Why a slot has no worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Vacancy {
    /// It has one, or gets one at once.
    #[default]
    None,
    /// The next one is started then.
    Waiting(Instant),
    /// No other is tried.
    GivenUp,
    /// None is wanted: the instance was made smaller.
    Unwanted,
}

/// What is known of a worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) slot: usize,
    pub(super) state: State,
    pub(super) born: Instant,
    /// When it last said something.
    pub(super) heard: Instant,
    /// Whether it was asked and has not answered yet.
    pub(super) is_asked: bool,
    /// Tunnels that it had to cut.
    pub(super) cut: u64,
}

/// How far a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not accepting yet.
    Starting,
    /// Accepting, since then.
    Ready(Instant),
    /// Told to leave, and killed if it is still there then.
    Leaving(Instant),
    /// Killed, and not gone yet.
    Killed {
        /// Since when it had been ready.
        ready: Option<Instant>,
    },
}

impl Slot {
    /// Whether the instance is meant to have a worker here.
    pub(super) fn is_wanted(&self) -> bool {
        self.vacancy != Vacancy::Unwanted
    }

    /// Whether there is a worker, or one will come.
    pub(super) fn has_prospects(&self) -> bool {
        self.current.is_some() || self.successor.is_some() || matches!(self.vacancy, Vacancy::Waiting(_))
    }
}

impl Worker {
    pub(super) fn new(slot: usize, now: Instant) -> Self {
        Self { slot, state: State::Starting, born: now, heard: now, is_asked: false, cut: 0 }
    }

    /// How long it has been silent.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// How long it was ready, if it ever was.
    pub(super) fn ready_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Ready(since) | State::Killed { ready: Some(since) } => {
                Some(now.saturating_duration_since(since))
            }
            State::Starting | State::Leaving(_) | State::Killed { ready: None } => None,
        }
    }
}
