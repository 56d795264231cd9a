//! `CONNECT`: bytes both ways, unseen (RFC 9110 section 9.3.6).

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, Version};
use tokio::net::TcpStream;

use super::{
    exchange::Exchange,
    live::Live,
    respond::{self, Form},
    response_body::ProxyBody,
};
use crate::{
    net::{
        authority::Authority,
        relay::{self, RelayOptions},
    },
    policy::Permit,
    server::{ClientIo, Wire},
};

/// Dials `origin`, and answers 200 only when it is there.
pub(super) async fn open(
    wire: &Wire,
    live: &Arc<Live>,
    origin: &Authority,
    permit: &Permit,
    mut exchange: Box<Exchange>,
    form: Form,
) -> Response<ProxyBody> {
    let dialled = match live.dial(origin, permit).await {
        Ok(dialled) => dialled,
        Err(error) => return respond::failure(exchange, &error, form),
    };
    exchange.dialled(&dialled);
    exchange.reached(permit, dialled.peer, false);
    exchange.answered();
    exchange.respond(StatusCode::OK);
    let mut response = Response::new(ProxyBody::Empty);
    live.name.sign(Version::HTTP_11, response.headers_mut());
    join(wire, live, exchange, dialled.stream, Bytes::new());
    response
}

/// Joins the client's socket, once HTTP has ended on it, with `origin`; the exchange ends with them.
pub(super) fn join(wire: &Wire, live: &Live, mut exchange: Box<Exchange>, origin: TcpStream, early: Bytes) {
    let options = RelayOptions { idle: live.tunnel_idle, half_close: live.half_close };
    let (counts, pace) = (exchange.tunnels(), exchange.pace());
    wire.take_over(Box::new(move |client: ClientIo| {
        Box::pin(async move {
            let pace = pace.as_ref().map(|pace| pace as &dyn relay::Pace);
            let outcome =
                relay::relay(client.stream, client.early, origin, early, options, pace, &counts).await;
            exchange.tunnel_ended(&outcome);
        })
    }));
}
