//! Session tickets (RFC 8446 section 4.6.1, RFC 5077): a client that comes back saves both sides most of a handshake.
//!
//! A ticket is the session itself, sealed with a key that only we have, so it can be opened by any process with the same
//! [`TicketKeys`]. Must not know where those are kept or who replaces them. Invariant: a ticket is good only for who would be
//! asked for the same when he came for the first time, as its binding says.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{Context, SHA256},
    rand::{SecureRandom, SystemRandom},
};
use std::sync::Arc;
use tokio_rustls::rustls::server::ProducesTickets;

/// Bytes of the name by which a key is found.
const NAME: usize = 16;

/// A key: 16 bytes that name it, and 32 that are secret.
pub type TicketKey = [u8; 48];

/// How long a ticket is good at least, in seconds: no key is replaced twice within this time.
pub const LIFETIME: u32 = 6 * 3_600;

/// Keys that several processes may share.
pub trait TicketKeys: fmt::Debug + Send + Sync {
    /// Counts how often they were replaced. Asked for with every ticket.
    fn generation(&self) -> u64;

    /// The key in use, and the one before it, whose tickets are good still; none = there are none now.
    fn keys(&self) -> Option<(TicketKey, Option<TicketKey>)>;
}

/// A new key.
///
/// # Errors
///
/// The system has no randomness.
pub fn new_key() -> Result<TicketKey, ring::error::Unspecified> {
    let mut key = [0; size_of::<TicketKey>()];
    SystemRandom::new().fill(&mut key)?;
    Ok(key)
}

/// Makes and opens tickets.
pub(super) struct Ticketer {
    keys: Arc<dyn TicketKeys>,
    binding: [u8; 32],
    generation: AtomicU64,
    ready: Mutex<Vec<Arc<Ready>>>,
    random: SystemRandom,
}

/// A key that can be used; the first of several is the one in use.
struct Ready {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl Ticketer {
    /// Tickets are good only where all of `binding` is the same.
    pub(super) fn new<'a>(keys: Arc<dyn TicketKeys>, binding: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in binding {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut bound = [0; 32];
        bound.copy_from_slice(digest.finish().as_ref());
        Self {
            keys,
            binding: bound,
            generation: AtomicU64::new(0),
            ready: Mutex::new(Vec::new()),
            random: SystemRandom::new(),
        }
    }

    fn find(&self, wanted: impl Fn(&Ready) -> bool) -> Option<Arc<Ready>> {
        let generation = self.keys.generation();
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if generation != self.generation.load(Ordering::Relaxed) || ready.is_empty() {
            let (current, previous) = self.keys.keys()?;
            *ready =
                [Some(current), previous].into_iter().flatten().filter_map(|key| Ready::new(&key)).collect();
            self.generation.store(generation, Ordering::Relaxed);
        }
        ready.iter().find(|key| wanted(key)).cloned()
    }
}

impl Ready {
    fn new(key: &TicketKey) -> Option<Arc<Self>> {
        let (name, secret) = key.split_first_chunk()?;
        let key = UnboundKey::new(&AES_256_GCM, secret).ok()?;
        Some(Arc::new(Self { name: *name, key: LessSafeKey::new(key) }))
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let ready = self.find(|_| true)?;
        // Random nonces: a key seals far fewer tickets than the 2^32 for which they are safe.
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(self.binding);
        ready.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some([&ready.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let ready = self.find(|key| key.name == *name)?;
        let mut plain = sealed.to_vec();
        let aad = Aad::from(self.binding);
        let length =
            ready.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<TicketKey>>);

    impl TicketKeys for Kept {
        fn generation(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }

        fn keys(&self) -> Option<(TicketKey, Option<TicketKey>)> {
            let keys = self.0.lock().unwrap();
            Some((*keys.last()?, keys.iter().nth_back(1).copied()))
        }
    }

    fn ticketer(keys: &Arc<Kept>, binding: &[u8]) -> Ticketer {
        Ticketer::new(Arc::clone(keys) as Arc<dyn TicketKeys>, [binding].into_iter())
    }

    #[test]
    fn a_ticket_outlives_its_key_once() {
        let keys = Arc::new(Kept::default());
        let (one, two) = (ticketer(&keys, b"same"), ticketer(&keys, b"same"));
        assert_eq!(one.encrypt(b"session"), None);
        keys.0.lock().unwrap().push(new_key().unwrap());
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(two.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(ticketer(&keys, b"other").decrypt(&ticket), None);
        keys.0.lock().unwrap().push(new_key().unwrap());
        assert_eq!(two.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_ne!(one.encrypt(b"session").unwrap()[..NAME], ticket[..NAME]);
        keys.0.lock().unwrap().push(new_key().unwrap());
        assert_eq!(two.decrypt(&ticket), None);
    }

    #[test]
    fn what_was_changed_is_no_ticket() {
        let keys = Arc::new(Kept(Mutex::new(vec![new_key().unwrap()])));
        let ticketer = ticketer(&keys, b"same");
        let ticket = ticketer.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(ticketer.decrypt(&other), None);
            assert_eq!(ticketer.decrypt(&ticket[..at]), None);
        }
    }
}
