//! How the servers of groups are, for metrics and for whoever asks. Labels come from the configuration, without credentials.

use super::{
    names::metric,
    prometheus::{Kind, Page},
};

/// Whether a server gets requests, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// Health checks have found it down.
    Down,
    /// Too many requests in a row have failed: it gets none for a while.
    Ejected,
    /// The while is over: one request at a time finds out whether it answers again.
    Probing,
    /// It does.
    Up,
}

impl BackendState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Down, Self::Ejected, Self::Probing, Self::Up];

    /// As it is written everywhere.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Probing => "probing",
            Self::Up => "up",
        }
    }
}

/// One server of a group.
#[derive(Clone, Debug)]
pub struct BackendReport {
    /// The group's name.
    pub group: String,
    /// The server's URL.
    pub backend: String,
    /// How it is.
    pub state: BackendState,
    /// Requests and tunnels that it has now, from all workers.
    pub in_flight: u32,
    /// That were sent to it.
    pub requests: u64,
    /// That it has not answered.
    pub failures: u64,
    /// How long it takes to answer, in microseconds: an average that forgets; 0 = not known.
    pub latency_micros: u32,
}

/// Writes the metrics of all.
pub(super) fn page(page: &mut Page, backends: &[BackendReport]) {
    let mut family = page.family(
        metric::UPSTREAM_BACKEND_STATE,
        Kind::Gauge,
        "Which of its states a server of a group is in.",
    );
    for of in backends {
        for state in BackendState::ALL {
            let labels = [("group", &*of.group), ("backend", &*of.backend), ("state", state.name())];
            family.sample(&labels, u64::from(of.state == state));
        }
    }
    type Number = fn(&BackendReport) -> u64;
    let families: [(&str, Kind, &str, Number); 3] = [
        (
            metric::UPSTREAM_BACKEND_REQUESTS,
            Kind::Counter,
            "Requests and tunnels that were given to a server of a group.",
            |of| of.requests,
        ),
        (metric::UPSTREAM_BACKEND_FAILURES, Kind::Counter, "Those that it did not answer.", |of| of.failures),
        (metric::UPSTREAM_BACKEND_ACTIVE, Kind::Gauge, "Those that it has now.", |of| of.in_flight.into()),
    ];
    for (name, kind, help, number) in families {
        let mut family = page.family(name, kind, help);
        for of in backends {
            family.sample(&[("group", &of.group), ("backend", &of.backend)], number(of));
        }
    }
}
