//! A plain request on its way to the origin and its response on the way back.
//!
//! The exchange has both sockets in its hands and moves them by turns, in the one task of the client's connection: what is to
//! be sent of the request, and what comes of the response. A request goes out once more, on a new connection, only when nothing
//! can have been done by the first.

use std::{
    future::poll_fn,
    mem::{self, MaybeUninit},
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    date,
    error::{BodyFault, ProxyError},
    exchange::Exchange,
    flow::{Flow, FlowError, Waiting},
    live::Live,
    respond::{self, Form},
    tunnel,
};
use crate::{
    message::{
        body::{Body, Coding, TrailerRules},
        framing::Framing,
        hop_by_hop::{HopByHop, Upgrade},
        onward::{self, RequestOnward, ResponseCoding, ResponseOnward},
        response_head::{LINES_INLINE, ResponseHead, ResponseHeadError},
    },
    net::authority::Authority,
    policy::Permit,
    server::{After, Client, RequestHead},
    telemetry::names::ProxyErrorType,
    upstream::{
        Connection, Pool, UpstreamError,
        retry::{self, Attempt},
    },
};

/// How long the body of a request with `Expect: 100-continue` is held back when the origin says nothing
/// (RFC 9110 section 10.1.1 allows a proxy to go on after a while).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// Interim responses to one request. An origin that sends more does not mean well.
const MAX_INTERIM: usize = 32;

/// One request that may be sent to its origin.
pub(super) struct Errand<'a> {
    pub(super) pool: &'a Pool,
    pub(super) live: &'a Live,
    pub(super) head: &'a RequestHead,
    pub(super) origin: Arc<Authority>,
    /// In origin-form, as the origin gets it.
    pub(super) path: Bytes,
    pub(super) max_forwards: Option<u32>,
    pub(super) permit: Permit,
}

/// Sends the request on, and to the client what comes back.
pub(super) async fn forward(
    errand: Errand<'_>,
    client: &mut Client,
    mut exchange: Box<Exchange>,
    form: Form,
) -> After {
    match send(&errand, client, &mut exchange).await {
        Ok(answered) => answered.deliver(&errand, client, exchange).await,
        Err(error) => respond::failure(client, exchange, &error, form).await,
    }
}

/// Makes the next hop's request.
fn prepare(errand: &Errand<'_>, client: IpAddr) -> Result<(Flow, Option<Upgrade>), ProxyError> {
    let (head, live) = (errand.head, errand.live);
    if live.name.pseudonym.has_signed(head.fields()) {
        return Err(ProxyError::looped("the request has been here before: Via names this proxy"));
    }
    if let Framing::Length(length) = head.framing
        && live.max_body_size != 0
        && length > live.max_body_size
    {
        return Err(ProxyError::too_large());
    }
    let hop_by_hop = HopByHop::read(head.fields());
    let onward = RequestOnward {
        method: head.method.as_str().as_bytes(),
        target: &errand.path,
        origin: &errand.origin,
        received: head.version,
        framing: head.framing,
        via: live.name.via(),
        client_address: live.client_address,
        client,
        max_forwards: errand.max_forwards,
        keep_case: live.keep_case,
    };
    let mut out = Vec::with_capacity(head.raw.len() + 128);
    let upgrade = onward::write_request(&mut out, &onward, &hop_by_hop, head.fields());
    // The origin need not understand trailers, but nothing in front of it does any harm with them.
    let rules = TrailerRules { wanted: true, nominated: hop_by_hop.nominated, keep_case: live.keep_case };
    let limit = if live.max_body_size == 0 { u64::MAX } else { live.max_body_size };
    let mut request = Flow::new(out, Body::of_request(head.framing, rules), limit);
    if head.expects_continue && head.framing != Framing::None {
        request.close();
    }
    Ok((request, upgrade))
}

/// A request on its way, and what has come of it.
struct Attending<'a> {
    errand: &'a Errand<'a>,
    request: Flow,
    state: Sending,
    started: Instant,
    /// Interim responses for the client, from `interim_at` on.
    interim: Vec<u8>,
    interim_at: usize,
    interim_count: usize,
}

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// On its way.
    Going,
    /// All of it was written then.
    Sent(Instant),
    /// The origin takes no more of it. It may have answered before it stopped listening.
    Deaf(Instant),
}

/// Why there is no response.
enum Failed {
    /// The client, or what it sent.
    Client(ProxyError),
    /// The origin.
    Origin(UpstreamError),
}

async fn send<'a>(
    errand: &'a Errand<'a>,
    client: &mut Client,
    exchange: &mut Exchange,
) -> Result<Answered<'a>, ProxyError> {
    let (request, upgrade) = prepare(errand, client.peer().ip())?;
    let pooled = errand.pool.take(&errand.origin, |peer| errand.permit.reach.check(peer).is_ok());
    let mut connection = match pooled {
        Some(connection) => connection,
        None => connect(errand, exchange).await?,
    };
    let mut attending = Attending {
        errand,
        request,
        state: Sending::Going,
        started: Instant::now(),
        interim: Vec::new(),
        interim_at: 0,
        interim_count: 0,
    };
    let mut repeated = false;
    loop {
        exchange.reached(&errand.permit, connection.peer(), connection.is_reused());
        let failure = match poll_fn(|cx| attending.poll(cx, client, &mut connection, exchange)).await {
            Ok(end) => {
                exchange.answered();
                return Ok(Answered { attending, connection, head_end: end, upgrade });
            }
            Err(Failed::Client(error)) => return Err(error),
            Err(Failed::Origin(error)) => error,
        };
        let attempt = Attempt {
            method: &errand.head.method,
            reused: connection.is_reused(),
            unsent: !attending.request.has_begun(),
            response_begun: connection.has_answered(),
            body_whole: !attending.request.took_content(),
        };
        if repeated || !matches!(failure, UpstreamError::Terminated) || !retry::may_repeat(attempt) {
            return Err(failure.into());
        }
        repeated = true;
        exchange.repeated();
        connection = connect(errand, exchange).await?;
        attending.request.restart();
        attending.state = Sending::Going;
        attending.started = Instant::now();
    }
}

async fn connect(errand: &Errand<'_>, exchange: &mut Exchange) -> Result<Connection, ProxyError> {
    // Boxed, as it is large and rare: an exchange on a connection that is there does not carry the room for it.
    let dialled = Box::pin(errand.live.dial(&errand.origin, &errand.permit)).await?;
    exchange.dialled(&dialled);
    Ok(Connection::new(dialled, Arc::clone(&errand.origin)))
}

impl Attending<'_> {
    /// Ready when the head of the final response is in the inbox of `connection`: where it ends.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<usize, Failed>> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_request(cx, client, connection, exchange) {
                return Poll::Ready(Err(Failed::Client(error)));
            }
            match connection.poll_head(cx, self.errand.live.response_limits) {
                Poll::Ready(Ok(end)) => match self.interim(connection, end) {
                    Ok(true) => continue,
                    Ok(false) => return Poll::Ready(Ok(end)),
                    Err(error) => return Poll::Ready(Err(Failed::Origin(error))),
                },
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::Origin(error))),
                Poll::Pending => {}
            }
            if self.poll_interim(cx, client).is_err()
                || (self.state != Sending::Going && client.poll_watch(cx).is_err())
            {
                return Poll::Ready(Err(Failed::Client(UpstreamError::ClientGone.into())));
            }
            match self.poll_deadline(cx, client) {
                Poll::Ready(Some(failed)) => return Poll::Ready(Err(failed)),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Moves the request. Only what is the client's fault is an error.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), ProxyError>> {
        if self.state != Sending::Going {
            return Poll::Ready(Ok(()));
        }
        let (inbox, source) = client.parts();
        let polled = self.request.poll(cx, (inbox, source), connection.parts().1);
        exchange.received(self.request.content());
        let result = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(result) => result,
        };
        Poll::Ready(match result {
            Ok(()) => {
                // Most requests are written at once.
                let now = if self.request.took_content() { Instant::now() } else { self.started };
                self.state = Sending::Sent(now);
                Ok(())
            }
            Err(FlowError::Sink) => {
                self.state = Sending::Deaf(Instant::now());
                Ok(())
            }
            Err(FlowError::Ended) => Err(BodyFault::Incomplete.into()),
            Err(FlowError::Malformed) => Err(BodyFault::Malformed.into()),
            Err(FlowError::TooLarge) => Err(ProxyError::too_large()),
        })
    }

    /// Takes an interim response out of the inbox; false when it is the final one.
    fn interim(&mut self, connection: &mut Connection, end: usize) -> Result<bool, UpstreamError> {
        let (inbox, _) = connection.parts();
        let raw = &inbox.unread()[..end];
        // `HTTP/1.1 2`: most responses are final, and those are not looked at twice.
        if matches!(raw.get(9), Some(b'2'..=b'5')) {
            return Ok(false);
        }
        let (errand, live) = (self.errand, self.errand.live);
        let is_interim = with_head(raw, errand, |head| {
            let head = head?;
            if !head.is_interim() {
                return Ok(false);
            }
            if head.status == StatusCode::CONTINUE {
                let said = self.may_continue();
                self.interim.extend_from_slice(said);
            } else if !errand.head.is_http10() {
                onward::write_interim(&mut self.interim, &head, live.name.via(), None, live.keep_case);
            }
            Ok(true)
        })?;
        if is_interim {
            inbox.consume(end);
            self.interim_count += 1;
            if self.interim_count > MAX_INTERIM {
                return Err(UpstreamError::Malformed);
            }
        }
        Ok(is_interim)
    }

    /// Lets the body flow; what is to be said to a client that waits for it.
    fn may_continue(&mut self) -> &'static [u8] {
        if self.request.is_open() {
            return b"";
        }
        self.request.open();
        b"HTTP/1.1 100 Continue\r\n\r\n"
    }

    /// Sends interim responses to the client, as much as it takes.
    fn poll_interim(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Result<(), ()> {
        use tokio::io::AsyncWrite as _;
        while self.interim_at < self.interim.len() {
            let (_, stream) = client.parts();
            match std::pin::Pin::new(stream).poll_write(cx, &self.interim[self.interim_at..]) {
                Poll::Ready(Ok(written)) if written > 0 => self.interim_at += written,
                Poll::Ready(_) => return Err(()),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// What has been waited for too long; none when it is to be looked at everything again.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<Option<Failed>> {
        let live = self.errand.live;
        let (mut at, mut late) = match self.state {
            Sending::Sent(at) | Sending::Deaf(at) => {
                (at + live.response_head, Failed::Origin(UpstreamError::HeadTimeout))
            }
            Sending::Going if !self.request.is_open() => {
                if client.poll_until(cx, self.started + CONTINUE_PATIENCE).is_pending() {
                    return Poll::Pending;
                }
                let said = self.may_continue();
                self.interim.extend_from_slice(said);
                return Poll::Ready(None);
            }
            Sending::Going => match self.request.waiting() {
                Some((Waiting::Source, since)) => {
                    (since + live.body_idle, Failed::Client(BodyFault::Timeout.into()))
                }
                Some((Waiting::Sink, since)) => {
                    (since + live.body_idle, Failed::Origin(UpstreamError::BodyTimeout))
                }
                // It has had its turn, and is polled again at once.
                None => return Poll::Pending,
            },
        };
        if let Some(finished) = client.finished()
            && finished + live.client_header < at
        {
            (at, late) = (finished + live.client_header, Failed::Client(UpstreamError::ClientGone.into()));
        }
        client.poll_until(cx, at).map(|()| Some(late))
    }
}

/// A response whose head is here, and the connection that it comes on.
struct Answered<'a> {
    attending: Attending<'a>,
    connection: Connection,
    head_end: usize,
    upgrade: Option<Upgrade>,
}

/// What the head of a response says of the rest.
struct Plan {
    response: Flow,
    closes: bool,
    /// It changes the protocol: to this.
    switches: bool,
}

impl Answered<'_> {
    /// Sends the response to the client.
    async fn deliver(
        mut self,
        errand: &Errand<'_>,
        client: &mut Client,
        mut exchange: Box<Exchange>,
    ) -> After {
        let plan = match self.plan(client.is_draining(), &mut exchange) {
            Ok(plan) => plan,
            Err(error) => {
                let form = Form { close: true, ..Form::wanted(errand.head, client.is_draining()) };
                return respond::failure(client, exchange, &error.into(), form).await;
            }
        };
        let Plan { mut response, closes, switches } = plan;
        let delivered = poll_fn(|cx| self.poll(cx, client, &mut response, &mut exchange)).await;
        match delivered {
            Ok(()) if switches => {
                let (origin, early) = self.connection.into_parts();
                return tunnel::join(errand.live, exchange, origin, early);
            }
            Ok(()) => exchange.complete(),
            Err(after) => return after,
        }
        drop(exchange);
        if !matches!(self.attending.state, Sending::Sent(_)) {
            return After::Linger;
        }
        self.connection.finish();
        errand.pool.put(self.connection);
        if closes { After::Close } else { After::KeepAlive }
    }

    /// Reads the head, and writes the client's.
    fn plan(&mut self, is_draining: bool, exchange: &mut Exchange) -> Result<Plan, UpstreamError> {
        let errand = self.attending.errand;
        let (live, head_end) = (errand.live, self.head_end);
        let is_sent = matches!(self.attending.state, Sending::Sent(_));
        let mut out = mem::take(&mut self.attending.interim);
        out.drain(..mem::take(&mut self.attending.interim_at));
        let upgrade = self.upgrade.take();
        let mut keep = None;
        let plan = with_head(&self.connection.parts().0.unread()[..head_end], errand, |head| {
            let mut head = head?;
            let via = live.name.via();
            out.reserve(head_end + 128);
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                let agreed = upgrade.as_ref().and_then(|asked| asked.agreed(head.fields()));
                let agreed = agreed.ok_or(UpstreamError::UpgradeFailed)?;
                onward::write_interim(&mut out, &head, via, Some(agreed), live.keep_case);
                exchange.respond(head.status);
                let nothing = Body::of_request(Framing::None, TrailerRules::default());
                return Ok(Plan {
                    response: Flow::new(out, nothing, u64::MAX),
                    closes: false,
                    switches: true,
                });
            }
            let body = ResponseCoding::of(head.framing.body, errand.head.version);
            // What stands behind a body that was not read to its end is not known.
            let closes =
                !errand.head.keep_alive || is_draining || !is_sent || body == ResponseCoding::UntilClose;
            let how = ResponseOnward { body, via, closes, date: date::now, keep_case: live.keep_case };
            onward::write_response(&mut out, &how, &head);
            exchange.respond(head.status);
            keep = Some((head.keeps_connection(), head.keep_alive()));
            let coding = if body == ResponseCoding::Chunked { Coding::Chunked } else { Coding::Plain };
            let rules = TrailerRules {
                wanted: errand.accepts_trailers(),
                nominated: mem::take(&mut head.hop_by_hop.nominated),
                keep_case: live.keep_case,
            };
            let body = Body::of_response(head.framing.body, coding, rules);
            Ok(Plan { response: Flow::new(out, body, u64::MAX), closes, switches: false })
        });
        let plan = plan?;
        if let Some((is_kept, keep_alive)) = keep {
            self.connection.learn(is_kept, keep_alive);
        }
        self.connection.parts().0.consume(head_end);
        Ok(plan)
    }

    /// Moves what is left of the request, and the response. Ready when the response is written.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        response: &mut Flow,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), After>> {
        if self.attending.state == Sending::Going {
            let polled = self.attending.poll_request(cx, client, &mut self.connection, exchange);
            if let Poll::Ready(Err(_)) = polled {
                // The origin has answered, and gets no more of it.
                self.attending.state = Sending::Deaf(Instant::now());
            }
            if let Some((_, since)) = self.attending.request.waiting()
                && client.poll_until(cx, since + self.attending.errand.live.body_idle).is_ready()
            {
                self.attending.state = Sending::Deaf(Instant::now());
            }
        }
        let (inbox, source) = self.connection.parts();
        let polled = response.poll(cx, (inbox, source), client.parts().1);
        exchange.sent(response.content());
        let live = self.attending.errand.live;
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(FlowError::Sink)) => Poll::Ready(Err(After::Broken)),
            Poll::Ready(Err(FlowError::Ended | FlowError::Malformed | FlowError::TooLarge)) => {
                exchange.fail(ProxyErrorType::HttpResponseIncomplete);
                Poll::Ready(Err(After::Cut))
            }
            Poll::Pending => {
                let Some((whom, since)) = response.waiting() else { return Poll::Pending };
                if client.poll_until(cx, since + live.body_idle).is_pending() {
                    return Poll::Pending;
                }
                if whom == Waiting::Sink {
                    return Poll::Ready(Err(After::Broken));
                }
                exchange.fail(ProxyErrorType::HttpResponseTimeout);
                Poll::Ready(Err(After::Cut))
            }
        }
    }
}

impl Errand<'_> {
    fn accepts_trailers(&self) -> bool {
        HopByHop::read(self.head.fields()).accepts_trailers
    }
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
