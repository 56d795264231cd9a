//! How much of something each key holds at this moment: client connections, say.
//!
//! Must not know what is held. Exact over all workers, and given back when a worker is killed: beside the count of each key
//! stands which seat holds how much of it, so that the launcher can take off what a dead seat had. A seat is noted first
//! and counted then, and the other way round when it lets go: a process that is killed between the two leaves room for
//! one more, until the key holds nothing, and never locks anybody out.
//!
//! There is room for 65,536 keys, and 16 of those whose low 12 bits are the same; a key that holds nothing takes none. For
//! who finds no room there is no limit: it gets a [`Hold`] that is not counted. That is better than to turn away clients
//! whom nothing can be said against. Below about 20,000 keys at a time it does not happen.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::table::{CELLS, Evict, Found, Stored, Table};
use crate::shared_memory::{Seat, Segment};

/// Pairs of a seat and a key for which there is room, and how many places are looked at for one.
const HOLDERS: usize = 1 << 17;
const PROBES: usize = 64;

/// Counts, and who holds them. All zero is nothing held.
#[repr(C, align(4096))]
pub(in crate::shared_memory) struct HoldTable {
    counts: Table,
    holders: [AtomicU64; HOLDERS],
    /// Something was held at some time.
    is_used: AtomicBool,
}

/// One more of what a key holds. Dropping it takes it off.
#[derive(Debug)]
#[must_use = "dropping it lets go at once"]
pub struct Hold {
    /// None where it is not counted.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    segment: Segment,
    key: u64,
    /// Where the seat is noted: the place stays its own as long as anything is noted there.
    holder: usize,
}

/// So much of one cell is held by one seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    seat: usize,
    cell: usize,
    count: u32,
}

impl Seat {
    /// One more for `key`, unless it holds `most` already, over all workers.
    ///
    /// Never waits, and does not allocate. Without room in the table the hold is not counted.
    pub fn try_hold(&self, key: u64, most: u32) -> Option<Hold> {
        let table = self.segment().hold_table();
        table.is_used.store(true, Ordering::Relaxed);
        loop {
            let Some(found) = table.counts.enter(key, 0, Evict::Zero) else {
                return Some(Hold { counted: None });
            };
            // Most who are turned away write nothing.
            if found.word() >= u64::from(most) {
                return None;
            }
            let Some(holder) = table.note(self.index(), found.index) else {
                return Some(Hold { counted: None });
            };
            match table.count(found, most) {
                Stored::Yes => {
                    let counted = Counted { segment: self.segment().clone(), key, holder };
                    return Some(Hold { counted: Some(counted) });
                }
                Stored::Changed => {
                    table.strike(holder);
                    return None;
                }
                Stored::Gone => table.strike(holder),
            }
        }
    }
}

impl Segment {
    /// How much `key` holds, over all workers.
    #[must_use]
    pub fn held(&self, key: u64) -> u64 {
        self.hold_table().counts.find(key).map_or(0, |found| found.word())
    }
}

impl Hold {
    /// Whether it is part of what its key holds: not where there was no room.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.counted.is_some()
    }
}

impl HoldTable {
    /// The seat holds nothing any more. Nobody must be using it.
    pub(in crate::shared_memory) fn release(&self, seat: usize) {
        if !self.is_used.load(Ordering::Relaxed) {
            return;
        }
        for place in &self.holders {
            let Some(holder) = Holder::unpack(place.load(Ordering::Acquire)) else { continue };
            if holder.seat == seat {
                let cell = self.counts.at(holder.cell);
                self.counts.change(cell, |count| count.saturating_sub(holder.count.into()));
                place.store(0, Ordering::Release);
            }
        }
    }

    /// Counts one more in a cell: [`Stored::Changed`] when there are `most` already, [`Stored::Gone`] when the cell is
    /// another key's.
    fn count(&self, mut found: Found, most: u32) -> Stored {
        loop {
            if found.word() >= u64::from(most) {
                return Stored::Changed;
            }
            let more = found.word() + 1;
            match self.counts.store(&mut found, more) {
                Stored::Changed => {}
                end => return end,
            }
        }
    }

    /// Notes that `seat` holds one more of `cell`, and where that is noted.
    fn note(&self, seat: usize, cell: usize) -> Option<usize> {
        (0..PROBES).map(|step| Holder::place(seat, cell, step)).find(|place| {
            let note = |bits| match Holder::unpack(bits) {
                None => Some(Holder { seat, cell, count: 1 }.pack()),
                // The same pair may stand in two places: they are added up when it matters.
                Some(holder) if holder.seat == seat && holder.cell == cell => {
                    Some(Holder { count: holder.count.checked_add(1)?, ..holder }.pack())
                }
                Some(_) => None,
            };
            self.holders[*place].fetch_update(Ordering::AcqRel, Ordering::Acquire, note).is_ok()
        })
    }

    /// One less is held by whoever is noted here.
    fn strike(&self, holder: usize) {
        let strike = |bits| {
            let holder = Holder::unpack(bits)?;
            let count = holder.count - 1;
            Some(if count == 0 { 0 } else { Holder { count, ..holder }.pack() })
        };
        let _ = self.holders[holder].fetch_update(Ordering::AcqRel, Ordering::Acquire, strike);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(Counted { segment, key, holder }) = &self.counted else { return };
        let table = segment.hold_table();
        if let Some(found) = table.counts.find(*key) {
            table.counts.change(found, |count| count.saturating_sub(1));
        }
        table.strike(*holder);
    }
}

impl Holder {
    fn place(seat: usize, cell: usize, step: usize) -> usize {
        // Neighbours in one dimension are far apart in the other.
        (cell.wrapping_mul(0x9e37_79b1).wrapping_add(seat.wrapping_mul(0x85eb_ca77)) + step) % HOLDERS
    }

    fn pack(self) -> u64 {
        debug_assert!(self.cell < CELLS && self.seat < usize::from(u16::MAX));
        (self.seat as u64 + 1) << 48 | (self.cell as u64) << 32 | u64::from(self.count)
    }

    /// None where nobody is noted.
    fn unpack(bits: u64) -> Option<Self> {
        let [seat, cell] = [bits >> 48, bits >> 32 & 0xffff].map(|part| part as usize);
        let count = bits as u32;
        (seat > 0 && count > 0).then(|| Self { seat: seat - 1, cell, count })
    }
}

const _: () = assert!(CELLS <= 1 << 16, "the number of a cell has 16 bits");

#[cfg(test)]
mod tests;
