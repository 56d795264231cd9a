//! An HTTP forward proxy.

pub mod config;
pub mod net;
