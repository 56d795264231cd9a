//! Accepting connections and serving a [`Service`] on them. Generic over the service.
//!
//! [`accept`] takes connections while there is room, `connection` runs hyper on each behind a [`front`] that
//! shows it exactly one message at a time, [`wire`] is what a connection and its exchange share, and
//! [`drain`] ends it all in an orderly way. Knows HTTP's framing and its deadlines; not what a proxy is.

pub mod accept;
mod connection;
pub mod drain;
mod front;
mod head;
mod linger;
mod service;
mod tap;
mod wire;

pub use connection::ConnectionOptions;
pub use front::{Fault, FrontOptions, RefusedHead};
pub use head::{RequestHead, RequestTarget};
pub use service::{Call, Service};
pub use wire::{BodyFault, ClientIo, Takeover, Wire};
