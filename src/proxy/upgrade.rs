//! `Upgrade`: the connection goes on in another protocol, and we move its bytes (RFC 9110 section 7.8).

use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{
    exchange::Exchange,
    forward::Errand,
    request_body::RequestBody,
    respond::{self, Form},
    response_body::ProxyBody,
    tunnel,
};
use crate::{
    message::hop_by_hop::{self, Upgrade},
    upstream::{Connection, UpstreamError},
};

/// Passes a 101 on and joins the two connections, if it is one that the client asked for.
pub(super) fn hand_over(
    errand: &Errand,
    response: Response<Incoming>,
    connection: Connection<RequestBody>,
    asked: Option<&Upgrade>,
    mut exchange: Box<Exchange>,
    form: Form,
) -> Response<ProxyBody> {
    let chosen = response.headers().get(header::UPGRADE).cloned();
    let agreed = match (asked, &chosen) {
        (Some(asked), Some(chosen)) => asked.offers(chosen),
        _ => false,
    };
    // The driver has seen the 101; polled once more, it has ended and its socket is free.
    let socket = if agreed { connection.into_upgraded() } else { None };
    let (Some(chosen), Some((origin, early))) = (chosen, socket) else {
        let form = Form { close: true, ..form };
        return respond::failure(exchange, &UpstreamError::UpgradeFailed.into(), form);
    };
    let (mut parts, _) = response.into_parts();
    let received = parts.version;
    hop_by_hop::strip_response(&mut parts.headers);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, chosen);
    errand.live.name.sign(received, &mut parts.headers);
    parts.extensions.clear();
    exchange.respond(StatusCode::SWITCHING_PROTOCOLS);
    tunnel::join(&errand.wire, &errand.live, exchange, origin, early);
    Response::from_parts(parts, ProxyBody::Empty)
}
