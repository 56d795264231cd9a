//! The service that every worker serves: what kind of request it is, whether it may pass, and who takes it on.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Version};
use tokio::{sync::Notify, time::Instant};

use super::{
    account::{Account, ConnectionTicket, Crowd},
    error::ProxyError,
    exchange::Exchange,
    forward::{self, Errand},
    interception,
    live::{Kept, Live},
    local,
    login::Login,
    respond::{self, Answering, Form},
    socks,
    tunnel::{self, Tongue},
};
use crate::{
    config::settings::AskedBy,
    message::{
        field::Name,
        target::{self, Scheme},
        trace::{self, Hops, TraceParent},
    },
    net::authority::Authority,
    policy::{Facts, Permit, Refusal, Via},
    server::{After, Client, Fault, Handshake, RefusedHead, RequestHead, RequestTarget, Service},
    upstream::{Pool, PoolLimits, health},
};

/// The proxy: one for each process.
#[derive(Debug)]
pub struct Proxy {
    live: ArcSwap<Live>,
    pool: Arc<Pool>,
    account: Arc<Account>,
    /// Another generation is in force.
    reloaded: Notify,
}

impl Proxy {
    /// A proxy that keeps connections within `limits`, decides by `live` and tells `account` what it did.
    #[must_use]
    pub fn new(live: Live, limits: PoolLimits, account: Account) -> Self {
        Self {
            live: ArcSwap::from_pointee(live),
            pool: Arc::new(Pool::new(limits)),
            account: Arc::new(account),
            reloaded: Notify::new(),
        }
    }

    /// Puts another generation of the configuration in force. Exchanges that have begun end under the old one, which is given
    /// back: it may hold long lists, and whoever drops it last takes them apart.
    #[must_use]
    pub fn reload(&self, live: Live, limits: PoolLimits) -> Arc<Live> {
        self.pool.set_limits(limits);
        let connector = live.connector.clone();
        let old = self.live.swap(Arc::new(live));
        if !old.connector.is(&connector) {
            old.connector.retire();
        }
        self.reloaded.notify_one();
        old
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

    /// Closes idle connections that nobody needs any more, and looks at the servers of groups, for ever. To be run in a task.
    pub async fn tend(&self) {
        tokio::join!(self.pool.sweep(), self.look_at_servers());
    }

    async fn look_at_servers(&self) {
        loop {
            let reloaded = self.reloaded.notified();
            let live = self.live.load_full();
            if live.groups.are_checked() {
                let seat = self.account.seat();
                tokio::select! {
                    () = reloaded => {}
                    () = health::watch(&live.groups, &live.dialer, &live.connector, seat) => {}
                }
            } else {
                // The state of a generation is not kept longer than it is in force.
                drop(live);
                reloaded.await;
            }
        }
    }

    fn begin(&self, live: &Live, peer: SocketAddr, started: Instant) -> Box<Exchange> {
        Exchange::begin(&self.account, live, peer, started.into_std())
    }
}

impl Service for Proxy {
    type Ticket = ConnectionTicket;
    type Crowd = Crowd;

    fn admit(&self, peer: SocketAddr) -> Result<ConnectionTicket, Crowd> {
        self.account.admit(peer.ip())
    }

    fn admit_unnamed(&self) -> Result<ConnectionTicket, Crowd> {
        self.account.admit_unnamed()
    }

    fn name(&self, ticket: &mut ConnectionTicket, client: SocketAddr) -> Result<(), Crowd> {
        self.account.name(ticket, client.ip())
    }

    fn shaken(&self, how: Handshake) {
        self.account.counters().handshakes[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn crowded(&self, crowd: Crowd, peer: SocketAddr) -> Bytes {
        let exchange = self.begin(&self.live.load(), peer, Instant::now());
        respond::message(exchange, &crowd.into())
    }

    async fn serve(&self, head: &RequestHead, client: &mut Client) -> After {
        let live = self.live.load_full();
        let mut exchange = self.begin(&live, client.peer(), head.started);
        exchange.requested(head.method.clone(), protocol(head.version), TraceParent::of(head.fields()));
        let form = Form::wanted(head, client.is_draining());
        let resource = match wanted(&live, client, head, &mut exchange) {
            Ok(Wanted::Resource(resource)) => resource,
            // Boxed, for a plain request need not carry the room that dialling takes.
            Ok(Wanted::Tunnel(origin)) => {
                return Box::pin(connect(&live, head, client, &origin, exchange, form)).await;
            }
            Ok(Wanted::Ours(path)) => {
                return ours(&live, head, client, path.as_deref(), exchange, form).await;
            }
            Err(error) => return respond::failure(client, exchange, error, form).await,
        };
        let path = Some(&*resource.path);
        let permit = match decide(&live, client, head, &resource.origin, path, &mut exchange).await {
            Ok(permit) => permit,
            Err(error) => return respond::failure(client, exchange, error, form).await,
        };
        let mut errand = Errand {
            pool: &self.pool,
            live: &live,
            head,
            origin: resource.host,
            scheme: resource.scheme,
            path: resource.path,
            max_forwards: None,
            permit,
        };
        if resource.is_ours && !matches!(errand.permit.route.via, Via::Origin(_)) {
            // For others, perhaps, but not for who sends it.
            return local::answer(client, exchange, &head.method, &errand.path, form).await;
        }
        match trace::take_hop(&head.method, head.fields()) {
            Ok(Hops::On(left)) => errand.max_forwards = left,
            Ok(Hops::Here) if head.method == Method::TRACE => {
                return local::trace(client, exchange, &head.raw, form).await;
            }
            Ok(Hops::Here) => return local::options(client, exchange, form).await,
            Err(error) => {
                let error = ProxyError::bad_request(error.to_string());
                return respond::failure(client, exchange, error, form).await;
            }
        }
        errand.path = target::origin_form(&head.method, errand.path);
        forward::forward(&errand, client, exchange, form).await
    }

    async fn serve_socks(&self, client: &mut Client, started: Instant) -> After {
        let live = self.live.load_full();
        let exchange = self.begin(&live, client.peer(), started);
        socks::serve(client, &live, exchange, started).await
    }

    fn refuse(&self, client: SocketAddr, refused: &RefusedHead) -> Bytes {
        let mut exchange = self.begin(&self.live.load(), client, refused.started);
        exchange.garbled(&refused.raw, protocol(refused.version));
        let answer = respond::message(exchange, &ProxyError::from(&refused.fault));
        if matches!(&refused.fault, Fault::Head(error) if !error.speaks_http()) {
            Bytes::new()
        } else {
            answer
        }
    }
}

/// How a version is logged.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// What is asked for.
enum Wanted {
    /// What an origin has.
    Resource(Resource),
    /// A tunnel to this one.
    Tunnel(Arc<Authority>),
    /// Something of the proxy itself: at this path, or what it can do.
    Ours(Option<Bytes>),
}

/// What an origin has.
struct Resource {
    /// By which its way is found.
    origin: Arc<Authority>,
    /// As origins are told.
    host: Arc<Authority>,
    scheme: Scheme,
    path: Bytes,
    /// The request is addressed to the proxy, behind which somebody may have it.
    is_ours: bool,
}

/// What the request is for. It stands in the `exchange` then.
fn wanted(
    live: &Live,
    client: &mut Client,
    head: &RequestHead,
    exchange: &mut Exchange,
) -> Result<Wanted, ProxyError> {
    let target = match client.inside() {
        None => head.target.clone(),
        Some(inside) => interception::target(head, inside)?,
    };
    Ok(match target {
        RequestTarget::Absolute { scheme, authority, path_and_query: path } => {
            exchange.targets(Some(scheme.as_str()), Some(Arc::clone(&authority)), path.clone());
            let (origin, host) = (Arc::clone(&authority), authority);
            Wanted::Resource(Resource { origin, host, scheme, path, is_ours: false })
        }
        RequestTarget::Authority(origin) => {
            exchange.targets(None, Some(Arc::clone(&origin)), Bytes::new());
            Wanted::Tunnel(origin)
        }
        RequestTarget::Origin(path) => match behind(live, client, head, &path) {
            Some((origin, host)) => {
                let scheme = Scheme::Http;
                exchange.targets(Some(scheme.as_str()), Some(Arc::clone(&origin)), path.clone());
                Wanted::Resource(Resource { origin, host, scheme, path, is_ours: true })
            }
            None => {
                exchange.targets(None, None, path.clone());
                Wanted::Ours(Some(path))
            }
        },
        RequestTarget::Asterisk => {
            exchange.targets(None, None, Bytes::from_static(b"*"));
            Wanted::Ours(None)
        }
    })
}

/// Opens a tunnel to `origin`, if that may be.
async fn connect(
    live: &Arc<Live>,
    head: &RequestHead,
    client: &mut Client,
    origin: &Arc<Authority>,
    mut exchange: Box<Exchange>,
    form: Form,
) -> After {
    let form = Form { close: true, ..form };
    match decide(live, client, head, origin, None, &mut exchange).await {
        Ok(permit) => {
            tunnel::open(client, live, Some(head), origin, &permit, exchange, Tongue::Http(form)).await
        }
        Err(error) => respond::failure(client, exchange, error, form).await,
    }
}

/// Answers for the proxy itself.
fn ours<'a>(
    live: &Live,
    head: &RequestHead,
    client: &'a mut Client,
    path: Option<&[u8]>,
    exchange: Box<Exchange>,
    form: Form,
) -> Answering<'a> {
    if let Err(refusal) = admit(live, client) {
        return respond::failure(client, exchange, refusal.into(), Form { close: true, ..form });
    }
    match path {
        Some(path) => local::answer(client, exchange, &head.method, path, form),
        None => local::options(client, exchange, form),
    }
}

/// Whether the client is on this host, by a loopback address or by the very address it has connected to. What a balancer has
/// brought never is: an address that is only said proves nothing, and that of the balancer is not the client's.
fn is_local(client: &mut Client) -> bool {
    if client.is_brought() {
        return false;
    }
    let peer = client.peer().ip().to_canonical();
    peer.is_loopback() || peer == client.local().ip().to_canonical()
}

/// Asks the policy whether the client is served at all.
pub(super) fn admit(live: &Live, client: &mut Client) -> Result<(), Refusal> {
    live.policy.admit(client.peer().ip(), is_local(client))
}

/// Whom a request that is addressed to the proxy itself may be for, of the origins behind it: the authority by which its way is
/// found, and the one that origins are told, which differ where `Host` has no port. None where nobody is behind.
fn behind(
    live: &Live,
    client: &mut Client,
    head: &RequestHead,
    path: &[u8],
) -> Option<(Arc<Authority>, Arc<Authority>)> {
    let routes = live.policy.routes();
    if !routes.serve_origins() {
        return None;
    }
    let host = std::str::from_utf8(head.values(Name::Host).next()?).ok()?;
    let authority = Authority::parse(host, Some(client.local().port())).ok()?;
    let may_be = routes.may_be_for_origins(&Facts {
        client: client.peer().ip(),
        client_is_local: is_local(client),
        method: &head.method,
        asked_by: AskedBy::Http,
        authority: &authority,
        user: None,
        path: Some(path),
    });
    let told = Authority::parse(host, Some(Scheme::Http.default_port())).ok()?;
    may_be.then(|| (Arc::new(authority), Arc::new(told)))
}

/// Asks who it is, whether he may, and whether enough is left.
async fn decide(
    live: &Live,
    client: &mut Client,
    head: &RequestHead,
    authority: &Authority,
    path: Option<&[u8]>,
    exchange: &mut Exchange,
) -> Result<Permit, ProxyError> {
    if let Some(user) = client.user() {
        // Its certificate was asked for, and nobody else can have it.
        exchange.identified(Arc::clone(user));
    } else if let Some(login) = &live.kept.login {
        // Who is not served is not asked for a password either.
        admit(live, client)?;
        let values = head.values(Name::ProxyAuthorization);
        Box::pin(identify(login, live, values, client.peer().ip(), exchange)).await?;
    }
    weigh(live, client, &head.method, authority, path, exchange).await
}

/// Asks whether he may, who is known by now, and whether enough is left.
pub(super) async fn weigh(
    live: &Live,
    client: &mut Client,
    method: &Method,
    authority: &Authority,
    path: Option<&[u8]>,
    exchange: &mut Exchange,
) -> Result<Permit, ProxyError> {
    let user = exchange.user();
    let facts = Facts {
        client: client.peer().ip(),
        client_is_local: is_local(client),
        method,
        asked_by: match exchange.scheme() {
            _ if *method == Method::CONNECT => AskedBy::Connect,
            Some("https") => AskedBy::Https,
            _ => AskedBy::Http,
        },
        authority,
        user: user.as_deref(),
        path,
    };
    let permit = live
        .policy
        .decide(&facts)
        .inspect_err(|refusal| exchange.would_route(refusal.would_route.as_deref()))?;
    if let Some(limiter) = &live.limiter {
        // Boxed, as it may have to ask elsewhere, and most have no limits.
        match Box::pin(limiter.admit(&facts)).await {
            Ok(grant) => exchange.granted(grant),
            Err(limited) if live.reports_only => exchange.would_refuse(&limited.rule),
            Err(limited) => return Err(ProxyError::limited(limited)),
        }
    }
    exchange.permitted(&permit);
    exchange.routed(&permit.route);
    Ok(permit)
}

/// Asks who it is. In `access.mode: report` it may be nobody.
pub(super) async fn identify(
    login: &Login,
    live: &Live,
    values: impl Iterator<Item = &[u8]>,
    client: IpAddr,
    exchange: &mut Exchange,
) -> Result<(), ProxyError> {
    match login.who(values, client, live.client_header).await {
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
