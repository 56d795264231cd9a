//! An HTTP forward proxy.

pub mod config;
pub mod message;
pub mod net;
