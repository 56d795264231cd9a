//! A table of cells that all processes use at once: which cell is whose.
//!
//! Must not know what a word means, but that the smallest is the one that is missed the least.
//!
//! # A cell
//!
//! 128 bits that change as one: whose it is, and the word. So an update that was meant for one key cannot fall on
//! another's: it is a compare-and-swap of both. The low bits of a key say in which group of 16 cells it can be, the
//! others are in the cell, so keys are told apart by all 64 bits.
//!
//! # How a key gets a cell
//!
//! Updates need nothing but the cell. Putting a key into one must also make sure that it is in no other cell of its
//! group, and so it goes through the group's gate, which is a version and, while that is odd, an intent: which key into
//! which cell.
//!
//! 1. With the gate idle at version v, whoever finds no cell with its key picks a victim and publishes the intent by
//!    compare-and-swap of the gate to v + 1. When that succeeds, no key has moved since the search began.
//! 2. Whoever sees an intent carries it out, by one compare-and-swap of the victim to a cell of the new key, or, where
//!    the victim is needed by now, to itself. Either way it is stamped with the version. The first one to do so has
//!    decided; one who comes late expects an older stamp, and fails.
//! 3. The gate goes on to v + 2.
//!
//! So keys move one at a time in each group, and never while somebody relies on their not moving: no key has two cells. Who
//! is killed in the midst leaves an intent that the next one carries out, and nobody ever waits.
//!
//! The stamp has 12 bits. For it to deceive, a process has to stand still between two instructions until a multiple of
//! 4,096 keys have moved in one group and the victim's key is back in its place with the very word it had; what happens
//! then is that one key may have two cells.

use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

/// Keys that a table holds.
pub(super) const CELLS: usize = GROUPS * GROUP;

/// A group is scanned whole, so it is small: four cache lines.
const GROUP: usize = 16;
const GROUPS: usize = 4096;
const GROUP_BITS: u32 = GROUPS.trailing_zeros();
const STAMP_MASK: u64 = 0xfff;

/// One name of 2^52 has to stand for two keys, for 0 is nobody's.
const IN_PLACE_OF_0: u64 = 0x8_0000_0000_0001;

/// Cells and gates. All zero is an empty table. Every bit pattern is valid; nonsense in it makes for nonsense of words, and
/// of nothing else.
#[repr(C, align(4096))]
pub(in crate::shared_memory) struct Table {
    groups: [[AtomicU128; GROUP]; GROUPS],
    gates: [AtomicU128; GROUPS],
}

/// Which cells may be taken from their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evict {
    /// Those whose word is 0.
    Zero,
    /// Any: the one with the smallest word goes.
    Smallest,
}

/// The cell of a key, and what was seen in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Its number, below [`CELLS`].
    pub(super) index: usize,
    seen: Cell,
}

/// What became of a word that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is in the cell.
    Yes,
    /// Another word has come first: look again.
    Changed,
    /// The cell is another key's by now.
    Gone,
}

/// A key, taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    group: usize,
    /// What tells it from the others of its group. Not 0, which is nobody.
    rest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    rest: u64,
    stamp: u64,
    word: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Gate {
    /// Odd: there is an intent.
    version: u64,
    rest: u64,
    place: usize,
}

impl Table {
    /// The cell of `key`, if it has one.
    pub(super) fn find(&self, key: u64) -> Option<Found> {
        let name = Name::of(key);
        name.places().find_map(|place| {
            let seen = self.cell(name.group, place);
            (seen.rest == name.rest).then_some(Found { index: name.group * GROUP + place, seen })
        })
    }

    /// The cell of `key`, which gets one with the word `fresh` if it has none. Nothing when all that it could have are
    /// needed.
    pub(super) fn enter(&self, key: u64, fresh: u64, evict: Evict) -> Option<Found> {
        let name = Name::of(key);
        loop {
            if let Some(found) = self.find(key) {
                return Some(found);
            }
            let gate = self.gate(name.group);
            if gate.is_busy() {
                self.carry_out(name.group, gate, fresh, evict);
                continue;
            }
            // Once more, for it may have come in between; and this time the gate says whether anything has moved.
            if let Some(found) = self.find(key) {
                return Some(found);
            }
            let victim = name.places().min_by_key(|place| {
                let cell = self.cell(name.group, *place);
                (cell.rest != 0, cell.word)
            })?;
            if !self.cell(name.group, victim).may_go(evict) {
                return None;
            }
            let intent = Gate { version: gate.version.wrapping_add(1), rest: name.rest, place: victim };
            if self.swap_gate(name.group, gate, intent) {
                self.carry_out(name.group, intent, fresh, evict);
            }
        }
    }

    /// Puts `word` into a cell that was found, if it is as it was seen.
    pub(super) fn store(&self, found: &mut Found, word: u64) -> Stored {
        let new = Cell { word, ..found.seen };
        match self.swap_cell(found.index, found.seen, new) {
            Ok(()) => Stored::Yes,
            Err(now) if now.rest == found.seen.rest => {
                found.seen = now;
                Stored::Changed
            }
            Err(_) => Stored::Gone,
        }
    }

    /// The cell with this number, whosever it is.
    pub(super) fn at(&self, index: usize) -> Found {
        Found { index, seen: self.cell(index / GROUP, index % GROUP) }
    }

    /// Puts what `word` makes of the word into a cell that was found, unless it is another key's by now.
    pub(super) fn change(&self, mut found: Found, word: impl Fn(u64) -> u64) {
        loop {
            let new = word(found.word());
            if self.store(&mut found, new) != Stored::Changed {
                return;
            }
        }
    }

    /// Does what the intent of a gate says, unless somebody else does.
    fn carry_out(&self, group: usize, intent: Gate, fresh: u64, evict: Evict) {
        let stamp = intent.stamp();
        loop {
            let seen = self.cell(group, intent.place);
            // What was seen was there while the intent was: it is as it was before, or decided.
            if self.gate(group) != intent {
                return;
            }
            if seen.stamp == stamp {
                break;
            }
            let decided = if seen.may_go(evict) {
                Cell { rest: intent.rest, stamp, word: fresh }
            } else {
                Cell { stamp, ..seen }
            };
            if self.swap_cell(group * GROUP + intent.place, seen, decided).is_ok() {
                break;
            }
        }
        let idle = Gate { version: intent.version.wrapping_add(1), rest: 0, place: 0 };
        self.swap_gate(group, intent, idle);
    }

    fn cell(&self, group: usize, place: usize) -> Cell {
        Cell::unpack(self.groups[group][place].load(Ordering::Acquire))
    }

    fn gate(&self, group: usize) -> Gate {
        Gate::unpack(self.gates[group].load(Ordering::Acquire))
    }

    fn swap_cell(&self, index: usize, old: Cell, new: Cell) -> Result<(), Cell> {
        self.groups[index / GROUP][index % GROUP]
            .compare_exchange(old.pack(), new.pack(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Cell::unpack)
    }

    fn swap_gate(&self, group: usize, old: Gate, new: Gate) -> bool {
        self.gates[group]
            .compare_exchange(old.pack(), new.pack(), Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl Found {
    /// The word that was seen.
    pub(super) fn word(&self) -> u64 {
        self.seen.word
    }
}

impl Name {
    fn of(key: u64) -> Self {
        let group = usize::try_from(key % GROUPS as u64).expect("the number of groups is small");
        let rest = key >> GROUP_BITS;
        Self { group, rest: if rest == 0 { IN_PLACE_OF_0 } else { rest } }
    }

    /// The places of its group, in the order in which it looks.
    fn places(self) -> impl Iterator<Item = usize> {
        let first = usize::try_from(self.rest % GROUP as u64).expect("a group is small");
        (0..GROUP).map(move |step| (first + step) % GROUP)
    }
}

impl Cell {
    fn may_go(self, evict: Evict) -> bool {
        evict == Evict::Smallest || self.word == 0
    }

    fn pack(self) -> u128 {
        u128::from(self.rest << GROUP_BITS | self.stamp) << 64 | u128::from(self.word)
    }

    fn unpack(bits: u128) -> Self {
        let name = (bits >> 64) as u64;
        Self { rest: name >> GROUP_BITS, stamp: name & STAMP_MASK, word: bits as u64 }
    }
}

impl Gate {
    fn is_busy(self) -> bool {
        self.version % 2 == 1
    }

    /// What is written into a cell when its intent is decided. Not that of the intent before.
    fn stamp(self) -> u64 {
        (self.version / 2 + 1) & STAMP_MASK
    }

    fn pack(self) -> u128 {
        u128::from(self.rest << 4 | self.place as u64) << 64 | u128::from(self.version)
    }

    fn unpack(bits: u128) -> Self {
        let name = (bits >> 64) as u64;
        Self { version: bits as u64, rest: name >> 4, place: (name % GROUP as u64) as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_memory::Segment;

    #[test]
    fn cells_and_gates_are_packed_without_loss() {
        let cell = Cell { rest: (1 << 52) - 1, stamp: 0xabc, word: u64::MAX - 1 };
        assert_eq!(Cell::unpack(cell.pack()), cell);
        let gate = Gate { version: u64::MAX, rest: (1 << 52) - 1, place: 15 };
        assert!(Gate::unpack(gate.pack()) == gate);
        assert_eq!(Cell::unpack(0), Cell { rest: 0, stamp: 0, word: 0 });
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn cells_are_atomic_over_processes() {
        assert!(AtomicU128::is_lock_free());
    }

    #[test]
    fn an_intent_that_was_left_behind_is_carried_out_by_the_next() {
        let segment = Segment::private(1).unwrap();
        let table = segment.rate_table();
        let (dead, next) = (Name::of(5 << 12), Name::of(6 << 12));
        let intent = Gate { version: 1, rest: dead.rest, place: 3 };
        assert!(table.swap_gate(0, Gate::unpack(0), intent));
        assert_eq!(table.enter(6 << 12, 10, Evict::Smallest).unwrap().word(), 10);
        let cells: Vec<_> = (0..GROUP).map(|place| table.cell(0, place)).collect();
        assert_eq!(cells[3], Cell { rest: dead.rest, stamp: 1, word: 10 });
        assert_eq!(cells.iter().filter(|cell| cell.rest == next.rest).count(), 1);
        assert_eq!(table.gate(0).version, 4);
    }

    #[test]
    fn a_cell_that_is_needed_by_now_is_not_taken() {
        let segment = Segment::private(1).unwrap();
        let table = segment.rate_table();
        let mut kept = table.enter(5 << 12, 0, Evict::Zero).unwrap();
        let before = table.gate(0);
        let intent = Gate { version: before.version + 1, rest: 6, place: kept.index };
        assert!(table.swap_gate(0, before, intent));
        assert_eq!(table.store(&mut kept, 1), Stored::Yes);
        table.carry_out(0, intent, 0, Evict::Zero);
        assert_eq!((table.find(5 << 12).unwrap().word(), table.find(6 << 12).is_none()), (1, true));
        assert!(!table.gate(0).is_busy());
        // Who comes late does not bring it back.
        let late = table.gate(0);
        table.carry_out(0, intent, 0, Evict::Zero);
        assert!(table.gate(0) == late && table.find(6 << 12).is_none());
    }

    #[test]
    fn stamps_come_round() {
        let segment = Segment::private(1).unwrap();
        let table = segment.rate_table();
        for number in 1..10_000_u64 {
            let found = table.enter(number << 12, number, Evict::Smallest).unwrap();
            assert_eq!((found.word(), table.find(number << 12).unwrap().word()), (number, number));
        }
    }
}
