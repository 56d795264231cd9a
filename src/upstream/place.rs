//! Whether a connection to an origin is in use or kept, in the numbers that other processes read.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::shared_memory::{Counters, Seat};

/// One connection's place in the numbers. Dropping it takes the connection out of them.
#[derive(Debug)]
pub(super) struct Place {
    seat: Seat,
    is_kept: bool,
}

impl Place {
    /// For a connection that is in use.
    pub(super) fn in_use(seat: Seat) -> Self {
        seat.counters().upstream_active.fetch_add(1, Ordering::Relaxed);
        Self { seat, is_kept: false }
    }

    /// It is kept for the next request, or in use again.
    pub(super) fn change(&mut self, is_kept: bool) {
        if self.is_kept != is_kept {
            self.level().fetch_sub(1, Ordering::Relaxed);
            self.is_kept = is_kept;
            self.level().fetch_add(1, Ordering::Relaxed);
        }
    }

    fn level(&self) -> &AtomicI64 {
        let Counters { upstream_idle, upstream_active, .. } = self.seat.counters();
        if self.is_kept { upstream_idle } else { upstream_active }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.level().fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_memory::Segment;

    #[test]
    fn a_connection_is_in_one_number_and_then_in_none() {
        let seat = Segment::private(1).unwrap().seat(0).unwrap();
        let levels = || {
            let counters = seat.counters();
            (counters.upstream_active.load(Ordering::Relaxed), counters.upstream_idle.load(Ordering::Relaxed))
        };
        let mut place = Place::in_use(seat.clone());
        assert_eq!(levels(), (1, 0));
        place.change(true);
        place.change(true);
        assert_eq!(levels(), (0, 1));
        place.change(false);
        assert_eq!(levels(), (1, 0));
        place.change(true);
        drop(place);
        assert_eq!(levels(), (0, 0));
    }
}
