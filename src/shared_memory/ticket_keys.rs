//! The keys of TLS session tickets: one of the instance, so that a client can resume with any of its processes.
//!
//! Whoever made the segment replaces them, everybody else reads. They are nowhere but in this memory, which has no name and goes with
//! the instance; a key that was replaced twice is gone. Must not know what they are used for. Invariant: a reader has whole keys
//! or none, whenever the writer may have been killed.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering, fence},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Segment;
use crate::net::tls::tickets::{self, TicketKey, TicketKeys};

const WORDS: usize = size_of::<TicketKey>() / 8;

/// How often a reader looks again that has come in the midst of a replacement, which takes nanoseconds.
const PATIENCE: usize = 1_000;

/// All zero is: no keys yet.
#[repr(C, align(4096))]
pub(super) struct TicketTable {
    /// Even when the keys are whole: twice the number of replacements.
    version: AtomicU64,
    /// When they were replaced last, in seconds of Unix time.
    replaced: AtomicU64,
    current: [AtomicU64; WORDS],
    previous: [AtomicU64; WORDS],
}

impl Segment {
    /// Replaces the key in use where that is due, or where there is none. To be called now and then by the one process
    /// that has made the segment, or has taken its place, and by no other.
    pub fn tend_ticket_keys(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.tend_ticket_keys_at(now);
    }

    fn tend_ticket_keys_at(&self, now: Duration) {
        let table = self.ticket_table();
        let version = table.version.load(Ordering::Acquire);
        let age = now.as_secs().abs_diff(table.replaced.load(Ordering::Relaxed));
        if version != 0 && version.is_multiple_of(2) && age < u64::from(tickets::LIFETIME) {
            return;
        }
        // Without randomness the old key goes on, or there are no tickets.
        let Ok(key) = tickets::new_key() else { return };
        // Odd, also where a writer was killed before it was even again.
        table.version.store(version | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (to, from) in table.previous.iter().zip(&table.current) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for (to, word) in table.current.iter().zip(key.chunks_exact(8)) {
            to.store(u64::from_ne_bytes(word.try_into().expect("chunks of 8 bytes")), Ordering::Relaxed);
        }
        table.replaced.store(now.as_secs(), Ordering::Relaxed);
        table.version.store((version | 1) + 1, Ordering::Release);
    }
}

/// Keys that processes share.
#[derive(Clone)]
pub struct SharedTicketKeys(Segment);

impl SharedTicketKeys {
    /// Those of this segment.
    #[must_use]
    pub fn new(segment: Segment) -> Self {
        Self(segment)
    }
}

impl TicketKeys for SharedTicketKeys {
    fn generation(&self) -> u64 {
        self.0.ticket_table().version.load(Ordering::Acquire)
    }

    fn keys(&self) -> Option<(TicketKey, Option<TicketKey>)> {
        let table = self.0.ticket_table();
        for _ in 0..PATIENCE {
            let version = table.version.load(Ordering::Acquire);
            if version == 0 {
                return None;
            }
            let (current, previous) = (bytes(&table.current), bytes(&table.previous));
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && table.version.load(Ordering::Relaxed) == version {
                return Some((current, Some(previous).filter(|key| key.iter().any(|byte| *byte != 0))));
            }
            std::hint::spin_loop();
        }
        None
    }
}

fn bytes(words: &[AtomicU64; WORDS]) -> TicketKey {
    let mut key = [0; size_of::<TicketKey>()];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    key
}

impl fmt::Debug for SharedTicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedTicketKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_for_two_lifetimes() {
        let segment = Segment::private(1).unwrap();
        let keys = SharedTicketKeys::new(segment.clone());
        assert_eq!((keys.generation(), keys.keys()), (0, None));
        let lifetime = u64::from(tickets::LIFETIME);
        let at = |seconds| segment.tend_ticket_keys_at(Duration::from_secs(1_000_000 + seconds));
        at(0);
        let (first, none) = keys.keys().unwrap();
        assert_eq!(none, None);
        at(lifetime - 1);
        assert_eq!(keys.keys(), Some((first, None)));
        at(lifetime);
        let (second, previous) = keys.keys().unwrap();
        assert!(previous == Some(first) && second != first);
        at(2 * lifetime);
        assert_eq!(keys.keys().unwrap().1, Some(second));
    }

    #[test]
    fn half_a_replacement_is_nobodys() {
        let segment = Segment::private(1).unwrap();
        let keys = SharedTicketKeys::new(segment.clone());
        segment.tend_ticket_keys();
        segment.ticket_table().version.fetch_add(1, Ordering::Relaxed);
        assert_eq!(keys.keys(), None);
        segment.tend_ticket_keys();
        assert!(keys.keys().is_some());
    }
}
