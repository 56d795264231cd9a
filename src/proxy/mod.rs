//! The path of a request: from the head that a client sent to the bytes that it gets back.
//!
//! [`Proxy`] is the service that every worker serves. It opens an `Exchange`, asks who it is (`login`), what the policy says and what is left (`limiter`), and either forwards
//! (`forward`), opens a tunnel (`tunnel`), hands a connection over to another protocol (`upgrade`) or answers by
//! itself (`local`, `respond`). What moves in between is counted and timed by the two bodies (`request_body`,
//! `response_body`). Every failure is a `ProxyError`, every failure is answered in `respond`, and dropping the exchange
//! writes its record, whatever has happened. Knows message, policy, upstream, server, telemetry and net.

mod account;
mod clock;
mod error;
mod exchange;
mod forward;
mod interim;
mod limiter;
mod live;
mod local;
mod login;
mod request_body;
mod respond;
mod response_body;
mod service;
mod tunnel;
mod upgrade;

pub use account::{Account, ConnectionTicket, Crowd};
pub use limiter::{BadStore, Grant, LimitState, Limited, Limiter, Store};
pub use live::{Kept, Live, LiveOptions};
pub use login::{Login, LoginError};
pub use response_body::{ProxyBody, ResponseBodyError};
pub use service::Proxy;
