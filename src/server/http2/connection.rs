//! One connection of HTTP/2, from its preface to its end.
//!
//! It takes streams while there is room, has each served in a task of its own, and moves their frames. It ends in order: the client
//! is told which streams are still answered (GOAWAY, RFC 9113 section 6.8), and those are.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

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
        run(connection, &streams).await;
        streams.tally.forget();
        streams.tell_untaken(started);
    }
}

/// Takes streams until the client has no more of them.
///
/// Written out rather than selected: whatever the task is woken for, the frames are moved once, and everything else is a glance.
async fn run<S: Service>(mut connection: Connection<Farewell, Bytes>, streams: &Arc<Streams<S>>) {
    let mut drain_started = pin!(streams.shared.drain.started());
    let mut is_draining = false;
    let mut resets = Resets::new(Instant::now());
    let mut watch = Watch::new(connection.ping_pong(), &streams.shared.client, Instant::now());
    let mut timer = pin!(sleep_until(watch.at()));
    poll_fn(|cx| {
        streams.tally.wake(cx.waker());
        if !is_draining && drain_started.as_mut().poll(cx).is_ready() {
            is_draining = true;
            watch.drain(Instant::now());
            connection.graceful_shutdown();
        }
        loop {
            let has_room = streams.tally.count() < MAX_STREAMS;
            let taken = match poll_next(&mut connection, cx, has_room) {
                Poll::Ready(Ok(Some(taken))) => Some(taken),
                Poll::Ready(Ok(None)) => return Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(client = %streams.peer.address, %error, "an HTTP/2 connection has failed");
                    return Poll::Ready(());
                }
                Poll::Pending => None,
            };
            let mut goes_on = taken.is_some();
            if let Some(taken) = taken {
                streams.start(taken);
            }
            let reset = streams.tally.take_resets();
            if reset > 0 && !resets.take(reset, Instant::now()) {
                tracing::debug!(client = %streams.peer.address, "an HTTP/2 client resets too many streams");
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                goes_on = true;
            }
            if !watch.is_answered(cx) {
                return Poll::Ready(());
            }
            if goes_on {
                continue;
            }
            // A stream may have made room since the frames were moved.
            let count = streams.tally.count();
            if !has_room && count < MAX_STREAMS {
                continue;
            }
            watch.look(count, Instant::now());
            if timer.deadline() > watch.at() || timer.is_elapsed() {
                timer.as_mut().reset(watch.at());
            }
            ready!(timer.as_mut().poll(cx));
            match watch.fire(Instant::now()) {
                Wish::Nothing => {}
                Wish::Close => connection.graceful_shutdown(),
                Wish::Cut => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// The next stream, none when the connection is closed. Without room its frames are moved all the same.
fn poll_next(
    connection: &mut Connection<Farewell, Bytes>,
    cx: &mut Context<'_>,
    has_room: bool,
) -> Poll<Result<Option<Taken>, h2::Error>> {
    if has_room {
        connection.poll_accept(cx).map(Option::transpose)
    } else {
        connection.poll_closed(cx).map_ok(|()| None)
    }
}
