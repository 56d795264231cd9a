//! Counters with names that the configuration gives: a rule, a limit.
//!
//! Must not know what is counted. A name gets its place when it is counted first and keeps it for the life of the instance, so that a
//! sum never falls. Places are bounded: what comes when all are taken is counted under one name, [`REST`]. Two processes that
//! come with one name at the same moment may both get a place for it: who reads adds them up.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Segment;

/// The name of what has found no place.
pub const REST: &str = "other";

/// Places; the last is for what finds none.
const PLACES: usize = 512;
const WORDS: usize = 13;
const NAME_MAX: usize = WORDS * 8;

/// All zero is empty.
#[repr(C, align(4096))]
pub(super) struct TallyTable {
    places: [Place; PLACES],
    /// For each kind, of what has no place.
    rest: [AtomicU64; 256],
}

#[repr(C, align(128))]
struct Place {
    /// 0 is free, 1 is being written; above that, the kind and the length of the name.
    state: AtomicU64,
    count: AtomicU64,
    name: [AtomicU64; WORDS],
}

const FREE: u64 = 0;
const CLAIMED: u64 = 1;

/// One counter. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tally {
    segment: Segment,
    place: usize,
    kind: u8,
}

impl Segment {
    /// The counter with this name among those of a kind. A name beyond 104 bytes is cut.
    #[must_use]
    pub fn tally(&self, kind: u8, name: &str) -> Tally {
        let name = cut(name);
        let table = self.tally_table();
        let found = (0..PLACES).find(|place| {
            let place = &table.places[*place];
            loop {
                match place.state.load(Ordering::Acquire) {
                    FREE => {
                        let claimed =
                            place.state.compare_exchange(FREE, CLAIMED, Ordering::AcqRel, Ordering::Acquire);
                        if claimed.is_ok() {
                            place.write(kind, name);
                            return true;
                        }
                    }
                    // Whoever writes it may have died over it.
                    CLAIMED => return false,
                    state => return place.is(state, kind, name),
                }
            }
        });
        Tally { segment: self.clone(), place: found.unwrap_or(PLACES), kind }
    }

    /// The counters of a kind that somebody has asked for, each with its name, in the order of their places.
    #[must_use]
    pub fn tallies(&self, kind: u8) -> Vec<(String, u64)> {
        let table = self.tally_table();
        let mut tallies: Vec<(String, u64)> = Vec::new();
        let mut add = |name: String, count: u64| match tallies.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.wrapping_add(count),
            None => tallies.push((name, count)),
        };
        for place in &table.places {
            if let Some(name) = place.name_of(kind) {
                add(name, place.count.load(Ordering::Relaxed));
            }
        }
        let rest = table.rest[usize::from(kind)].load(Ordering::Relaxed);
        if rest > 0 {
            add(REST.to_owned(), rest);
        }
        tallies
    }
}

impl Tally {
    /// Counts one more.
    pub fn add(&self) {
        let table = self.segment.tally_table();
        let count = match table.places.get(self.place) {
            Some(place) => &place.count,
            None => &table.rest[usize::from(self.kind)],
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Place {
    fn write(&self, kind: u8, name: &str) {
        for (word, bytes) in self.name.iter().zip(name.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        self.state.store(state(kind, name.len()), Ordering::Release);
    }

    fn is(&self, found: u64, kind: u8, name: &str) -> bool {
        let is_word = |(word, bytes): (&AtomicU64, &[u8])| {
            word.load(Ordering::Relaxed).to_le_bytes()[..bytes.len()] == *bytes
        };
        found == state(kind, name.len()) && self.name.iter().zip(name.as_bytes().chunks(8)).all(is_word)
    }

    /// Its name, if it is of this kind.
    fn name_of(&self, kind: u8) -> Option<String> {
        let found = self.state.load(Ordering::Acquire);
        let length = usize::try_from(found & 0xff).ok().filter(|length| *length <= NAME_MAX)?;
        if found != state(kind, length) {
            return None;
        }
        let mut bytes: Vec<u8> =
            self.name.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        bytes.truncate(length);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn state(kind: u8, length: usize) -> u64 {
    1 << 16 | u64::from(kind) << 8 | length as u64
}

fn cut(name: &str) -> &str {
    let mut end = name.len().min(NAME_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_kinds_are_apart() {
        let segment = Segment::private(1).unwrap();
        for (kind, name) in [(0, "access.clients"), (1, "access.clients"), (0, ""), (0, "access.client")] {
            segment.tally(kind, name).add();
        }
        segment.tally(0, "access.clients").add();
        let long = "l\u{f6}ng".repeat(30);
        segment.tally(0, &long).add();
        segment.tally(0, &long).add();
        let found = segment.tallies(0);
        let expected: Vec<_> = [("access.clients", 2), ("", 1), ("access.client", 1), (cut(&long), 2)].into();
        assert_eq!(found.iter().map(|(name, count)| (name.as_str(), *count)).collect::<Vec<_>>(), expected);
        assert_eq!(segment.tallies(1), [("access.clients".to_owned(), 1)]);
        assert_eq!(segment.tallies(2), []);
    }

    #[test]
    fn what_finds_no_place_is_counted_under_one_name() {
        let segment = Segment::private(1).unwrap();
        for number in 0..PLACES + 3 {
            segment.tally(3, &format!("rule {number}")).add();
        }
        let found = segment.tallies(3);
        assert_eq!(found.len(), PLACES + 1);
        assert_eq!(found.last(), Some(&(REST.to_owned(), 3)));
    }

    #[test]
    fn workers_agree() {
        let segment = Segment::private(1).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..1_000 {
                        segment.tally(0, &format!("rule {}", number % 10)).add();
                    }
                });
            }
        });
        let found = segment.tallies(0);
        assert_eq!((found.len(), found.iter().map(|(_, count)| count).sum::<u64>()), (10, 4_000));
    }
}
