//! `CONNECT`: bytes both ways, unseen (RFC 9110 section 9.3.6).

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, Version};
use tokio::time::timeout;

use super::{
    exchange::Exchange,
    live::Live,
    respond::{self, Form},
};
use crate::{
    net::{
        authority::Authority,
        relay::{self, RelayOptions, RelayOutcome},
        stream::Stream,
    },
    policy::Permit,
    server::{After, Client, ClientIo},
};

/// Dials `origin`, and answers 200 only when it is there.
pub(super) async fn open(
    client: &mut Client,
    live: &Arc<Live>,
    origin: &Authority,
    permit: &Permit,
    mut exchange: Box<Exchange>,
    form: Form,
) -> After {
    let dialled = match live.dial(origin, permit).await {
        Ok(dialled) => dialled,
        Err(error) => return respond::failure(client, exchange, &error, form).await,
    };
    exchange.dialled(&dialled);
    exchange.reached(permit, dialled.peer, false);
    exchange.answered();
    exchange.respond(StatusCode::OK);
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    if let Some(via) = live.name.via() {
        for part in [b"via: ", via.member(Version::HTTP_11), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    if client.send(&head).await.is_err() {
        return After::Broken;
    }
    join(live, exchange, dialled.stream, Bytes::new())
}

/// Joins the client's socket, now that HTTP has ended on it, with `origin`; the exchange ends with them.
pub(super) fn join(live: &Live, mut exchange: Box<Exchange>, origin: Stream, early: Bytes) -> After {
    let options = RelayOptions { idle: live.tunnel_idle, half_close: live.half_close };
    let (counts, pace, interval) = (exchange.tunnels(), exchange.pace(), live.tunnel_interval);
    After::Takeover(Box::new(move |client: ClientIo| {
        let pace = pace.map(|pace| Box::new(pace) as Box<dyn relay::Pace>);
        let mut relay = relay::relay((client.stream, client.early), (origin, early), options, pace, counts);
        Box::pin(async move {
            // It stays where it is: what is moved to be awaited has room for it twice.
            let outcome = match interval {
                None => (&mut relay).await,
                // On the heap: tunnels of which no lines are written have no room for a timer.
                Some(interval) => Box::pin(watched(&mut relay, interval, &exchange)).await,
            };
            exchange.tunnel_ended(&outcome);
        })
    }))
}

/// A relay of which a line is written so often while it runs.
async fn watched(
    relay: impl Future<Output = RelayOutcome>,
    interval: Duration,
    exchange: &Exchange,
) -> RelayOutcome {
    let mut relay = pin!(relay);
    loop {
        match timeout(interval, relay.as_mut()).await {
            Ok(outcome) => return outcome,
            Err(_) => exchange.goes_on(),
        }
    }
}
