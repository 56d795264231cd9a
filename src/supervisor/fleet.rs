//! All slots and workers of an instance, and what follows from what happens to them.
//!
//! Pure: an event, the time and some jitter come in, actions come out; nobody is asked anything and nothing is done
//! here but logging. What it keeps: every socket has somebody who accepts from it as long as any worker is well,
//! no slot has more than one worker that is meant to stay, and nothing is started once the end has begun.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

pub(super) use self::estate::FleetEstate;
use self::reloading::Reloading;
use super::{
    event::{Action, Command, Ending, Event, Reach},
    lending,
    replaced::{Reason, Replaced},
    respawn::Verdict,
    rollout::Rollout,
    slot::{Life, Slot, State, Status, Vacancy, Worker},
};
use crate::config::settings::SupervisionSettings;

/// How often a worker is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_millis(200);

/// A worker that is silent for this long may hang: somebody else accepts from its sockets as well, until it is heard
/// again. Long before it is given up, for clients do not wait that long.
const SUSPICION: Duration = Duration::from_millis(500);

/// What is left between a worker's own deadline and its being killed, so that it can say how it went.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// The launcher itself was stopped if it misses its ticks for this long; then no silence counts.
const OWN_ABSENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// The first workers start.
    Starting,
    Running,
    Draining,
    Stopping,
}

/// All slots and workers.
#[derive(Debug)]
pub(super) struct Fleet {
    settings: SupervisionSettings,
    /// Whether slots have sockets of their own.
    lends: bool,
    max_slots: usize,
    slots: Vec<Slot>,
    workers: BTreeMap<Life, Worker>,
    born: u64,
    phase: Phase,
    ending: Ending,
    rollout: Rollout,
    reloading: Reloading,
    cut: u64,
    replaced: Replaced,
    ticked: Instant,
    pinged: Instant,
    actions: Vec<Action>,
}

impl Fleet {
    /// Slots without workers. `lends`: each has sockets of its own.
    pub(super) fn new(
        settings: SupervisionSettings,
        slots: usize,
        max_slots: usize,
        lends: bool,
        now: Instant,
    ) -> Self {
        Self {
            settings,
            lends,
            max_slots,
            slots: std::iter::repeat_with(Slot::default).take(slots).collect(),
            workers: BTreeMap::new(),
            born: 0,
            phase: Phase::Starting,
            ending: Ending::Stopped,
            rollout: Rollout::default(),
            reloading: Reloading::default(),
            cut: 0,
            replaced: Replaced::default(),
            ticked: now,
            pinged: now,
            actions: Vec::new(),
        }
    }

    /// Starts the first workers.
    pub(super) fn begin(&mut self, now: Instant) -> Vec<Action> {
        for slot in 0..self.slots.len() {
            self.spawn(slot, now);
        }
        std::mem::take(&mut self.actions)
    }

    /// What follows from an event. `jitter` is in `0.0..1.0`.
    pub(super) fn handle(&mut self, event: Event, now: Instant, jitter: f64) -> Vec<Action> {
        match event {
            Event::Ready(life) => self.ready(life, now),
            Event::Pong(life) => {
                if let Some(worker) = self.workers.get_mut(&life) {
                    (worker.heard, worker.is_asked) = (now, false);
                }
            }
            Event::Reloaded(life, generation, outcome) => self.reloaded(life, generation, outcome),
            Event::Leaving(life, cut) => {
                if let Some(worker) = self.workers.get_mut(&life) {
                    worker.cut = cut;
                }
            }
            Event::Exited(life, status) => self.exited(life, &status, now, jitter),
            Event::Tick => self.tick(now),
            Event::Command(command) => self.obey(command, now),
        }
        for (generation, by_all) in self.reloading.ended() {
            tracing::info!(generation, "reload applied");
            self.actions.push(Action::Reloaded(generation, by_all));
        }
        self.lend(now);
        std::mem::take(&mut self.actions)
    }

    /// How the instance has ended, once everybody is gone.
    pub(super) fn ending(&self) -> Option<Ending> {
        (self.phase >= Phase::Draining && self.workers.is_empty()).then_some(self.ending)
    }

    /// Tunnels that were cut.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Drain if self.phase < Phase::Draining => {
                tracing::info!("draining");
                self.drain(now);
            }
            Command::Drain | Command::Stop => self.stop(now),
            _ if self.phase >= Phase::Draining => {}
            Command::Restart => self.restart(now),
            Command::ScaleBy(step) => {
                let wanted = self.slots.iter().filter(|slot| slot.is_wanted()).count();
                self.scale(wanted.saturating_add_signed(step), now);
            }
            Command::ScaleTo(workers) => self.scale(workers, now),
            Command::Reload { settings, workers, reach, generation } => {
                self.settings = *settings;
                if let Some(workers) = workers {
                    self.scale(workers, now);
                }
                self.retry(now);
                match reach {
                    Reach::Nobody => {}
                    Reach::NewWorkers => self.restart(now),
                    Reach::Everybody => {
                        let stays =
                            |worker: &Worker| matches!(worker.state, State::Starting | State::Ready(_));
                        let told =
                            self.workers.iter().filter(|(_, worker)| stays(worker)).map(|(life, _)| *life);
                        let told: BTreeSet<_> = told.collect();
                        self.actions.extend(told.iter().copied().map(Action::Reload));
                        self.reloading.begin(generation, told);
                    }
                }
            }
            Command::ReopenLogs => self.actions.extend(self.workers.keys().copied().map(Action::ReopenLogs)),
        }
    }

    fn spawn(&mut self, index: usize, now: Instant) -> Life {
        let life = Life(self.born);
        self.born += 1;
        self.workers.insert(life, Worker::new(index, now));
        let slot = &mut self.slots[index];
        slot.vacancy = Vacancy::None;
        slot.current = Some(life);
        self.actions.push(Action::Spawn(life, index));
        life
    }

    fn ready(&mut self, life: Life, now: Instant) {
        let Some(worker) = self.workers.get_mut(&life) else { return };
        (worker.heard, worker.is_asked) = (now, false);
        if worker.state != State::Starting {
            return;
        }
        worker.state = State::Ready(now);
        let index = worker.slot;
        let slot = &mut self.slots[index];
        slot.was_ready = true;
        if slot.successor == Some(life) {
            slot.successor = None;
            if let Some(old) = slot.current.replace(life) {
                self.replaced.note(Reason::Renewed);
                self.retire(old, now);
            }
            if self.rollout.current() == Some(index) {
                self.roll(now);
            }
        }
        if self.phase == Phase::Starting && self.slots.iter().all(|slot| slot.was_ready || !slot.is_wanted())
        {
            self.phase = Phase::Running;
            tracing::info!("ready");
            self.actions.push(Action::Up);
            if self.rollout.take_wanted_again() {
                self.restart(now);
            }
        }
    }

    fn reloaded(&mut self, life: Life, generation: u64, outcome: Result<(), String>) {
        self.reloading.answered(life, generation, outcome.is_ok());
        if let Err(reason) = outcome {
            let slot = self.workers.get(&life).map(|worker| worker.slot);
            tracing::error!(slot, generation, reason, "a worker keeps its old configuration");
        }
    }

    fn exited(&mut self, life: Life, status: &Status, now: Instant, jitter: f64) {
        let Some(worker) = self.workers.remove(&life) else { return };
        self.cut += worker.cut;
        self.reloading.forget(life);
        for slot in &mut self.slots {
            slot.lent_to.take_if(|borrower| *borrower == life);
        }
        let index = worker.slot;
        let slot = &mut self.slots[index];
        let was_successor = slot.successor.take_if(|successor| *successor == life).is_some();
        let was_current = slot.current.take_if(|current| *current == life).is_some();
        if self.phase >= Phase::Draining || !(was_successor || was_current) {
            tracing::info!(slot = index, status = status.text, "worker exited");
            return;
        }
        tracing::warn!(slot = index, status = status.text, "worker exited");
        // One that somebody else has killed is no sign that all the others will fail too.
        let has_failed = status.code.is_some() || matches!(worker.state, State::Killed { .. });
        if self.phase == Phase::Starting && !slot.was_ready && has_failed {
            tracing::error!(slot = index, "a worker cannot start: the instance is stopped");
            self.ending = Ending::FirstStartFailed(status.code);
            self.stop(now);
            return;
        }
        // Its successor is on its way.
        if slot.successor.is_some() {
            return;
        }
        let is_vacant = slot.current.is_none();
        if is_vacant {
            self.replace(index, status, &worker, now, jitter);
        }
        if was_successor && self.rollout.current() == Some(index) {
            self.rollout.abort();
            tracing::error!(
                slot = index,
                "rolling restart ended: its new worker failed; the other workers stay"
            );
            self.actions.push(Action::RolledOut(false));
            if self.rollout.take_wanted_again() {
                self.restart(now);
            }
        }
    }

    /// Gives a slot that has lost its worker another one, or gives it up.
    fn replace(&mut self, index: usize, status: &Status, worker: &Worker, now: Instant, jitter: f64) {
        let slot = &mut self.slots[index];
        if !slot.is_wanted() {
            return;
        }
        let lived = worker.ready_for(now).unwrap_or_default();
        match slot.history.died(&self.settings, now, lived, status.code, jitter) {
            Verdict::Respawn(delay) => {
                tracing::info!(slot = index, ?delay, "worker respawn scheduled");
                slot.restarts += 1;
                self.replaced.note(match (worker.state, status.code) {
                    (State::Killed { .. }, _) => Reason::Unresponsive,
                    (_, Some(_)) => Reason::Exited,
                    (_, None) => Reason::Killed,
                });
                if delay.is_zero() {
                    self.spawn(index, now);
                } else {
                    slot.vacancy = Vacancy::Waiting(now + delay);
                }
            }
            Verdict::GiveUp(reason) => {
                tracing::error!(slot = index, reason, "worker given up");
                slot.vacancy = Vacancy::GivenUp;
                if !self.slots.iter().any(Slot::has_prospects) {
                    tracing::error!("no worker is left");
                    self.ending = Ending::NoWorkers;
                    self.drain(now);
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        let was_absent = now.saturating_duration_since(self.ticked) > OWN_ABSENCE;
        self.ticked = now;
        let pings = now.saturating_duration_since(self.pinged) >= PING_INTERVAL;
        if pings {
            self.pinged = now;
        }
        let mut late = Vec::new();
        for (life, worker) in &mut self.workers {
            if was_absent {
                worker.heard = now;
            }
            match worker.state {
                State::Starting
                    if now.saturating_duration_since(worker.born) > self.settings.start_timeout =>
                {
                    tracing::error!(slot = worker.slot, "worker was not ready in time: it is killed");
                    late.push(*life);
                }
                State::Ready(_) | State::Leaving(_)
                    if worker.silence(now) > self.settings.heartbeat_timeout =>
                {
                    tracing::error!(slot = worker.slot, "worker does not answer: it is killed");
                    late.push(*life);
                }
                State::Leaving(until) if until <= now => {
                    tracing::warn!(slot = worker.slot, "worker did not leave in time: it is killed");
                    late.push(*life);
                }
                State::Ready(_) | State::Leaving(_) if pings && !worker.is_asked => {
                    worker.is_asked = true;
                    self.actions.push(Action::Ping(*life));
                }
                State::Starting | State::Ready(_) | State::Leaving(_) | State::Killed { .. } => {}
            }
        }
        for life in late {
            self.kill(life);
        }
        if self.phase < Phase::Draining {
            let is_due = |slot: &Slot| matches!(slot.vacancy, Vacancy::Waiting(until) if until <= now);
            for index in 0..self.slots.len() {
                if is_due(&self.slots[index]) {
                    self.spawn(index, now);
                }
            }
        }
    }

    fn lend(&mut self, now: Instant) {
        if !self.lends || self.phase != Phase::Running {
            return;
        }
        let suspicion = SUSPICION.min(self.settings.heartbeat_timeout / 2);
        let is_well = |life: &Life| {
            self.workers.get(life).is_some_and(|worker| {
                matches!(worker.state, State::Ready(_)) && worker.silence(now) < suspicion
            })
        };
        let well = self.slots.iter().filter_map(|slot| slot.current).filter(is_well).collect();
        self.actions.extend(lending::lend(&mut self.slots, &well));
    }

    /// Lets a worker finish what it has.
    fn retire(&mut self, life: Life, now: Instant) {
        // It ends with the configuration that it has.
        self.reloading.forget(life);
        let Some(worker) = self.workers.get_mut(&life) else { return };
        match worker.state {
            State::Starting => self.kill(life),
            State::Ready(_) => {
                worker.state = State::Leaving(now + self.settings.shutdown_timeout + KILL_GRACE);
                self.actions.push(Action::Drain(life));
            }
            State::Leaving(_) | State::Killed { .. } => {}
        }
    }

    fn drain(&mut self, now: Instant) {
        self.phase = Phase::Draining;
        self.rollout.abort();
        self.reloading.give_up();
        for life in self.workers.keys().copied().collect::<Vec<_>>() {
            self.retire(life, now);
        }
        self.actions.push(Action::CloseSockets);
    }

    fn stop(&mut self, now: Instant) {
        self.drain(now);
        self.phase = Phase::Stopping;
        for (life, worker) in &mut self.workers {
            if matches!(worker.state, State::Leaving(_)) {
                worker.state = State::Leaving(now + KILL_GRACE);
                self.actions.push(Action::Stop(*life));
            }
        }
    }

    fn kill(&mut self, life: Life) {
        let Some(worker) = self.workers.get_mut(&life) else { return };
        let ready = if let State::Ready(since) = worker.state { Some(since) } else { None };
        worker.state = State::Killed { ready };
        self.actions.push(Action::Kill(life));
    }
}

mod estate;
mod reloading;
mod renewal;
mod view;

#[cfg(test)]
mod tests;
