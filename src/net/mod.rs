//! Sockets and addresses. Knows no HTTP, no configuration, no policy.

pub mod authority;
pub mod dial;
pub mod filter;
pub mod listen;
pub mod own;
pub mod relay;
pub mod resolve;
pub mod socket;
