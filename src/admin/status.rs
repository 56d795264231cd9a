//! How an instance is: the JSON of `/status`, which `status` shows as a table.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{groups::GroupStatus, traffic::Traffic};
use crate::shared_memory::Counters;

/// The whole instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program that runs.
    pub version: String,
    /// Of the launcher, or of the one process there is.
    pub pid: u32,
    /// `runtime.mode`.
    pub mode: String,
    /// Since the instance began.
    pub uptime_ms: u64,
    /// Counts the configurations that were in force; begins with 1.
    pub generation: u64,
    /// Where clients connect.
    pub listeners: Vec<SocketAddr>,
    /// Those of them where they speak TLS.
    #[serde(default)]
    pub tls_listeners: Vec<SocketAddr>,
    /// At least one worker is ready and nothing is stopping.
    pub ready: bool,
    /// The end has begun.
    pub stopping: bool,
    /// Reloads and restarts that have ended.
    pub reloads: u64,
    /// How the last of them ended; none before the first.
    pub last_reload: Option<LastReload>,
    /// Resident memory of the launcher; 0 where it cannot be known.
    pub memory_bytes: u64,
    /// One a worker, in the order of their indices; those that drain come after those that serve.
    pub workers: Vec<WorkerStatus>,
    /// Over all workers there ever were.
    pub totals: Totals,
    /// What passed, over all workers there ever were.
    #[serde(default)]
    pub traffic: Traffic,
    /// The groups of the configuration, and how their servers are.
    #[serde(default)]
    pub groups: Vec<GroupStatus>,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// Whether it is in force.
    pub successful: bool,
    /// Seconds since 1970.
    pub time: u64,
    /// What was done, or what was wrong.
    pub text: String,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its slot, 0-based.
    pub index: usize,
    /// None while the slot has no process.
    pub pid: Option<u32>,
    /// Of the configuration that it has.
    pub generation: u64,
    /// What it does.
    pub state: WorkerState,
    /// Since its process began; 0 without one.
    pub uptime_ms: u64,
    /// How often the slot's worker was replaced because it had died.
    pub restarts: u64,
    /// Client connections that are open.
    pub connections_active: u64,
    /// Client connections that were taken.
    pub connections_total: u64,
    /// Requests that were answered.
    pub requests_total: u64,
    /// Lately.
    pub requests_per_second: f64,
    /// Tunnels that are open.
    pub tunnels_active: u64,
    /// Resident; 0 where it cannot be known.
    pub memory_bytes: u64,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Finishes what it has.
    Draining,
    /// The slot has no worker and will have none.
    GivenUp,
    /// Accepts.
    Ready,
    /// Does not accept yet.
    Starting,
    /// The slot has no worker; one will be started.
    Waiting,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Respawns after a death.
    pub restarts: u64,
    /// Client connections that are open.
    pub connections_active: u64,
    /// Client connections that were taken.
    pub connections_total: u64,
    /// Requests that were answered.
    pub requests_total: u64,
    /// Lately.
    pub requests_per_second: f64,
    /// Tunnels that are open.
    pub tunnels_active: u64,
    /// Tunnels that were opened.
    pub tunnels_total: u64,
}

impl Totals {
    /// The sums over these counters. Restarts and rates are not in them.
    pub fn of<'a>(counters: impl IntoIterator<Item = &'a Counters>) -> Self {
        let positive = |number: i64| u64::try_from(number).unwrap_or(0);
        counters.into_iter().fold(Self::default(), |sum, counters| Self {
            connections_active: sum.connections_active
                + positive(counters.connections_active.load(Ordering::Relaxed)),
            connections_total: sum.connections_total + counters.connections_total.load(Ordering::Relaxed),
            requests_total: sum.requests_total
                + counters.requests.iter().flatten().map(|count| count.load(Ordering::Relaxed)).sum::<u64>(),
            tunnels_active: sum.tunnels_active + positive(counters.tunnels_active.load(Ordering::Relaxed)),
            tunnels_total: sum.tunnels_total + counters.tunnels_total.load(Ordering::Relaxed),
            ..sum
        })
    }
}

impl WorkerState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Draining, Self::GivenUp, Self::Ready, Self::Starting, Self::Waiting];

    /// As it is written everywhere.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::GivenUp => "given_up",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Waiting => "waiting",
        }
    }
}

/// How fast a number rises: between two looks at it that are a second apart or more.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    before: (Instant, u64),
    last: (Instant, u64),
}

impl Rate {
    /// A number that begins at `value`.
    #[must_use]
    pub fn new(now: Instant, value: u64) -> Self {
        Self { before: (now, value), last: (now, value) }
    }

    /// Looks at the number.
    pub fn note(&mut self, now: Instant, value: u64) {
        if now.duration_since(self.last.0) >= Duration::from_secs(1) {
            self.before = self.last;
            self.last = (now, value);
        }
    }

    /// By how much it rises in a second, now that it is `value`.
    #[must_use]
    pub fn per_second(&self, now: Instant, value: u64) -> f64 {
        let elapsed = now.duration_since(self.before.0).as_secs_f64();
        let risen = value.saturating_sub(self.before.1);
        // Exact far beyond any number of requests.
        if elapsed > 0.0 { risen as f64 / elapsed } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_is_long_ago() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut rate = Rate::new(start, 0);
        assert_eq!(rate.per_second(start, 0), 0.0);
        rate.note(at(10.0), 1000);
        assert_eq!(rate.per_second(at(10.0), 1000), 100.0);
        rate.note(at(20.0), 1000);
        assert_eq!(rate.per_second(at(20.0), 1000), 0.0);
        rate.note(at(20.1), 1001);
        assert!((rate.per_second(at(22.0), 1012) - 1.0).abs() < 0.01, "a look too soon changes nothing");
        assert_eq!(rate.per_second(at(22.0), 0), 0.0, "a number that falls does not rise");
    }

    #[test]
    fn states_are_written_as_they_are_named() {
        for state in WorkerState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
