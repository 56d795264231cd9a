//! How the instance is, put together from the fleet, the processes and the shared memory. Asks no worker.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{fleet::Fleet, slot::Life, spawn::Process};
use crate::{
    admin::{GroupStatus, LastReload, Rate, Status, Totals, Traffic, WorkerState, WorkerStatus},
    shared_memory::{Seat, Segment},
    telemetry::memory,
};

/// Between two looks at the numbers of requests.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A process, its place in the shared memory, and what was in that place before it came.
#[derive(Debug)]
pub(super) struct Running {
    /// None while nobody attends to it.
    pub(super) process: Option<Process>,
    pub(super) seat: Seat,
    pub(super) slot: usize,
    generation: u64,
    before: Totals,
    rate: Rate,
}

impl Running {
    pub(super) fn new(process: Process, seat: Seat, slot: usize, generation: u64) -> Self {
        let before = Totals::of([seat.counters()]);
        let rate = Rate::new(Instant::now(), before.requests_total);
        Self { process: Some(process), seat, slot, generation, before, rate }
    }

    /// A process that was there before this launcher.
    pub(super) fn inherit(
        process: Process,
        seat: Seat,
        slot: usize,
        generation: u64,
        before: Totals,
    ) -> Self {
        let rate = Rate::new(Instant::now(), Totals::of([seat.counters()]).requests_total);
        Self { process: Some(process), seat, slot, generation, before, rate }
    }

    /// Of the configuration that it uses.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What was in its seat before it came.
    pub(super) fn before(&self) -> &Totals {
        &self.before
    }

    /// Requests that it has answered.
    fn requests(&self) -> u64 {
        Totals::of([self.seat.counters()]).requests_total.saturating_sub(self.before.requests_total)
    }

    /// It uses this generation of the configuration now.
    pub(super) fn reloaded(&mut self, generation: u64) {
        self.generation = generation;
    }
}

/// What is remembered between two reports.
#[derive(Debug)]
pub(super) struct Reporter {
    began: Instant,
    looked: Instant,
    rate: Rate,
    /// Seats that were ever taken: the first ones. The others are not looked at, so that they cost no memory.
    seats: usize,
    /// Requests that workers have answered which are gone, by slot.
    answered: Vec<u64>,
}

/// What a reporter remembers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReporterEstate {
    age_ms: u64,
    seats: usize,
    answered: Vec<u64>,
}

/// What a report needs to know beside the fleet and its processes.
#[derive(Debug)]
pub(super) struct Circumstances<'a> {
    pub(super) segment: &'a Segment,
    pub(super) generation: u64,
    pub(super) listeners: &'a [std::net::SocketAddr],
    pub(super) tls_listeners: &'a [std::net::SocketAddr],
    pub(super) last_reload: Option<&'a LastReload>,
    pub(super) reloads: u64,
    pub(super) groups: Vec<GroupStatus>,
}

impl Reporter {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, looked: now, rate: Rate::new(now, 0), seats: 0, answered: Vec::new() }
    }

    pub(super) fn leave(&self, now: Instant) -> ReporterEstate {
        ReporterEstate {
            age_ms: millis(now.duration_since(self.began)),
            seats: self.seats,
            answered: self.answered.clone(),
        }
    }

    /// A reporter of an instance that has lived for a while.
    pub(super) fn inherit(estate: &ReporterEstate, now: Instant, segment: &Segment) -> Self {
        let began = now.checked_sub(Duration::from_millis(estate.age_ms)).unwrap_or(now);
        let answered = estate.answered.clone();
        let mut reporter = Self { began, seats: estate.seats, answered, ..Self::new(now) };
        reporter.rate = Rate::new(now, reporter.whole(segment).requests_total);
        reporter
    }

    /// Somebody has taken the seat with this number.
    pub(super) fn seated(&mut self, seat: usize) {
        self.seats = self.seats.max(seat + 1);
    }

    /// A worker is gone: its requests stay with its slot.
    pub(super) fn left(&mut self, running: &Running) {
        *self.answered_in(running.slot) += running.requests();
    }

    fn answered_in(&mut self, slot: usize) -> &mut u64 {
        if self.answered.len() <= slot {
            self.answered.resize(slot + 1, 0);
        }
        &mut self.answered[slot]
    }

    /// How many requests each slot's workers have answered, one after the other.
    pub(super) fn requests(&self, running: &HashMap<Life, Running>) -> Vec<(usize, u64)> {
        let mut requests: BTreeMap<_, _> = self.answered.iter().copied().enumerate().collect();
        for running in running.values() {
            *requests.entry(running.slot).or_default() += running.requests();
        }
        requests.into_iter().collect()
    }

    /// All seats that were ever taken.
    pub(super) fn seats(&self, segment: &Segment) -> Vec<Seat> {
        (0..self.seats).filter_map(|index| segment.seat(index)).collect()
    }

    /// Looks at the numbers, if it is time to.
    pub(super) fn look(&mut self, now: Instant, segment: &Segment, running: &mut HashMap<Life, Running>) {
        if now.duration_since(self.looked) < LOOK_INTERVAL {
            return;
        }
        self.looked = now;
        self.rate.note(now, self.whole(segment).requests_total);
        for running in running.values_mut() {
            running.rate.note(now, Totals::of([running.seat.counters()]).requests_total);
        }
    }

    pub(super) fn report(
        &self,
        now: Instant,
        fleet: &Fleet,
        running: &HashMap<Life, Running>,
        circumstances: &Circumstances<'_>,
    ) -> Status {
        let workers: Vec<_> = fleet
            .views(now)
            .into_iter()
            .map(|view| {
                let running = view.life.and_then(|life| running.get(&life));
                let blank = WorkerStatus {
                    index: view.slot,
                    pid: None,
                    generation: 0,
                    state: view.state,
                    uptime_ms: millis(view.age),
                    restarts: view.restarts,
                    connections_active: 0,
                    connections_total: 0,
                    requests_total: 0,
                    requests_per_second: 0.0,
                    tunnels_active: 0,
                    memory_bytes: 0,
                };
                let Some(running) = running else { return blank };
                let totals = Totals::of([running.seat.counters()]);
                let before = &running.before;
                let pid = running.process.as_ref().and_then(Process::pid);
                WorkerStatus {
                    pid,
                    generation: running.generation,
                    connections_active: totals.connections_active,
                    connections_total: totals.connections_total.saturating_sub(before.connections_total),
                    requests_total: totals.requests_total.saturating_sub(before.requests_total),
                    requests_per_second: running.rate.per_second(now, totals.requests_total),
                    tunnels_active: totals.tunnels_active,
                    memory_bytes: pid.map_or(0, memory::resident),
                    ..blank
                }
            })
            .collect();
        let whole = self.whole(circumstances.segment);
        let requests_per_second = self.rate.per_second(now, whole.requests_total);
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            mode: "multi_process".into(),
            uptime_ms: millis(now.duration_since(self.began)),
            generation: circumstances.generation,
            listeners: circumstances.listeners.to_vec(),
            tls_listeners: circumstances.tls_listeners.to_vec(),
            ready: !fleet.is_ending() && workers.iter().any(|worker| worker.state == WorkerState::Ready),
            stopping: fleet.is_ending(),
            last_reload: circumstances.last_reload.cloned(),
            reloads: circumstances.reloads,
            memory_bytes: memory::resident(std::process::id()),
            workers,
            totals: Totals { restarts: fleet.restarts(), requests_per_second, ..whole },
            traffic: Traffic::of(self.seats(circumstances.segment).iter().map(Seat::counters))
                .with_refusals(circumstances.segment),
            groups: circumstances.groups.clone(),
        }
    }

    /// The sums over all seats: what the dead have done is in them.
    fn whole(&self, segment: &Segment) -> Totals {
        Totals::of(self.seats(segment).iter().map(Seat::counters))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
