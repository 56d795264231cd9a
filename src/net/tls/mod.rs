//! TLS over a [`Stream`](super::stream::Stream): either end of it, and what it takes to be one.
//!
//! [`certificate`] is who we are and whom we trust, as read from PEM and checked; an [`Acceptor`] takes clients, a
//! [`Connector`] goes to servers and verifies their names. [`issuer`] signs certificates for hosts in whose place we answer. [`tickets`] lets a client resume with any process that has the same
//! keys. [`TlsError`] says what went wrong by whom. Nothing here reads a file but the system's own authorities.
//!
//! The invariant of the room: a stream comes out of here only after its handshake is complete and everybody is who he should be.

mod acceptor;
pub mod certificate;
mod connector;
mod error;
pub mod issuer;
mod protocol;
pub mod tickets;
pub mod x509;

pub use acceptor::{Accepted, Acceptor, AcceptorOptions, NotAccepted};
pub use connector::{Connected, Connector, ConnectorOptions};
pub use error::{TlsError, alert_name};
pub use protocol::{Oldest, Protocol};
