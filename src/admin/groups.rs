//! How the servers of groups are, as `/status` tells it. Nothing secret is in it: servers are called by their URLs without
//! credentials.

use serde::{Deserialize, Serialize};

use crate::telemetry::groups::BackendReport;

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupStatus {
    /// What routes call it.
    pub name: String,
    /// In the order of the configuration.
    pub servers: Vec<ServerStatus>,
}

/// One server of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerStatus {
    /// Without credentials.
    pub url: String,
    /// `up`, `down`, `ejected` or `probing`.
    pub state: String,
    /// Requests and tunnels that it has now, from all workers.
    pub active: u64,
    /// That were given to it.
    pub requests_total: u64,
    /// That it has not answered.
    pub failures_total: u64,
    /// How long it takes to answer, an average that forgets; none where nothing is known.
    pub latency_ms: Option<f64>,
}

impl GroupStatus {
    /// All groups. The servers of one stand together.
    #[must_use]
    pub fn of(reports: Vec<BackendReport>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for report in reports {
            let server = ServerStatus {
                url: report.backend,
                state: report.state.name().to_owned(),
                active: report.in_flight.into(),
                requests_total: report.requests,
                failures_total: report.failures,
                latency_ms: (report.latency_micros > 0).then(|| f64::from(report.latency_micros) / 1e3),
            };
            match groups.last_mut().filter(|group| group.name == report.group) {
                Some(group) => group.servers.push(server),
                None => groups.push(Self { name: report.group, servers: vec![server] }),
            }
        }
        groups
    }
}
