//! Whom we have verified lately.
//!
//! Must not hold a password, nor anything from which one could be guessed: what is kept is a hash under a key that this
//! process has drawn and nobody knows. Bounded, and nobody is remembered who has not been seen for a while. A wrong password is
//! never remembered, so that guessing costs the full price each time.

use std::{
    collections::HashMap,
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
    table: Mutex<HashMap<[u8; 32], Entry>>,
}

struct Entry {
    user: Arc<str>,
    expires: Instant,
}

impl Remembered {
    /// Nobody yet. Each is believed for `time` after he was seen last, and `capacity` of them at most.
    ///
    /// # Errors
    /// Without randomness from the operating system there is no key.
    pub fn new(time: Duration, capacity: usize) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let key = Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        Ok(Self { key, time, capacity, table: Mutex::default() })
    }

    /// The user, when exactly this token has been verified and he was seen not too long ago. Does not allocate.
    pub fn recall(&self, token: &[u8], now: Instant) -> Option<Arc<str>> {
        let hash = self.hash(token);
        let mut table = self.table();
        let entry = table.get_mut(&hash).filter(|entry| now < entry.expires)?;
        // Whoever is at work is not asked again: only another users file makes another answer.
        entry.expires = entry.expires.max(now + self.time);
        Some(Arc::clone(&entry.user))
    }

    /// Note that this token is this user's.
    pub fn remember(&self, token: &[u8], user: Arc<str>, now: Instant) {
        let hash = self.hash(token);
        let mut table = self.table();
        // Only who has just been verified comes here, which takes so long that a walk through the table is nothing.
        if table.len() >= self.capacity {
            table.retain(|_, entry| now < entry.expires);
        }
        if table.len() >= self.capacity
            && let Some(stalest) = table.iter().min_by_key(|(_, entry)| entry.expires).map(|(hash, _)| *hash)
        {
            table.remove(&stalest);
        }
        if self.capacity > 0 {
            table.insert(hash, Entry { user, expires: now + self.time });
        }
    }

    fn hash(&self, token: &[u8]) -> [u8; 32] {
        self.key.clone().chain_update(token).finalize().into_bytes().into()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<[u8; 32], Entry>> {
        // Nothing that is done under the lock leaves the table half changed in a way that matters.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("len", &self.table().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_credentials_and_only_for_a_time() {
        let remembered = Remembered::new(Duration::from_secs(60), 10).unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(remembered.recall(&[1], start), None);
        remembered.remember(&[1], "user".into(), start);
        assert_eq!(remembered.recall(&[1], start).as_deref(), Some("user"));
        assert_eq!(remembered.recall(&[2], start), None);
        assert!(remembered.recall(&[1], at(59)).is_some());
        assert!(remembered.recall(&[1], at(118)).is_some(), "who is at work is not asked again");
        assert!(remembered.recall(&[1], at(178)).is_none());
        remembered.remember(&[1], "user".into(), at(178));
        assert!(remembered.recall(&[1], at(178)).is_some());
        assert_eq!(remembered.table().len(), 1);
    }

    #[test]
    fn it_is_bounded() {
        let remembered = Remembered::new(Duration::from_secs(60), 3).unwrap();
        let start = Instant::now();
        for index in 0..10 {
            remembered.remember(&[index], "user".into(), start + Duration::from_millis(index.into()));
        }
        assert_eq!(remembered.table().len(), 3);
        assert!(remembered.recall(&[9], start).is_some() && remembered.recall(&[6], start).is_none());
        remembered.remember(&[20], "user".into(), start + Duration::from_secs(61));
        assert_eq!(remembered.table().len(), 1, "the expired make room first");
        let none = Remembered::new(Duration::from_secs(60), 0).unwrap();
        none.remember(&[1], "user".into(), start);
        assert_eq!(none.recall(&[1], start), None);
    }
}
