//! Sockets and addresses. Knows no HTTP, no configuration, no policy.
//!
//! [`authority`] says what was asked for, [`resolve`] which addresses that means, [`filter`] and [`own`] which of them may
//! be reached; [`dial`] makes one connection out of the rest, [`socket`] sets its options, [`stream`] is what it carries, [`tls`]
//! encrypts that ([`ahead`] reads for it), and [`relay`] moves bytes over it until both ends have finished. [`listen`] is the other side: where
//! connections come in, and [`proxy_protocol`] what a balancer says of those that it brings.
//!
//! The invariant of the room: an address is checked where it is dialled, and the one that was checked is the one that is
//! dialled.

pub mod ahead;
pub mod authority;
#[cfg(target_os = "linux")]
pub mod bulk;
pub mod dial;
pub mod filter;
mod hosts;
pub mod inbox;
#[cfg(unix)]
pub mod inherit;
pub mod listen;
pub mod own;
pub mod proxy_protocol;
pub mod relay;
pub mod resolve;
pub mod socket;
#[cfg(target_os = "linux")]
mod splice;
pub mod stream;
pub mod tls;
