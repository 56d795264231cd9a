//! Whether a worker that has died is started again, and when. Pure: the time is told.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config::settings::SupervisionSettings;

/// Exit statuses that say that a retry cannot help: command line, address, permission, configuration.
const HOPELESS: [i32; 4] = [64, 69, 77, 78];

/// What is to be done about a slot without a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start another after this time.
    Respawn(Duration),
    /// Leave the slot empty, for this reason.
    GiveUp(&'static str),
}

/// The history of one slot.
#[derive(Debug, Default)]
pub(super) struct History {
    recent: VecDeque<Instant>,
    since_stable: u32,
}

impl History {
    /// A worker that had lived for `lived` is gone, with `status` where it exited by itself. `jitter` is a number from 0
    /// to 1 that spreads the respawns of several slots.
    pub(super) fn died(
        &mut self,
        settings: &SupervisionSettings,
        now: Instant,
        lived: Duration,
        status: Option<i32>,
        jitter: f64,
    ) -> Verdict {
        if !settings.restart_workers {
            return Verdict::GiveUp("supervision.restart_workers is false");
        }
        if status.is_some_and(|status| HOPELESS.contains(&status)) {
            return Verdict::GiveUp("its exit status says that a retry cannot help");
        }
        let window = settings.respawn_threshold_time;
        if lived >= window {
            self.since_stable = 0;
        }
        self.recent.retain(|respawn| now.duration_since(*respawn) < window);
        if self.recent.len() >= settings.respawn_threshold.get() as usize {
            return Verdict::GiveUp("it needed more than supervision.respawn_threshold respawns");
        }
        if settings.max_restarts.is_some_and(|most| self.since_stable >= most) {
            return Verdict::GiveUp("it needed more than supervision.max_restarts respawns");
        }
        let delay = delay(settings, self.since_stable, jitter);
        self.recent.push_back(now + delay);
        self.since_stable += 1;
        Verdict::Respawn(delay)
    }

    /// Itself, each time by `distance`.
    pub(super) fn leave(&self, distance: impl Fn(Instant) -> i64) -> (Vec<i64>, u32) {
        (self.recent.iter().copied().map(distance).collect(), self.since_stable)
    }

    /// What was left.
    pub(super) fn inherit((recent, since_stable): (Vec<i64>, u32), time: impl Fn(i64) -> Instant) -> Self {
        Self { recent: recent.into_iter().map(time).collect(), since_stable }
    }

    /// Begins anew, when the operator wants another try.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Nothing for the first respawn, then `restart_delay`, doubled each time, with up to a fifth more.
fn delay(settings: &SupervisionSettings, respawns: u32, jitter: f64) -> Duration {
    let Some(doublings) = respawns.checked_sub(1) else { return Duration::ZERO };
    let factor = 2_u32.saturating_pow(doublings.min(30));
    let delay = settings.restart_delay.saturating_mul(factor).min(settings.restart_delay_max);
    delay.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 5.0).min(settings.restart_delay_max)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn settings() -> SupervisionSettings {
        let seconds = Duration::from_secs;
        SupervisionSettings {
            restart_workers: true,
            restart_delay: seconds(1),
            restart_delay_max: seconds(5),
            respawn_threshold: NonZeroU32::new(5).unwrap(),
            respawn_threshold_time: seconds(60),
            max_restarts: None,
            start_timeout: seconds(10),
            heartbeat_timeout: seconds(10),
            shutdown_timeout: seconds(30),
        }
    }

    /// The delays in seconds of deaths one after the other, until the slot is given up.
    fn delays(settings: &SupervisionSettings, lived: u64, deaths: u32) -> Vec<Option<u64>> {
        let mut history = History::default();
        let mut now = Instant::now();
        (0..deaths)
            .map(|_| {
                now += Duration::from_secs(lived);
                match history.died(settings, now, Duration::from_secs(lived), Some(1), 0.0) {
                    Verdict::Respawn(delay) => {
                        now += delay;
                        Some(delay.as_secs())
                    }
                    Verdict::GiveUp(_) => None,
                }
            })
            .collect()
    }

    #[test]
    fn the_first_at_once_then_longer_and_longer_then_never() {
        assert_eq!(delays(&settings(), 0, 6), [Some(0), Some(1), Some(2), Some(4), Some(5), None]);
    }

    #[test]
    fn a_slot_that_was_stable_begins_anew() {
        assert_eq!(delays(&settings(), 60, 8), [Some(0); 8]);
    }

    #[test]
    fn slow_crashes_stay_under_the_threshold() {
        let all = delays(&settings(), 20, 12);
        assert!(all.iter().all(Option::is_some), "{all:?}");
        assert_eq!(all.last(), Some(&Some(5)), "the delay stays at its longest");
    }

    #[test]
    fn max_restarts_count_since_stable() {
        let few = SupervisionSettings { max_restarts: Some(2), ..settings() };
        assert_eq!(delays(&few, 0, 3), [Some(0), Some(1), None]);
        assert_eq!(delays(&SupervisionSettings { max_restarts: Some(0), ..settings() }, 0, 1), [None]);
    }

    #[test]
    fn some_deaths_are_final() {
        let now = Instant::now();
        for status in [64, 69, 77, 78] {
            let verdict = History::default().died(&settings(), now, Duration::ZERO, Some(status), 0.0);
            assert!(matches!(verdict, Verdict::GiveUp(_)), "{status}");
        }
        for status in [Some(0), Some(1), Some(70), None] {
            let verdict = History::default().died(&settings(), now, Duration::ZERO, status, 0.0);
            assert_eq!(verdict, Verdict::Respawn(Duration::ZERO), "{status:?}");
        }
        let never = SupervisionSettings { restart_workers: false, ..settings() };
        assert!(matches!(
            History::default().died(&never, now, Duration::ZERO, None, 0.0),
            Verdict::GiveUp(_)
        ));
    }

    #[test]
    fn jitter_spreads_but_never_beyond_the_longest() {
        let millis = |respawns, jitter| delay(&settings(), respawns, jitter).as_millis();
        assert_eq!((millis(1, 0.0), millis(1, 1.0), millis(9, 1.0)), (1000, 1200, 5000));
    }
}
