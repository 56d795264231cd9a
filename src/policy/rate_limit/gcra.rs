//! The generic cell rate algorithm: a token bucket in one word.
//!
//! Must not know clocks or atomics. The word is the time at which the bucket will be full again; a bucket that nobody has
//! asked, and one that has been full for long, are the same, so 0 is a new one and any word may be forgotten once its
//! time is past. Time is counted in sixteenths of a nanosecond from a beginning that all who share the words agree on,
//! which is exact enough for millions a second and lasts 36 years.

use std::{num::NonZeroU32, time::Duration};

use crate::config::settings::Rate;

/// A rate and a burst, ready to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Ticks that one token takes to come back.
    interval: u64,
    /// Ticks that an empty bucket takes to be full.
    capacity: u64,
    burst: NonZeroU32,
}

/// What a bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether there was enough in it.
    pub allowed: bool,
    /// The word to be stored. The one that was given, or what it heals to, when not allowed.
    pub word: u64,
    /// When there will be enough; zero when allowed.
    pub retry_after: Duration,
    /// What is left in it.
    pub remaining: u32,
    /// When it will be full.
    pub reset_after: Duration,
}

impl Limit {
    /// A bucket that holds `burst` and is filled at `rate`.
    pub fn new(rate: Rate, burst: NonZeroU32) -> Self {
        let period = ticks(rate.period());
        // Rounded up: never faster than what was asked for.
        let interval = period.div_ceil(u64::from(rate.count().get())).max(1);
        Self { interval, capacity: interval.saturating_mul(u64::from(burst.get())), burst }
    }

    /// A bucket that holds `burst` and gets one more every `interval`.
    pub fn every(interval: Duration, burst: NonZeroU32) -> Self {
        let interval = ticks(interval).max(1);
        Self { interval, capacity: interval.saturating_mul(u64::from(burst.get())), burst }
    }

    /// What the bucket holds when it is full.
    pub const fn burst(self) -> NonZeroU32 {
        self.burst
    }

    /// What one token takes to come back.
    pub const fn interval(self) -> Duration {
        duration(self.interval)
    }

    /// What an empty bucket takes to be full.
    pub const fn capacity(self) -> Duration {
        duration(self.capacity)
    }

    /// Take `cost` from the bucket, at `now` after the beginning that its word counts from.
    ///
    /// More than the burst can never be had. Pure: store the word with compare-and-swap, and ask again when it has changed.
    pub fn step(self, word: u64, now: Duration, cost: u32) -> Decision {
        let now = ticks(now);
        // A bucket cannot be emptier than empty: a clock that was set back, or a changed limit, must not lock anybody out.
        let full_at = word.clamp(now, now.saturating_add(self.capacity));
        let price = self.interval.saturating_mul(u64::from(cost));
        let missing = (full_at - now).saturating_add(price).saturating_sub(self.capacity);
        let allowed = missing == 0;
        let word = if allowed { full_at.saturating_add(price) } else { full_at };
        let used = word - now;
        Decision {
            allowed,
            word,
            retry_after: duration(missing),
            remaining: u32::try_from((self.capacity - used.min(self.capacity)) / self.interval)
                .unwrap_or(u32::MAX),
            reset_after: duration(used),
        }
    }

    /// Put `cost` back into a bucket from which it was taken in vain: another limit has refused.
    pub const fn give_back(self, word: u64, cost: u32) -> u64 {
        word.saturating_sub(self.interval.saturating_mul(cost as u64))
    }
}

impl Decision {
    /// For `Retry-After`: whole seconds, rounded up, at least one when not allowed.
    pub fn retry_after_seconds(self) -> u64 {
        self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0)
    }
}

/// A time in the ticks of words.
pub fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().saturating_mul(u128::from(TICKS_PER_NANOSECOND))).unwrap_or(u64::MAX)
}

/// Rounded up: who waits that long must find what was promised.
pub(super) const fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.div_ceil(TICKS_PER_NANOSECOND))
}

const TICKS_PER_NANOSECOND: u64 = 16;
pub(super) const TICKS_PER_SECOND: u64 = TICKS_PER_NANOSECOND * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: &str, burst: u32) -> Limit {
        Limit::new(rate.parse().unwrap(), NonZeroU32::new(burst).unwrap())
    }

    /// How many pass when `asked` ask evenly over a time.
    fn passed(limit: Limit, start: Duration, time: Duration, asked: u32) -> usize {
        let mut word = 0;
        (0..asked)
            .filter(|index| {
                let decision = limit.step(word, start + time * *index / asked, 1);
                word = decision.word;
                decision.allowed
            })
            .count()
    }

    #[test]
    fn the_rate_times_the_time_and_the_burst_pass() {
        let year = Duration::from_secs(365 * 86_400);
        for start in [Duration::ZERO, Duration::from_secs(1), year * 20] {
            let ten = Duration::from_secs(10);
            let cases = [
                ("100/s", 20, ten, 100_000, 1_020),
                ("100/s", 1, ten, 100_000, 1_000),
                ("6000/m", 20, ten, 100_000, 1_020),
                ("3/s", 3, ten, 100_000, 33),
                ("100000/s", 1, ten / 10, 300_000, 100_000),
                ("1/d", 1, ten, 1_000, 1),
            ];
            for (rate, burst, time, asked, expected) in cases {
                let found = passed(limit(rate, burst), start, time, asked);
                assert!(found.abs_diff(expected) <= 1 + expected / 1000, "{rate} {burst}: {found}");
            }
        }
    }

    #[test]
    fn what_is_said() {
        let limit = limit("10/s", 5);
        let now = Duration::from_secs(100);
        let mut word = 0;
        for left in (0..5).rev() {
            let decision = limit.step(word, now, 1);
            assert!(decision.allowed && decision.retry_after.is_zero());
            assert_eq!(
                (decision.remaining, decision.reset_after),
                (left, Duration::from_millis(100) * (5 - left))
            );
            word = decision.word;
        }
        let refused = limit.step(word, now, 1);
        assert!(!refused.allowed);
        assert_eq!(
            (refused.word, refused.remaining, refused.retry_after),
            (word, 0, Duration::from_millis(100))
        );
        assert_eq!(refused.retry_after_seconds(), 1);
        assert!(limit.step(word, now + refused.retry_after, 1).allowed, "the promise is kept");
        assert!(!limit.step(word, now + refused.retry_after - Duration::from_nanos(1), 1).allowed);
        assert!(limit.step(limit.give_back(word, 1), now, 1).allowed);
        assert_eq!(limit.step(word, now + Duration::from_secs(3600), 1).remaining, 4, "no more than full");
    }

    #[test]
    fn costs() {
        let limit = limit("10/s", 5);
        let now = Duration::from_secs(1);
        assert!(limit.step(0, now, 5).allowed);
        assert!(!limit.step(0, now, 6).allowed, "more than the burst is never to be had");
        let refused = limit.step(limit.step(0, now, 4).word, now, 3);
        assert_eq!((refused.allowed, refused.retry_after), (false, Duration::from_millis(200)));
        assert_eq!(limit.step(0, now, 0).remaining, 5);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let limit = limit("10/s", 5);
        let decision = limit.step(u64::MAX, Duration::from_secs(1), 1);
        assert!(!decision.allowed && decision.retry_after == Duration::from_millis(100));
        assert!(limit.step(decision.word, Duration::from_millis(1100), 1).allowed);
        let largest = self::limit("1/d", u32::MAX);
        for word in [0, 1, u64::MAX] {
            for now in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
                let _ = largest.step(word, now, u32::MAX);
            }
        }
    }
}
