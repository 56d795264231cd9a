//! Connections that are kept for the next request to the same origin.
//!
//! The most recently used one is taken first, so that a pool that is too large shrinks by itself. A connection is
//! looked at before it is given out: one that the origin has closed, or on which it has sent bytes that nobody
//! asked for, is never given to a client. Nothing here waits, and no lock is held while anything is awaited.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    connection::{Connection, Kind},
    http2::{Approach, Keeping, Sessions},
};
use crate::net::authority::Authority;

/// How often idle connections are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Idle connections kept for one origin.
    pub max_idle_per_host: usize,
    /// Idle connections kept in all.
    pub max_idle: usize,
    /// How long an idle connection is kept, unless the origin says less.
    pub idle_timeout: Duration,
    /// How long an origin has to answer a PING of HTTP/2, or to let a session be closed.
    pub patience: Duration,
}

/// The idle connections of this process, and those of HTTP/2, which are shared.
#[derive(Debug)]
pub struct Pool {
    limits: Mutex<PoolLimits>,
    idle: Mutex<Idle>,
    sessions: Arc<Sessions>,
    /// Wakes the sweep when the first connection arrives.
    occupied: Arc<Notify>,
}

#[derive(Debug)]
struct Idle {
    /// By [`Kind`].
    #[expect(
        clippy::vec_box,
        reason = "each is made, used and kept in its box: it is moved with every request"
    )]
    origins: [HashMap<Arc<Authority>, Vec<Box<Connection>>>; 3],
    total: usize,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        let sessions = Arc::new(Sessions::default());
        Self {
            limits: Mutex::new(limits),
            idle: Mutex::new(Idle { origins: Default::default(), total: 0 }),
            occupied: Arc::clone(&sessions.occupied),
            sessions,
        }
    }

    /// Puts other bounds in force. Connections over them leave with the next sweep.
    pub fn set_limits(&self, limits: PoolLimits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Takes the most recently used connection to `origin` whose address `may_reach` allows, or a stream of one that is shared.
    /// `way` is the server of a group that it leads through, 0 for none: who is sent one way never gets a connection that was
    /// made for another.
    pub fn take(
        &self,
        origin: &Authority,
        (way, kind): (u64, Kind),
        now: Instant,
        may_reach: impl Fn(SocketAddr) -> bool,
    ) -> Option<Box<Connection>> {
        let idle = self.take_idle(origin, (way, kind), now, &may_reach);
        if idle.is_some() || kind == Kind::Clear {
            return idle;
        }
        match kind {
            // What was agreed on where there was a choice does as well.
            Kind::TlsHttp1 => self.take_idle(origin, (way, Kind::Tls), now, &may_reach),
            _ => self.sessions.take(origin, (way, self.limits().max_idle_per_host > 0), &may_reach),
        }
    }

    /// What to do for a connection to `origin`, which may speak HTTP/2, when [`Self::take`] has found none.
    pub fn approach(
        &self,
        origin: &Arc<Authority>,
        way: u64,
        may_reach: impl Fn(SocketAddr) -> bool,
    ) -> Approach {
        self.sessions.approach(origin, (way, self.limits().max_idle_per_host > 0), may_reach)
    }

    fn take_idle(
        &self,
        origin: &Authority,
        (way, kind): (u64, Kind),
        now: Instant,
        may_reach: impl Fn(SocketAddr) -> bool,
    ) -> Option<Box<Connection>> {
        let limits = self.limits();
        let mut idle = self.idle();
        let kept = idle.origins[kind as usize].get_mut(origin)?;
        let mut found = None;
        let mut removed = 0;
        let mut at = kept.len();
        while at > 0 && found.is_none() {
            at -= 1;
            let usable = kept[at].is_alive() && !is_stale(&kept[at], &limits, now);
            if !usable {
                kept.remove(at);
                removed += 1;
            } else if kept[at].way == way && may_reach(kept[at].peer()) {
                let mut connection = kept.remove(at);
                connection.reuse();
                found = Some(connection);
                removed += 1;
            }
        }
        // An origin without connections keeps its place until the next sweep: it is likely to get one back.
        idle.total -= removed;
        found
    }

    /// Keeps a connection whose exchange is complete, if it can be used again and there is room.
    pub fn put(&self, mut connection: Box<Connection>) {
        let limits = self.limits();
        if limits.max_idle_per_host == 0
            || !connection.is_reusable()
            || connection.keep_alive == Some(Duration::ZERO)
            || connection.is_distrusted()
        {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle();
        if idle.total >= limits.max_idle {
            return;
        }
        let was_empty = idle.total == 0;
        idle.total += 1;
        connection.count_as(true);
        let kept = idle.origins[connection.kind as usize].entry(Arc::clone(connection.origin())).or_default();
        let surplus = (kept.len() >= limits.max_idle_per_host).then(|| kept.remove(0));
        kept.push(connection);
        idle.total -= usize::from(surplus.is_some());
        drop(idle);
        if was_empty {
            self.occupied.notify_one();
        }
    }

    /// Connections that are idle now.
    pub fn idle_count(&self) -> usize {
        self.idle().total
    }

    /// Closes what is idle for too long or was closed by its origin, for ever. To be run in a task.
    pub async fn sweep(&self) {
        loop {
            if self.idle_count() == 0 && self.sessions.is_empty() {
                self.occupied.notified().await;
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.sweep_once(Instant::now());
        }
    }

    /// Closes everything that is idle.
    pub fn clear(&self) {
        let mut idle = self.idle();
        idle.origins.iter_mut().for_each(HashMap::clear);
        idle.total = 0;
        drop(idle);
        self.sessions.clear();
    }

    fn sweep_once(&self, now: Instant) {
        let limits = self.limits();
        self.sessions.look(
            now,
            &Keeping {
                max_idle_per_host: limits.max_idle_per_host,
                max_idle: limits.max_idle,
                idle: limits.idle_timeout,
                patience: limits.patience,
            },
        );
        let mut idle = self.idle();
        let mut total = 0;
        for origins in &mut idle.origins {
            origins.retain(|_, kept| {
                kept.retain_mut(|connection| connection.is_alive() && !is_stale(connection, &limits, now));
                total += kept.len();
                !kept.is_empty()
            });
        }
        idle.total = total;
    }

    fn limits(&self) -> PoolLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_stale(connection: &Connection, limits: &PoolLimits, now: Instant) -> bool {
    let allowed = connection.keep_alive.map_or(limits.idle_timeout, |own| own.min(limits.idle_timeout));
    connection.is_distrusted() || now.saturating_duration_since(connection.idle_since) >= allowed
}
