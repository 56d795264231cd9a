//! What a server serves.

use std::{future::Future, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

use super::{front::RefusedHead, head::RequestHead, wire::Wire};

/// What a call is told besides the request.
#[derive(Debug)]
pub struct Call {
    /// The connection that the request came on.
    pub wire: Arc<Wire>,
    /// The head as it was received.
    pub head: RequestHead,
}

/// One answer for each request. It cannot fail: every failure is an answer too.
pub trait Service: Send + Sync + 'static {
    /// The body of an answer. Its error ends the connection without completing the message.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

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

    /// The answer to a client that was not admitted: a complete message, written as it is.
    fn crowded(&self, crowd: Self::Crowd, peer: SocketAddr, local: SocketAddr) -> Bytes;

    /// Answers a request. Dropped when the client's connection fails.
    fn call(
        &self,
        request: Request<Incoming>,
        call: Call,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers what never became a request: a complete message, after which the connection is closed. Nothing for a
    /// peer that does not speak HTTP.
    fn refuse(&self, wire: &Wire, refused: &RefusedHead) -> Bytes;
}
