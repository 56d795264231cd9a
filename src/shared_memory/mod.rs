//! One segment of atomics that all processes of an instance map. The only unsafe room.
//!
//! The launcher makes the [`Segment`], and every worker maps it. Each life of a worker has a [`Seat`] in it, whose
//! [`Counters`] only that worker writes; what is exact over all workers is a word that they share. Nothing here is a
//! message: a worker that is killed leaves its numbers where they are, and the launcher gives back what they held. What is
//! kept for each of many keys is in [`buckets`], what is counted under names of the configuration in [`tallies`], and what all
//! know together of the servers that requests are spread over in [`backends`]; what all of them seal session tickets with is in
//! [`ticket_keys`]. [`clock`] is the time that they share.

mod backends;
mod buckets;
pub mod clock;
mod counters;
#[cfg(unix)]
mod nameless;
mod segment;
mod tallies;
mod ticket_keys;

pub use backends::{BackendCell, BackendWords, Flight};
pub use buckets::{Hold, Rates};
pub use counters::{Counters, Histogram, LATENCY_BOUNDS_MS};
#[cfg(unix)]
pub use nameless::nameless_file;
pub use segment::{Seat, Segment, SegmentError};
pub use tallies::{REST, Tally};
pub use ticket_keys::SharedTicketKeys;
