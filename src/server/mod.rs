//! Accepting connections and serving a [`Service`] on them. Generic over the service.
//!
//! [`accept`] takes connections while there is room, `balancer` finds out whose they are, `handshake` encrypts those of a listener
//! with TLS, `connection` reads one request after the other from each and has the service answer it on the [`Client`] itself,
//! `http2` does the same for the streams of those that speak it, and [`drain`] ends it all in an orderly way. Knows HTTP's
//! heads, what SOCKS5 begins with, and the
//! deadlines on clients; not what a proxy is.

pub mod accept;
mod balancer;
mod client;
mod connection;
mod contained;
pub mod drain;
mod handshake;
mod head;
pub mod http2;
mod linger;
mod service;

pub use balancer::Balancers;
pub use client::{Client, ClientOptions, Fault, Peer, RefusedHead};
pub use connection::ConnectionOptions;
pub use contained::is_contained;
pub use handshake::TlsOptions;
pub use head::{RequestHead, RequestTarget};
pub use http2::StreamFault;
pub use service::{After, ClientIo, Handshake, Inside, Service, Takeover, Tunnel};
