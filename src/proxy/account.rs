//! Where a proxy tells what it does: the counters of this process, and the access log.

use std::sync::atomic::{AtomicU32, Ordering};

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
    log: AccessLog,
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
        Self { seat, log, worker, max_connections: AtomicU32::new(max_connections) }
    }

    /// Puts another limit in force. Connections over it stay.
    pub fn set_max_connections(&self, limit: u32) {
        self.max_connections.store(limit, Ordering::Relaxed);
    }

    /// The access log.
    #[must_use]
    pub fn log(&self) -> &AccessLog {
        &self.log
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

    pub(super) fn counters(&self) -> &Counters {
        self.seat.counters()
    }

    /// An exchange has ended: counts it and writes its line.
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
        counters.bytes_in.fetch_add(record.bytes_in, Ordering::Relaxed);
        counters.bytes_out.fetch_add(record.bytes_out, Ordering::Relaxed);
        self.log.write(record);
        counters.access_log_dropped.store(self.log.dropped(), Ordering::Relaxed);
    }
}

impl Drop for ConnectionTicket {
    fn drop(&mut self) {
        self.seat.release_connection();
    }
}
