//! Workers that are replaced, added or let go because the operator wants it, not because one has died.

use std::time::Instant;

use super::{Fleet, Phase};
use crate::supervisor::{
    event::Action,
    slot::{Slot, Vacancy},
};

impl Fleet {
    pub(super) fn restart(&mut self, now: Instant) {
        if self.phase == Phase::Starting {
            self.rollout.want_again();
            return;
        }
        let wanted =
            self.slots.iter().enumerate().filter(|(_, slot)| slot.is_wanted()).map(|(index, _)| index);
        if self.rollout.begin(wanted) {
            tracing::info!("rolling restart started");
            self.roll(now);
        } else {
            tracing::info!("another rolling restart follows the one that runs");
        }
    }

    /// Goes on to the next slot of a rolling restart.
    pub(super) fn roll(&mut self, now: Instant) {
        let Some(index) = self.rollout.advance() else {
            tracing::info!("rolling restart finished");
            self.actions.push(Action::RolledOut(true));
            if self.rollout.take_wanted_again() {
                self.restart(now);
            }
            return;
        };
        if self.slots[index].vacancy == Vacancy::GivenUp {
            self.slots[index].history.forget();
        }
        let old = self.slots[index].current;
        let successor = self.spawn(index, now);
        self.slots[index].current = old;
        self.slots[index].successor = Some(successor);
    }

    /// Tries the slots again that were given up.
    pub(super) fn retry(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            if self.slots[index].vacancy == Vacancy::GivenUp {
                self.slots[index].history.forget();
                self.spawn(index, now);
            }
        }
    }

    pub(super) fn scale(&mut self, workers: usize, now: Instant) {
        let workers = workers.max(1);
        if workers > self.max_slots {
            tracing::warn!(
                workers,
                max = self.max_slots,
                "that many workers cannot be had without a new start"
            );
            return;
        }
        self.retry(now);
        let wanted = self.slots.iter().filter(|slot| slot.is_wanted()).count();
        if wanted == workers {
            return;
        }
        tracing::info!(from = wanted, to = workers, "number of workers changed");
        for index in 0..workers {
            if index == self.slots.len() {
                self.slots.push(Slot::default());
                self.spawn(index, now);
            } else if !self.slots[index].is_wanted() {
                self.slots[index].history.forget();
                self.spawn(index, now);
            }
        }
        for index in workers..self.slots.len() {
            self.vacate(index, now);
        }
    }

    /// Nobody is to be in this slot any more.
    fn vacate(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        slot.vacancy = Vacancy::Unwanted;
        let occupants = [slot.current.take(), slot.successor.take()];
        for life in occupants.into_iter().flatten() {
            self.retire(life, now);
        }
        self.rollout.skip(index);
        if self.rollout.current() == Some(index) {
            self.roll(now);
        }
    }
}
