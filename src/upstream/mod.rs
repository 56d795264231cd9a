//! Everything beyond us: reach it, keep it, choose it. Knows no client and no policy.
//!
//! A [`Connection`] speaks HTTP/1.1 to one origin and is driven by whoever holds it: it has no task of its own, so
//! a request and its answer cost no hand-over between tasks. The [`Pool`] keeps the ones that are idle; [`retry`]
//! says when a request may be sent a second time; [`error`] says what went wrong on the way.

mod connection;
pub mod error;
mod place;
mod pool;
pub mod retry;

pub use connection::Connection;
pub use error::UpstreamError;
pub use pool::{Pool, PoolLimits};
