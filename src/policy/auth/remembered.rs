//! Whom we have verified lately.
//!
//! Must not hold a password, nor anything from which one could be guessed: what is kept is a hash under a key that this
//! process has drawn and nobody knows. Bounded, and nothing is believed for longer than its time. A wrong password is never
//! remembered, so that guessing costs the full price each time.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The verified. Shared by all who ask; belongs to one table of users, and is thrown away with it on reload.
pub struct Remembered {
    key: Hmac<Sha256>,
    time: Duration,
    capacity: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<[u8; 32], (Arc<str>, Instant)>,
    /// The oldest in front, which are also the first to expire.
    order: VecDeque<[u8; 32]>,
}

impl Remembered {
    /// Nobody yet. Each is believed for `time`, and `capacity` of them at most.
    ///
    /// # Errors
    /// Without randomness from the operating system there is no key.
    pub fn new(time: Duration, capacity: usize) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let key = Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        Ok(Self { key, time, capacity, table: Mutex::default() })
    }

    /// The user, when exactly this value of `Proxy-Authorization` has been verified not too long ago. Does not allocate.
    pub fn recall(&self, header: &[u8], now: Instant) -> Option<Arc<str>> {
        let hash = self.hash(header);
        let table = self.table();
        let (user, expires) = table.entries.get(&hash)?;
        (now < *expires).then(|| Arc::clone(user))
    }

    /// Note that this value of `Proxy-Authorization` is this user's.
    pub fn remember(&self, header: &[u8], user: Arc<str>, now: Instant) {
        let hash = self.hash(header);
        let mut table = self.table();
        if table.entries.remove(&hash).is_some() {
            table.order.retain(|other| *other != hash);
        }
        while let Some(oldest) = table.order.front().copied() {
            let is_expired = table.entries.get(&oldest).is_none_or(|(_, expires)| *expires <= now);
            if !is_expired && table.order.len() < self.capacity {
                break;
            }
            table.order.pop_front();
            table.entries.remove(&oldest);
        }
        if self.capacity > 0 {
            table.entries.insert(hash, (user, now + self.time));
            table.order.push_back(hash);
        }
    }

    fn hash(&self, header: &[u8]) -> [u8; 32] {
        self.key.clone().chain_update(header).finalize().into_bytes().into()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that is done under the lock leaves the table half changed in a way that matters.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("len", &self.table().order.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_credentials_and_only_for_a_time() {
        let remembered = Remembered::new(Duration::from_secs(60), 10).unwrap();
        let start = Instant::now();
        assert_eq!(remembered.recall(&[1], start), None);
        remembered.remember(&[1], "user".into(), start);
        assert_eq!(remembered.recall(&[1], start).as_deref(), Some("user"));
        assert_eq!(remembered.recall(&[2], start), None);
        assert!(remembered.recall(&[1], start + Duration::from_secs(59)).is_some());
        assert!(remembered.recall(&[1], start + Duration::from_secs(60)).is_none());
        remembered.remember(&[1], "user".into(), start + Duration::from_secs(60));
        assert!(remembered.recall(&[1], start + Duration::from_secs(60)).is_some());
        assert_eq!(remembered.table().order.len(), 1);
    }

    #[test]
    fn it_is_bounded() {
        let remembered = Remembered::new(Duration::from_secs(60), 3).unwrap();
        let start = Instant::now();
        for index in 0..10 {
            remembered.remember(&[index], "user".into(), start);
        }
        let sizes = |table: &Table| (table.order.len(), table.entries.len());
        assert_eq!(sizes(&remembered.table()), (3, 3));
        assert!(remembered.recall(&[9], start).is_some() && remembered.recall(&[6], start).is_none());
        remembered.remember(&[20], "user".into(), start + Duration::from_secs(61));
        assert_eq!(remembered.table().entries.len(), 1, "the expired make room first");
        let none = Remembered::new(Duration::from_secs(60), 0).unwrap();
        none.remember(&[1], "user".into(), start);
        assert_eq!(none.recall(&[1], start), None);
    }
}
