//! The proxy from outside: the real binary, real sockets, real signals.
//!
//! One file a behaviour. A test whose name begins with `c` and a number holds the row of that name of the
//! protocol checklist. A scenario that is listed in `in_every_mode!` runs in all three process models.

// A test may unwrap wherever it stands; the lint knows only functions that carry the attribute.
#![allow(clippy::unwrap_used)]

mod support;

mod access;
mod auth;
mod bodies;
mod connect;
mod errors;
mod framing;
mod hop_by_hop;
mod limits;
mod pooling;
mod responses;
mod target;
mod timeouts;
mod traces;
mod upgrade;
