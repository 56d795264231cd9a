//! The fleet as others see it. Changes nothing.

use std::time::{Duration, Instant};

use super::{
    super::{audience::Size, replaced::Replaced, slot::Slot},
    Fleet, Life, Phase, State, Vacancy,
};
use crate::admin::WorkerState;

/// One line about one worker, or about a slot without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) struct View {
    pub(in crate::supervisor) slot: usize,
    /// None where the slot has nobody.
    pub(in crate::supervisor) life: Option<Life>,
    pub(in crate::supervisor) state: WorkerState,
    pub(in crate::supervisor) age: Duration,
    /// How often the slot's worker was replaced because it had died.
    pub(in crate::supervisor) restarts: u64,
}

impl Fleet {
    /// Every slot that is wanted, in order, and after them workers on their way out.
    pub(in crate::supervisor) fn views(&self, now: Instant) -> Vec<View> {
        let vacant = |(index, slot): (usize, &Slot)| {
            let state = match slot.vacancy {
                Vacancy::GivenUp => WorkerState::GivenUp,
                _ => WorkerState::Waiting,
            };
            let is_vacant = slot.is_wanted() && slot.current.is_none() && slot.successor.is_none();
            let restarts = slot.restarts;
            is_vacant.then_some(View { slot: index, life: None, state, age: Duration::ZERO, restarts })
        };
        let occupied = self.workers.iter().map(|(life, worker)| View {
            slot: worker.slot,
            life: Some(*life),
            state: match worker.state {
                State::Starting => WorkerState::Starting,
                State::Ready(_) => WorkerState::Ready,
                State::Leaving(_) | State::Killed { .. } => WorkerState::Draining,
            },
            age: now.saturating_duration_since(worker.born),
            restarts: self.slots.get(worker.slot).map_or(0, |slot| slot.restarts),
        });
        let mut views: Vec<_> = self.slots.iter().enumerate().filter_map(vacant).chain(occupied).collect();
        views.sort_by_key(|view| (view.state == WorkerState::Draining, view.slot, view.life));
        views
    }

    /// Whether every worker that is wanted is ready.
    pub(in crate::supervisor) fn size(&self) -> Size {
        let mut complete = Size::Complete(self.serving());
        for slot in self.slots.iter().filter(|slot| slot.is_wanted()) {
            if slot.vacancy == Vacancy::GivenUp {
                return Size::GivenUp;
            }
            if !self.is_ready(slot) {
                complete = Size::Incomplete;
            }
        }
        complete
    }

    /// How many slots have a worker that accepts.
    pub(in crate::supervisor) fn serving(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_wanted() && self.is_ready(slot)).count()
    }

    /// Respawns after a death, in all slots.
    pub(in crate::supervisor) fn restarts(&self) -> u64 {
        self.slots.iter().map(|slot| slot.restarts).sum()
    }

    /// Why workers were replaced.
    pub(in crate::supervisor) fn replaced(&self) -> &Replaced {
        &self.replaced
    }

    /// Whether the first workers have been ready.
    pub(in crate::supervisor) fn is_up(&self) -> bool {
        self.phase >= Phase::Running
    }

    /// Whether the end has begun.
    pub(in crate::supervisor) fn is_ending(&self) -> bool {
        self.phase >= Phase::Draining
    }

    /// Whether a rolling restart runs.
    pub(in crate::supervisor) fn is_rolling(&self) -> bool {
        self.rollout.is_running()
    }

    /// For the service manager.
    pub(in crate::supervisor) fn summary(&self) -> String {
        let wanted = self.slots.iter().filter(|slot| slot.is_wanted()).count();
        match self.phase {
            Phase::Starting => "starting".into(),
            Phase::Running if self.is_rolling() => {
                format!("{} of {wanted} workers ready, rolling restart", self.serving())
            }
            Phase::Running => format!("{} of {wanted} workers ready", self.serving()),
            Phase::Draining | Phase::Stopping => format!("stopping, {} workers left", self.workers.len()),
        }
    }

    fn is_ready(&self, slot: &Slot) -> bool {
        let current = slot.current.and_then(|life| self.workers.get(&life));
        current.is_some_and(|worker| matches!(worker.state, State::Ready(_)))
    }
}
