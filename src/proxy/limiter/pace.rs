//! How fast the bytes of an exchange may move.
//!
//! Must not know what moves them. Bytes are told of when they have moved; until they are paid for, none are to follow.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    net::relay,
    policy::rate_limit::{Bandwidth, ticks},
    shared_memory::{Rates, clock},
};

/// The buckets that an exchange pays its bytes from.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Pace {
    rates: Rates,
    buckets: Vec<(Bandwidth, u64)>,
}

impl Pace {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, buckets: Vec::new() }
    }

    pub(super) fn add(&mut self, bandwidth: Bandwidth, key: u64) {
        self.buckets.push((bandwidth, key));
    }
}

impl relay::Pace for Pace {
    /// Until when nothing may move, now that so many bytes have.
    fn moved(&self, bytes: u64) -> Option<Instant> {
        let now = clock::now();
        let mut longest = Duration::ZERO;
        for (bandwidth, key) in &self.buckets {
            let mut pause = Duration::ZERO;
            let _ = self.rates.update(*key, ticks(now), |word| {
                let (word, needed) = bandwidth.charge(word, now, bytes);
                pause = needed;
                Some(word)
            });
            longest = longest.max(pause);
        }
        (!longest.is_zero()).then(|| Instant::now() + longest)
    }
}
