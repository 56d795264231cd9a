//! Builds a proxy from its settings. Nothing is started, nothing is asked of the network.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::sync::Semaphore;

use crate::{
    config::settings::{self, Mode, Settings, TlsSettings, UpstreamTlsSettings, Via},
    message::{head::HeadLimits, trace::Pseudonym},
    net::{
        dial::{DialOptions, Dialer},
        own::OwnListeners,
        resolve::{self, Resolver, ResolverError, ResolverOptions},
        tls::{
            Acceptor, AcceptorOptions, Connector, ConnectorOptions, Protocol, TlsError, certificate::PemError,
        },
    },
    policy::{Policy, Routes},
    proxy::{
        Account, BadStore, Interception, Kept, Limiter, Live, LiveOptions, Login, LoginError, Proxy, Store,
    },
    server::{Balancers, ClientOptions, ConnectionOptions, TlsOptions},
    shared_memory::{Seat, SharedTicketKeys},
    telemetry::{access_log::AccessLog, names::tally},
    upstream::{Groups, PoolLimits},
};

/// So many threads that verify passwords has one that serves alone on its thread, and one with many threads.
const VERIFIERS: usize = 2;
const MOST_VERIFIERS: usize = 8;

/// What is spoken inside TLS, with clients and with origins, the best first. What was agreed on comes to `server::connection`.
const SPOKEN: &[Protocol] = &[Protocol::Http2, Protocol::Http1];

/// Why a proxy cannot be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The access log cannot be written.
    #[error("access_log.file cannot be opened: {0}")]
    AccessLog(#[source] io::Error),
    /// Limits cannot be shared.
    #[error(transparent)]
    Store(#[from] BadStore),
    /// Nobody can log in.
    #[error("access.users_file: {0}")]
    Login(#[from] LoginError),
    /// Clients cannot be encrypted.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// The authority cannot sign.
    #[error("interception: {0}")]
    Interception(#[from] PemError),
    /// Names cannot be resolved.
    #[error("dns: {0}")]
    Resolver(#[from] ResolverError),
}

/// A proxy and how its connections are served: what [`accept`](crate::server::accept::accept) needs besides a socket.
#[derive(Debug)]
pub struct Assembled {
    /// The service.
    pub proxy: Arc<Proxy>,
    /// How it is served.
    pub connections: ConnectionOptions,
}

/// Builds the proxy that listens on `listeners` and counts in `seat`. Inside a runtime, which it uses for name resolution.
///
/// # Errors
///
/// When the access log cannot be written, or names cannot be resolved.
pub fn assemble(
    settings: &Settings,
    listeners: &[SocketAddr],
    seat: Seat,
    worker: Option<usize>,
) -> Result<Assembled, AssembleError> {
    let log = access_log(settings, &seat)?;
    let account = Account::new(seat, log, worker, &settings.limits);
    let kept = keep(settings, listeners, account.seat(), None)?;
    let live = live(settings, listeners, account.seat(), kept)?;
    let connections = connection_options(settings, account.seat())?;
    let proxy = Proxy::new(live, pool_limits(settings), account);
    Ok(Assembled { proxy: Arc::new(proxy), connections })
}

pub(super) fn access_log(settings: &Settings, seat: &Seat) -> Result<AccessLog, AssembleError> {
    AccessLog::open(&settings.access_log, Some(seat.clone())).map_err(AssembleError::AccessLog)
}

/// What outlives a reload that changes nothing about it, from the configuration that was in force and what it had, or else new.
pub(super) fn keep(
    settings: &Settings,
    listeners: &[SocketAddr],
    seat: &Seat,
    old: Option<(&Settings, Kept)>,
) -> Result<Kept, AssembleError> {
    let (old, had) = old.map_or_else(|| (None, Kept::default()), |(old, had)| (Some(old), had));
    let login = if old.is_some_and(|old| old.access.users_file == settings.access.users_file) {
        had.login
    } else {
        login(settings, seat)?
    };
    let store = if old.is_some_and(|old| old.rate_limit.store == settings.rate_limit.store) {
        had.store
    } else {
        store(settings, seat)?
    };
    let groups = if old
        .is_some_and(|old| old.upstreams == settings.upstreams && patience(old) == patience(settings))
    {
        had.groups
    } else {
        let own = OwnListeners::new(listeners.to_vec());
        Arc::new(Groups::new(&settings.upstreams, &own, seat.segment(), patience(settings)))
    };
    let connector = match (old, had.connector) {
        (Some(old), Some(connector)) if old.upstream_tls == settings.upstream_tls => connector,
        _ => connector(&settings.upstream_tls),
    };
    Ok(Kept { login, store, groups, connector: Some(connector) })
}

/// How long it may take until a request that was sent is answered.
fn patience(settings: &Settings) -> Duration {
    settings.timeouts.connect + settings.timeouts.response_head
}

/// How origins are reached with TLS.
fn connector(settings: &UpstreamTlsSettings) -> Connector {
    Connector::new(ConnectorOptions {
        system_roots: settings.system_roots,
        authorities: settings.ca_path.as_ref().map(|file| file.content.clone()),
        identity: settings.identity(),
        oldest: settings.min_version,
        protocols: if settings.http2 { SPOKEN.to_vec() } else { vec![Protocol::Http1] },
    })
}

/// How users are known; none = nobody has to log in.
fn login(settings: &Settings, seat: &Seat) -> Result<Option<Arc<Login>>, LoginError> {
    let threads = match settings.runtime.mode {
        Mode::MultiThreaded => settings.runtime.worker_threads.get().clamp(VERIFIERS, MOST_VERIFIERS),
        Mode::MultiProcess | Mode::SingleThreaded => VERIFIERS,
    };
    let login = |file| Login::new(file, threads, seat.clone()).map(Arc::new);
    settings.access.users_file.as_ref().map(login).transpose()
}

/// Where rates are kept for several machines; none = in the memory of the instance.
fn store(settings: &Settings, seat: &Seat) -> Result<Option<Arc<Store>>, BadStore> {
    let settings::Store::Redis(url) = &settings.rate_limit.store else { return Ok(None) };
    let failures = seat.segment().tally(tally::STORE_FAILURES, "redis");
    Ok(Some(Arc::new(Store::new(url, failures)?)))
}

pub(super) fn live(
    settings: &Settings,
    listeners: &[SocketAddr],
    seat: &Seat,
    kept: Kept,
) -> Result<Live, AssembleError> {
    let resolver = Resolver::new(&ResolverOptions {
        servers: settings.dns.servers.clone(),
        cache_size: settings.dns.cache_size.get(),
        negative_ttl: settings.dns.negative_ttl,
    })?;
    let dialer = Dialer::new(
        resolver,
        DialOptions {
            connect_timeout: settings.timeouts.connect,
            prefer: match settings.dns.prefer {
                settings::Family::Ipv4 => resolve::Family::Ipv4,
                settings::Family::Ipv6 => resolve::Family::Ipv6,
            },
            bind_addr: settings.upstream.bind_addr,
            keepalive: settings.upstream.tcp_keepalive,
        },
    );
    let own = OwnListeners::new(listeners.to_vec());
    let options = LiveOptions {
        policy: Policy::new(&settings.access, Routes::new(settings), &own),
        limiter: Limiter::new(&settings.rate_limit, seat.clone(), kept.store.clone(), |name| {
            seat.segment().tally(tally::RATE_LIMITED, name)
        }),
        interception: Interception::new(&settings.interception, &settings.tls)?,
        groups: Arc::clone(&kept.groups),
        connector: kept.connector.clone().unwrap_or_else(|| connector(&settings.upstream_tls)),
        kept,
        dialer,
        pseudonym: Arc::new(pseudonym(settings, listeners)),
    };
    Ok(Live::new(settings, options))
}

fn pseudonym(settings: &Settings, listeners: &[SocketAddr]) -> Pseudonym {
    let automatic = || {
        let port = listeners.first().map_or(0, SocketAddr::port);
        Pseudonym::automatic(&host_name(), port)
    };
    match &settings.forwarding.via {
        Via::Pseudonym(name) => Pseudonym::parse(name).unwrap_or_else(|_| automatic()),
        Via::Auto | Via::Off => automatic(),
    }
}

#[cfg(unix)]
fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "proxy".into())
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "proxy".into())
}

pub(super) fn pool_limits(settings: &Settings) -> PoolLimits {
    PoolLimits {
        max_idle_per_host: settings.upstream.max_idle_per_host,
        max_idle: settings.upstream.max_idle,
        idle_timeout: settings.upstream.idle_timeout,
        patience: settings.timeouts.connect,
    }
}

pub(super) fn connection_options(
    settings: &Settings,
    seat: &Seat,
) -> Result<ConnectionOptions, AssembleError> {
    let limits = &settings.limits;
    Ok(ConnectionOptions {
        client: ClientOptions {
            head: HeadLimits { max_bytes: limits.max_header_bytes, max_headers: limits.max_headers },
            client_header: settings.timeouts.client_header,
            client_idle: settings.timeouts.client_idle,
            body_idle: settings.timeouts.body_idle,
            socks5: settings.listen.socks5,
        },
        balancers: Arc::new(Balancers::new(&settings.listen.proxy_protocol)),
        tcp_keepalive: settings.upstream.tcp_keepalive,
        tls: tls(&settings.tls, seat)?,
    })
}

/// How clients are encrypted; none = nobody can be.
fn tls(settings: &TlsSettings, seat: &Seat) -> Result<Option<TlsOptions>, TlsError> {
    let Some(identity) = settings.identity() else { return Ok(None) };
    let acceptor = Acceptor::new(&AcceptorOptions {
        identity: &identity,
        client_authorities: settings.client_ca_path.as_ref().map(|file| &file.content),
        oldest: settings.min_version,
        protocols: SPOKEN,
        tickets: Some(Arc::new(SharedTicketKeys::new(seat.segment().clone()))),
    })?;
    let turns = Arc::new(Semaphore::new(settings.max_handshakes));
    Ok(Some(TlsOptions { acceptor, timeout: settings.handshake_timeout, turns }))
}
