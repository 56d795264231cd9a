//! How fast: token buckets, each in one atomic word.
//!
//! Must not know where the words are kept, nor what time it is: both come in. [`rate`] reads what the configuration says,
//! [`gcra`] is the arithmetic on a word, [`key`] says whose word it is. What is promised: over any stretch of time,
//! never more than the burst and the rate times that stretch, whoever asks in whatever order.

mod gcra;
mod key;
mod rate;

pub use gcra::{Decision, Limit};
pub use key::{BucketKey, KeyKind};
pub use rate::{BadRate, Rate};
