//! The way of one request through a group: one server after the other, as long as that may help and time is left.
//!
//! All that is waited for connections on this way is within `timeouts.connect`, however many servers there are: each is given its
//! share of what is left. Nothing here is run for a request that goes out directly.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::time::timeout;

use super::{
    error::{Blame, ProxyError},
    exchange::Exchange,
    live::Live,
};
use crate::{
    net::authority::Authority,
    server::Client,
    shared_memory::Seat,
    telemetry::names::ProxyErrorType,
    upstream::{
        Choice, Group, Trait, Turn,
        announcement::Ends,
        parent::{Errand, ParentError, Purpose, Reached},
    },
};

/// Where a request is on its way through a group.
#[derive(Debug)]
pub(super) struct Through<'a> {
    group: &'a Group,
    live: &'a Live,
    origin: &'a Arc<Authority>,
    seat: &'a Seat,
    choice: Choice<'a>,
    /// Whose it is, where the servers are to know.
    ends: Option<Ends>,
    /// What is left for connecting.
    left: Duration,
    /// Why the last server did not do.
    failure: Option<ProxyError>,
}

/// Why one server did not do.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ProxyError,
    /// It is the server's fault.
    pub(super) is_its_own: bool,
    /// Another one may get the request.
    pub(super) may_move: bool,
}

impl Failure {
    /// Nothing that a server has to do with.
    pub(super) fn of_the_client(error: ProxyError) -> Self {
        Self { error, is_its_own: false, may_move: false }
    }
}

impl<'a> Through<'a> {
    /// The way of a request of `client` for `origin`, which may wait for connections for as long as `connect` says.
    pub(super) fn new(
        group: &'a Arc<Group>,
        live: &'a Live,
        origin: &'a Arc<Authority>,
        client: &mut Client,
        connect: Duration,
        seat: &'a Seat,
    ) -> Self {
        let choice = group.choose(Trait { client: client.peer().ip(), host: &origin.host }, seat);
        // Our own address is not free to find out.
        let ends = group
            .announces_clients()
            .then(|| Ends { client: client.peer(), destination: client.destination() });
        Self { group, live, origin, seat, choice, ends, left: connect, failure: None }
    }

    /// The next server.
    ///
    /// # Errors
    ///
    /// There is none: why the last one did not do, or that none is to be had.
    pub(super) fn next_turn(&mut self) -> Result<Turn, ProxyError> {
        self.choice.next_turn().ok_or_else(|| {
            self.failure.take().unwrap_or_else(|| {
                let text = format!("no server of {} is available", self.group.name());
                unavailable(text)
            })
        })
    }

    /// This server did not do.
    ///
    /// # Errors
    ///
    /// No other one may get the request.
    pub(super) fn failed(
        &mut self,
        mut turn: Turn,
        failure: Failure,
        exchange: &mut Exchange,
    ) -> Result<(), ProxyError> {
        if failure.is_its_own {
            turn.failed();
            tracing::debug!(
                group = %self.group.name(), backend = turn.label(), error = %failure.error.details,
                "upstream backend failed"
            );
        }
        if !failure.may_move || self.left.is_zero() || !self.choice.may_move() {
            return Err(failure.error);
        }
        exchange.repeated();
        self.failure = Some(failure.error);
        Ok(())
    }

    /// What it takes to connect to the next server, or through it.
    pub(super) fn errand<'e>(
        &'e self,
        (purpose, offers_http2): (Purpose, bool),
        lines: &'e [u8],
    ) -> Errand<'e> {
        Errand {
            dialer: &self.live.dialer,
            connector: &self.live.connector,
            origin: self.origin,
            purpose,
            offers_http2,
            lines,
            limits: self.live.response_limits,
            ends: self.ends,
            within: self.choice.share_of(self.left),
            seat: self.seat,
        }
    }

    /// Waits for what is worth no more of the time that is left than connecting is.
    pub(super) async fn wait<T>(&mut self, change: impl Future<Output = T>) -> Result<T, Failure> {
        let began = Instant::now();
        let changed = timeout(self.choice.share_of(self.left), change).await;
        self.left = self.left.saturating_sub(began.elapsed());
        changed.map_err(|_| {
            let error = explain(self.group, &ParentError::Timeout);
            Failure { error, is_its_own: true, may_move: true }
        })
    }

    /// Connects to the server, or through it. With true, what is spoken inside TLS is agreed on.
    pub(super) async fn connect(
        &mut self,
        turn: &Turn,
        purpose: (Purpose, bool),
        lines: &[u8],
        exchange: &mut Exchange,
    ) -> Result<Reached, Failure> {
        let began = Instant::now();
        let reached = turn.connect(self.errand(purpose, lines)).await;
        self.left = self.left.saturating_sub(began.elapsed());
        match reached {
            Ok(reached) => {
                exchange.dialled(&reached.dialled);
                Ok(reached)
            }
            Err(error) => {
                let is_its_own = error.is_its_own();
                if is_its_own {
                    exchange.dial_failed();
                }
                Err(Failure { error: explain(self.group, &error), is_its_own, may_move: is_its_own })
            }
        }
    }
}

/// What the client is told of a parent that wants another password than it is given.
pub(super) fn bad_credentials() -> ProxyError {
    ProxyError::new(
        Blame::Upstream,
        StatusCode::BAD_GATEWAY,
        ProxyErrorType::ProxyConfigurationError,
        ParentError::Credentials.to_string(),
    )
}

fn unavailable(text: String) -> ProxyError {
    ProxyError::new(
        Blame::Upstream,
        StatusCode::SERVICE_UNAVAILABLE,
        ProxyErrorType::DestinationUnavailable,
        text,
    )
}

/// What the client is told of a server that does not do. What a parent answers is told by what it means, never as the parent has
/// said it.
fn explain(group: &Group, error: &ParentError) -> ProxyError {
    use ProxyErrorType as Kind;
    let (status, kind) = match error {
        ParentError::Credentials => return bad_credentials(),
        ParentError::OriginTls(error) => return ProxyError::from(error),
        ParentError::Refused(StatusCode::GATEWAY_TIMEOUT) | ParentError::RefusedBySocks(6) => {
            (StatusCode::GATEWAY_TIMEOUT, Kind::ConnectionTimeout)
        }
        ParentError::Refused(StatusCode::SERVICE_UNAVAILABLE) => {
            (StatusCode::SERVICE_UNAVAILABLE, Kind::DestinationUnavailable)
        }
        ParentError::Refused(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        | ParentError::RefusedBySocks(2) => (StatusCode::BAD_GATEWAY, Kind::HttpRequestDenied),
        ParentError::RefusedBySocks(3 | 4) => (StatusCode::BAD_GATEWAY, Kind::DestinationIpUnroutable),
        ParentError::RefusedBySocks(5) => (StatusCode::BAD_GATEWAY, Kind::ConnectionRefused),
        ParentError::RefusedBySocks(7 | 8) => (StatusCode::BAD_GATEWAY, Kind::ProxyConfigurationError),
        ParentError::Refused(_) | ParentError::RefusedBySocks(_) => {
            (StatusCode::BAD_GATEWAY, Kind::DestinationUnavailable)
        }
        own => return unavailable(format!("no server of {} can be reached: {own}", group.name())),
    };
    ProxyError::new(Blame::Upstream, status, kind, error.to_string())
}
