//! Sockets and addresses: the ground floor.
//!
//! Everything here speaks of addresses, names, sockets and bytes, and nothing of HTTP, configuration or
//! policy. [`authority`] says what was asked for, [`resolve`] which addresses that means, [`filter`] and
//! [`own`] which of them may be reached, [`dial`] makes one connection out of the rest, [`socket`] sets its
//! options and [`relay`] moves bytes over it until both ends have finished.
//!
//! The invariant of the room: an address is checked where it is dialled, and the one that was checked is
//! the one that is dialled.

pub mod authority;
pub mod filter;
pub mod own;
