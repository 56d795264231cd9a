//! A plain request on its way through a group. It is written anew for each server, for each may want it in another form.
//!
//! It goes to another server when no connection can be made, and when a connection is closed without a byte of an answer to a
//! request that may be sent twice (RFC 9110 section 9.2.2). All waits for the head of an answer together are within
//! `timeouts.response_head`.

use std::{future::poll_fn, sync::Arc};

use tokio::time::Instant;

use super::{
    Errand,
    answered::Answered,
    prepare,
    sending::{Attending, Failed},
    shared,
};
use crate::{
    message::target::Scheme,
    net::tls::Protocol,
    proxy::{
        error::ProxyError,
        exchange::Exchange,
        through::{Failure, Through, bad_credentials},
    },
    server::Client,
    upstream::{Approach, Connection, Group, Kind, Turn, parent::Purpose, retry},
};

/// Sends the request through `group`.
pub(super) async fn send<'a>(
    errand: &'a Errand<'a>,
    group: &Arc<Group>,
    client: &mut Client,
    exchange: &mut Exchange,
) -> Result<Answered<'a>, ProxyError> {
    let seat = exchange.seat().clone();
    let connect = errand.permit.route.timeouts.connect;
    let mut through = Through::new(group, errand.live, &errand.origin, client, connect, &seat);
    // None before there is a server to write it for.
    let mut attending = None;
    loop {
        let mut turn = through.next_turn()?;
        match give(errand, &turn, &mut through, &mut attending, client, exchange).await {
            Ok((connection, head_end)) => {
                exchange.answered();
                turn.answered();
                exchange.given_to(turn);
                let attending = attending.expect("what was answered was attended to");
                return Ok(Answered { attending, connection, head_end });
            }
            Err(failure) => through.failed(turn, failure, exchange)?,
        }
    }
}

/// Gives it to one server. A connection that was kept, and that the server has closed by now, says nothing against it.
async fn give<'a>(
    errand: &'a Errand<'a>,
    turn: &Turn,
    through: &mut Through<'_>,
    attending: &mut Option<Box<Attending<'a>>>,
    client: &mut Client,
    exchange: &mut Exchange,
) -> Result<(Box<Connection>, usize), Failure> {
    let purpose = turn.purpose(errand.scheme == Scheme::Https);
    let prepared = prepare(errand, client.peer().ip(), exchange, Some((turn, purpose)))
        .map_err(Failure::of_the_client)?;
    let kind = match turn.kind(purpose) {
        Kind::Tls if shared::needs_http1(errand, prepared.upgrade.as_ref()) => Kind::TlsHttp1,
        kind => kind,
    };
    let mut connection = match turn.take(errand.pool, &errand.origin, purpose, kind) {
        Some(connection) => connection,
        None => connect(errand, turn, (purpose, kind), through, exchange).await?,
    };
    let attending = match attending {
        Some(before) => {
            before.begin_again(prepared);
            before
        }
        None => attending.insert(Attending::new(errand, prepared, Instant::now())),
    };
    let mut repeated = false;
    loop {
        exchange.reached_server(connection.peer(), connection.is_reused());
        let attended = poll_fn(|cx| attending.poll(cx, client, &mut connection, exchange)).await;
        attending.finish_interim(client).await;
        let failure = match attended {
            // What the parent wants to know is not for the client to tell.
            Ok(end) if turn.wants_whole_url(purpose) && wants_password(&mut connection, end) => {
                return Err(Failure { error: bad_credentials(), is_its_own: true, may_move: false });
            }
            Ok(end) => return Ok((connection, end)),
            Err(Failed::Client(error)) => return Err(Failure::of_the_client(error)),
            Err(Failed::Origin(failure)) => failure,
        };
        let attempt = attending.attempt(&connection, &failure);
        if repeated || !failure.is_end() || !retry::may_repeat(attempt) {
            let may_move = failure.is_end() && retry::may_move(attempt);
            return Err(Failure { error: failure.into(), is_its_own: true, may_move });
        }
        repeated = true;
        exchange.repeated();
        connection = connect(errand, turn, (purpose, kind), through, exchange).await?;
        attending.restart();
    }
}

async fn connect(
    errand: &Errand<'_>,
    turn: &Turn,
    (purpose, kind): (Purpose, Kind),
    through: &mut Through<'_>,
    exchange: &mut Exchange,
) -> Result<Box<Connection>, Failure> {
    let live = errand.live;
    if kind != Kind::Tls || !live.connector.offers(Protocol::Http2) {
        let reached = through.connect(turn, (purpose, false), b"", exchange).await?;
        return Ok(turn.keep(reached.dialled, &through.errand((purpose, false), b""), kind));
    }
    let dialling = loop {
        match turn.approach(errand.pool, &errand.origin, purpose) {
            Approach::Open(connection) => return Ok(connection),
            Approach::Dial(dialling) => break dialling,
            Approach::Wait(change) => through.wait(change).await?,
        }
    };
    let reached = match through.connect(turn, (purpose, dialling.offers_http2()), b"", exchange).await {
        Ok(reached) => reached,
        Err(failure) => {
            dialling.failed();
            return Err(failure);
        }
    };
    let seat = exchange.seat().clone();
    let done = dialling.done(reached.dialled, &live.connector, live.response_limits, &seat);
    through.wait(done).await?.map_err(|error| Failure {
        error: error.into(),
        is_its_own: true,
        may_move: true,
    })
}

/// Whether the status is 407.
fn wants_password(connection: &mut Connection, end: usize) -> bool {
    connection.parts().0.unread()[..end].get(9..12) == Some(b"407")
}
