//! What the streams of a connection tell it: that they have ended, and whether the client has reset them; and how many there were.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use super::bounds::MAX_STREAMS;

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: AtomicUsize,
    resets: AtomicUsize,
    /// Opened by the client, and not taken.
    untaken: AtomicUsize,
    /// Of the task of the connection, which stays the same: it is woken without having to ask for it each time.
    connection: Mutex<Option<Waker>>,
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

    /// From now on `waker` is woken when a stream ends whose end matters: the last one, one that makes room, one after resets.
    pub(super) fn wake(&self, waker: &Waker) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *connection = Some(waker.clone());
        }
    }

    /// There is no connection any more.
    pub(super) fn forget(&self) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, Ordering::Relaxed);
        if before == 1 || before >= MAX_STREAMS || self.0.resets.load(Ordering::Relaxed) > 0 {
            let connection = self.0.connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.as_ref().inspect(|waker| waker.wake_by_ref());
        }
    }
}
