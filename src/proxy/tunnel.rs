//! `CONNECT`: bytes both ways, unseen (RFC 9110 section 9.3.6). Who asks for it by SOCKS5 gets the same, in other words.

use std::{future::Future, iter, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, Version};
use tokio::time::timeout;

use super::{
    error::ProxyError,
    exchange::Exchange,
    interception,
    live::Live,
    respond::{self, Form},
    socks,
    through::Through,
};
use crate::{
    message::{
        onward,
        socks::{Reply, reply},
    },
    net::{
        authority::Authority,
        relay::{self, RelayOptions, RelayOutcome},
        stream::Stream,
    },
    policy::Permit,
    server::{After, Client, ClientIo, RequestHead},
    upstream::{
        Group,
        parent::{Purpose, Reached},
    },
};

/// How a client is told what has become of its tunnel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tongue {
    /// By a response, in this form when there is no tunnel.
    Http(Form),
    /// By a reply of SOCKS5.
    Socks,
}

/// Dials `origin`, and says that there is a tunnel only when it is there. Hosts that are intercepted are dialled when there is a
/// request for them.
pub(super) async fn open(
    client: &mut Client,
    live: &Arc<Live>,
    head: Option<&RequestHead>,
    origin: &Arc<Authority>,
    permit: &Permit,
    mut exchange: Box<Exchange>,
    tongue: Tongue,
) -> After {
    if let Some(interception) = live.interception.as_ref().filter(|it| it.concerns(&origin.host)) {
        let opened = tongue.opened(live, None);
        return interception::enter(client, interception, origin, exchange, tongue, &opened).await;
    }
    let reached = match live.group_of(permit) {
        None => direct(live, origin, permit, &mut exchange).await,
        Some(group) => {
            // Boxed, as it is large: a tunnel that is opened directly does not carry the room for it.
            Box::pin(through(live, group, head, origin, client, permit.route.timeouts.connect, &mut exchange))
                .await
        }
    };
    let (stream, early) = match reached {
        Ok(reached) => reached,
        Err(error) => return tongue.refuse(client, exchange, error).await,
    };
    exchange.answered();
    exchange.respond(StatusCode::OK);
    let answer = tongue.opened(live, Some(&stream));
    if client.send(&answer).await.is_err() {
        return After::Broken;
    }
    join(live, permit, exchange, stream, early)
}

async fn direct(
    live: &Live,
    origin: &Authority,
    permit: &Permit,
    exchange: &mut Exchange,
) -> Result<(Stream, Bytes), ProxyError> {
    let dialled = live.dial(origin, permit).await?;
    exchange.dialled(&dialled);
    exchange.reached(permit, dialled.peer, false);
    Ok((dialled.stream, Bytes::new()))
}

/// Opens it through a server of `group`.
async fn through(
    live: &Live,
    group: &Arc<Group>,
    head: Option<&RequestHead>,
    origin: &Arc<Authority>,
    client: &mut Client,
    connect: Duration,
    exchange: &mut Exchange,
) -> Result<(Stream, Bytes), ProxyError> {
    let mut lines = Vec::new();
    if let Some(head) = head {
        // Proxies that are each other's parents would ask each other for ever.
        if live.name.pseudonym.has_signed(head.fields()) {
            return Err(ProxyError::looped("the request has been here before: Via names this proxy"));
        }
        onward::sign(&mut lines, live.name.via(), head.version, head.fields());
    } else {
        onward::sign(&mut lines, live.name.via(), Version::HTTP_11, iter::empty());
    }
    let seat = exchange.seat().clone();
    let mut through = Through::new(group, live, origin, client, connect, &seat);
    loop {
        let mut turn = through.next_turn()?;
        match through.connect(&turn, (Purpose::Tunnel, false), &lines, exchange).await {
            Ok(Reached { dialled, early }) => {
                exchange.reached_server(dialled.peer, false);
                turn.answered();
                exchange.given_to(turn);
                return Ok((dialled.stream, early));
            }
            Err(failure) => {
                if !failure.is_its_own {
                    turn.answered();
                }
                through.failed(turn, failure, exchange)?;
            }
        }
    }
}

impl Tongue {
    pub(super) async fn refuse(
        self,
        client: &mut Client,
        exchange: Box<Exchange>,
        error: ProxyError,
    ) -> After {
        match self {
            Self::Http(form) => respond::failure(client, exchange, error, form).await,
            Self::Socks => socks::refuse(client, exchange, error).await,
        }
    }

    fn opened(self, live: &Live, origin: Option<&Stream>) -> Vec<u8> {
        let Self::Http(_) = self else {
            let bound = origin.and_then(|origin| origin.local_addr().ok());
            return reply(Reply::Succeeded, bound);
        };
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        if let Some(via) = live.name.via() {
            for part in [b"via: ", via.member(Version::HTTP_11), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Joins the client's socket, now that HTTP has ended on it, with `origin`; the exchange ends with them.
pub(super) fn join(
    live: &Live,
    permit: &Permit,
    mut exchange: Box<Exchange>,
    origin: Stream,
    early: Bytes,
) -> After {
    let options = RelayOptions { idle: permit.route.timeouts.tunnel_idle, half_close: live.half_close };
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
