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
};
use crate::{
    message::target::Scheme,
    proxy::{
        error::ProxyError,
        exchange::Exchange,
        through::{Failure, Through, bad_credentials},
    },
    server::Client,
    upstream::{Connection, Group, Turn, UpstreamError, parent::Purpose, retry},
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
    let mut connection = match turn.take(errand.pool, &errand.origin, purpose) {
        Some(connection) => connection,
        None => connect(turn, purpose, through, exchange).await?,
    };
    let prepared = prepare(errand, client.peer().ip(), exchange, Some((turn, purpose)))
        .map_err(Failure::of_the_client)?;
    let attending = match attending {
        Some(before) => {
            before.begin_again(prepared);
            before
        }
        None => attending.insert(Attending::new(errand, prepared, Instant::now())),
    };
    loop {
        exchange.reached_server(connection.peer(), connection.is_reused());
        let attended = poll_fn(|cx| attending.poll(cx, client, &mut connection, exchange)).await;
        // Whatever is said next, what was begun is finished first; a client that is gone is found out then.
        let _ = attending.finish_interim(client).await;
        let failure = match attended {
            // What the parent wants to know is not for the client to tell.
            Ok(end) if turn.wants_whole_url(purpose) && wants_password(&mut connection, end) => {
                return Err(Failure { error: bad_credentials(), is_its_own: true, may_move: false });
            }
            Ok(end) => return Ok((connection, end)),
            Err(Failed::Client(error)) => return Err(Failure::of_the_client(error)),
            Err(Failed::Origin(failure)) => failure,
        };
        let attempt = attending.attempt(&connection);
        let is_closed = matches!(failure, UpstreamError::Terminated);
        if !is_closed || !retry::may_repeat(attempt) {
            let may_move = is_closed && retry::may_move(attempt);
            return Err(Failure { error: failure.into(), is_its_own: true, may_move });
        }
        exchange.repeated();
        connection = connect(turn, purpose, through, exchange).await?;
        attending.restart();
    }
}

async fn connect(
    turn: &Turn,
    purpose: Purpose,
    through: &mut Through<'_>,
    exchange: &mut Exchange,
) -> Result<Box<Connection>, Failure> {
    let reached = through.connect(turn, purpose, b"", exchange).await?;
    Ok(turn.keep(reached.dialled, &through.errand(purpose, b"")))
}

/// Whether the status is 407.
fn wants_password(connection: &mut Connection, end: usize) -> bool {
    connection.parts().0.unread()[..end].get(9..12) == Some(b"407")
}
