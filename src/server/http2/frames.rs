//! How many streams a client opens, counted by the heads of its frames as they come.
//!
//! The reader of frames refuses some requests by itself, and tells nobody: fields of a connection, pseudo-fields that are missing, lists
//! that are too large, streams above the limit. Counting what was opened says how many those were. Must not know what is in a frame.
//! Invariant: however the bytes come, the count is the same.

/// Magic, and the empty line behind it (RFC 9113 section 3.4).
const PREFACE: usize = 24;

const HEAD: usize = 9;

const HEADERS: u8 = 1;

/// What was seen of one connection.
#[derive(Debug)]
pub(super) struct Opened {
    /// So many bytes are no head of a frame.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    last: u32,
}

impl Opened {
    /// Nothing has come yet.
    pub(super) fn new() -> Self {
        Self { skip: PREFACE, head: [0; HEAD], have: 0, last: 0 }
    }

    /// These bytes have come next; how many streams they open.
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> usize {
        let mut opened = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return opened;
            }
            let count = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have == HEAD {
                opened += usize::from(self.begin());
            }
        }
    }

    /// The head of a frame is here. Whether it opens a stream: trailers come on one that is open.
    fn begin(&mut self) -> bool {
        let [high, middle, low, kind, _, stream @ ..] = self.head;
        (self.have, self.skip) = (0, usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low));
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        let is_new = kind == HEADERS && stream > self.last;
        if is_new {
            self.last = stream;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_however_they_come() {
        let frame = |kind: u8, stream: u8, length: u8| {
            let mut bytes = vec![0, 0, length, kind, 0, 0, 0, 0, stream];
            // What is in a frame may look like another one.
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 99].iter().cycle().take(length.into()));
            bytes
        };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let frames = [
            frame(4, 0, 6),
            frame(1, 1, 30),
            frame(0, 1, 20),
            frame(1, 1, 9),
            frame(1, 7, 0),
            frame(9, 9, 5),
        ];
        let bytes = [preface, frames.concat()].concat();
        for size in 1..=bytes.len() {
            let mut opened = Opened::new();
            let count: usize = bytes.chunks(size).map(|part| opened.see(part)).sum();
            assert_eq!(count, 2, "in pieces of {size}");
        }
    }
}
