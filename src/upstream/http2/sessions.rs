//! The sessions of this process, and what is known of origins without one.
//!
//! Whoever finds no session with room either connects or waits, and looks again when something has changed. Nothing here
//! waits itself, and no lock is held while anything is awaited. A session is never shared by requests that are sent different ways, or to different origins.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::Instant,
};

use super::{
    bounds::{MAX_DIALS, MAX_ORIGINS, MAX_SESSIONS, REMEMBERED, UNHAPPY},
    drive,
    session::Session,
};
use crate::{
    message::head::HeadLimits,
    net::{
        authority::Authority,
        dial::Dialled,
        tls::{Connector, Protocol},
    },
    shared_memory::Seat,
    upstream::{Connection, UpstreamError, place::Place},
};

/// The pool of sessions.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Sessions {
    origins: Mutex<HashMap<Arc<Authority>, Vec<Known>>>,
    /// Wakes who looks after them when the first one is there.
    pub(in crate::upstream) occupied: Arc<Notify>,
}

/// How much is kept that is not in use, and for how long.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Keeping {
    /// Sessions without streams, with one origin and with all of them.
    pub(in crate::upstream) max_idle_per_host: usize,
    pub(in crate::upstream) max_idle: usize,
    /// How long a session may be without streams.
    pub(in crate::upstream) idle: Duration,
    /// How long an origin may take to answer.
    pub(in crate::upstream) patience: Duration,
}

/// What is known of an origin that is reached in one way.
#[derive(Debug)]
struct Known {
    /// The server of a group that it leads through; 0 = none.
    way: u64,
    sessions: Vec<Arc<Session>>,
    /// So many are connecting.
    dials: usize,
    /// Told when it is worth looking again.
    room: Arc<Notify>,
    /// For so long it is taken for one that speaks HTTP/1.1.
    http1_until: Option<Instant>,
    /// It has said that it wants HTTP/1.1, though it agreed on HTTP/2.
    wants_http1: bool,
    /// When somebody could not connect.
    failed: Option<Instant>,
}

/// How to get to an origin that may speak HTTP/2.
#[derive(Debug)]
pub enum Approach {
    /// There is a connection.
    Open(Box<Connection>),
    /// Connect.
    Dial(Dialling),
    /// Look again when this is ready.
    Wait(OwnedNotified),
}

/// The right to connect. Others may wait for what comes of it; dropping it tells them to look again.
#[derive(Debug)]
pub struct Dialling {
    sessions: Arc<Sessions>,
    origin: Arc<Authority>,
    way: u64,
    is_counted: bool,
    offers_http2: bool,
}

impl Sessions {
    /// A stream of a session with `origin` that leads by `way` to an address which `may_reach` allows. `is_kept` says whether one that
    /// was idle may be used.
    pub(in crate::upstream) fn take(
        &self,
        origin: &Authority,
        (way, is_kept): (u64, bool),
        may_reach: impl Fn(SocketAddr) -> bool,
    ) -> Option<Box<Connection>> {
        let origins = self.origins();
        let (origin, known) = origins.get_key_value(origin)?;
        known.iter().find(|known| known.way == way)?.open(origin, is_kept, may_reach)
    }

    /// The same, or what to do when there is none.
    pub(in crate::upstream) fn approach(
        self: &Arc<Self>,
        origin: &Arc<Authority>,
        (way, is_kept): (u64, bool),
        may_reach: impl Fn(SocketAddr) -> bool,
    ) -> Approach {
        let now = Instant::now();
        let mut dialling = Dialling {
            sessions: Arc::clone(self),
            origin: Arc::clone(origin),
            way,
            is_counted: false,
            offers_http2: true,
        };
        let mut origins = self.origins();
        if origins.len() >= MAX_ORIGINS && !origins.contains_key(origin) {
            origins.retain(|_, known| known.iter().any(Known::is_in_use));
            if origins.len() >= MAX_ORIGINS {
                dialling.offers_http2 = false;
                return Approach::Dial(dialling);
            }
        }
        let all = origins.entry(Arc::clone(origin)).or_default();
        let at = all.iter().position(|known| known.way == way).unwrap_or_else(|| {
            all.push(Known::new(way));
            all.len() - 1
        });
        let known = &mut all[at];
        if let Some(connection) = known.open(origin, is_kept, &may_reach) {
            return Approach::Open(connection);
        }
        if known.sessions.iter().any(|session| session.needs_http1()) {
            known.sessions.retain(|session| !session.needs_http1());
            (known.http1_until, known.wants_http1) = (Some(now + REMEMBERED), true);
        }
        if known.http1_until.is_some_and(|until| now < until) {
            dialling.offers_http2 = !known.wants_http1;
            return Approach::Dial(dialling);
        }
        if known.failed.is_some_and(|at| now < at + UNHAPPY) {
            // Whoever waited finds out himself, and not one after the other.
            return Approach::Dial(dialling);
        }
        let offered =
            || known.sessions.iter().filter(|session| session.is_offered() && may_reach(session.peer()));
        let most = match offered().count() {
            0 => 1,
            // It may have room for all who wait in a moment.
            _ if offered().any(|session| !session.is_settled()) => 0,
            full => MAX_DIALS.min(MAX_SESSIONS.saturating_sub(full)),
        };
        if known.dials < most {
            known.dials += 1;
            dialling.is_counted = true;
            Approach::Dial(dialling)
        } else {
            Approach::Wait(Arc::clone(&known.room).notified_owned())
        }
    }

    /// Whether there are none.
    pub(in crate::upstream) fn is_empty(&self) -> bool {
        self.origins().values().flatten().all(|known| known.sessions.is_empty())
    }

    /// Closes what was without streams for too long or is too much, and gives up what does not answer.
    pub(in crate::upstream) fn look(&self, now: Instant, keeping: &Keeping) {
        let mut left = keeping.max_idle;
        self.origins().retain(|_, all| {
            all.retain_mut(|known| {
                known.sessions.retain(|session| session.look(now, keeping.idle, keeping.patience));
                for (before, session) in known.sessions.iter().filter(|session| session.is_idle()).enumerate()
                {
                    if left == 0 || before >= keeping.max_idle_per_host {
                        session.close();
                    } else {
                        left -= 1;
                    }
                }
                known.is_in_use() || known.http1_until.is_some_and(|until| now < until)
            });
            !all.is_empty()
        });
    }

    /// Lets no more streams begin on those that there are.
    pub(in crate::upstream) fn clear(&self) {
        self.origins()
            .values()
            .flatten()
            .flat_map(|known| &known.sessions)
            .for_each(|session| session.close());
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<Arc<Authority>, Vec<Known>>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(way: u64) -> Self {
        Self {
            way,
            sessions: Vec::new(),
            dials: 0,
            room: Arc::default(),
            http1_until: None,
            wants_http1: false,
            failed: None,
        }
    }

    /// On the oldest one that has room, so that what is too much becomes idle.
    fn open(
        &self,
        origin: &Arc<Authority>,
        is_kept: bool,
        may_reach: impl Fn(SocketAddr) -> bool,
    ) -> Option<Box<Connection>> {
        let mut reachable =
            self.sessions.iter().filter(|session| session.is_offered() && may_reach(session.peer()));
        reachable.find_map(|session| Connection::shared(session, Arc::clone(origin), self.way, is_kept))
    }

    fn is_in_use(&self) -> bool {
        self.dials > 0 || !self.sessions.is_empty()
    }
}

impl Dialling {
    /// Whether HTTP/2 may be offered in the handshake.
    #[must_use]
    pub fn offers_http2(&self) -> bool {
        self.offers_http2
    }

    /// There is no connection.
    pub fn failed(self) {
        self.with_known(|known| known.failed = Some(Instant::now()));
    }

    /// The connection that was made, whatever is spoken there. It is counted in `seat` as long as it lives. There is no deadline in
    /// here; dropping the future closes it.
    ///
    /// # Errors
    ///
    /// It was closed before anything could be said.
    pub async fn done(
        self,
        dialled: Dialled,
        connector: &Connector,
        limits: HeadLimits,
        seat: &Seat,
    ) -> Result<Box<Connection>, UpstreamError> {
        if dialled.stream.agreed() == Protocol::Http1 {
            if self.offers_http2 {
                self.with_known(|known| {
                    (known.http1_until, known.wants_http1) = (Some(Instant::now() + REMEMBERED), false);
                });
            }
            let connection =
                Connection::new(dialled, Arc::clone(&self.origin), seat.clone()).by_way_of(self.way);
            return Ok(connection.verified_by(connector.clone()));
        }
        let (stream, room) =
            ((dialled.stream, dialled.peer), self.with_known(|known| Arc::clone(&known.room)));
        let place = Place::in_use(seat.clone());
        let begun = drive::begin(stream, connector.clone(), limits, room, place).await;
        let session = begun.map_err(|_| UpstreamError::Terminated)?;
        let connection = Connection::shared(&session, Arc::clone(&self.origin), self.way, true);
        self.with_known(|known| {
            known.sessions.push(session);
            (known.http1_until, known.failed) = (None, None);
        });
        self.sessions.occupied.notify_one();
        connection.ok_or(UpstreamError::Terminated)
    }

    fn with_known<T>(&self, see: impl FnOnce(&mut Known) -> T) -> T {
        let mut origins = self.sessions.origins();
        let all = origins.entry(Arc::clone(&self.origin)).or_default();
        match all.iter().position(|known| known.way == self.way) {
            Some(at) => see(&mut all[at]),
            None => {
                let mut known = Known::new(self.way);
                let seen = see(&mut known);
                all.push(known);
                seen
            }
        }
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if self.is_counted {
            self.with_known(|known| {
                known.dials -= 1;
                known.room.notify_waiters();
            });
        }
    }
}

#[cfg(test)]
mod tests;
