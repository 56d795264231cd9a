//! What is exact for one key over all workers: how fast it goes, and how much of something it holds.
//!
//! A key is 64 bits that somebody else has hashed with [`Segment::seed`](super::Segment::seed). A [`table`] finds the
//! cell of a key; [`rates`] keeps one word of a rate limit in it, and [`holds`] a count, with who holds how much of it,
//! so that the launcher can give back what a dead worker held. All of fixed size, none ever waits for another process
//! or allocates, and memory that nobody has used is not resident.
//!
//! It takes a processor that can compare and swap 128 bits, as all 64-bit ones of Intel, AMD and Arm can. On others a lock of
//! each process stands in, and what is said of all workers holds for each worker only.

mod holds;
mod rates;
mod table;

pub use holds::Hold;
pub use rates::Rates;
pub(super) use {holds::HoldTable, rates::RateTable};
