//! Bytes in a second, as a bucket in one word.
//!
//! Must not know what moves. What has moved is taken from the bucket afterwards, and more may have moved than was in it: then
//! nobody moves anything before that is paid off. The word is the time at which the bucket will be full again, in the ticks of
//! [`ticks`].

use std::{num::NonZeroU64, time::Duration};

use super::gcra::{TICKS_PER_SECOND, duration, ticks};

/// A rate of bytes, ready to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    bytes_per_second: NonZeroU64,
}

/// What may move after a pause: so much time's worth of bytes.
const CAPACITY: u64 = TICKS_PER_SECOND / 4;

/// A debt that is larger is from another limit, or a clock that was set back.
const LARGEST_DEBT: u64 = 60 * TICKS_PER_SECOND;

impl Bandwidth {
    /// So many bytes in a second.
    pub const fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second }
    }

    /// How many.
    pub const fn bytes_per_second(self) -> u64 {
        self.bytes_per_second.get()
    }

    /// The word after so many bytes have moved, and how long nobody may move any.
    pub fn charge(self, word: u64, now: Duration, bytes: u64) -> (u64, Duration) {
        let now = ticks(now);
        let price =
            u128::from(bytes) * u128::from(TICKS_PER_SECOND) / u128::from(self.bytes_per_second.get());
        let price = u64::try_from(price).unwrap_or(u64::MAX);
        let word = word.max(now).saturating_add(price).min(now.saturating_add(CAPACITY + LARGEST_DEBT));
        (word, duration(word.saturating_sub(now.saturating_add(CAPACITY))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_what_is_allowed() {
        for (rate, chunk) in [(10 << 20, 65_536), (16 << 10, 65_536), (10 << 30, 1 << 20), (1 << 20, 1)] {
            let bandwidth = Bandwidth::new(NonZeroU64::new(rate).unwrap());
            let (mut word, mut now, mut moved) = (0, Duration::from_secs(1000), 0_u64);
            for _ in 0..2_000 {
                let (next, pause) = bandwidth.charge(word, now, chunk);
                (word, moved) = (next, moved + chunk);
                now += pause;
            }
            let time = (now - Duration::from_secs(1000)).as_secs_f64();
            let allowed = rate as f64 * (time + 0.25) + chunk as f64;
            assert!(
                moved as f64 <= allowed && (moved as f64 >= allowed * 0.99 || time == 0.0),
                "{rate} {chunk} {moved} {time}"
            );
        }
    }

    #[test]
    fn nobody_waits_for_what_is_long_ago() {
        let bandwidth = Bandwidth::new(NonZeroU64::new(1 << 20).unwrap());
        assert_eq!(bandwidth.charge(0, Duration::from_secs(9), 1000).1, Duration::ZERO);
        assert!(bandwidth.charge(u64::MAX, Duration::from_secs(9), 1).1 <= Duration::from_secs(60));
    }
}
