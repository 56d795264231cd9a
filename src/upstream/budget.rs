//! How many requests of a group may be sent again: a share of all, so that a group that is overloaded is not asked twice as much.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests that may be sent again before there were any.
const TO_BEGIN_WITH: u64 = 10;

/// What can be saved up at most.
const MOST: u64 = 100;

/// Thousandths of a request.
const ONE: u64 = 1_000;

/// What is left of it, in this process.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
    /// What each request adds.
    share: u64,
}

impl Budget {
    /// So great a share of all requests, from 0 to 1. Nothing at all for 0.
    pub(super) fn new(share: f64) -> Self {
        let share = (share * ONE as f64) as u64;
        Self { left: AtomicU64::new(if share == 0 { 0 } else { TO_BEGIN_WITH * ONE }), share }
    }

    /// A request was sent.
    pub(super) fn earn(&self) {
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left < MOST * ONE && self.share > 0).then(|| left + self.share)
        });
    }

    /// Whether one may be sent again.
    pub(super) fn spend(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(ONE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_and_some_to_begin_with() {
        let budget = Budget::new(0.2);
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
        (0..1_000).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 100, "it is not saved up for ever");
        (0..100).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), 20);
        let none = Budget::new(0.0);
        none.earn();
        assert!(!none.spend());
    }
}
