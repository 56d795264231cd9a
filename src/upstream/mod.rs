//! Everything beyond us: reach it, keep it, choose it. Knows no client and no policy.
//!
//! A [`Connection`] speaks HTTP/1.1 to one origin and is driven by whoever holds it: it has no task of its own, so
//! a request and its answer cost no hand-over between tasks. The [`Pool`] keeps the ones that are idle; [`retry`]
//! says when a request may be sent a second time; [`error`] says what went wrong on the way. Origins that speak `http2` have few
//! connections that many requests share, and each of those gets a [`Connection`] all the same: a stream that looks like one.
//!
//! A [`Group`] is servers that do the same. A request makes a [`Choice`] among them, by a way to `balance`, and has its [`Turn`]
//! with one `backend` after the other until it is answered, within a `budget`. Whether a server gets requests is the matter of
//! its `circuit`, which requests that fail open, and of [`health`], by which one worker looks at all of them. [`parent`] is how a
//! server that is a proxy is asked for a connection to somebody else, and [`announcement`] what servers are told of a connection before
//! anything else, where they want to know whose it is.

pub mod announcement;
mod backend;
mod balance;
mod budget;
mod circuit;
mod connection;
pub mod error;
mod group;
pub mod health;
mod http2;
mod lot;
pub mod parent;
mod place;
mod pool;
pub mod retry;

pub use balance::Trait;
pub use connection::{Connection, Kind};
pub use error::UpstreamError;
pub use group::{Choice, Group, Groups, Turn, survey};
pub use http2::{Approach, Dialling};
pub use pool::{Pool, PoolLimits};
