//! What the streams of a connection tell it: that they have ended, and whether the client has reset them; and how many there were.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::bounds::MAX_STREAMS;

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: AtomicUsize,
    resets: AtomicUsize,
    /// Opened by the client, and not taken.
    untaken: AtomicUsize,
    changed: Notify,
}

/// A stream that is served. Dropping it says that it has ended.
#[derive(Debug)]
pub(super) struct OpenStream(Arc<Tally>);

impl Tally {
    /// One stream more.
    pub(super) fn open(self: &Arc<Self>) -> OpenStream {
        self.open.fetch_add(1, Ordering::Relaxed);
        // What is taken was opened.
        self.untaken.fetch_sub(1, Ordering::Relaxed);
        OpenStream(Arc::clone(self))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A stream was reset by the client.
    pub(super) fn note_reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were, since this was last asked.
    pub(super) fn take_resets(&self) -> usize {
        if self.resets.load(Ordering::Relaxed) == 0 { 0 } else { self.resets.swap(0, Ordering::Relaxed) }
    }

    /// The client has opened so many more.
    pub(super) fn note_opened(&self, count: usize) {
        if count > 0 {
            self.untaken.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many the client has opened that were not taken.
    pub(super) fn untaken(&self) -> usize {
        self.untaken.load(Ordering::Relaxed)
    }

    /// Waits until a stream has ended whose end matters: the last one, one that makes room, one after resets. Cancel-safe.
    pub(super) async fn ended(&self) {
        self.changed.notified().await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, Ordering::Relaxed);
        if before == 1 || before >= MAX_STREAMS || self.0.resets.load(Ordering::Relaxed) > 0 {
            self.0.changed.notify_one();
        }
    }
}
