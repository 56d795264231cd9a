//! Where a proxy tells what it does: the counters of this process, and the access log.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use arc_swap::ArcSwap;

use crate::{
    shared_memory::{Counters, Seat},
    telemetry::{
        access_log::AccessLog,
        access_record::AccessRecord,
        names::{self, ProxyErrorType},
    },
};

/// The books of one process.
#[derive(Debug)]
pub struct Account {
    seat: Seat,
    log: ArcSwap<AccessLog>,
    worker: Option<usize>,
    max_connections: AtomicU32,
}

/// One client connection in the count of the whole instance. Dropping it takes it out.
#[derive(Debug)]
pub struct ConnectionTicket {
    seat: Seat,
}

impl Account {
    /// Books in `seat` and `log`, for the worker with this index.
    #[must_use]
    pub fn new(seat: Seat, log: AccessLog, worker: Option<usize>, max_connections: u32) -> Self {
        Self {
            seat,
            log: ArcSwap::from_pointee(log),
            worker,
            max_connections: AtomicU32::new(max_connections),
        }
    }

    /// Puts another limit in force. Connections over it stay.
    pub fn set_max_connections(&self, limit: u32) {
        self.max_connections.store(limit, Ordering::Relaxed);
    }

    /// The access log.
    #[must_use]
    pub fn log(&self) -> Arc<AccessLog> {
        self.log.load_full()
    }

    /// Puts another access log in the place of this one, which is returned: what is still in its memory is to be flushed.
    #[must_use]
    pub fn replace_log(&self, log: AccessLog) -> Arc<AccessLog> {
        self.log.swap(Arc::new(log))
    }

    /// Tunnels that are open now.
    #[must_use]
    pub fn tunnels(&self) -> i64 {
        self.counters().tunnels_active.load(Ordering::Relaxed)
    }

    pub(super) fn worker(&self) -> Option<usize> {
        self.worker
    }

    pub(super) fn admit(&self) -> Option<ConnectionTicket> {
        let limit = self.max_connections.load(Ordering::Relaxed);
        self.seat.try_connection(limit).then(|| ConnectionTicket { seat: self.seat.clone() })
    }

    /// Where the numbers of this process are.
    #[must_use]
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(super) fn counters(&self) -> &Counters {
        self.seat.counters()
    }

    /// An exchange has ended: counts it and writes its line. Its bytes were counted as they passed.
    pub(super) fn close(&self, record: &AccessRecord<'_>, error: Option<ProxyErrorType>, was_tunnel: bool) {
        let counters = self.counters();
        if let Some(status) = record.status {
            let method = names::method_index(record.method.unwrap_or_default());
            counters.requests[method][names::class_index(status)].fetch_add(1, Ordering::Relaxed);
        }
        if let Some(error) = error {
            counters.errors[error as usize].fetch_add(1, Ordering::Relaxed);
        }
        if was_tunnel {
            counters.tunnels_active.fetch_sub(1, Ordering::Relaxed);
        } else {
            counters.durations.add(u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX));
        }
        self.log.load().write(record);
    }

    /// An exchange goes on: writes a line of what it has come to.
    pub(super) fn note(&self, record: &AccessRecord<'_>) {
        self.log.load().write(record);
    }
}

impl Drop for ConnectionTicket {
    fn drop(&mut self) {
        self.seat.release_connection();
    }
}
