//! Sockets and addresses. Knows no HTTP, no configuration, no policy.

pub mod filter;
