//! The mapping itself.
//!
//! What one worker writes is on cache lines that no other writes, so that a request costs the same however many workers there
//! are. What all of them write, the number of open connections and what is kept for each of many keys, is apart from that, and
//! is touched once for a connection, or where a limit asks for it.

#![expect(
    unsafe_code,
    reason = "a mapping that several processes share can only be reached through a pointer"
)]

use std::{
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    mem::{align_of, size_of},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use memmap2::{MmapOptions, MmapRaw};
use thiserror::Error;

#[cfg(unix)]
use super::nameless;
use super::{
    backends::BackendTable,
    buckets::{HoldTable, RateTable},
    counters::Counters,
    tallies::TallyTable,
    ticket_keys::TicketTable,
};

/// Written first into a segment; a worker of another layout refuses it.
const LAYOUT: u64 = 0x7266_7031_0000_0006;

/// Why there is no segment.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The operating system's.
    #[error("shared memory cannot be mapped: {0}")]
    Io(#[from] io::Error),
    /// What was handed over is not a segment of this program's layout.
    #[error("the shared memory that was handed over has another layout: it belongs to another version")]
    Layout,
}

/// What stands in front of the seats.
#[repr(C, align(128))]
struct Header {
    layout: AtomicU64,
    seats: AtomicU64,
    /// For hashing keys.
    seed: AtomicU64,
    /// Client connections of the whole instance.
    connections: Padded,
}

#[repr(C, align(128))]
struct Padded(AtomicI64);

/// What stands behind the seats. Nothing of it is resident before it is used.
#[repr(C, align(4096))]
struct Tables {
    rates: RateTable,
    holds: HoldTable,
    tallies: TallyTable,
    backends: BackendTable,
    tickets: TicketTable,
}

/// The memory of one instance.
#[derive(Clone, Debug)]
pub struct Segment {
    mapping: Arc<MmapRaw>,
    seats: usize,
}

/// One worker life's place in the segment. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Seat {
    segment: Segment,
    index: usize,
}

impl Segment {
    /// Memory of this process alone.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn private(seats: usize) -> Result<Self, SegmentError> {
        let mapping = MmapOptions::new().len(size_of_segment(seats)).map_anon()?;
        Ok(Self::initialised(mapping.into(), seats))
    }

    /// Memory in `file`, which is made large enough, for processes that get the file.
    ///
    /// # Errors
    ///
    /// When it cannot be resized or mapped.
    pub fn create(file: &File, seats: usize) -> Result<Self, SegmentError> {
        file.set_len(size_of_segment(seats) as u64)?;
        let mapping = MmapOptions::new().len(size_of_segment(seats)).map_raw(file)?;
        Ok(Self::initialised(mapping, seats))
    }

    /// Memory that can be handed to other processes, and the file to hand over.
    ///
    /// # Errors
    ///
    /// When there is none.
    #[cfg(unix)]
    pub fn shared(seats: usize) -> Result<(Self, File), SegmentError> {
        let file = nameless::nameless_file()?;
        let segment = Self::create(&file, seats)?;
        nameless::seal(&file)?;
        Ok((segment, file))
    }

    /// Maps what another process has made.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped or is not a segment of this layout.
    pub fn open(file: &File) -> Result<Self, SegmentError> {
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| SegmentError::Layout)?;
        if length < size_of_segment(1) {
            return Err(SegmentError::Layout);
        }
        let segment = Self { mapping: Arc::new(MmapOptions::new().len(length).map_raw(file)?), seats: 0 };
        let header = segment.header();
        let seats =
            usize::try_from(header.seats.load(Ordering::Acquire)).map_err(|_| SegmentError::Layout)?;
        if header.layout.load(Ordering::Acquire) != LAYOUT || size_of_segment(seats) != length {
            return Err(SegmentError::Layout);
        }
        Ok(Self { seats, ..segment })
    }

    fn initialised(mapping: MmapRaw, seats: usize) -> Self {
        let segment = Self { mapping: Arc::new(mapping), seats };
        segment.header().seats.store(seats as u64, Ordering::Release);
        segment.header().seed.store(RandomState::new().build_hasher().finish(), Ordering::Release);
        segment.header().layout.store(LAYOUT, Ordering::Release);
        segment
    }

    /// The layout of this program. Processes of another one cannot share a segment with it.
    #[must_use]
    pub fn layout() -> u64 {
        LAYOUT
    }

    /// How many seats there are.
    #[must_use]
    pub fn seats(&self) -> usize {
        self.seats
    }

    /// The seat with this number; none beyond the last.
    #[must_use]
    pub fn seat(&self, index: usize) -> Option<Seat> {
        (index < self.seats).then(|| Seat { segment: self.clone(), index })
    }

    /// What keys of [`Self::rates`] and [`Seat::try_hold`] are to be hashed with, lest somebody looks for keys that fall
    /// together. Random, secret, and one for the instance.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.header().seed.load(Ordering::Acquire)
    }

    /// The worker that had this seat is gone: what it held is given back. Its totals stay.
    pub fn release(&self, index: usize) {
        if let Some(seat) = self.seat(index) {
            let counters = seat.counters();
            let held = counters.connections_active.swap(0, Ordering::AcqRel);
            self.header().connections.0.fetch_sub(held, Ordering::AcqRel);
            for level in [&counters.tunnels_active, &counters.upstream_active, &counters.upstream_idle] {
                level.store(0, Ordering::Release);
            }
            self.hold_table().release(index);
            self.backend_table().release(index);
        }
    }

    pub(super) fn rate_table(&self) -> &RateTable {
        &self.tables().rates
    }

    pub(super) fn hold_table(&self) -> &HoldTable {
        &self.tables().holds
    }

    pub(super) fn tally_table(&self) -> &TallyTable {
        &self.tables().tallies
    }

    pub(super) fn backend_table(&self) -> &BackendTable {
        &self.tables().backends
    }

    pub(super) fn ticket_table(&self) -> &TicketTable {
        &self.tables().tickets
    }

    fn tables(&self) -> &Tables {
        let start = self.mapping.as_mut_ptr();
        // SAFETY: the mapping was made as long as `size_of_segment` says for this number of seats, or was checked to be, and
        // `start_of_tables` is a multiple of the alignment, which is no more than a page's. Tables are nothing but atomics:
        // valid for every bit pattern, and free to be changed by other processes.
        unsafe { &*start.add(start_of_tables(self.seats)).cast::<Tables>() }
    }

    fn header(&self) -> &Header {
        let start: NonNull<Header> =
            NonNull::new(self.mapping.as_mut_ptr()).expect("a mapping is not null").cast();
        // SAFETY: every mapping is at least as long as a header and one seat (checked where it is made) and page-aligned,
        // and lives as long as `self`. A header is nothing but atomics, for which every bit pattern is valid and which
        // other processes may change at any time.
        unsafe { start.as_ref() }
    }
}

impl Seat {
    /// Its number.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The memory that it is in.
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The numbers of this seat.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        let start = self.segment.mapping.as_mut_ptr();
        // SAFETY: `index` is below the number of seats (checked in `Segment::seat`), for which the mapping is large enough
        // (checked where it is made); a page's alignment and a size that is a multiple of 128 keep each seat aligned.
        // Counters are nothing but atomics: valid for every bit pattern, and free to be changed by other processes.
        unsafe {
            let seats = start.add(size_of::<Header>()).cast::<Counters>();
            &*seats.add(self.index)
        }
    }

    /// Takes one client connection into the count of the whole instance, unless there are `limit` already (0 = no
    /// limit). Exact over all workers. Each success is to be followed by [`Self::release_connection`].
    #[must_use]
    pub fn try_connection(&self, limit: u32) -> bool {
        let most = if limit == 0 { i64::MAX } else { i64::from(limit) };
        let counters = self.counters();
        // The seat first: a process that is killed between the two words leaves room for one client more, where the
        // other order would lock one out for as long as the instance lives.
        counters.connections_active.fetch_add(1, Ordering::Relaxed);
        let connections = &self.segment.header().connections.0;
        let taken = connections
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |now| (now < most).then_some(now + 1))
            .is_ok();
        if taken {
            counters.connections_total.fetch_add(1, Ordering::Relaxed);
        } else {
            counters.connections_active.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// A client connection is closed.
    pub fn release_connection(&self) {
        self.segment.header().connections.0.fetch_sub(1, Ordering::AcqRel);
        self.counters().connections_active.fetch_sub(1, Ordering::Relaxed);
    }
}

const fn size_of_segment(seats: usize) -> usize {
    start_of_tables(seats) + size_of::<Tables>()
}

const fn start_of_tables(seats: usize) -> usize {
    assert!(align_of::<Counters>() == align_of::<Header>(), "seats follow the header without a gap");
    (size_of::<Header>() + seats * size_of::<Counters>()).next_multiple_of(align_of::<Tables>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_are_one_memory() {
        let file = tempfile::tempfile().unwrap();
        let made = Segment::create(&file, 3).unwrap();
        let opened = Segment::open(&file).unwrap();
        assert_eq!(opened.seats(), 3);
        made.seat(2).unwrap().counters().bytes_in.fetch_add(7, Ordering::Relaxed);
        assert_eq!(opened.seat(2).unwrap().counters().bytes_in.load(Ordering::Relaxed), 7);
        assert!(opened.seat(3).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_shared_cannot_be_made_shorter() {
        let (made, file) = Segment::shared(2).unwrap();
        assert!(file.set_len(0).is_err());
        assert!(Segment::open(&file).unwrap().seat(1).unwrap().try_connection(1));
        assert!(!made.seat(0).unwrap().try_connection(1));
    }

    /// What a worker writes at every request shares no cache line with what another one writes, nor the line beside it, which
    /// is fetched with it; the one word that all write, once a connection, shares none with anything.
    #[test]
    fn what_two_workers_write_is_on_different_cache_lines() {
        const PAIR_OF_LINES: usize = 128;
        let (segment, _file) = Segment::shared(5).unwrap();
        let seats: Vec<_> = (0..5).map(|index| segment.seat(index).unwrap()).collect();
        let connections = &raw const segment.header().connections.0 as usize;
        let layout = &raw const segment.header().layout as usize;
        let tables = &raw const *segment.tables() as usize;
        let mut areas = vec![
            layout..layout + 3 * size_of::<AtomicU64>(),
            connections..connections + size_of::<AtomicI64>(),
            tables..tables + size_of::<Tables>(),
        ];
        areas.extend(seats.iter().map(|seat| {
            let counters = &raw const *seat.counters() as usize;
            counters..counters + size_of::<Counters>()
        }));
        areas.sort_by_key(|area| area.start);
        for pair in areas.windows(2) {
            assert!((pair[0].end - 1) / PAIR_OF_LINES < pair[1].start / PAIR_OF_LINES, "{pair:x?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_nobody_uses_takes_no_memory() {
        use std::os::unix::fs::MetadataExt;
        let (made, file) = Segment::shared(1024).unwrap();
        let resident = || file.metadata().unwrap().blocks() * 512;
        assert!(file.metadata().unwrap().len() > 3 << 20);
        made.release(7);
        assert!(resident() <= 16 << 10, "{}", resident());
        assert_eq!(made.rates().update(made.seed(), 1, |word| Some(word + 1)), Ok(1));
        let hold = made.seat(0).unwrap().try_hold(made.seed(), 1).unwrap();
        assert!(hold.is_counted() && resident() <= 48 << 10, "{}", resident());
    }

    #[test]
    fn a_stranger_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Segment::open(&file), Err(SegmentError::Layout)));
        file.set_len(1 << 24).unwrap();
        assert!(matches!(Segment::open(&file), Err(SegmentError::Layout)));
    }

    #[test]
    fn the_connection_limit_holds_over_seats_and_the_dead_give_back() {
        let segment = Segment::private(2).unwrap();
        let (one, two) = (segment.seat(0).unwrap(), segment.seat(1).unwrap());
        assert!(one.try_connection(3) && two.try_connection(3) && two.try_connection(3));
        assert!(!one.try_connection(3) && !two.try_connection(3));
        one.release_connection();
        assert!(one.try_connection(3));
        segment.release(1);
        assert!(one.try_connection(3) && one.try_connection(3) && !one.try_connection(3));
        assert!(one.try_connection(0), "0 is no limit");
    }
}
