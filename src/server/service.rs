//! What a server serves.

use std::{fmt, future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    client::{Client, RefusedHead},
    head::RequestHead,
};
use crate::net::{
    authority::Authority,
    stream::Stream,
    tls::{Acceptor, TlsError},
};

/// The stream of a client, given back after HTTP has ended on it, with what was read and not yet used.
#[derive(Debug)]
pub struct ClientIo {
    /// The connection.
    pub stream: Stream,
    /// Bytes that arrived behind the request.
    pub early: Bytes,
}

/// What runs on the client's socket once HTTP has ended on it: a tunnel.
pub type Takeover = Box<dyn FnOnce(ClientIo) -> Tunnel + Send>;

/// A tunnel that runs.
pub type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a client gets whose tunnel is opened: TLS with us, and inside of it the next requests, which are for one origin.
pub struct Inside {
    /// Shakes hands.
    pub acceptor: Acceptor,
    /// Until when it has to be done.
    pub timeout: Duration,
    /// Whom the client believes to speak with.
    pub authority: Arc<Authority>,
    /// Whose the tunnel is.
    pub user: Option<Arc<str>>,
    /// Is told what became of the handshake.
    pub tell: Box<dyn FnOnce(Result<(), TlsError>) + Send>,
}

/// What becomes of a connection when a request on it is answered.
pub enum After {
    /// The next request may come.
    KeepAlive,
    /// It is closed: all of the request was read.
    Close,
    /// It is closed, and the client may still be sending: in a way that lets it read what was sent to it.
    Linger,
    /// It is closed so that the client sees that what it has got is not complete.
    Cut,
    /// It has failed, and is of no more use.
    Broken,
    /// HTTP has ended on it.
    Takeover(Takeover),
    /// It goes on as if it were one with somebody else, encrypted.
    Inside(Box<Inside>),
}

/// How a TLS handshake with a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Well.
    Complete,
    /// Well, and the client was here before.
    Resumed,
    /// The client has no TLS, none that we accept, no certificate that we trust, or does not trust ours.
    Failed,
    /// Not within its deadline.
    Late,
}

/// One answer for each request. It cannot fail: every failure is an answer too.
pub trait Service: Send + Sync + 'static {
    /// Held as long as a connection lives.
    type Ticket: Send + 'static;

    /// Why a connection is not taken.
    type Crowd;

    /// Whether a connection from `peer` may be taken. Called before anything is allocated for it.
    ///
    /// # Errors
    ///
    /// What is full.
    fn admit(&self, peer: SocketAddr) -> Result<Self::Ticket, Self::Crowd>;

    /// As [`Service::admit`], for a connection of which it is not known yet whose it is.
    ///
    /// # Errors
    ///
    /// What is full.
    fn admit_unnamed(&self) -> Result<Self::Ticket, Self::Crowd>;

    /// It is known now: whether `client` may have it.
    ///
    /// # Errors
    ///
    /// What is full.
    fn name(&self, ticket: &mut Self::Ticket, client: SocketAddr) -> Result<(), Self::Crowd>;

    /// A TLS handshake with a client has ended.
    fn shaken(&self, _: Handshake) {}

    /// The answer to a client that was not admitted: a complete message, written as it is. One that expects TLS gets none.
    fn crowded(&self, crowd: Self::Crowd, peer: SocketAddr) -> Bytes;

    /// Answers a request of `client`, whose body is still to be read from it. Dropped when the server is.
    fn serve<'a>(
        &'a self,
        head: &'a RequestHead,
        client: &'a mut Client,
    ) -> impl Future<Output = After> + Send + 'a;

    /// Serves a client that speaks SOCKS5 instead, whose first byte was there at `started`. Whatever comes of it, no request
    /// follows.
    fn serve_socks<'a>(
        &'a self,
        client: &'a mut Client,
        started: Instant,
    ) -> impl Future<Output = After> + Send + 'a;

    /// Answers what never became a request of `client`: a complete message, after which the connection is closed. Nothing for a
    /// peer that does not speak HTTP.
    fn refuse(&self, client: SocketAddr, refused: &RefusedHead) -> Bytes;
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeepAlive => "KeepAlive",
            Self::Close => "Close",
            Self::Linger => "Linger",
            Self::Cut => "Cut",
            Self::Broken => "Broken",
            Self::Takeover(_) => "Takeover",
            Self::Inside(_) => "Inside",
        })
    }
}
