//! A connection by way of the server whose turn it is: to itself, or, where it is a proxy, to somebody else through it.
//!
//! A server of one's own and an HTTP parent that gets plain requests are merely dialled, with TLS where its URL says so. For tunnels
//! an HTTP parent is asked by `CONNECT`, and a SOCKS5 parent for anything. What is to reach its origin with TLS goes through a tunnel
//! too, in which the origin's name is verified: no parent gets to read it. All of it is within one deadline. Whatever the parent says of itself, above all that it wants a
//! password, is for us alone: no client gets to see it.

mod socks5;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, StatusCode};
use thiserror::Error;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    Approach, Connection, Kind, Pool, UpstreamError,
    announcement::{Ends, announce},
    backend::Backend,
    group::Turn,
};
use crate::{
    config::settings::{GroupKind, ServerScheme},
    message::{
        head::HeadLimits,
        response_head::{LINES_INLINE, ResponseHead},
    },
    net::{
        authority::{Authority, Host},
        dial::{DialError, Dialer, Dialled},
        tls::{Connector, TlsError},
    },
    shared_memory::Seat,
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Requests, with TLS if the URL of the server says so.
    Requests,
    /// Requests that reach their origin with TLS, whoever is in between.
    Secrets,
    /// Bytes both ways to one origin.
    Tunnel,
}

/// What it takes to get one.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// How connections are made.
    pub dialer: &'a Dialer,
    /// How TLS is spoken on them.
    pub connector: &'a Connector,
    /// Whom it is to lead to.
    pub origin: &'a Arc<Authority>,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether the requests may be sent in HTTP/2.
    pub offers_http2: bool,
    /// Lines for the head of a `CONNECT`, each with its end.
    pub lines: &'a [u8],
    /// Bounds of the head that answers it.
    pub limits: HeadLimits,
    /// Whose request it is; none = nobody asks who it is.
    pub ends: Option<Ends>,
    /// How long all of it may take.
    pub within: Duration,
    /// Where it is counted.
    pub seat: &'a Seat,
}

/// A connection that was made.
#[derive(Debug)]
pub struct Reached {
    /// To the server.
    pub dialled: Dialled,
    /// What came through it already.
    pub early: Bytes,
}

/// Why there is none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ParentError {
    /// The server cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS with it has failed.
    #[error("the server: {0}")]
    Tls(#[source] TlsError),
    /// TLS with the origin behind it has failed.
    #[error(transparent)]
    OriginTls(TlsError),
    /// It has said nothing for too long.
    #[error("the parent did not answer within timeouts.connect")]
    Timeout,
    /// It has closed the connection.
    #[error("the parent closed the connection before its answer")]
    Closed,
    /// It has closed the connection before it was told whose it is.
    #[error("the server closed the connection before it was told whose it is")]
    Unannounced,
    /// Its answer is none.
    #[error("the parent's answer cannot be understood")]
    Malformed,
    /// It does not take our name and password, or wants some and there are none.
    #[error("the parent does not take the credentials that it is given")]
    Credentials,
    /// It has answered: not to this origin, or not now.
    #[error("the parent answered CONNECT with {0}")]
    Refused(StatusCode),
    /// The same, by the code of RFC 1928 section 6.
    #[error("the parent answered CONNECT with code {0} of SOCKS5")]
    RefusedBySocks(u8),
}

impl ParentError {
    /// Whether it is the server's own fault, so that another one may do better.
    #[must_use]
    pub fn is_its_own(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::RefusedBySocks(_) | Self::OriginTls(_))
    }
}

impl Turn {
    /// What a connection for requests has to be for, when they are to reach their origin with TLS or not. Servers of one's own
    /// are the origin.
    #[must_use]
    pub fn purpose(&self, is_secret: bool) -> Purpose {
        match self.group().kind {
            GroupKind::Proxy if is_secret => Purpose::Secrets,
            GroupKind::Proxy | GroupKind::Origin => Purpose::Requests,
        }
    }

    /// The kind of connection that such requests get, where nothing else speaks against it.
    #[must_use]
    pub fn kind(&self, purpose: Purpose) -> Kind {
        match purpose == Purpose::Secrets || self.backend().scheme == ServerScheme::Https {
            false => Kind::Clear,
            // What is made for one request cannot be shared.
            true if self.group().announces_clients() => Kind::TlsHttp1,
            true => Kind::Tls,
        }
    }

    /// A connection that is kept for such requests. Those that are announced as a client's are not.
    #[must_use]
    pub fn take(
        &self,
        pool: &Pool,
        origin: &Arc<Authority>,
        purpose: Purpose,
        kind: Kind,
    ) -> Option<Box<Connection>> {
        if self.group().announces_clients() {
            return None;
        }
        let backend = self.backend();
        let way = (backend.way(purpose), kind);
        pool.take(backend.key(origin, purpose), way, Instant::now().into(), |peer| {
            self.group().reach.check(peer).is_ok()
        })
    }

    /// What to do for one that may speak HTTP/2, when none was kept.
    #[must_use]
    pub fn approach(&self, pool: &Pool, origin: &Arc<Authority>, purpose: Purpose) -> Approach {
        let backend = self.backend();
        let may_reach = |peer| self.group().reach.check(peer).is_ok();
        pool.approach(backend.key(origin, purpose), backend.way(purpose), may_reach)
    }

    /// A connection that was made, for requests in HTTP/1.1.
    #[must_use]
    pub fn keep(&self, dialled: Dialled, errand: &Errand<'_>, kind: Kind) -> Box<Connection> {
        let (backend, is_tls) = (self.backend(), dialled.stream.is_tls());
        let key = Arc::clone(backend.key(errand.origin, errand.purpose));
        let connection =
            Connection::new(dialled, key, errand.seat.clone()).by_way_of(backend.way(errand.purpose));
        let connection = if is_tls { connection.verified_by(errand.connector.clone()) } else { connection };
        let connection = if kind == Kind::TlsHttp1 { connection.of_http1() } else { connection };
        if self.group().announces_clients() { connection.used_once() } else { connection }
    }

    /// Whether it gets such requests as a proxy does: with the whole URL.
    #[must_use]
    pub fn wants_whole_url(&self, purpose: Purpose) -> bool {
        self.group().kind == GroupKind::Proxy
            && self.backend().scheme != ServerScheme::Socks5
            && purpose == Purpose::Requests
    }

    /// `Proxy-Authorization` for it.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.backend().authorization.as_deref()
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// See [`ParentError`]; within `errand.within` in any case. Dropping the future closes what was begun.
    pub async fn connect(&self, errand: Errand<'_>) -> Result<Reached, ParentError> {
        timeout(errand.within, self.reach(errand)).await.unwrap_or(Err(ParentError::Timeout))
    }

    async fn reach(&self, errand: Errand<'_>) -> Result<Reached, ParentError> {
        let (group, backend) = (self.group(), self.backend());
        let turn = backend.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dialer = errand.dialer.with(group.bind_addr, turn);
        let mut dialled = dialer.dial_within(errand.within, &backend.authority, &group.reach).await?;
        if let Some(version) = group.announcement {
            announce(&mut dialled.stream, version, errand.ends)
                .await
                .map_err(|_| ParentError::Unannounced)?;
        }
        if backend.scheme == ServerScheme::Https {
            let host = &backend.authority.host;
            // Parents are asked for tunnels in HTTP/1.1.
            let offers_http2 = errand.offers_http2 && errand.purpose == Purpose::Requests;
            let encrypted = encrypt(errand.connector, dialled, host, offers_http2);
            dialled = encrypted.await.map_err(ParentError::Tls)?;
        }
        let reached = match (group.kind, backend.scheme, errand.purpose) {
            (GroupKind::Proxy, ServerScheme::Socks5, _) => {
                socks5::connect(&mut dialled.stream, errand.origin, backend.credentials.as_ref()).await?;
                Reached { dialled, early: Bytes::new() }
            }
            (GroupKind::Proxy, _, Purpose::Tunnel | Purpose::Secrets) => {
                connect(dialled, backend, errand).await?
            }
            _ => Reached { dialled, early: Bytes::new() },
        };
        if errand.purpose != Purpose::Secrets {
            return Ok(reached);
        }
        if !reached.early.is_empty() {
            // Nobody speaks first in TLS but us.
            return Err(ParentError::Malformed);
        }
        let host = &errand.origin.host;
        let dialled = encrypt(errand.connector, reached.dialled, host, errand.offers_http2).await;
        Ok(Reached { dialled: dialled.map_err(ParentError::OriginTls)?, early: Bytes::new() })
    }
}

impl Backend {
    /// Whom its connections are kept for: an HTTP server takes requests for anybody, and what leads through it ends at one origin.
    fn key<'a>(&'a self, origin: &'a Arc<Authority>, purpose: Purpose) -> &'a Arc<Authority> {
        match self.scheme {
            ServerScheme::Http | ServerScheme::Https if purpose == Purpose::Requests => &self.authority,
            _ => origin,
        }
    }

    /// What tells its connections from all others in the pool. Those that lead through it to an origin of its own name are not
    /// those that lead to itself.
    fn way(&self, purpose: Purpose) -> u64 {
        self.id << 1 | u64::from(purpose != Purpose::Requests)
    }
}

/// Speaks TLS with `host`, whose name is verified.
async fn encrypt(
    connector: &Connector,
    dialled: Dialled,
    host: &Host,
    offers_http2: bool,
) -> Result<Dialled, TlsError> {
    let Dialled { stream, peer, dns, connect } = dialled;
    let began = Instant::now();
    let connected = if offers_http2 {
        connector.agree(stream, host).await
    } else {
        connector.connect(stream, host).await
    };
    let stream = connected?.stream;
    Ok(Dialled { stream, peer, dns, connect: connect + began.elapsed() })
}

/// Asks an HTTP parent for a tunnel (RFC 9110 section 9.3.6).
async fn connect(dialled: Dialled, backend: &Backend, errand: Errand<'_>) -> Result<Reached, ParentError> {
    let Dialled { peer, dns, connect, .. } = dialled;
    let mut request = b"CONNECT ".to_vec();
    // No port is left out: none is 0.
    errand.origin.write_host(&mut request, 0);
    request.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    errand.origin.write_host(&mut request, 0);
    request.extend_from_slice(b"\r\n");
    if let Some(authorization) = &backend.authorization {
        for part in ["proxy-authorization: ", authorization, "\r\n"] {
            request.extend_from_slice(part.as_bytes());
        }
    }
    request.extend_from_slice(errand.lines);
    request.extend_from_slice(b"\r\n");
    let mut connection = Connection::new(dialled, Arc::clone(&backend.authority), errand.seat.clone());
    let (_, stream) = connection.parts();
    stream.write_all(&request).await.map_err(|_| ParentError::Closed)?;
    stream.flush().await.map_err(|_| ParentError::Closed)?;
    loop {
        let end = std::future::poll_fn(|cx| connection.poll_head(cx, errand.limits)).await;
        let end = end.map_err(|error| match error {
            UpstreamError::Terminated => ParentError::Closed,
            _ => ParentError::Malformed,
        })?;
        let (inbox, _) = connection.parts();
        let mut lines = [const { std::mem::MaybeUninit::uninit() }; LINES_INLINE];
        let head = ResponseHead::read(&inbox.unread()[..end], &Method::CONNECT, &mut lines);
        let status = head.map_err(|_| ParentError::Malformed)?.status;
        inbox.consume(end);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ParentError::Malformed);
        }
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(ParentError::Credentials);
        }
        if status.is_success() {
            connection.finish();
            let (stream, early) = connection.into_parts();
            return Ok(Reached { dialled: Dialled { stream, peer, dns, connect }, early });
        }
        if !status.is_informational() {
            return Err(ParentError::Refused(status));
        }
    }
}
