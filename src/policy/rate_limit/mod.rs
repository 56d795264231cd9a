//! How fast: token buckets, each in one atomic word, and who has which.
//!
//! Must not know where the words are kept, nor what time it is: both come in. [`limits`] says which limits concern a request,
//! [`key`] whose bucket of each it is, [`gcra`] is the arithmetic on a word, [`bandwidth`] the same for bytes. What is promised:
//! over any stretch of time, never more than the burst and the rate times that stretch, whoever asks in whatever order.

mod bandwidth;
mod gcra;
mod key;
mod limits;

pub use bandwidth::Bandwidth;
pub use gcra::{Decision, Limit, ticks};
pub use key::{BucketKey, client_prefix};
pub use limits::{LIMITS, LimitRule, Limits};
