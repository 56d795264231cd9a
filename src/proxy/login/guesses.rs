//! Wrong passwords of each client, over all workers: ten at once, and then one every five seconds.
//!
//! Must not know users. Who logs in rightly is not counted, and who is remembered is not asked, so a client that has used up its
//! guesses keeps nobody out but those who come from the same address and log in for the first time.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use crate::{
    policy::rate_limit::{BucketKey, Limit, client_prefix, ticks},
    shared_memory::{Seat, clock},
};

/// What a client may guess wrongly at once.
const BURST: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

/// How soon it may guess once more.
const PERIOD: Duration = Duration::from_secs(5);

/// No limit of the configuration has it: theirs are hashes of names.
const ID: u64 = 0x6775_6573_7365_7300;

/// What clients may still guess.
#[derive(Debug)]
pub(super) struct Guesses {
    seat: Seat,
    limit: Limit,
}

impl Guesses {
    pub(super) fn new(seat: Seat) -> Self {
        Self { seat, limit: Limit::every(PERIOD, BURST) }
    }

    /// Whether this client may guess once more.
    ///
    /// # Errors
    ///
    /// Not before so many seconds.
    pub(super) fn may_guess(&self, client: IpAddr) -> Result<(), u64> {
        let word = self.seat.segment().rates().peek(self.key(client)).unwrap_or(0);
        let decision = self.limit.step(word, clock::now(), 1);
        if decision.allowed { Ok(()) } else { Err(decision.retry_after_seconds()) }
    }

    /// It has guessed wrongly.
    pub(super) fn was_wrong(&self, client: IpAddr) {
        let now = clock::now();
        let _ = self.seat.segment().rates().update(self.key(client), ticks(now), |word| {
            let decision = self.limit.step(word, now, 1);
            (decision.word != word).then_some(decision.word)
        });
    }

    fn key(&self, client: IpAddr) -> u64 {
        BucketKey::Client(client_prefix(client)).hash64(self.seat.segment().seed(), ID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_memory::Segment;

    #[test]
    fn ten_at_once_whichever_worker_is_asked() {
        let segment = Segment::private(2).unwrap();
        let workers = [0, 1].map(|index| Guesses::new(segment.seat(index).unwrap()));
        let (client, other) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
        for guess in 0..10 {
            assert_eq!(workers[guess % 2].may_guess(client), Ok(()), "{guess}");
            workers[guess % 2].was_wrong(client);
        }
        let same_network = "2001:db8::2".parse().unwrap();
        for worker in &workers {
            assert!((1..=5).contains(&worker.may_guess(client).unwrap_err()));
            assert!(worker.may_guess(same_network).is_err());
            assert_eq!(worker.may_guess(other), Ok(()));
        }
    }
}
