//! What all workers know together of each server that requests are spread over: how much it has to do, and how it is.
//!
//! Must not know what a word means, but for the requests that are in flight. A server gets its place when it is named first and
//! keeps it for the life of the instance. Requests in flight are exact over all workers, and given back when a worker is killed:
//! beside the sum stands how many each seat has. A server that finds no place has its words in its process alone: then nothing of
//! this is shared.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

use super::{Seat, Segment};

/// Servers that have ever been named: as many as a configuration can have, and those of reloads.
const PLACES: usize = 512;
/// Room for the name of a group and the URL of a server.
const NAME_WORDS: usize = 40;
const NAME_MAX: usize = NAME_WORDS * 8;
/// A launcher has no more than this many.
const SEATS: usize = 1024;

/// All zero is empty.
#[repr(C, align(4096))]
pub(super) struct BackendTable {
    /// Which worker looks after all, and until when.
    lease: AtomicU64,
    /// Places are taken in their order: none beyond this one is.
    used: AtomicU64,
    places: [Place; PLACES],
}

#[repr(C, align(128))]
struct Place {
    /// 0 is free, 1 is being written; above that, the length of the name.
    state: AtomicU64,
    name: [AtomicU64; NAME_WORDS],
    words: BackendWords,
    in_flight: InFlight,
}

#[repr(C, align(128))]
struct InFlight {
    sum: AtomicI64,
    seats: [AtomicU32; SEATS],
}

/// Words of one server. Their meaning is given to them elsewhere; all zero is a server of which nothing is known.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct BackendWords {
    /// Requests that were sent to it.
    pub requests: AtomicU64,
    /// Requests that it did not answer.
    pub failures: AtomicU64,
    /// How many in a row.
    pub failing: AtomicU64,
    /// Whether it gets requests after such failures.
    pub circuit: AtomicU64,
    /// What looks at it have found.
    pub health: AtomicU64,
    /// Since when it is back.
    pub since: AtomicU64,
    /// How fast it answers.
    pub latency: AtomicU64,
}

const FREE: u64 = 0;
const CLAIMED: u64 = 1;

/// The place of one server. Clones are the same.
#[derive(Clone)]
pub struct BackendCell(Memory);

#[derive(Clone)]
enum Memory {
    Shared(Segment, usize),
    Own(Arc<Place>),
}

/// One request that a server has. Dropping it takes it off.
#[derive(Debug)]
#[must_use = "dropping it takes it off at once"]
pub struct Flight {
    cell: BackendCell,
    seat: usize,
}

impl Segment {
    /// The place of the server with this name, which gets one if it has none. A name beyond 320 bytes is cut.
    #[must_use]
    pub fn backend(&self, name: &str) -> BackendCell {
        let name = &name.as_bytes()[..name.len().min(NAME_MAX)];
        let table = self.backend_table();
        let found = table.places.iter().position(|place| {
            loop {
                match place.state.load(Ordering::Acquire) {
                    FREE => {
                        let claimed =
                            place.state.compare_exchange(FREE, CLAIMED, Ordering::AcqRel, Ordering::Acquire);
                        if claimed.is_ok() {
                            place.write(name);
                            return true;
                        }
                    }
                    // Two workers that come with one name at once are to get the same place.
                    CLAIMED if place.is_written_soon() => {}
                    CLAIMED => return false,
                    state => return place.is(state, name),
                }
            }
        });
        match found {
            Some(place) => {
                table.used.fetch_max(place as u64 + 1, Ordering::AcqRel);
                BackendCell(Memory::Shared(self.clone(), place))
            }
            None => BackendCell(Memory::Own(Arc::default())),
        }
    }

    /// Whether the worker in `seat` is the one that looks after all servers, now and `until` then. Times are on one clock, in
    /// milliseconds. Another one is after that time, or as soon as the worker that was is gone.
    #[must_use]
    pub fn lease_backends(&self, seat: &Seat, now: u64, until: u64) -> bool {
        let mine = seat.index() as u64 + 1;
        let take = |lease: u64| {
            let (holder, ends) = (lease >> 48, lease & TIME);
            (holder == mine || ends <= now).then_some(mine << 48 | until & TIME)
        };
        self.backend_table().lease.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }
}

const TIME: u64 = (1 << 48) - 1;

impl BackendCell {
    /// Its words.
    #[must_use]
    pub fn words(&self) -> &BackendWords {
        &self.place().words
    }

    /// It gets one more request, from the worker in `seat`.
    pub fn enter(&self, seat: &Seat) -> Flight {
        let InFlight { sum, seats } = &self.place().in_flight;
        // The seat first: a process that is killed between the two words makes the server look less busy, not busy for ever.
        if let Some(own) = seats.get(seat.index()) {
            own.fetch_add(1, Ordering::Relaxed);
        }
        sum.fetch_add(1, Ordering::Relaxed);
        Flight { cell: self.clone(), seat: seat.index() }
    }

    /// Requests that it has, from all workers.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let sum = self.place().in_flight.sum.load(Ordering::Relaxed);
        u32::try_from(sum.max(0)).unwrap_or(u32::MAX)
    }

    fn place(&self) -> &Place {
        match &self.0 {
            Memory::Shared(segment, place) => &segment.backend_table().places[*place],
            Memory::Own(place) => place,
        }
    }
}

impl fmt::Debug for BackendCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendCell").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let InFlight { sum, seats } = &self.cell.place().in_flight;
        sum.fetch_sub(1, Ordering::Relaxed);
        if let Some(own) = seats.get(self.seat) {
            own.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl BackendTable {
    /// The seat has no request any more, and looks after nothing. Nobody must be using it.
    pub(super) fn release(&self, seat: usize) {
        let used = self.used.load(Ordering::Acquire) as usize;
        for place in &self.places[..used.min(PLACES)] {
            let Some(own) = place.in_flight.seats.get(seat) else { continue };
            let left = own.swap(0, Ordering::AcqRel);
            place.in_flight.sum.fetch_sub(left.into(), Ordering::AcqRel);
        }
        let its = |lease: u64| (lease >> 48 == seat as u64 + 1).then_some(0);
        let _ = self.lease.fetch_update(Ordering::AcqRel, Ordering::Acquire, its);
    }
}

impl Place {
    fn write(&self, name: &[u8]) {
        for (word, bytes) in self.name.iter().zip(name.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
        self.state.store(state(name), Ordering::Release);
    }

    fn is(&self, found: u64, name: &[u8]) -> bool {
        let is_word = |(word, bytes): (&AtomicU64, &[u8])| {
            word.load(Ordering::Relaxed).to_le_bytes()[..bytes.len()] == *bytes
        };
        found == state(name) && self.name.iter().zip(name.chunks(8)).all(is_word)
    }

    /// Writing takes less than a microsecond: whoever has not done it after many looks has died over it.
    fn is_written_soon(&self) -> bool {
        (0..10_000).any(|_| {
            std::thread::yield_now();
            self.state.load(Ordering::Acquire) != CLAIMED
        })
    }
}

impl Default for Place {
    fn default() -> Self {
        Self {
            state: AtomicU64::new(FREE),
            name: [const { AtomicU64::new(0) }; NAME_WORDS],
            words: BackendWords::default(),
            in_flight: InFlight { sum: AtomicI64::new(0), seats: [const { AtomicU32::new(0) }; SEATS] },
        }
    }
}

fn state(name: &[u8]) -> u64 {
    1 << 16 | name.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_again_by_its_name() {
        let segment = Segment::private(2).unwrap();
        let seats = [segment.seat(0).unwrap(), segment.seat(1).unwrap()];
        let long = format!("g\n{}", "x".repeat(300));
        let (one, other) = (segment.backend("g\nhttp://a:1"), segment.backend(&long));
        let flights = [one.enter(&seats[0]), segment.backend("g\nhttp://a:1").enter(&seats[1])];
        assert_eq!((one.in_flight(), other.in_flight()), (2, 0));
        let third = segment.backend(&long).enter(&seats[0]);
        assert_eq!((one.in_flight(), other.in_flight()), (2, 1));
        drop((flights, third));
        assert_eq!((one.in_flight(), other.in_flight()), (0, 0));
    }

    #[test]
    fn the_dead_give_back() {
        let segment = Segment::private(2).unwrap();
        let (dies, lives) = (segment.seat(0).unwrap(), segment.seat(1).unwrap());
        let cell = segment.backend("a");
        let kept = cell.enter(&lives);
        std::mem::forget([cell.enter(&dies), cell.enter(&dies)]);
        assert!(segment.lease_backends(&dies, 1_000, 3_000));
        assert!(!segment.lease_backends(&lives, 2_999, 5_000), "somebody else has it");
        assert!(segment.lease_backends(&dies, 2_000, 4_000));
        assert_eq!(cell.in_flight(), 3);
        segment.release(0);
        assert_eq!(cell.in_flight(), 1);
        assert!(segment.lease_backends(&lives, 2_000, 4_000), "whoever had it is gone");
        assert!(segment.lease_backends(&dies, 4_000, 6_000), "its time is over");
        drop(kept);
        assert_eq!(cell.in_flight(), 0);
    }

    #[test]
    fn without_a_place_it_is_counted_all_the_same() {
        let segment = Segment::private(1).unwrap();
        let seat = segment.seat(0).unwrap();
        for number in 0..PLACES {
            let _ = segment.backend(&number.to_string());
        }
        let cell = segment.backend("one more");
        let flight = cell.enter(&seat);
        assert_eq!((cell.in_flight(), segment.backend("one more").in_flight()), (1, 0));
        drop(flight);
        assert_eq!(cell.in_flight(), 0);
    }
}
