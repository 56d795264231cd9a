//! Who is told how things went: operators that wait for an outcome, and the service manager.
//!
//! Everybody who waits is answered once: when what he waits for has happened, has failed, or cannot happen any more because
//! the instance has ended. Must not decide anything.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    admin::{LastReload, Outcome},
    control::notify::Notifier,
};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The instance is at an end.
    End,
    /// Every worker has said whether it uses this generation of the configuration.
    Generation(u64),
    /// So many rolling restarts have ended since the instance began.
    Rollouts(u64),
    /// Every worker that is wanted is ready.
    Size,
}

/// Whether every worker that is wanted is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So many.
    Complete(usize),
    /// At least one will not be.
    GivenUp,
    /// Not yet.
    Incomplete,
}

#[derive(Debug)]
struct Waiter {
    goal: Goal,
    /// It is a reload, and this is what is said when it is in force.
    reload: Option<String>,
    /// Nobody waits for what a signal has asked for.
    answer: Option<oneshot::Sender<Outcome>>,
}

/// What an audience remembers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AudienceEstate {
    rollouts: u64,
    reloads: u64,
    last_reload: Option<LastReload>,
}

/// Everybody who is told.
#[derive(Debug)]
pub(super) struct Audience {
    notifier: Notifier,
    waiters: Vec<Waiter>,
    rollouts: u64,
    /// Reloads and restarts that have ended.
    reloads: u64,
    last_reload: Option<LastReload>,
    /// What the service manager was told last.
    summary: String,
    is_up: bool,
}

impl Audience {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            notifier,
            waiters: Vec::new(),
            rollouts: 0,
            reloads: 0,
            last_reload: None,
            summary: String::new(),
            is_up: false,
        }
    }

    pub(super) fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// What is remembered of the past.
    pub(super) fn leave(&self) -> AudienceEstate {
        AudienceEstate {
            rollouts: self.rollouts,
            reloads: self.reloads,
            last_reload: self.last_reload.clone(),
        }
    }

    /// An audience of an instance that is up, and that has heard this.
    pub(super) fn inherit(estate: AudienceEstate, notifier: Notifier) -> Self {
        let AudienceEstate { rollouts, reloads, last_reload } = estate;
        Self { rollouts, reloads, last_reload, is_up: true, ..Self::new(notifier) }
    }

    /// Reloads and restarts that have ended.
    pub(super) fn reloads(&self) -> u64 {
        self.reloads
    }

    pub(super) fn last_reload(&self) -> Option<&LastReload> {
        self.last_reload.as_ref()
    }

    /// What to wait for to see the end of a rolling restart that is asked for now.
    pub(super) fn next_rollout(&self, one_runs: bool) -> Goal {
        Goal::Rollouts(self.rollouts + 1 + u64::from(one_runs))
    }

    /// Somebody waits for something.
    pub(super) fn wait(&mut self, goal: Goal, answer: Option<oneshot::Sender<Outcome>>) {
        self.waiters.push(Waiter { goal, reload: None, answer });
    }

    /// A reload has begun. Its end follows: [`Self::reloaded`], or [`Self::wait_for_reload`] says when.
    pub(super) fn reloading(&self) {
        self.notifier.reloading();
    }

    /// A reload is in force when `goal` is reached; then `text` says what has changed.
    pub(super) fn wait_for_reload(
        &mut self,
        goal: Goal,
        text: String,
        answer: Option<oneshot::Sender<Outcome>>,
    ) {
        self.waiters.push(Waiter { goal, reload: Some(text), answer });
    }

    /// A reload has ended.
    pub(super) fn reloaded(&mut self, outcome: Outcome, answer: Option<oneshot::Sender<Outcome>>) {
        let time = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let successful = matches!(outcome, Outcome::Done(_));
        self.reloads += 1;
        self.last_reload = Some(LastReload { successful, time, text: outcome.text().into_owned() });
        if self.is_up && !self.waiters.iter().any(|waiter| waiter.reload.is_some()) {
            self.notifier.ready(&self.summary);
        }
        tell(answer, outcome);
    }

    /// The first workers are ready.
    pub(super) fn up(&mut self) {
        self.is_up = true;
        self.notifier.ready(&self.summary);
    }

    /// The end has begun and may take this long.
    pub(super) fn stopping(&self, patience: Duration) {
        self.notifier.stopping(patience);
    }

    /// All workers have said whether they use this generation of the configuration.
    pub(super) fn generation(&mut self, generation: u64, all_do: bool) {
        self.settle(|goal| match goal {
            Goal::Generation(wanted) if wanted <= generation => Some(if all_do {
                Ok(String::new())
            } else {
                Err("not every worker uses it; the log says why, and a rolling restart brings them together"
                    .into())
            }),
            _ => None,
        });
    }

    /// A rolling restart has ended.
    pub(super) fn rolled_out(&mut self, is_complete: bool) {
        self.rollouts += 1;
        let rollouts = self.rollouts;
        self.settle(|goal| match goal {
            Goal::Rollouts(wanted) if wanted <= rollouts => Some(if is_complete {
                Ok("every worker is new".into())
            } else {
                Err("a new worker failed: the old ones stay; the log says why".into())
            }),
            _ => None,
        });
    }

    /// Something has happened; how complete the instance is now, and in what words.
    pub(super) fn looked(&mut self, size: Size, summary: String) {
        self.settle(|goal| match (goal, size) {
            (Goal::Size, Size::Complete(workers)) => Some(Ok(format!("{workers} workers are ready"))),
            (Goal::Size, Size::GivenUp) => Some(Err("a worker was given up; the log says why".into())),
            _ => None,
        });
        if summary != self.summary {
            self.summary = summary;
            if self.is_up {
                self.notifier.status(&self.summary);
            }
        }
    }

    /// The instance is at its end.
    pub(super) fn ended(&mut self, cut: u64) {
        self.settle(|goal| match goal {
            Goal::End => Some(Ok(format!("stopped; {cut} tunnels were cut"))),
            _ => Some(Err("the instance ended before it was done".into())),
        });
    }

    /// Answers those whose goal is reached, or cannot be.
    fn settle(&mut self, reached: impl Fn(Goal) -> Option<Result<String, String>>) {
        let settled: Vec<_> = self.waiters.extract_if(.., |waiter| reached(waiter.goal).is_some()).collect();
        for Waiter { goal, reload, answer } in settled {
            let Some(result) = reached(goal) else { continue };
            match (result, reload) {
                (Ok(_), Some(text)) => self.reloaded(Outcome::Done(text), answer),
                (Err(text), Some(_)) => self.reloaded(Outcome::Failed(text), answer),
                (Ok(text), None) => tell(answer, Outcome::Done(text)),
                (Err(text), None) => tell(answer, Outcome::Failed(text)),
            }
        }
    }
}

/// Nobody may wait any more.
fn tell(answer: Option<oneshot::Sender<Outcome>>, outcome: Outcome) {
    if let Some(answer) = answer {
        let _ = answer.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(audience: &mut Audience, goal: Goal) -> oneshot::Receiver<Outcome> {
        let (answer, answered) = oneshot::channel();
        audience.wait(goal, Some(answer));
        answered
    }

    #[test]
    fn a_restart_that_is_asked_for_while_one_runs_waits_for_its_own_end() {
        let mut audience = Audience::new(Notifier::default());
        let (first, second) = (audience.next_rollout(false), audience.next_rollout(true));
        let (mut first, mut second) = (waiting(&mut audience, first), waiting(&mut audience, second));
        audience.rolled_out(false);
        assert!(matches!(first.try_recv(), Ok(Outcome::Failed(_))));
        assert!(second.try_recv().is_err());
        audience.rolled_out(true);
        assert!(matches!(second.try_recv(), Ok(Outcome::Done(_))));
    }

    #[test]
    fn a_reload_is_remembered_with_its_outcome() {
        let mut audience = Audience::new(Notifier::default());
        let (answer, mut answered) = oneshot::channel();
        audience.wait_for_reload(Goal::Generation(2), "changed: log_level".into(), Some(answer));
        audience.generation(1, true);
        assert!(answered.try_recv().is_err() && audience.last_reload().is_none());
        audience.generation(3, true);
        assert_eq!(answered.try_recv(), Ok(Outcome::Done("changed: log_level".into())));
        assert!(audience.last_reload().unwrap().successful);
        audience.reloaded(Outcome::Invalid("a\nb".into()), None);
        assert!(!audience.last_reload().unwrap().successful);
    }

    #[test]
    fn nobody_waits_beyond_the_end() {
        let mut audience = Audience::new(Notifier::default());
        let (mut end, mut size) = (waiting(&mut audience, Goal::End), waiting(&mut audience, Goal::Size));
        audience.looked(Size::Incomplete, "1 of 2".into());
        assert!(size.try_recv().is_err());
        audience.ended(3);
        assert_eq!(end.try_recv(), Ok(Outcome::Done("stopped; 3 tunnels were cut".into())));
        assert!(matches!(size.try_recv(), Ok(Outcome::Failed(_))));
    }
}
