//! A connection by way of the server whose turn it is: to itself, or, where it is a proxy, to somebody else through it.
//!
//! A server of one's own and an HTTP parent that gets plain requests are merely dialled. For tunnels an HTTP parent is asked by
//! `CONNECT`, and a SOCKS5 parent for anything. All of it is within one deadline. Whatever the parent says of itself, above all that it wants a
//! password, is for us alone: no client gets to see it.

mod socks5;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use thiserror::Error;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{Connection, Pool, UpstreamError, backend::Backend, group::Turn};
use crate::{
    config::settings::{GroupKind, ServerScheme},
    message::{
        head::HeadLimits,
        response_head::{LINES_INLINE, ResponseHead},
    },
    net::{
        authority::Authority,
        dial::{DialError, Dialer, Dialled},
    },
    shared_memory::Seat,
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Plain requests.
    Requests,
    /// Bytes both ways to one origin.
    Tunnel,
}

/// What it takes to get one.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// How connections are made.
    pub dialer: &'a Dialer,
    /// Whom it is to lead to.
    pub origin: &'a Arc<Authority>,
    /// What it is for.
    pub purpose: Purpose,
    /// Lines for the head of a `CONNECT`, each with its end.
    pub lines: &'a [u8],
    /// Bounds of the head that answers it.
    pub limits: HeadLimits,
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
    /// It has said nothing for too long.
    #[error("the parent did not answer within timeouts.connect")]
    Timeout,
    /// It has closed the connection.
    #[error("the parent closed the connection before its answer")]
    Closed,
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
        !matches!(self, Self::Refused(_) | Self::RefusedBySocks(_))
    }
}

impl Turn {
    /// A connection that is kept for such requests.
    #[must_use]
    pub fn take(&self, pool: &Pool, origin: &Arc<Authority>) -> Option<Connection> {
        let backend = self.backend();
        pool.take(backend.key(origin), backend.id, |peer| self.group().reach.check(peer).is_ok())
    }

    /// A connection that was made, for requests.
    #[must_use]
    pub fn keep(&self, dialled: Dialled, origin: &Arc<Authority>, seat: &Seat) -> Connection {
        let backend = self.backend();
        Connection::new(dialled, Arc::clone(backend.key(origin)), seat.clone()).by_way_of(backend.id)
    }

    /// Whether it gets requests as a proxy does: with the whole URL.
    #[must_use]
    pub fn wants_whole_url(&self) -> bool {
        self.group().kind == GroupKind::Proxy && self.backend().scheme == ServerScheme::Http
    }

    /// `Proxy-Authorization` for it.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.backend().authorization.as_deref().filter(|_| self.wants_whole_url())
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
        match (group.kind, backend.scheme, errand.purpose) {
            (GroupKind::Proxy, ServerScheme::Socks5, _) => {
                socks5::connect(&mut dialled.stream, errand.origin, backend.credentials.as_ref()).await?;
                Ok(Reached { dialled, early: Bytes::new() })
            }
            (GroupKind::Proxy, ServerScheme::Http, Purpose::Tunnel) => {
                connect(dialled, backend, errand).await
            }
            _ => Ok(Reached { dialled, early: Bytes::new() }),
        }
    }
}

impl Backend {
    /// Whom its connections are kept for: an HTTP server takes requests for anybody, and what leads through SOCKS5 ends at one
    /// origin.
    fn key<'a>(&'a self, origin: &'a Arc<Authority>) -> &'a Arc<Authority> {
        match self.scheme {
            ServerScheme::Http => &self.authority,
            ServerScheme::Socks5 => origin,
        }
    }
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
