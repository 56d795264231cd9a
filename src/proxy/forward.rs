//! A plain request on its way to the origin and its response on the way back.
//!
//! The exchange has both sockets in its hands and moves them by turns, in the one task of the client's connection: what is to
//! be sent of the request, and what comes of the response. A request goes out once more, on a new connection, only when nothing
//! can have been done by the first.

mod answered;
mod sending;
mod shared;
mod through;

use std::{future::poll_fn, mem::MaybeUninit, net::IpAddr, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;

use self::{
    answered::Answered,
    sending::{Attending, Failed, Prepared},
};
use super::{
    error::ProxyError,
    exchange::Exchange,
    flow::Flow,
    live::{self, Live},
    respond::{self, Form},
};
use crate::{
    message::{
        body::{Body, TrailerRules},
        edits::Edits,
        framing::Framing,
        hop_by_hop::HopByHop,
        onward::{self, RequestOnward},
        response_head::{LINES_INLINE, ResponseHead, ResponseHeadError},
        target::Scheme,
    },
    net::{authority::Authority, tls::Protocol},
    policy::Permit,
    server::{After, Client, RequestHead},
    upstream::{Connection, Kind, Pool, Turn, UpstreamError, parent::Purpose, retry},
};

/// One request that may be sent to its origin.
pub(super) struct Errand<'a> {
    pub(super) pool: &'a Pool,
    pub(super) live: &'a Live,
    pub(super) head: &'a RequestHead,
    pub(super) origin: Arc<Authority>,
    pub(super) scheme: Scheme,
    /// In origin-form, as the origin gets it.
    pub(super) path: Bytes,
    pub(super) max_forwards: Option<u32>,
    pub(super) permit: Permit,
}

/// Sends the request on, and to the client what comes back.
pub(super) async fn forward(
    errand: &Errand<'_>,
    client: &mut Client,
    mut exchange: Box<Exchange>,
    form: Form,
) -> After {
    match send(errand, client, &mut exchange).await {
        Ok(answered) => answered.deliver(client, exchange).await,
        Err(error) => respond::failure(client, exchange, error, form).await,
    }
}

/// Makes the next hop's request.
fn prepare(
    errand: &Errand<'_>,
    client: IpAddr,
    exchange: &Exchange,
    turn: Option<(&Turn, Purpose)>,
) -> Result<Prepared, ProxyError> {
    let (head, live, route, id) = (errand.head, errand.live, &errand.permit.route, exchange.id());
    if live.name.pseudonym.has_signed(head.fields()) {
        return Err(ProxyError::looped("the request has been here before: Via names this proxy"));
    }
    if let Framing::Length(length) = head.framing
        && route.max_body_size != 0
        && length > route.max_body_size
    {
        return Err(ProxyError::too_large(route));
    }
    let mut hop_by_hop = HopByHop::read(head.fields());
    let user = route.edits.as_ref().and_then(|_| exchange.user());
    let whole = turn.filter(|(turn, purpose)| turn.wants_whole_url(*purpose)).map(|(turn, _)| turn);
    let url = whole.map(|_| whole_url(errand));
    let onward = RequestOnward {
        method: head.method.as_str().as_bytes(),
        target: url.as_deref().unwrap_or(&errand.path),
        origin: &errand.origin,
        default_port: errand.scheme.default_port(),
        received: head.version,
        framing: head.framing,
        via: live.name.via(),
        client_address: live.client_address,
        client,
        request_id: live.request_id_header.as_deref().map(|name| (name, id)),
        edits: route.edits.as_ref().map(|fields| Edits { fields, user: user.as_deref(), client, id }),
        max_forwards: errand.max_forwards,
        keep_case: live.keep_case,
    };
    let mut out = Vec::with_capacity(head.raw.len() + 128);
    let upgrade = onward::write_request(&mut out, &onward, &hop_by_hop, head.fields());
    if let Some(authorization) = whole.and_then(Turn::authorization) {
        onward::add_line(&mut out, b"proxy-authorization", authorization.as_bytes());
    }
    if let Some(edits) = route.edits.as_ref().filter(|_| head.framing == Framing::Chunked) {
        // What may not come as a line may not come as a trailer either.
        hop_by_hop.nominated.take(edits.names());
    }
    // The origin need not understand trailers, but nothing in front of it does any harm with them.
    let rules = TrailerRules { wanted: true, nominated: hop_by_hop.nominated, keep_case: live.keep_case };
    let limit = if route.max_body_size == 0 { u64::MAX } else { route.max_body_size };
    let mut request = Flow::new(out, Body::of_request(head.framing, rules), limit).paced(exchange.pace());
    if head.expects_continue && head.framing != Framing::None {
        request.close();
    }
    Ok(Prepared { request, upgrade, accepts_trailers: hop_by_hop.accepts_trailers })
}

async fn send<'a>(
    errand: &'a Errand<'a>,
    client: &mut Client,
    exchange: &mut Exchange,
) -> Result<Answered<'a>, ProxyError> {
    if let Some(group) = errand.live.group_of(&errand.permit) {
        // Boxed, as it is large: what goes out directly does not carry the room for it.
        return Box::pin(through::send(errand, group, client, exchange)).await;
    }
    let now = Instant::now();
    let mut attending = Attending::new(errand, prepare(errand, client.peer().ip(), exchange, None)?, now);
    let kind = match errand.scheme {
        Scheme::Http => Kind::Clear,
        Scheme::Https if shared::needs_http1(errand, attending.upgrade.as_ref()) => Kind::TlsHttp1,
        Scheme::Https => Kind::Tls,
    };
    let pooled =
        errand.pool.take(&errand.origin, (0, kind), now, |peer| errand.permit.reach.check(peer).is_ok());
    let mut connection = match pooled {
        Some(connection) => connection,
        None => {
            let connection = connect(errand, kind, exchange).await?;
            // It has not waited for an answer meanwhile.
            attending.restart();
            connection
        }
    };
    let mut repeated = false;
    loop {
        exchange.reached(&errand.permit, connection.peer(), connection.is_reused());
        let attended = poll_fn(|cx| attending.poll(cx, client, &mut connection, exchange)).await;
        attending.finish_interim(client).await;
        let failure = match attended {
            Ok(end) => {
                exchange.answered();
                return Ok(Answered { attending, connection, head_end: end });
            }
            Err(Failed::Client(error)) => return Err(error),
            Err(Failed::Origin(error)) => error,
        };
        let attempt = attending.attempt(&connection, &failure);
        if repeated || !failure.is_end() || !retry::may_repeat(attempt) {
            return Err(failure.into());
        }
        repeated = true;
        exchange.repeated();
        connection = connect(errand, kind, exchange).await?;
        attending.restart();
    }
}

async fn connect(
    errand: &Errand<'_>,
    kind: Kind,
    exchange: &mut Exchange,
) -> Result<Box<Connection>, ProxyError> {
    // Boxed, as it is large and rare: an exchange on a connection that is there does not carry the room for it.
    let (live, deadline) = (errand.live, Instant::now() + errand.permit.route.timeouts.connect);
    if kind == Kind::Tls && live.connector.offers(Protocol::Http2) {
        return Box::pin(shared::connect(errand, deadline, exchange)).await;
    }
    let mut dialled = Box::pin(live.dial(&errand.origin, &errand.permit)).await?;
    if kind != Kind::Clear {
        dialled = Box::pin(live::encrypt(live, &errand.origin, dialled, false, deadline)).await?;
    }
    exchange.dialled(&dialled);
    let connection = Connection::new(dialled, Arc::clone(&errand.origin), exchange.seat().clone());
    Ok(match kind {
        Kind::Clear => connection,
        Kind::Tls => connection.verified_by(live.connector.clone()),
        Kind::TlsHttp1 => connection.verified_by(live.connector.clone()).of_http1(),
    })
}

/// What a proxy is asked for (RFC 9112 section 3.2.2). The whole server is asked for without a path (section 3.2.4).
fn whole_url(errand: &Errand<'_>) -> Vec<u8> {
    let mut url = b"http://".to_vec();
    errand.origin.write_host(&mut url, 80);
    if *errand.path != *b"*" {
        url.extend_from_slice(&errand.path);
    }
    url
}

/// Looks at a response head, in room on the stack or, for origins that send very many lines, elsewhere.
fn with_head<T>(
    raw: &[u8],
    errand: &Errand<'_>,
    see: impl FnOnce(Result<ResponseHead<'_>, ResponseHeadError>) -> Result<T, UpstreamError>,
) -> Result<T, UpstreamError> {
    let most = errand.live.response_limits.max_headers;
    let method = &errand.head.method;
    let mut few = [const { MaybeUninit::uninit() }; LINES_INLINE];
    if most <= LINES_INLINE {
        return see(ResponseHead::read(raw, method, &mut few[..most]));
    }
    // No line is shorter than "a:" and its end.
    let mut many: Vec<_> =
        std::iter::repeat_with(MaybeUninit::uninit).take(most.min(raw.len() / 3)).collect();
    see(ResponseHead::read(raw, method, &mut many))
}
