//! One word for each key that is limited in its rate.
//!
//! Must not know the arithmetic: a word is a time, the one at which the key will have its full allowance again, and all
//! that is done with it here is to compare it.
//!
//! # When there are more keys than cells
//!
//! A new key takes the cell of the one in its group of 16 that has its full allowance the soonest, or has had it for the
//! longest. Where that time is past, which is the usual case, nothing is lost: such a key and one that nobody has ever
//! asked about are the same. Where all 16 are being limited at this moment, the one that goes is given its full allowance
//! when it comes back: it may get one burst too much. No key is ever limited because of another.

use super::table::{Evict, Found, Stored, Table};
use crate::shared_memory::Segment;

/// The words.
pub(in crate::shared_memory) type RateTable = Table;

/// The rate-limit words of an instance: 65,536, shared by all its processes. Clones are the same.
#[derive(Clone, Debug)]
pub struct Rates {
    segment: Segment,
}

impl Segment {
    /// The words of rate limits.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates { segment: self.clone() }
    }
}

impl Rates {
    /// Changes the word of `key` to what `change` makes of it; leaves it when that is nothing. `change` is asked again when
    /// another process comes first: what it said last is what counts. A key without a cell gets one with the word `now`,
    /// a time by the same clock and in the same unit as the words, system-wide, that has the same meaning as any earlier
    /// one.
    ///
    /// Returns the word before, as the error when it was left. Never waits, and does not allocate.
    pub fn update(&self, key: u64, now: u64, mut change: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64> {
        let table = self.segment.rate_table();
        let mut found = Self::enter(table, key, now);
        loop {
            let word = found.word();
            let Some(new) = change(word) else { return Err(word) };
            match table.store(&mut found, new) {
                Stored::Yes => return Ok(word),
                Stored::Changed => {}
                Stored::Gone => found = Self::enter(table, key, now),
            }
        }
    }

    /// The word of `key`, if it has one. Gives it none.
    #[must_use]
    pub fn peek(&self, key: u64) -> Option<u64> {
        self.segment.rate_table().find(key).map(|found| found.word())
    }

    fn enter(table: &Table, key: u64, now: u64) -> Found {
        table.enter(key, now, Evict::Smallest).expect("any cell may be evicted, so there is always one")
    }
}

#[cfg(test)]
mod tests;
