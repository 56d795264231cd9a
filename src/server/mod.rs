//! Accepting connections and serving a [`Service`] on them. Generic over the service.
//!
//! [`accept`] takes connections while there is room, `connection` reads one request after the other from each and has the
//! service answer it on the [`Client`] itself, and [`drain`] ends it all in an orderly way. Knows HTTP's heads, what SOCKS5 begins with, and the
//! deadlines on clients; not what a proxy is.

pub mod accept;
mod balancer;
mod client;
mod connection;
mod contained;
pub mod drain;
mod head;
mod linger;
mod service;

pub use balancer::Balancers;
pub use client::{Client, ClientOptions, Fault, Peer, RefusedHead};
pub use connection::ConnectionOptions;
pub use contained::is_contained;
pub use head::{RequestHead, RequestTarget};
pub use service::{After, ClientIo, Service, Takeover, Tunnel};
