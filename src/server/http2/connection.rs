//! One connection of HTTP/2, from its preface to its end.
//!
//! It takes streams while there is room, has each served in a task of its own, and moves their frames. It ends in order: the client
//! is told which streams are still answered (GOAWAY, RFC 9113 section 6.8), and those are.

use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Connection, SendResponse},
};
use http::Request;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    bounds::{self, MAX_STREAMS, Resets},
    farewell::Farewell,
    stream::Streams,
    watch::{Watch, Wish},
};
use crate::server::{
    connection::{Arrived, Shared},
    service::Service,
};

/// A stream that was taken.
pub(super) type Taken = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves a client that speaks HTTP/2 until it is closed.
pub(in crate::server) async fn serve<S: Service>(arrived: Arrived, shared: Arc<Shared<S>>) {
    let Arrived { stream, peer, user, inside, .. } = arrived;
    // Only a socket that is no more has no name.
    let local = stream.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let (patience, started) = (shared.client.client_header, Instant::now());
    let builder = bounds::builder(shared.client.head.max_bytes);
    let tally = Arc::default();
    let handshake = builder.handshake::<_, Bytes>(Farewell::new(stream, patience, &tally));
    if let Ok(Ok(connection)) = timeout(patience, handshake).await {
        let streams = Arc::new(Streams { peer, local, user, inside, shared, tally });
        run(connection, Arc::clone(&streams)).await;
        streams.tell_untaken(started);
    }
}

/// Takes streams until the client has no more of them.
async fn run<S: Service>(mut connection: Connection<Farewell, Bytes>, streams: Arc<Streams<S>>) {
    let (client, drain) = (Arc::clone(&streams.shared.client), streams.shared.drain.clone());
    let mut drain_started = pin!(drain.started());
    let mut is_draining = false;
    let mut ended = pin!(streams.tally.ended());
    let mut resets = Resets::new(Instant::now());
    let mut watch = Watch::new(connection.ping_pong(), &client, Instant::now());
    let mut timer = pin!(sleep_until(watch.at()));
    loop {
        let has_room = streams.tally.count() < MAX_STREAMS;
        tokio::select! {
            biased;
            () = &mut drain_started, if !is_draining => {
                is_draining = true;
                watch.drain(Instant::now());
                connection.graceful_shutdown();
            }
            taken = next(&mut connection, has_room) => match taken {
                Ok(Some(taken)) => streams.start(taken),
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(client = %streams.peer.address, %error, "an HTTP/2 connection has failed");
                    return;
                }
            },
            () = &mut ended => ended.set(streams.tally.ended()),
            is_alive = watch.pong() => if !is_alive { return },
            () = &mut timer => match watch.fire(Instant::now()) {
                Wish::Nothing => {}
                Wish::Close => connection.graceful_shutdown(),
                Wish::Cut => return,
            },
        }
        let reset = streams.tally.take_resets();
        if reset > 0 && !resets.take(reset, Instant::now()) {
            tracing::debug!(client = %streams.peer.address, "an HTTP/2 client resets too many streams");
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        watch.look(streams.tally.count(), Instant::now());
        if timer.deadline() > watch.at() || timer.is_elapsed() {
            timer.as_mut().reset(watch.at());
        }
    }
}

/// The next stream, none when the connection is closed. Without room its frames are moved all the same. Cancel-safe.
async fn next(
    connection: &mut Connection<Farewell, Bytes>,
    has_room: bool,
) -> Result<Option<Taken>, h2::Error> {
    poll_fn(|cx| {
        if has_room {
            connection.poll_accept(cx).map(Option::transpose)
        } else {
            connection.poll_closed(cx).map_ok(|()| None)
        }
    })
    .await
}
