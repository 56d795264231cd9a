//! The fleet as it is left to the program that is put in the launcher's place, and found there. Times become distances.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Fleet, Life, Phase, Slot, State, Vacancy, Worker};
use crate::{
    config::settings::SupervisionSettings,
    supervisor::{replaced::Replaced, respawn::History},
};

/// A fleet in calm: nobody is being replaced.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct FleetEstate {
    born: u64,
    cut: u64,
    replaced: Replaced,
    slots: Vec<SlotEstate>,
    workers: Vec<WorkerEstate>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SlotEstate {
    history: (Vec<i64>, u32),
    current: Option<u64>,
    lent_to: Option<u64>,
    /// In milliseconds; none when nobody is waited for.
    waiting: Option<i64>,
    is_given_up: bool,
    is_unwanted: bool,
    was_ready: bool,
    restarts: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct WorkerEstate {
    life: u64,
    slot: usize,
    state: StateEstate,
    born: i64,
    cut: u64,
}

/// Milliseconds from now, which are below zero in the past.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StateEstate {
    Starting,
    Ready(i64),
    Leaving(i64),
    Killed(Option<i64>),
}

impl Fleet {
    /// Whether it can be left: nobody is being replaced, and nobody owes an answer.
    pub(in crate::supervisor) fn is_calm(&self) -> bool {
        self.phase == Phase::Running
            && !self.rollout.is_running()
            && self.reloading.is_empty()
            && self.slots.iter().all(|slot| slot.successor.is_none())
    }

    pub(in crate::supervisor) fn leave(&self, now: Instant) -> FleetEstate {
        let slots = self.slots.iter().map(|slot| SlotEstate {
            history: slot.history.leave(|time| distance(now, time)),
            current: slot.current.map(|life| life.0),
            lent_to: slot.lent_to.map(|life| life.0),
            waiting: match slot.vacancy {
                Vacancy::Waiting(until) => Some(distance(now, until)),
                Vacancy::GivenUp | Vacancy::None | Vacancy::Unwanted => None,
            },
            is_given_up: slot.vacancy == Vacancy::GivenUp,
            is_unwanted: slot.vacancy == Vacancy::Unwanted,
            was_ready: slot.was_ready,
            restarts: slot.restarts,
        });
        let workers = self.workers.iter().map(|(life, worker)| WorkerEstate {
            life: life.0,
            slot: worker.slot,
            state: match worker.state {
                State::Starting => StateEstate::Starting,
                State::Ready(since) => StateEstate::Ready(distance(now, since)),
                State::Leaving(until) => StateEstate::Leaving(distance(now, until)),
                State::Killed { ready } => StateEstate::Killed(ready.map(|since| distance(now, since))),
            },
            born: distance(now, worker.born),
            cut: worker.cut,
        });
        FleetEstate {
            born: self.born,
            cut: self.cut,
            replaced: self.replaced,
            slots: slots.collect(),
            workers: workers.collect(),
        }
    }

    /// The fleet that was left, with these settings. Everybody is taken to have been heard just now.
    pub(in crate::supervisor) fn inherit(
        estate: FleetEstate,
        settings: SupervisionSettings,
        max_slots: usize,
        lends: bool,
        now: Instant,
    ) -> Self {
        let slots = estate.slots.into_iter().map(|slot| Slot {
            history: History::inherit(slot.history, |distance| time(now, distance)),
            current: slot.current.map(Life),
            successor: None,
            lent_to: slot.lent_to.map(Life),
            vacancy: match (slot.waiting, slot.is_given_up, slot.is_unwanted) {
                (Some(distance), ..) => Vacancy::Waiting(time(now, distance)),
                (None, true, _) => Vacancy::GivenUp,
                (None, false, true) => Vacancy::Unwanted,
                (None, false, false) => Vacancy::None,
            },
            was_ready: slot.was_ready,
            restarts: slot.restarts,
        });
        let workers = estate.workers.into_iter().map(|worker| {
            let state = match worker.state {
                StateEstate::Starting => State::Starting,
                StateEstate::Ready(since) => State::Ready(time(now, since)),
                StateEstate::Leaving(until) => State::Leaving(time(now, until)),
                StateEstate::Killed(ready) => State::Killed { ready: ready.map(|since| time(now, since)) },
            };
            let born = time(now, worker.born);
            let heard = Worker { state, born, cut: worker.cut, ..Worker::new(worker.slot, now) };
            (Life(worker.life), heard)
        });
        Self {
            slots: slots.collect(),
            workers: workers.collect(),
            born: estate.born,
            cut: estate.cut,
            replaced: estate.replaced,
            phase: Phase::Running,
            ..Self::new(settings, 0, max_slots, lends, now)
        }
    }
}

fn distance(now: Instant, time: Instant) -> i64 {
    let millis = |distance: Duration| i64::try_from(distance.as_millis()).unwrap_or(i64::MAX);
    match time.checked_duration_since(now) {
        Some(ahead) => millis(ahead),
        None => -millis(now.duration_since(time)),
    }
}

/// A time before the system was started is when it was started, more or less.
fn time(now: Instant, distance: i64) -> Instant {
    let length = Duration::from_millis(distance.unsigned_abs());
    let time = if distance < 0 { now.checked_sub(length) } else { now.checked_add(length) };
    time.unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_through_as_distances() {
        let now = Instant::now() + Duration::from_secs(1000);
        for distance_ms in [-5000, 0, 7000] {
            assert_eq!(distance(now, time(now, distance_ms)), distance_ms);
        }
    }
}
