//! What a request is called in our logs.
//!
//! Must not be taken for a secret: it only has to be unique, over threads, workers, restarts and machines, and to cost
//! nothing. A thread draws 50 random bits and counts 2^30 requests under them, then draws again.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
    time::SystemTime,
};

/// 16 characters, lower-case base 32; those of one thread sort by age until it draws again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    base: u64,
    count: u32,
}

impl RequestId {
    /// One that no other has. A few nanoseconds.
    pub fn next() -> Self {
        NEXT.with(|next| {
            let Self { base, count } = next.get();
            let id = if count < COUNTS { Self { base, count } } else { Self { base: draw(), count: 0 } };
            next.set(Self { base: id.base, count: id.count + 1 });
            id
        })
    }

    /// As it is written.
    pub fn text(self) -> [u8; 16] {
        let mut text = [0; 16];
        let (base, count) = text.split_at_mut(10);
        write_base32(base, self.base);
        write_base32(count, u64::from(self.count));
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("the alphabet is ASCII"))
    }
}

fn write_base32(places: &mut [u8], mut value: u64) {
    for place in places.iter_mut().rev() {
        *place = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
}

/// 50 random bits. The standard library's hasher is keyed by the operating system's randomness; time and process are
/// stirred in for the systems where that is poor.
fn draw() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    if let Ok(elapsed) = SystemTime::UNIX_EPOCH.elapsed() {
        hasher.write_u128(elapsed.as_nanos());
    }
    hasher.finish() >> 14
}

thread_local! {
    /// The next to be given out; `COUNTS` means that a base has to be drawn.
    static NEXT: Cell<RequestId> = const { Cell::new(RequestId { base: 0, count: COUNTS }) };
}

/// How many are counted under one base: what six characters hold.
const COUNTS: u32 = 1 << 30;

/// Crockford's: no letter that is taken for another or for a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn unique_over_threads() {
        let ids = || (0..1000).map(|_| RequestId::next().to_string()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(ids)).collect();
        let all: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.len(), 4000);
        assert!(all.iter().all(|id| id.len() == 16 && id.bytes().all(|byte| ALPHABET.contains(&byte))));
    }

    #[test]
    fn a_thread_draws_again_when_it_has_counted_out() {
        NEXT.set(RequestId { base: 1, count: COUNTS - 1 });
        assert_eq!(RequestId::next().to_string(), "0000000001zzzzzz");
        let id = RequestId::next();
        assert!(id.base != 1 && id.base < 1 << 50 && id.count == 0);
    }
}
