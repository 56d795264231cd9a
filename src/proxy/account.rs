//! Where a proxy tells what it does: the counters of this process, and the access log.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::{
    config::settings::LimitsSettings,
    net::relay::Meter,
    policy::{
        RuleName,
        rate_limit::{LIMITS, client_prefix},
    },
    shared_memory::{Counters, Hold, Seat, Tally},
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
    max_connections_per_client: AtomicU32,
    /// The counters of rules that have refused something.
    denied: Mutex<HashMap<Box<str>, Tally>>,
}

/// So many counters of rules are kept at hand; rules change with reloads.
const RULES_AT_HAND: usize = 1024;

/// One client connection in the count of the whole instance, and in that of its client where there is a limit. Dropping it
/// takes it out.
#[derive(Debug)]
pub struct ConnectionTicket {
    seat: Seat,
    hold: Option<Hold>,
}

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// `limits.max_connections_per_client`.
    Client,
    /// `limits.max_connections`.
    Instance,
}

impl Account {
    /// Books in `seat` and `log`, for the worker with this index.
    #[must_use]
    pub fn new(seat: Seat, log: AccessLog, worker: Option<usize>, limits: &LimitsSettings) -> Self {
        Self {
            seat,
            log: ArcSwap::from_pointee(log),
            worker,
            max_connections: AtomicU32::new(limits.max_connections),
            max_connections_per_client: AtomicU32::new(limits.max_connections_per_client),
            denied: Mutex::default(),
        }
    }

    /// Puts other limits in force. Connections over them stay. Those that were made while there was no limit for each client
    /// are not counted in it.
    pub fn set_limits(&self, limits: &LimitsSettings) {
        self.max_connections.store(limits.max_connections, Ordering::Relaxed);
        self.max_connections_per_client.store(limits.max_connections_per_client, Ordering::Relaxed);
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

    /// The memory that it counts in.
    #[must_use]
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// A rule has refused something, or would have.
    pub(super) fn denied(&self, rule: &RuleName) {
        let label = rule.label();
        // What limits refuse is counted with them.
        if label.starts_with(LIMITS) {
            return;
        }
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = denied.get(label) {
            return tally.add();
        }
        let tally = self.seat.segment().tally(names::tally::DENIED, label);
        tally.add();
        if denied.len() >= RULES_AT_HAND {
            denied.clear();
        }
        denied.insert(label.into(), tally);
    }

    pub(super) fn worker(&self) -> Option<usize> {
        self.worker
    }

    /// Takes one more connection of `client` into the counts.
    pub(super) fn admit(&self, client: IpAddr) -> Result<ConnectionTicket, Crowd> {
        let hold = self.hold(client)?;
        self.admit_with(hold)
    }

    /// Takes one more connection into the count of all, of which it is not known yet whose it is.
    pub(super) fn admit_unnamed(&self) -> Result<ConnectionTicket, Crowd> {
        self.admit_with(None)
    }

    /// It is one of `client`.
    pub(super) fn name(&self, ticket: &mut ConnectionTicket, client: IpAddr) -> Result<(), Crowd> {
        ticket.hold = self.hold(client)?;
        Ok(())
    }

    fn hold(&self, client: IpAddr) -> Result<Option<Hold>, Crowd> {
        match self.max_connections_per_client.load(Ordering::Relaxed) {
            0 => Ok(None),
            most => self.seat.try_hold(self.key_of(client), most).map(Some).ok_or(Crowd::Client),
        }
    }

    fn admit_with(&self, hold: Option<Hold>) -> Result<ConnectionTicket, Crowd> {
        if !self.seat.try_connection(self.max_connections.load(Ordering::Relaxed)) {
            return Err(Crowd::Instance);
        }
        Ok(ConnectionTicket { seat: self.seat.clone(), hold })
    }

    /// Whose connections are counted together: those of one IPv4 address, however it is written, and of one IPv6 /64, for
    /// that is what one client has all addresses of.
    fn key_of(&self, client: IpAddr) -> u64 {
        let client = client_prefix(client);
        let mut hasher = DefaultHasher::new();
        (self.seat.segment().seed(), "connections", client).hash(&mut hasher);
        hasher.finish()
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

/// Tunnels are counted while they run.
impl Meter for Account {
    fn up(&self, bytes: u64) {
        self.counters().bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    fn down(&self, bytes: u64) {
        self.counters().bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for ConnectionTicket {
    fn drop(&mut self) {
        self.seat.release_connection();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, shared_memory::Segment};

    fn account(seat: Seat, text: &str) -> Account {
        let sources =
            config::Sources { text: Some(("config.yml".into(), text.into())), ..config::Sources::default() };
        let limits = config::load(&sources).unwrap().settings.limits;
        Account::new(seat, AccessLog::off(), None, &limits)
    }

    #[test]
    fn whose_connections_are_counted_together() {
        let segment = Segment::private(1).unwrap();
        let account = account(segment.seat(0).unwrap(), "");
        let key = |client: &str| account.key_of(client.parse().unwrap());
        for (one, other, is_same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            assert_eq!(key(one) == key(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn what_is_full_is_told_and_nothing_is_kept_of_those_who_are_turned_away() {
        let segment = Segment::private(1).unwrap();
        let account = account(
            segment.seat(0).unwrap(),
            "limits: { max_connections: 3, max_connections_per_client: 2 }",
        );
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let tickets = [account.admit(one).unwrap(), account.admit(one).unwrap()];
        assert_eq!(account.admit(one).unwrap_err(), Crowd::Client);
        let third = account.admit(other).unwrap();
        assert_eq!(account.admit(other).unwrap_err(), Crowd::Instance);
        assert_eq!(segment.held(account.key_of(other)), 1);
        drop(third);
        assert_eq!(account.admit(one).unwrap_err(), Crowd::Client);
        drop(tickets);
        assert_eq!(segment.held(account.key_of(one)), 0);
        assert_eq!(account.counters().connections_active.load(Ordering::Relaxed), 0);
    }
}
