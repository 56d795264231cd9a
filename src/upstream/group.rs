//! Groups of servers: which one gets a request, which one next when that fails, and what is learnt from it.
//!
//! What a group is, is fixed; how its servers are is in memory that all workers share. Only whose turn it is and what is left of
//! the retry budget are this process's own. Must not know requests beyond what a choice depends on.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    backend::{self, Backend},
    balance::{Candidate, Rotation, Trait, choose},
    budget::Budget,
    lot,
};
use crate::{
    config::settings::{Balance, EjectionSettings, GroupKind, GroupSettings, HealthCheckSettings},
    net::{dial::Reach, own::OwnListeners, proxy_protocol},
    shared_memory::{Flight, Seat, Segment},
    telemetry::groups::BackendReport,
};

/// Servers that a group has at most.
const MOST: usize = 64;

/// All groups there are.
#[derive(Debug, Default)]
pub struct Groups(Vec<Arc<Group>>);

/// One group.
#[derive(Debug)]
pub struct Group {
    pub(super) name: Arc<str>,
    pub(super) kind: GroupKind,
    pub(super) backends: Box<[Backend]>,
    pub(super) health_check: Option<HealthCheckSettings>,
    pub(super) bind_addr: Option<IpAddr>,
    /// Its servers are told in this way whose each connection is.
    pub(super) announcement: Option<proxy_protocol::Version>,
    /// The operator has named its servers: only our own listeners are not to be reached.
    pub(super) reach: Reach,
    balance: Balance,
    ejection: EjectionSettings,
    slow_start: Duration,
    retries: u32,
    budget: Budget,
    rotation: Rotation,
    /// How long one request may take to find out whether a server is well.
    patience: Duration,
}

/// The way of one request through a group: which servers it was given to.
#[derive(Debug)]
pub struct Choice<'a> {
    group: &'a Arc<Group>,
    request: Trait<'a>,
    seat: &'a Seat,
    tried: u64,
    left: u32,
}

/// A request that is with a server. It counts there until this is dropped.
#[derive(Debug)]
pub struct Turn {
    group: Arc<Group>,
    index: usize,
    began: Instant,
    is_probe: bool,
    is_told: bool,
    _flight: Flight,
}

impl Groups {
    /// The groups of a configuration. `own` are the listeners that no server may be, and `patience` is how long a request may
    /// take until it is answered.
    #[must_use]
    pub fn new(
        settings: &[GroupSettings],
        own: &OwnListeners,
        segment: &Segment,
        patience: Duration,
    ) -> Self {
        Self(settings.iter().map(|settings| Arc::new(Group::new(settings, own, segment, patience))).collect())
    }

    /// The group at this place of the configuration.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<&Arc<Group>> {
        self.0.get(place)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.0.iter()
    }
}

/// How all servers of `settings` are.
#[must_use]
pub fn survey(settings: &[GroupSettings], segment: &Segment) -> Vec<BackendReport> {
    let servers = settings.iter().flat_map(|group| group.servers.iter().map(move |server| (group, server)));
    let report = servers.map(|(group, server)| {
        let (cell, state) = backend::known(segment, &group.name, server);
        let words = cell.words();
        BackendReport {
            group: group.name.clone(),
            backend: server.name(),
            state,
            in_flight: cell.in_flight(),
            requests: words.requests.load(Ordering::Relaxed),
            failures: words.failures.load(Ordering::Relaxed),
            latency_micros: backend::latency(&cell, backend::now()),
        }
    });
    report.collect()
}

impl Group {
    fn new(settings: &GroupSettings, own: &OwnListeners, segment: &Segment, patience: Duration) -> Self {
        let name: Arc<str> = settings.name.as_str().into();
        let backends = settings.servers.iter().take(MOST);
        Self {
            kind: settings.kind,
            backends: backends.map(|server| Backend::new(&name, server, segment)).collect(),
            name,
            health_check: settings.health_check.clone(),
            bind_addr: settings.bind_addr,
            announcement: settings.proxy_protocol,
            reach: Reach { filter: None, own: own.clone() },
            balance: settings.balance,
            ejection: settings.ejection.clone(),
            slow_start: settings.slow_start,
            retries: settings.retries,
            budget: Budget::new(settings.retry_budget),
            rotation: Rotation::new(settings.servers.len()),
            patience,
        }
    }

    /// What routes call it.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What its servers are.
    #[must_use]
    pub fn kind(&self) -> GroupKind {
        self.kind
    }

    /// Whether its servers are told whose each connection is.
    #[must_use]
    pub fn announces_clients(&self) -> bool {
        self.announcement.is_some()
    }

    /// Begins to choose for a request of the worker in `seat`.
    #[must_use]
    pub fn choose<'a>(self: &'a Arc<Self>, request: Trait<'a>, seat: &'a Seat) -> Choice<'a> {
        self.budget.earn();
        Choice { group: self, request, seat, tried: 0, left: self.retries }
    }

    /// Whether so many servers get requests that there would be enough without one.
    fn can_spare_one(&self, now: u64) -> bool {
        let available = self.backends.iter().filter(|backend| backend.is_available(now)).count();
        available.saturating_sub(1) as f64 >= self.ejection.min_available * self.backends.len() as f64
    }
}

impl Choice<'_> {
    /// The next server, which the request has not been given to. None when there is none, or none that gets requests.
    pub fn next_turn(&mut self) -> Option<Turn> {
        let (group, now) = (self.group, backend::now());
        let mut passed_over = 0_u64;
        loop {
            let mut candidates = [Candidate::default(); MOST];
            let (mut count, mut probes) = (0, 0_u64);
            for (index, backend) in group.backends.iter().enumerate() {
                if (self.tried | passed_over) >> index & 1 == 1 {
                    continue;
                }
                if let Some((candidate, is_probe)) =
                    backend.candidate(index, now, group.slow_start, group.patience)
                {
                    candidates[count] = candidate;
                    count += 1;
                    probes |= u64::from(is_probe) << index;
                }
            }
            let index =
                choose(group.balance, &candidates[..count], &group.rotation, self.request, lot::draw)?;
            let is_probe = probes >> index & 1 == 1;
            let backend = &group.backends[index];
            if is_probe && !backend.try_probe(now, group.patience) {
                // Somebody else has come first.
                passed_over |= 1 << index;
                continue;
            }
            self.tried |= 1 << index;
            backend.cell.words().requests.fetch_add(1, Ordering::Relaxed);
            return Some(Turn {
                group: Arc::clone(group),
                index,
                began: Instant::now(),
                is_probe,
                is_told: false,
                _flight: backend.cell.enter(self.seat),
            });
        }
    }

    /// Whether the request may be given to another server. It is one less then that it can be given to, and one less that the
    /// group has in its budget.
    pub fn may_move(&mut self) -> bool {
        if self.left == 0 || self.untried() == 0 || !self.group.budget.spend() {
            return false;
        }
        self.left -= 1;
        true
    }

    /// How much of the time that is left for connecting the next server may take: what it leaves is for the others.
    #[must_use]
    pub fn share_of(&self, left: Duration) -> Duration {
        left / (1 + self.left.min(self.untried()))
    }

    /// Servers that get requests and have not got this one.
    fn untried(&self) -> u32 {
        let now = backend::now();
        let untried = self.group.backends.iter().enumerate();
        let untried =
            untried.filter(|(index, backend)| self.tried >> index & 1 == 0 && backend.is_available(now));
        untried.count() as u32
    }
}

impl Turn {
    pub(super) fn backend(&self) -> &Backend {
        &self.group.backends[self.index]
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// The server's URL, without credentials.
    #[must_use]
    pub fn label(&self) -> &str {
        self.backend().label()
    }

    /// The server has answered.
    pub fn answered(&mut self) {
        if !self.is_told {
            self.is_told = true;
            self.backend().answered(self.began.elapsed(), backend::now(), self.is_probe);
        }
    }

    /// The server has not answered, and it is its own fault.
    pub fn failed(&mut self) {
        if !self.is_told {
            self.is_told = true;
            let now = backend::now();
            self.backend().failed(now, self.is_probe, &self.group.ejection, || self.group.can_spare_one(now));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_probe && !self.is_told {
            self.backend().forgo_probe(backend::now());
        }
    }
}

#[cfg(test)]
mod tests;
