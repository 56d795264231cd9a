//! One request's facts, timings, bytes and outcome. Dropping it writes the access record and counts it,
//! whatever has happened to the request.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{
    account::Account,
    error::{Blame, ProxyError},
    limiter::{Grant, Pace},
    live::{Live, Name},
};
use crate::{
    config::settings::QueryLogging,
    message::trace::{RequestId, TraceParent},
    net::{
        authority::Authority,
        dial::Dialled,
        relay::{Meter, RelayCounts, RelayOutcome},
        tls::TlsError,
    },
    policy::{Permit, Route, RuleName, route::Action},
    shared_memory::Seat,
    telemetry::{access_record::AccessRecord, names::ProxyErrorType},
    upstream::Turn,
};

/// What is known of one exchange so far.
pub(super) struct Exchange {
    account: Arc<Account>,
    name: Name,
    query: QueryLogging,
    id: RequestId,
    client: SocketAddr,
    started: Instant,
    method: Option<Method>,
    proto: &'static str,
    scheme: Option<&'static str>,
    authority: Option<Arc<Authority>>,
    /// The raw target or its path, for the log.
    path: Bytes,
    status: Option<StatusCode>,
    error: Option<ProxyErrorType>,
    user: Option<Arc<str>>,
    /// What it may use, until it ends.
    grant: Grant,
    /// The server of a group that has it, until it ends.
    turn: Option<Turn>,
    rule: Option<RuleName>,
    /// The rule is one that would have refused it.
    is_reported: bool,
    upstream: Option<SocketAddr>,
    reused: bool,
    bytes_in: u64,
    counts: Option<Arc<RelayCounts>>,
    bytes_out: u64,
    dns: Option<Duration>,
    connect: Option<Duration>,
    first_byte: Option<Duration>,
    close: &'static str,
    is_garbled: bool,
    route: Option<Arc<Route>>,
    trace: Option<TraceParent>,
}

/// How much is logged of what was no request, in bytes.
const MAX_GARBLED: usize = 256;

impl Exchange {
    /// An exchange that has begun at `started`, when the first byte of its request was there.
    pub(super) fn begin(
        account: &Arc<Account>,
        live: &Live,
        client: SocketAddr,
        started: Instant,
    ) -> Box<Self> {
        Box::new(Self {
            account: Arc::clone(account),
            name: live.name.clone(),
            query: live.query,
            id: RequestId::next(),
            client,
            started,
            method: None,
            proto: "HTTP/1.1",
            scheme: None,
            authority: None,
            path: Bytes::new(),
            status: None,
            error: None,
            user: None,
            grant: Grant::default(),
            turn: None,
            rule: None,
            is_reported: false,
            upstream: None,
            reused: false,
            bytes_in: 0,
            counts: None,
            bytes_out: 0,
            dns: None,
            connect: None,
            first_byte: None,
            close: "client",
            is_garbled: false,
            route: None,
            trace: None,
        })
    }

    pub(super) fn id(&self) -> RequestId {
        self.id
    }

    /// `http` or `https`, where the target has one.
    pub(super) fn scheme(&self) -> Option<&'static str> {
        self.scheme
    }

    /// Whether it is one of HEAD, whose answer has no content.
    pub(super) fn is_head(&self) -> bool {
        self.method.as_ref().is_some_and(|method| *method == Method::HEAD)
    }

    /// Where the numbers of this process are.
    pub(super) fn seat(&self) -> &Seat {
        self.account.seat()
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// The request's head was understood.
    pub(super) fn requested(&mut self, method: Method, proto: &'static str, trace: Option<TraceParent>) {
        self.method = Some(method);
        self.proto = proto;
        self.trace = trace;
    }

    /// Where it wants to go. `path` is the raw path and query, empty for a tunnel.
    pub(super) fn targets(
        &mut self,
        scheme: Option<&'static str>,
        authority: Option<Arc<Authority>>,
        path: Bytes,
    ) {
        self.scheme = scheme;
        self.authority = authority;
        self.path = path;
    }

    /// It is known whose it is.
    pub(super) fn identified(&mut self, user: Arc<str>) {
        self.user = Some(user);
    }

    pub(super) fn user(&self) -> Option<Arc<str>> {
        self.user.clone()
    }

    /// The limits let it pass.
    pub(super) fn granted(&mut self, grant: Grant) {
        self.grant = grant;
    }

    /// How fast its bytes may move; none = as fast as they can.
    pub(super) fn pace(&self) -> Option<Pace> {
        self.grant.pace.clone()
    }

    /// The policy let it pass.
    pub(super) fn permitted(&mut self, permit: &Permit) {
        if !self.is_reported {
            self.rule = Some(permit.rule.clone());
        }
        if let Some(refusal) = &permit.would_refuse {
            self.would_refuse(&refusal.rule);
        }
        self.would_route(permit.would_route.as_deref());
    }

    /// What a route would have done with it that only reports.
    pub(super) fn would_route(&mut self, action: Option<&Action>) {
        match action {
            None => {}
            Some(Action::Deny(rule)) => self.would_refuse(rule),
            Some(Action::Take(route)) => self.would_take(route),
        }
    }

    fn would_take(&mut self, route: &Route) {
        let to = self.authority.as_ref().map(tracing::field::display);
        tracing::info!(client = %self.client, to, rule = %route.rule, via = %route.way, "mode is report: would take this way");
        if !self.is_reported {
            self.rule = Some(route.rule.clone());
            self.is_reported = true;
        }
    }

    /// `access.mode`, or the mode of a route, is `report`, or else it would end here.
    pub(super) fn would_refuse(&mut self, rule: &RuleName) {
        let to = self.authority.as_ref().map(tracing::field::display);
        tracing::info!(client = %self.client, to, %rule, "mode is report: would be refused");
        self.account.denied(rule);
        // The first would have ended it.
        if !self.is_reported {
            self.rule = Some(rule.clone());
            self.is_reported = true;
        }
    }

    /// A connection was made for it.
    pub(super) fn dialled(&mut self, dialled: &Dialled) {
        self.dns = dialled.dns;
        self.connect = Some(dialled.connect);
        let counters = self.account.counters();
        counters.upstream_connects.fetch_add(1, Ordering::Relaxed);
        counters.dns_lookups.fetch_add(u64::from(dialled.dns.is_some()), Ordering::Relaxed);
    }

    /// It goes out by `permit` on a connection to `upstream`.
    pub(super) fn reached(&mut self, permit: &Permit, upstream: SocketAddr, reused: bool) {
        self.upstream = Some(upstream);
        self.reused = reused;
        if let Some(refusal) = permit.would_refuse_address(upstream.ip()) {
            self.would_refuse(&refusal.rule);
        }
        if reused {
            self.account.counters().upstream_reused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It goes out to a server of a group, which the operator has named.
    pub(super) fn reached_server(&mut self, server: SocketAddr, reused: bool) {
        self.upstream = Some(server);
        self.reused = reused;
        if reused {
            self.account.counters().upstream_reused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A server of a group has answered it, and has it until it ends.
    pub(super) fn given_to(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    /// A server of a group could not be reached. Another one may.
    pub(super) fn dial_failed(&mut self) {
        self.account.counters().upstream_connect_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// It is sent a second time.
    pub(super) fn repeated(&mut self) {
        self.account.counters().upstream_retries.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of its content are on their way.
    pub(super) fn received(&mut self, bytes: u64) {
        let more = bytes - self.bytes_in;
        if more > 0 {
            self.bytes_in = bytes;
            self.account.counters().bytes_in.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// The head of the response is here.
    pub(super) fn answered(&mut self) {
        self.first_byte = Some(self.started.elapsed());
    }

    /// The client is answered with this status.
    pub(super) fn respond(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// So many bytes of the response's content are on their way.
    pub(super) fn sent(&mut self, bytes: u64) {
        let more = bytes - self.bytes_out;
        if more > 0 {
            self.bytes_out = bytes;
            self.account.counters().bytes_out.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// It goes on as a tunnel, whose bytes are counted here.
    pub(super) fn tunnels(&mut self) -> Arc<RelayCounts> {
        let counts = Arc::new(RelayCounts::metered(Arc::clone(&self.account) as Arc<dyn Meter>));
        self.counts = Some(Arc::clone(&counts));
        self.close = "drain";
        let counters = self.account.counters();
        counters.tunnels_total.fetch_add(1, Ordering::Relaxed);
        counters.tunnels_active.fetch_add(1, Ordering::Relaxed);
        counts
    }

    pub(super) fn tunnel_ended(&mut self, outcome: &RelayOutcome) {
        self.close = match outcome {
            RelayOutcome::Finished => "complete",
            RelayOutcome::Idle => "tunnel_idle",
            RelayOutcome::HalfClosed => "half_close",
            RelayOutcome::ClientFailed(_) => "client",
            RelayOutcome::OriginFailed(_) => "upstream",
        };
    }

    /// Its tunnel was opened, or could not be: the client speaks no TLS, or does not trust us.
    pub(super) fn entered(&mut self, shaken: Result<(), TlsError>) {
        match shaken {
            Ok(()) => self.close = "intercepted",
            Err(error) => {
                tracing::info!(client = %self.client, to = self.authority.as_ref().map(tracing::field::display), %error, "not intercepted");
                self.error = Some(ProxyError::from(&error).kind);
            }
        }
    }

    /// It came to its end in order.
    pub(super) fn complete(&mut self) {
        self.close = "complete";
    }

    /// It was cut short after its answer had begun.
    pub(super) fn fail(&mut self, error: ProxyErrorType) {
        self.error = Some(error);
        self.close = "upstream";
    }

    /// It is answered with a failure of ours.
    pub(super) fn refused(&mut self, error: &ProxyError) {
        let counters = self.account.counters();
        match error.kind {
            ProxyErrorType::DnsError | ProxyErrorType::DnsTimeout => {
                counters.dns_lookups.fetch_add(1, Ordering::Relaxed);
                counters.dns_failures.fetch_add(1, Ordering::Relaxed);
            }
            ProxyErrorType::ConnectionRefused
            | ProxyErrorType::ConnectionTimeout
            | ProxyErrorType::DestinationIpUnroutable => {
                counters.upstream_connect_failures.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.error = Some(error.kind);
        if let Some(rule) = &error.rule {
            self.account.denied(rule);
        }
        self.rule = error.rule.clone().or_else(|| self.rule.take());
        self.close = match error.blame {
            Blame::Downstream => "client",
            Blame::Policy => "policy",
            Blame::Upstream => "upstream",
        };
    }

    /// What came was no request: its first line is what can be logged.
    pub(super) fn garbled(&mut self, raw: &Bytes, proto: &'static str) {
        self.proto = proto;
        let line = raw.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(raw.len());
        self.path = raw.slice(..line.min(MAX_GARBLED));
        self.is_garbled = true;
    }

    /// The way it takes.
    pub(super) fn routed(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }
}

impl Exchange {
    /// Its tunnel is open still: a line says what has passed so far.
    pub(super) fn goes_on(&self) {
        self.with_record("open", |record| self.account.note(record));
    }

    fn with_record(&self, close: &'static str, tell: impl FnOnce(&AccessRecord<'_>)) {
        let (bytes_in, bytes_out) = match &self.counts {
            Some(counts) => (counts.up(), counts.down()),
            None => (self.bytes_in, self.bytes_out),
        };
        let duration = self.started.elapsed();
        tell(&AccessRecord {
            at: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
            id: &self.id.text(),
            worker: self.account.worker(),
            client: self.client,
            user: self.user.as_deref(),
            method: self.method.as_ref().map(Method::as_str),
            scheme: self.scheme,
            host: self.authority.as_ref().map(|authority| &authority.host),
            port: self.authority.as_ref().map(|authority| authority.port),
            // The first line of what is no request may hold credentials: nothing behind a question mark, nothing with an @.
            path: if self.is_garbled && self.path.contains(&b'@') { b"[redacted]" } else { &self.path },
            keep_query: self.query == QueryLogging::Keep,
            proto: self.proto,
            status: self.status.map(|status| status.as_u16()),
            error: self.error.map(ProxyErrorType::name),
            rule: self.rule.as_ref().map(RuleName::as_str),
            route: self.route.as_ref().map(|route| &*route.way),
            upstream: self.upstream,
            reused: self.reused,
            bytes_in,
            bytes_out,
            dns: self.dns,
            connect: self.connect,
            first_byte: self.first_byte,
            duration,
            traceparent: self.trace.as_ref().map(TraceParent::as_str),
            close,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.with_record(self.close, |record| self.account.close(record, self.error, self.counts.is_some()));
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("client", &self.client)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
