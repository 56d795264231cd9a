//! One server of a group: how it is reached, and what all workers know of it.
//!
//! Its words in shared memory are read and changed here and nowhere else, each by one atomic step. Whoever changes its state writes
//! one line about it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    balance::Candidate,
    circuit::{Circuit, Health, State, millis},
    lot,
};
use crate::{
    config::settings::{
        EjectionSettings, HealthCheckSettings, ServerCredentials, ServerScheme, ServerSettings,
    },
    net::authority::Authority,
    shared_memory::{BackendCell, Segment, clock},
    telemetry::groups::BackendState,
};

/// Weights are counted in hundredths, so that one can grow from little to all.
const WHOLE: u64 = 100;

/// The share of its weight that a server begins with when it is back, in hundredths.
const LEAST: u64 = 10;

/// What a latency was long ago says little of what it is: after this time, it counts for a third.
const MEMORY: Duration = Duration::from_secs(10);

/// One server.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) scheme: ServerScheme,
    pub(super) authority: Arc<Authority>,
    pub(super) credentials: Option<ServerCredentials>,
    /// `Proxy-Authorization` for it.
    pub(super) authorization: Option<Box<str>>,
    /// How its connections are told from all others in the pool.
    pub(super) id: u64,
    pub(super) cell: BackendCell,
    /// Counts the connections, so that the addresses of its name take turns.
    pub(super) turn: AtomicUsize,
    group: Arc<str>,
    label: String,
    name: u64,
    weight: u32,
}

/// The name of a server's place in shared memory.
fn place(group: &str, label: &str) -> String {
    format!("{group}\n{label}")
}

/// What is known of the server of a group, for whoever shows it.
pub(super) fn known(segment: &Segment, group: &str, server: &ServerSettings) -> (BackendCell, BackendState) {
    let cell = segment.backend(&place(group, &server.name()));
    let state = state_of(&cell, now());
    (cell, state)
}

/// The time of words, in milliseconds. Never 0, which is never.
pub(super) fn now() -> u64 {
    millis(clock::now()).max(1)
}

fn state_of(cell: &BackendCell, now: u64) -> BackendState {
    let words = cell.words();
    if Health::unpack(words.health.load(Ordering::Relaxed)).is_down {
        return BackendState::Down;
    }
    let circuit = Circuit::unpack(words.circuit.load(Ordering::Relaxed));
    match circuit.state {
        State::Closed => BackendState::Up,
        State::Open if now < circuit.until => BackendState::Ejected,
        State::Open | State::Probing => BackendState::Probing,
    }
}

/// How long a server takes to answer, in microseconds, by what is left of it after a while; 0 = not known.
pub(super) fn latency(cell: &BackendCell, now: u64) -> u32 {
    let word = cell.words().latency.load(Ordering::Relaxed);
    let (at, micros) = ((word >> 32) as u32, word as u32);
    (f64::from(micros) * fade(now, at)) as u32
}

fn fade(now: u64, at: u32) -> f64 {
    let since = (now as u32).wrapping_sub(at);
    // A clock read earlier and used later is no age of weeks.
    let since = if since > u32::MAX / 2 { 0 } else { since };
    (-f64::from(since) / MEMORY.as_millis() as f64).exp()
}

impl Backend {
    pub(super) fn new(group: &Arc<str>, settings: &ServerSettings, segment: &Segment) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let label = settings.name();
        let authorization = settings.credentials.as_ref().map(|ServerCredentials { user, password }| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into()
        });
        Self {
            scheme: settings.scheme,
            authority: Arc::new(settings.authority.clone()),
            credentials: settings.credentials.clone(),
            authorization,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            cell: segment.backend(&place(group, &label)),
            turn: AtomicUsize::new(0),
            group: Arc::clone(group),
            name: lot::name(label.as_bytes()),
            label,
            weight: settings.weight.get(),
        }
    }

    /// Its URL without credentials.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// What it is for a choice; none while it gets no requests. With true, the request would be the one that finds out whether
    /// it is well.
    pub(super) fn candidate(
        &self,
        index: usize,
        now: u64,
        slow_start: Duration,
        patience: Duration,
    ) -> Option<(Candidate, bool)> {
        let words = self.cell.words();
        if Health::unpack(words.health.load(Ordering::Relaxed)).is_down {
            return None;
        }
        let probe = Circuit::unpack(words.circuit.load(Ordering::Relaxed)).admits(now, patience)?;
        let candidate = Candidate {
            index,
            weight: self.grown(now, slow_start),
            in_flight: self.cell.in_flight(),
            latency: latency(&self.cell, now),
            name: self.name,
        };
        Some((candidate, probe.is_some()))
    }

    /// Whether it gets requests now.
    pub(super) fn is_available(&self, now: u64) -> bool {
        let words = self.cell.words();
        !Health::unpack(words.health.load(Ordering::Relaxed)).is_down
            && Circuit::unpack(words.circuit.load(Ordering::Relaxed)).admits(now, Duration::ZERO).is_some()
    }

    /// Takes the right to find out whether it is well. Only one at a time has it.
    pub(super) fn try_probe(&self, now: u64, patience: Duration) -> bool {
        self.change_circuit(|circuit| circuit.admits(now, patience).flatten()).is_some()
    }

    /// Whoever had the right has not found out.
    pub(super) fn forgo_probe(&self, now: u64) {
        self.change_circuit(|circuit| {
            (circuit.state == State::Probing).then_some(Circuit { state: State::Open, until: now, ..circuit })
        });
    }

    /// It has answered after this time.
    pub(super) fn answered(&self, took: Duration, now: u64, is_probe: bool) {
        let words = self.cell.words();
        if words.failing.load(Ordering::Relaxed) > 0 {
            words.failing.store(0, Ordering::Relaxed);
        }
        let known = words.requests.load(Ordering::Relaxed).max(1) as f64;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let _ = words.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (at, before) = ((word >> 32) as u32, word as u32);
            // The first ones are averaged: what the very first took, with all that is new then, would last for long.
            let kept = if before == 0 { 0.0 } else { fade(now, at).min(1.0 - 1.0 / known) };
            let average = f64::from(before) * kept + f64::from(micros) * (1.0 - kept);
            Some(u64::from(now as u32) << 32 | u64::from((average as u32).max(1)))
        });
        if is_probe {
            self.close("a request was answered", now);
        }
    }

    /// It has not answered. `may_eject` says whether the group can do without it.
    pub(super) fn failed(
        &self,
        now: u64,
        is_probe: bool,
        ejection: &EjectionSettings,
        may_eject: impl FnOnce() -> bool,
    ) {
        let words = self.cell.words();
        words.failures.fetch_add(1, Ordering::Relaxed);
        let failing = words.failing.fetch_add(1, Ordering::Relaxed) + 1;
        let wanted = if is_probe { State::Probing } else { State::Closed };
        let is_enough =
            is_probe || (ejection.failures > 0 && failing >= u64::from(ejection.failures) && may_eject());
        if !is_enough {
            return;
        }
        let opened =
            self.change_circuit(|circuit| (circuit.state == wanted).then(|| circuit.opened(now, ejection)));
        if let Some(circuit) = opened {
            let _ = words.health.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                Some(Health::unpack(word).doubted().pack())
            });
            let ms = circuit.until.saturating_sub(now);
            tracing::warn!(
                group = %self.group, backend = %self.label, state = BackendState::Ejected.name(), failures = failing,
                for_ms = ms, "upstream backend changed"
            );
        }
    }

    /// Somebody has looked at it.
    pub(super) fn looked(&self, good: Result<(), &str>, now: u64, settings: &HealthCheckSettings) {
        let words = self.cell.words();
        let before = words.health.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            Some(Health::unpack(word).seen(good.is_ok(), settings).pack())
        });
        let before = Health::unpack(before.unwrap_or_default());
        let after = before.seen(good.is_ok(), settings);
        match (before.is_down, after.is_down) {
            (false, true) => {
                let reason = good.err().unwrap_or_default();
                tracing::warn!(
                    group = %self.group, backend = %self.label, state = BackendState::Down.name(), reason,
                    "upstream backend changed"
                );
            }
            (true, false) => {
                words.circuit.store(Circuit::CLOSED.pack(), Ordering::Release);
                self.is_back("health checks succeed", now);
            }
            (false, false) if after.is_sound(settings) => self.close("health checks succeed", now),
            _ => {}
        }
    }

    /// Closes the circuit, if it is not.
    fn close(&self, reason: &str, now: u64) {
        let closed =
            self.change_circuit(|circuit| (circuit.state != State::Closed).then_some(Circuit::CLOSED));
        if closed.is_some() {
            self.is_back(reason, now);
        }
    }

    fn is_back(&self, reason: &str, now: u64) {
        let words = self.cell.words();
        words.failing.store(0, Ordering::Relaxed);
        words.since.store(now, Ordering::Relaxed);
        tracing::info!(
            group = %self.group, backend = %self.label, state = BackendState::Up.name(), reason,
            "upstream backend changed"
        );
    }

    /// The circuit that was put in the place of another one.
    fn change_circuit(&self, change: impl Fn(Circuit) -> Option<Circuit>) -> Option<Circuit> {
        let change = |word| change(Circuit::unpack(word)).map(Circuit::pack);
        let words = self.cell.words();
        let before = words.circuit.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).ok()?;
        change(before).map(Circuit::unpack)
    }

    /// Its weight, in hundredths: less than all of it for a while after it is back.
    fn grown(&self, now: u64, slow_start: Duration) -> u32 {
        let (since, whole) = (self.cell.words().since.load(Ordering::Relaxed), millis(slow_start));
        let elapsed = now.saturating_sub(since);
        let share = if since == 0 || elapsed >= whole { WHOLE } else { (WHOLE * elapsed / whole).max(LEAST) };
        u32::try_from(u64::from(self.weight) * share).unwrap_or(u32::MAX)
    }
}
