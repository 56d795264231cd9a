//! The path of a request: from the head that a client sent to the bytes that it gets back.
//!
//! [`Proxy`] is the service that every worker serves. It opens an `Exchange`, asks who it is (`login`), what the policy says
//! and what is left (`limiter`), and either forwards (`forward`, with a `flow` each way), opens a tunnel (`tunnel`, for those who ask by `socks`, too) or answers
//! by itself (`local`, `respond`). Tunnels to hosts that the operator has listed are opened (`interception`), and carry
//! requests. Every failure is a `ProxyError`, every failure is answered in `respond`, and dropping the
//! exchange writes its record, whatever has happened. Knows message, policy, upstream, server, telemetry and net.

mod account;
mod date;
mod error;
mod exchange;
mod flow;
mod forward;
mod interception;
mod limiter;
mod live;
mod local;
mod login;
mod respond;
mod service;
mod socks;
mod through;
mod tunnel;

pub use account::{Account, ConnectionTicket, Crowd};
pub use interception::Interception;
pub use limiter::{BadStore, Grant, LimitState, Limited, Limiter, Store};
pub use live::{Kept, Live, LiveOptions};
pub use login::{Login, LoginError};
pub use service::Proxy;
