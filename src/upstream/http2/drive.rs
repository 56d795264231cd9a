//! The task of a session: it moves the frames of all streams until the session ends.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use h2::client::Connection;
use tokio::sync::Notify;

use super::{bounds, session::Session, wire::Wire};
use crate::{
    message::head::HeadLimits,
    net::{stream::Stream, tls::Connector},
    upstream::place::Place,
};

/// Says at the end of its task that a session has ended, however that came.
struct Ending(Arc<Session>);

/// Begins to speak HTTP/2 on a connection to `peer` that `connector` has made, and has its frames moved. There is no deadline in
/// here; dropping the future closes the connection.
pub(super) async fn begin(
    (stream, peer): (Stream, SocketAddr),
    connector: Connector,
    limits: HeadLimits,
    room: Arc<Notify>,
    place: Place,
) -> io::Result<Arc<Session>> {
    let local = stream.local_addr()?;
    let tls = Arc::new(OnceLock::new());
    let handshake = bounds::builder(limits).handshake::<_, Bytes>(Wire::new(stream, Arc::clone(&tls)));
    let (send, mut connection) = handshake.await.map_err(io::Error::other)?;
    let pings = connection.ping_pong();
    let session = Arc::new(Session::new((send, pings), (local, peer), connector, tls, room, place));
    tokio::spawn(run(connection, Ending(Arc::clone(&session))));
    Ok(session)
}

async fn run(mut connection: Connection<Wire, Bytes>, ending: Ending) {
    let session = &ending.0;
    let mut allowed = connection.max_concurrent_send_streams();
    let moving = poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        session.tidy(cx);
        let now = connection.max_concurrent_send_streams();
        if now != allowed {
            allowed = now;
            session.allow(now);
        }
        polled
    });
    tokio::select! {
        ended = moving => if let Err(error) = ended {
            tracing::debug!(peer = %session.peer(), %error, "an HTTP/2 session has failed");
        },
        () = session.cut() => tracing::debug!(peer = %session.peer(), "an HTTP/2 session is given up"),
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}
