//! What was read from a stream and not used yet.
//!
//! Bytes are read in large pieces into room that the streams of a thread share: a stream holds it only while something is in
//! it, so that thousands of silent ones hold none. A few bytes that wait for more are kept in as much room as they need.
//! Must not know what the bytes are. Invariant: bytes leave in the order in which they came, and none is lost.

use std::{
    cell::RefCell,
    future::Future,
    io, mem,
    pin::pin,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at a time: a response of 64 KiB with its head, which is measured to be worth it.
pub const ROOM: usize = 128 * 1024;

/// Rooms that a thread keeps for the next bytes.
const POOLED_ROOMS: usize = 16;

/// What waits for more is copied into less room below this.
const SMALL: usize = 8 * 1024;

thread_local! {
    static ROOMS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The bytes of one stream.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    at: usize,
}

impl Inbox {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), at: 0 }
    }

    /// These.
    #[must_use]
    pub fn holding(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0 }
    }

    /// What is there.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The first `count` bytes are used. There are as many.
    pub fn consume(&mut self, count: usize) {
        self.at += count;
        debug_assert!(self.at <= self.bytes.len(), "more was used than there was");
        if self.at >= self.bytes.len() {
            self.release();
        }
    }

    /// Reads once, whatever there is room for, which is 1 byte at least. Zero is the stream's end.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = self.bytes.capacity() - self.bytes.len();
        let mut limited = (&mut self.bytes).limit(room);
        let polled = pin!(stream.read_buf(&mut limited)).poll(cx);
        if !matches!(polled, Poll::Ready(Ok(1..))) {
            self.shrink();
        }
        polled
    }

    /// All of it, for somebody else.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        let taken = Bytes::copy_from_slice(self.unread());
        self.release();
        taken
    }

    fn make_room(&mut self) {
        if self.bytes.capacity() < ROOM {
            let mut room = take_room();
            room.extend_from_slice(self.unread());
            (self.bytes, self.at) = (room, 0);
        } else if self.at > 0 && self.bytes.len() == self.bytes.capacity() {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        if self.bytes.len() == self.bytes.capacity() {
            self.bytes.reserve(ROOM);
        }
    }

    /// Nothing more is there now: what is, needs little room.
    fn shrink(&mut self) {
        if self.is_empty() {
            self.release();
        } else if self.bytes.len() - self.at < SMALL && self.bytes.capacity() >= ROOM {
            let kept = self.unread().to_vec();
            self.release();
            self.bytes = kept;
        }
    }

    fn release(&mut self) {
        self.at = 0;
        give_room(mem::take(&mut self.bytes));
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.release();
    }
}

/// Room of at least [`ROOM`] bytes, empty. To be given back with [`give_room`].
#[must_use]
pub fn take_room() -> Vec<u8> {
    let pooled = ROOMS.try_with(|rooms| rooms.borrow_mut().pop()).ok().flatten();
    pooled.unwrap_or_else(|| Vec::with_capacity(ROOM))
}

/// Gives room back to this thread, which need not be the one it is from.
pub fn give_room(mut room: Vec<u8>) {
    // What has grown beyond the usual is not kept.
    if (ROOM..2 * ROOM).contains(&room.capacity()) {
        room.clear();
        // A thread that ends has no pool any more.
        let _ = ROOMS.try_with(|rooms| {
            let mut rooms = rooms.borrow_mut();
            if rooms.len() < POOLED_ROOMS {
                rooms.push(room);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn fill(inbox: &mut Inbox, mut stream: &[u8]) -> usize {
        match inbox.poll_fill(&mut Context::from_waker(Waker::noop()), &mut stream) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    #[test]
    fn bytes_leave_as_they_came() {
        let mut inbox = Inbox::new();
        assert_eq!(fill(&mut inbox, b"one two"), 7);
        inbox.consume(4);
        assert_eq!(fill(&mut inbox, b" three"), 6);
        assert_eq!(inbox.unread(), b"two three");
        assert_eq!(inbox.take(), &b"two three"[..]);
        assert!(inbox.is_empty());
        assert_eq!(inbox.bytes.capacity(), 0);
    }

    #[test]
    fn nobody_holds_room_without_need() {
        let mut inbox = Inbox::new();
        fill(&mut inbox, b"GET");
        assert!(inbox.bytes.capacity() >= ROOM);
        let (mut near, _far) = tokio::io::duplex(8);
        let pending = inbox.poll_fill(&mut Context::from_waker(Waker::noop()), &mut near);
        assert!(pending.is_pending());
        assert!(inbox.bytes.capacity() < SMALL);
        fill(&mut inbox, b" /");
        assert_eq!(inbox.unread(), b"GET /");
        inbox.consume(5);
        assert_eq!(inbox.bytes.capacity(), 0);
    }

    #[test]
    fn it_grows_when_it_must() {
        let mut inbox = Inbox::new();
        let much = vec![7; 3 * ROOM];
        let mut read = 0;
        while read < much.len() {
            read += fill(&mut inbox, &much[read..]);
        }
        assert_eq!(inbox.unread(), much);
    }
}
