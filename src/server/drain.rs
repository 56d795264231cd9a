//! Stop taking, finish what is there.
//!
//! A [`Drain`] is shared by everything that serves in a process. Starting it is for good; it is finished when the last
//! [`DrainGuard`] is gone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// The wish to stop, and what is still running. Clones are the same drain.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    draining: AtomicBool,
    guards: AtomicUsize,
    start: Notify,
    finish: Notify,
}

/// Something that has to finish before a drain is over.
#[derive(Debug)]
pub struct DrainGuard {
    shared: Arc<Shared>,
}

impl Drain {
    /// A drain that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts it. Doing so again changes nothing.
    pub fn start(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.shared.start.notify_waiters();
        if self.active() == 0 {
            self.shared.finish.notify_waiters();
        }
    }

    /// Whether it has started.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::SeqCst)
    }

    /// Waits until it has started. Cancel-safe.
    pub async fn started(&self) {
        let notified = self.shared.start.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_draining() {
            notified.await;
        }
    }

    /// Something more that has to finish.
    #[must_use]
    pub fn guard(&self) -> DrainGuard {
        self.shared.guards.fetch_add(1, Ordering::SeqCst);
        DrainGuard { shared: Arc::clone(&self.shared) }
    }

    /// How many guards there are.
    #[must_use]
    pub fn active(&self) -> usize {
        self.shared.guards.load(Ordering::SeqCst)
    }

    /// Waits until it has started and no guard is left. Cancel-safe.
    pub async fn finished(&self) {
        self.started().await;
        loop {
            let notified = self.shared.finish.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.active() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        if self.shared.guards.fetch_sub(1, Ordering::SeqCst) == 1
            && self.shared.draining.load(Ordering::SeqCst)
        {
            self.shared.finish.notify_waiters();
        }
    }
}
