//! The service that every worker serves: what kind of request it is, whether it may pass, and who takes it on.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, uri::PathAndQuery};
use hyper::body::Incoming;

use super::{
    account::{Account, ConnectionTicket, Crowd},
    error::ProxyError,
    exchange::Exchange,
    forward::{self, Errand},
    live::{Kept, Live},
    local,
    login::Login,
    request_body::RequestBody,
    respond::{self, Form},
    response_body::ProxyBody,
    tunnel,
};
use crate::{
    message::{
        framing::Framing,
        target::{self, Scheme},
        trace::{self, Hops, TraceParent},
    },
    net::authority::Authority,
    policy::{Facts, Permit, Refusal},
    server::{Call, Fault, RefusedHead, RequestHead, RequestTarget, Service, Wire},
    upstream::{Pool, PoolLimits},
};

/// The proxy: one for each process.
#[derive(Debug)]
pub struct Proxy {
    live: ArcSwap<Live>,
    pool: Arc<Pool<RequestBody>>,
    account: Arc<Account>,
}

impl Proxy {
    /// A proxy that keeps connections within `limits`, decides by `live` and tells `account` what it did.
    #[must_use]
    pub fn new(live: Live, limits: PoolLimits, account: Account) -> Self {
        Self {
            live: ArcSwap::from_pointee(live),
            pool: Arc::new(Pool::new(limits)),
            account: Arc::new(account),
        }
    }

    /// Puts another generation of the configuration in force. Exchanges that have begun end under the old one.
    pub fn reload(&self, live: Live, limits: PoolLimits) {
        self.pool.set_limits(limits);
        self.live.store(Arc::new(live));
    }

    /// What the next generation may keep.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.live.load().kept.clone()
    }

    /// Where this proxy's numbers go.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Closes idle connections that nobody needs any more, for ever. To be run in a task.
    pub async fn tend(&self) {
        self.pool.sweep().await;
    }

    fn begin(&self, live: &Live, wire: &Wire, head: &RequestHead) -> Box<Exchange> {
        Exchange::begin(&self.account, live, wire.peer(), wire.local(), head.started.into_std())
    }
}

impl Service for Proxy {
    type Body = ProxyBody;
    type Ticket = ConnectionTicket;
    type Crowd = Crowd;

    fn admit(&self, peer: SocketAddr) -> Result<ConnectionTicket, Crowd> {
        self.account.admit(peer.ip())
    }

    fn crowded(&self, crowd: Crowd, peer: SocketAddr, local: SocketAddr) -> Bytes {
        let live = self.live.load();
        let exchange = Exchange::begin(&self.account, &live, peer, local, std::time::Instant::now());
        respond::message(exchange, &crowd.into())
    }

    async fn call(&self, request: Request<Incoming>, call: Call) -> Response<ProxyBody> {
        let Call { wire, head } = call;
        let live = self.live.load_full();
        let mut exchange = self.begin(&live, &wire, &head);
        exchange.requested(request.method().clone(), head.http10, TraceParent::of(request.headers()));
        // What stands behind a request that is refused is read only where its end is known for sure.
        let form = Form::wanted(request.headers(), head.http10 || head.framing != Framing::None);
        let closing = Form { close: true, ..form };
        match head.target.clone() {
            RequestTarget::Authority(origin) => {
                exchange.targets(None, Some(origin.clone()), Bytes::new());
                match decide(&live, &wire, &request, &origin, None, &mut exchange).await {
                    Ok(permit) => tunnel::open(&wire, &live, &origin, &permit, exchange, closing).await,
                    Err(error) => respond::failure(exchange, &error, closing),
                }
            }
            RequestTarget::Origin(path) => {
                exchange.targets(None, None, path.clone());
                match admit(&live, &wire) {
                    Ok(()) => local::answer(exchange, request.method(), &path, form),
                    Err(refusal) => respond::failure(exchange, &refusal.into(), closing),
                }
            }
            RequestTarget::Asterisk => {
                exchange.targets(None, None, Bytes::from_static(b"*"));
                match admit(&live, &wire) {
                    Ok(()) => local::options(exchange, form),
                    Err(refusal) => respond::failure(exchange, &refusal.into(), closing),
                }
            }
            RequestTarget::Absolute { scheme, authority, path_and_query } => {
                exchange.targets(Some(scheme.as_str()), Some(authority.clone()), path_and_query.clone());
                if scheme == Scheme::Https {
                    return respond::failure(exchange, &ProxyError::https_in_the_clear(), form);
                }
                let permit =
                    match decide(&live, &wire, &request, &authority, Some(&path_and_query), &mut exchange)
                        .await
                    {
                        Ok(permit) => permit,
                        Err(error) => return respond::failure(exchange, &error, form),
                    };
                let path = match origin_form(request.method(), &path_and_query) {
                    Ok(path) => path,
                    Err(error) => return respond::failure(exchange, &error, closing),
                };
                let pool = Arc::clone(&self.pool);
                let errand = Errand { pool, live, wire, head, origin: authority, path, permit };
                pass(errand, request, exchange, form).await
            }
        }
    }

    fn refuse(&self, wire: &Wire, refused: &RefusedHead) -> Bytes {
        let live = self.live.load();
        let started = refused.started.into_std();
        let mut exchange = Exchange::begin(&self.account, &live, wire.peer(), wire.local(), started);
        exchange.garbled(&refused.raw);
        let answer = respond::message(exchange, &ProxyError::from(&refused.fault));
        if matches!(&refused.fault, Fault::Head(error) if !error.speaks_http()) {
            Bytes::new()
        } else {
            answer
        }
    }
}

/// Forwards a request, unless `Max-Forwards` says that it ends here (RFC 9110 section 7.6.2).
async fn pass(
    errand: Errand,
    mut request: Request<Incoming>,
    exchange: Box<Exchange>,
    form: Form,
) -> Response<ProxyBody> {
    let method = request.method().clone();
    match trace::take_hop(&method, request.headers_mut()) {
        Ok(Hops::On) => forward::forward(errand, request, exchange, form).await,
        Ok(Hops::Here) if method == Method::TRACE => local::trace(exchange, &errand.head.raw, form),
        Ok(Hops::Here) => local::options(exchange, form),
        Err(error) => respond::failure(exchange, &ProxyError::bad_request(error.to_string()), form),
    }
}

/// Whether the client is on this host, by a loopback address or by the very address it has connected to.
fn is_local(wire: &Wire) -> bool {
    let peer = wire.peer().ip().to_canonical();
    peer.is_loopback() || peer == wire.local().ip().to_canonical()
}

/// Asks the policy whether the client is served at all.
fn admit(live: &Live, wire: &Wire) -> Result<(), Refusal> {
    live.policy.admit(wire.peer().ip(), is_local(wire))
}

/// Asks who it is, whether he may, and whether enough is left.
async fn decide(
    live: &Live,
    wire: &Wire,
    request: &Request<Incoming>,
    authority: &Authority,
    path: Option<&[u8]>,
    exchange: &mut Exchange,
) -> Result<Permit, ProxyError> {
    if let Some(login) = &live.kept.login {
        // Who is not served is not asked for a password either.
        admit(live, wire)?;
        identify(login, live, request.headers(), wire.peer().ip(), exchange).await?;
    }
    let (method, user) = (request.method(), exchange.user());
    let facts = Facts {
        client: wire.peer().ip(),
        client_is_local: is_local(wire),
        method,
        connect: *method == Method::CONNECT,
        authority,
        user: user.as_deref(),
        path,
    };
    let permit = live.policy.decide(&facts)?;
    exchange.permitted(&permit);
    exchange.routed("direct");
    if let Some(limiter) = &live.limiter {
        match limiter.admit(&facts).await {
            Ok(grant) => exchange.granted(grant),
            Err(limited) if live.reports_only => exchange.would_refuse(&limited.rule),
            Err(limited) => return Err(ProxyError::limited(limited)),
        }
    }
    Ok(permit)
}

/// Asks who it is. In `access.mode: report` it may be nobody.
async fn identify(
    login: &Login,
    live: &Live,
    fields: &HeaderMap,
    client: IpAddr,
    exchange: &mut Exchange,
) -> Result<(), ProxyError> {
    match login.who(fields, client, live.client_header).await {
        Ok(user) => exchange.identified(user),
        Err(why) => {
            let error = ProxyError::not_known(why, &live.challenge);
            if !live.reports_only {
                return Err(error);
            }
            exchange.would_refuse(error.rule.as_ref().expect("it names access.users_file"));
        }
    }
    Ok(())
}

/// The raw path and query as the origin gets them. The empty one is `*` for `OPTIONS` and `/` for all others
/// (RFC 9112 section 3.2.4 and 3.2.1).
fn origin_form(method: &Method, raw: &Bytes) -> Result<PathAndQuery, ProxyError> {
    let text = std::str::from_utf8(raw).map_err(|_| unescaped())?;
    let path = match target::origin_form(method, text) {
        Cow::Borrowed(form) if form.len() == raw.len() => PathAndQuery::from_maybe_shared(raw.clone()),
        form => PathAndQuery::try_from(form.as_ref()),
    };
    path.map_err(|_| unescaped())
}

fn unescaped() -> ProxyError {
    ProxyError::bad_request("the request target has a byte that must be percent-encoded")
}
