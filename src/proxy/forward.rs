//! A plain request on its way to the origin and its response on the way back.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery,
};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    error::ProxyError,
    exchange::Exchange,
    interim,
    live::Live,
    request_body::{RequestBody, Upload},
    respond::{self, Form},
    response_body::{Lease, ProxyBody},
    upgrade,
};
use crate::{
    message::{
        framing::{self, Framing, ResponseFraming},
        hop_by_hop::{self, Upgrade},
        trace,
    },
    net::authority::Authority,
    policy::Permit,
    server::{RequestHead, Wire},
    upstream::{
        Connection, Pool, SendFailure, UpstreamError,
        retry::{self, Attempt},
    },
};

/// How long the body of a request with `Expect: 100-continue` is held back when the origin says nothing
/// (RFC 9110 section 10.1.1 allows a proxy to go on after a while).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// One request that may be sent to its origin.
pub(super) struct Errand {
    pub(super) pool: Arc<Pool<RequestBody>>,
    pub(super) live: Arc<Live>,
    pub(super) wire: Arc<Wire>,
    pub(super) head: RequestHead,
    pub(super) origin: Authority,
    /// In origin-form, as the origin gets it.
    pub(super) path: PathAndQuery,
    pub(super) permit: Permit,
}

/// The request as the next hop gets it, and what is remembered of it.
struct Prepared {
    request: Request<RequestBody>,
    upload: Option<Arc<Upload>>,
    upgrade: Option<Upgrade>,
}

/// Sends the request on and answers with what comes back.
pub(super) async fn forward(
    errand: Errand,
    request: Request<Incoming>,
    mut exchange: Box<Exchange>,
    form: Form,
) -> Response<ProxyBody> {
    match send(&errand, request, &mut exchange).await {
        Ok(answered) => respond(errand, answered, exchange, form),
        Err(error) => respond::failure(exchange, &error, form),
    }
}

/// A response and the connection that it comes on.
struct Answered {
    response: Response<Incoming>,
    connection: Connection<RequestBody>,
    upload: Option<Arc<Upload>>,
    upgrade: Option<Upgrade>,
}

async fn send(
    errand: &Errand,
    request: Request<Incoming>,
    exchange: &mut Exchange,
) -> Result<Answered, ProxyError> {
    let (parts, incoming) = request.into_parts();
    let method = parts.method.clone();
    let mut prepared = prepare(errand, parts.method, parts.headers, Some(incoming), exchange)?;
    if errand.live.http.preserve_header_case {
        // hyper keeps the names as they were received in here.
        *prepared.request.extensions_mut() = parts.extensions;
        interim::pass_on(&mut prepared.request, errand, prepared.upload.as_ref());
    }
    let pooled = errand.pool.take(&errand.origin, |peer| errand.permit.reach.check(peer).is_ok());
    let mut connection = match pooled {
        Some(connection) => connection,
        None => connect(errand, exchange).await?,
    };
    let mut repeated = false;
    loop {
        exchange.reached(&errand.permit, connection.peer(), connection.is_reused());
        let Prepared { request, upload, upgrade } = prepared;
        let sent = send_on(&mut connection, request, upload.as_deref(), errand).await;
        let failure = match sent {
            Ok(response) => {
                exchange.answered();
                if !errand.live.http.admits(response.headers()) {
                    return Err(UpstreamError::HeadTooLarge.into());
                }
                let framing = framing_of(&method, &response)?;
                if !framing.reusable {
                    connection.retire();
                }
                poll_fn(|cx| errand.wire.poll_interim_sent(cx)).await;
                return Ok(Answered { response, connection, upload, upgrade });
            }
            Err(Failed::Late(error)) => return Err(error.into()),
            Err(Failed::Sending(failure)) => *failure,
        };
        let body_whole = upload.as_ref().is_none_or(|upload| !upload.is_touched());
        let attempt = Attempt {
            method: &method,
            reused: connection.is_reused(),
            unsent: failure.unsent.is_some(),
            response_begun: failure.response_begun,
            body_whole: body_whole && (upload.is_none() || failure.unsent.is_some()),
        };
        if repeated || !retry::may_repeat(attempt) {
            return Err(cause(&failure.error, upload.as_deref(), &errand.wire));
        }
        repeated = true;
        exchange.repeated();
        connection = connect(errand, exchange).await?;
        prepared = match failure.unsent {
            Some(request) => Prepared { request, upload, upgrade },
            None => again(errand, method.clone(), exchange)?,
        };
    }
}

/// How the response is framed. hyper is laxer: it passes `gzip, chunked`, and both lengths.
fn framing_of(method: &Method, response: &Response<Incoming>) -> Result<ResponseFraming, UpstreamError> {
    let fields = response.headers();
    let lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    let codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    let lines = lengths
        .map(|value| (&b"content-length"[..], value.as_bytes()))
        .chain(codings.map(|value| (&b"transfer-encoding"[..], value.as_bytes())));
    framing::response_framing(method, response.status(), response.version(), lines)
        .map_err(|_| UpstreamError::Malformed)
}

/// Why a request got no response: the client's body, or the origin.
fn cause(error: &hyper::Error, upload: Option<&Upload>, wire: &Wire) -> ProxyError {
    if upload.is_some_and(Upload::is_too_large) {
        ProxyError::too_large()
    } else if let Some(fault) = wire.body_fault() {
        fault.into()
    } else {
        UpstreamError::from(error).into()
    }
}

async fn connect(errand: &Errand, exchange: &mut Exchange) -> Result<Connection<RequestBody>, ProxyError> {
    let dialled = errand.live.dial(&errand.origin, &errand.permit).await?;
    exchange.dialled(&dialled);
    let origin = Arc::new(errand.origin.clone());
    Connection::begin(dialled, origin, &errand.live.http, exchange.seat().clone())
        .await
        .map_err(|error| UpstreamError::from(&error).into())
}

/// Makes the next hop's request in place: no field is copied.
fn prepare(
    errand: &Errand,
    method: Method,
    mut headers: HeaderMap,
    incoming: Option<Incoming>,
    exchange: &mut Exchange,
) -> Result<Prepared, ProxyError> {
    let facts = &errand.head;
    let live = &errand.live;
    if live.name.pseudonym.has_signed(&headers) {
        return Err(ProxyError::looped("the request has been here before: Via names this proxy"));
    }
    let upgrade = match facts.framing {
        Framing::None => hop_by_hop::upgrade_of(version_of(facts.http10), &headers),
        _ => None,
    };
    hop_by_hop::strip_request(&mut headers);
    if facts.http10 {
        headers.remove(header::EXPECT);
    }
    headers.insert(header::HOST, host_of(&errand.origin));
    match facts.framing {
        Framing::None => {}
        Framing::Length(length) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::Chunked => {
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    if let Some(name) = &live.request_id_header {
        let id = HeaderValue::try_from(exchange.id().to_string()).expect("an id is letters and digits");
        headers.insert(name.clone(), id);
    }
    trace::mark_client(live.client_address, errand.wire.peer().ip(), &mut headers);
    live.name.sign(version_of(facts.http10), &mut headers);
    if let Some(upgrade) = &upgrade {
        hop_by_hop::restore_upgrade(&mut headers, upgrade.clone());
    }
    let expects = facts.expects_continue && !facts.http10;
    let (body, upload) = match (facts.framing, incoming) {
        (Framing::None | Framing::Length(0), _) | (_, None) => (RequestBody::Empty, None),
        (Framing::Length(length), _) if live.max_body_size != 0 && length > live.max_body_size => {
            return Err(ProxyError::too_large());
        }
        (_, Some(incoming)) => {
            let (body, upload) = RequestBody::stream(
                incoming,
                live.max_body_size,
                !expects,
                exchange.pace(),
                exchange.seat().clone(),
            );
            exchange.uploads(Arc::clone(&upload));
            (body, Some(upload))
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(errand.path.clone());
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    interim::pass_on(&mut request, errand, upload.as_ref());
    Ok(Prepared { request, upload, upgrade })
}

/// The same request once more, from the bytes that the client sent. Only for one without a body.
fn again(errand: &Errand, method: Method, exchange: &mut Exchange) -> Result<Prepared, ProxyError> {
    prepare(errand, method, errand.head.fields(), None, exchange)
}

/// Why sending did not lead to a response.
enum Failed {
    Sending(Box<SendFailure<RequestBody>>),
    Late(UpstreamError),
}

/// Sends the request and waits for the head of the response, within `timeouts.response_head` from the end of the request
/// and `timeouts.body_idle` while its body moves.
async fn send_on(
    connection: &mut Connection<RequestBody>,
    request: Request<RequestBody>,
    upload: Option<&Upload>,
    errand: &Errand,
) -> Result<Response<Incoming>, Failed> {
    let started = Instant::now();
    let live = &errand.live;
    let mut sending = pin!(connection.send(request));
    poll_fn(|cx| {
        loop {
            let sent = sending.as_mut().poll(cx);
            if errand.wire.has_too_many_interim() {
                return Poll::Ready(Err(Failed::Late(UpstreamError::Malformed)));
            }
            if let Poll::Ready(sent) = sent {
                return Poll::Ready(sent.map_err(|failure| Failed::Sending(Box::new(failure))));
            }
            let (mut at, mut late) = match upload {
                None => (started + live.response_head, UpstreamError::HeadTimeout),
                Some(upload) if !upload.is_gate_open() => {
                    // The request stays open either way; only the holding back ends.
                    if errand.wire.poll_until(cx, started + CONTINUE_PATIENCE).is_pending() {
                        return Poll::Pending;
                    }
                    upload.open_gate();
                    continue;
                }
                Some(upload) => match upload.done_at() {
                    Some(done) => (done + live.response_head, UpstreamError::HeadTimeout),
                    // The front has its own deadline on a client that is silent.
                    None if upload.waits_for_client() || upload.is_paused() => return Poll::Pending,
                    None => (upload.last_progress() + live.body_idle, UpstreamError::BodyTimeout),
                },
            };
            let given_up = errand.wire.client_finished().map(|finished| finished + live.client_header);
            if given_up.is_some_and(|given_up| given_up < at) {
                (at, late) = (given_up.unwrap_or(at), UpstreamError::ClientGone);
            }
            return match errand.wire.poll_until(cx, at) {
                Poll::Ready(()) => Poll::Ready(Err(Failed::Late(late))),
                Poll::Pending => Poll::Pending,
            };
        }
    })
    .await
}

/// Makes the client's response out of the origin's.
fn respond(
    errand: Errand,
    answered: Answered,
    mut exchange: Box<Exchange>,
    form: Form,
) -> Response<ProxyBody> {
    let Answered { response, mut connection, upload, upgrade } = answered;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::hand_over(&errand, response, connection, upgrade.as_ref(), exchange, form);
    }
    let (mut parts, incoming) = response.into_parts();
    connection.learn(&parts.headers);
    let received = parts.version;
    let nominated = hop_by_hop::strip_response(&mut parts.headers);
    framing::drop_forbidden_lengths(parts.status, &mut parts.headers);
    errand.live.name.sign(received, &mut parts.headers);
    if errand.head.http10 {
        // Our own version is 1.1, but this client did not say that it knows persistent connections (RFC 9112 section 9.3).
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    parts.version = Version::HTTP_11;
    exchange.respond(parts.status);
    if upload.is_some_and(|upload| upload.done_at().is_none()) {
        connection.detach();
    }
    let lease = Lease { connection, pool: Arc::clone(&errand.pool) };
    let body = ProxyBody::stream(incoming, lease, nominated, exchange, errand.wire, errand.live.body_idle);
    Response::from_parts(parts, body)
}

fn host_of(origin: &Authority) -> HeaderValue {
    let text = if origin.port == 80 { origin.host.to_string() } else { origin.to_string() };
    HeaderValue::try_from(text).expect("an authority is visible ASCII")
}

fn version_of(http10: bool) -> Version {
    if http10 { Version::HTTP_10 } else { Version::HTTP_11 }
}
