//! Which records of success are written, where not all of them are.

use std::cell::Cell;

/// A share of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// Everything.
    All,
    /// A number that is drawn from all 64-bit numbers is below this one.
    Below(u64),
}

impl Sample {
    /// This share, from 0 to 1.
    pub(super) fn new(share: f64) -> Self {
        // 2^64 cannot be had in 64 bits, and saturates: that is the reason for `All`.
        if share >= 1.0 { Self::All } else { Self::Below((share.max(0.0) * 2_f64.powi(64)) as u64) }
    }

    /// Whether the next one is taken.
    pub(super) fn takes(self) -> bool {
        match self {
            Self::All => true,
            Self::Below(bound) => draw() < bound,
        }
    }
}

/// Evenly spread and good for nothing secret (SplitMix64). A few nanoseconds.
fn draw() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Threads and processes do not take the same.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken() {
        let taken = |share| (0..100_000).filter(|_| Sample::new(share).takes()).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 100_000));
        let tenth = taken(0.1);
        assert!((9_000..11_000).contains(&tenth), "{tenth}");
    }
}
