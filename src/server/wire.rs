//! What a client connection, the exchange on it and its bytes share: one small cell per connection.
//!
//! The [`Front`](super::front::Front) fills in the head of the current request, the service leaves interim
//! responses and a takeover, and everybody who waits for a peer waits on the one timer here. It must not know
//! what the service is. Everything that touches it runs in the connection's own task, so its locks are
//! never contended; they exist because the task may move between threads.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::head::RequestHead;

/// Interim responses to one request. An origin that sends more does not mean well.
const MAX_INTERIM: usize = 32;

/// The socket of a client, given back after HTTP has ended on it, with what was read and not yet used.
#[derive(Debug)]
pub struct ClientIo {
    /// The connection.
    pub stream: TcpStream,
    /// Bytes that arrived behind the request.
    pub early: Bytes,
}

/// What runs on the client's socket once HTTP has ended on it: a tunnel.
pub type Takeover = Box<dyn FnOnce(ClientIo) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The cell that is shared by one client connection and the exchange on it.
pub struct Wire {
    peer: SocketAddr,
    local: SocketAddr,
    timer: Mutex<Timer>,
    cell: Mutex<Cell>,
}

#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

#[derive(Default)]
struct Cell {
    head: Option<RequestHead>,
    interim: VecDeque<Bytes>,
    interim_count: usize,
    interim_sent: Option<Waker>,
    takeover: Option<Takeover>,
    body_fault: Option<BodyFault>,
    silent_since: Option<Instant>,
    client_finished: Option<Instant>,
}

/// Why the body of a request could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// The client closed its connection inside the body.
    Incomplete,
    /// The chunked framing is broken.
    Malformed,
    /// Nothing came for `timeouts.body_idle`.
    Timeout,
}

impl Wire {
    pub(super) fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer, local, timer: Mutex::default(), cell: Mutex::default() }
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our end of the client's connection.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Ready when `at` has passed; otherwise the task is woken then, or earlier.
    ///
    /// All waits of a connection share one timer, which is only ever moved to an earlier time or re-armed after
    /// it fired: a request that is answered in time touches the timer wheel not at all.
    pub fn poll_until(&self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = timer.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        // A task that has had its turn is not told that its timer has fired, and a peer that sends without end takes every
        // turn whole.
        if !tokio::task::coop::has_budget_remaining() && Instant::now() >= at {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// One more interim response has come; whether it may be passed on.
    pub fn count_interim(&self) -> bool {
        let mut cell = self.cell();
        cell.interim_count += 1;
        cell.interim_count <= MAX_INTERIM
    }

    /// Whether the origin has sent more interim responses than anybody needs.
    #[must_use]
    pub fn has_too_many_interim(&self) -> bool {
        self.cell().interim_count > MAX_INTERIM
    }

    /// Sends an interim response (1xx). The bytes are a complete head.
    ///
    /// To be called while the service's future is polled: the connection is flushed right after that.
    pub fn send_interim(&self, head: Bytes) {
        self.cell().interim.push_back(head);
    }

    /// Ready when all interim responses are on their way: only then may the final one follow.
    pub fn poll_interim_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut cell = self.cell();
        if cell.interim.is_empty() {
            return Poll::Ready(());
        }
        cell.interim_sent = Some(cx.waker().clone());
        Poll::Pending
    }

    /// After the response that is about to be returned (101, or 2xx to CONNECT) HTTP ends on this
    /// connection and `takeover` gets its socket, in the connection's task.
    pub fn take_over(&self, takeover: Takeover) {
        self.cell().takeover = Some(takeover);
    }

    /// Since when the client has closed its side, while it waits for the response to its current request. It may have
    /// finished sending, or be gone: TCP does not tell.
    #[must_use]
    pub fn client_finished(&self) -> Option<Instant> {
        self.cell().client_finished
    }

    /// Why the current request's body ended early, where it did.
    #[must_use]
    pub fn body_fault(&self) -> Option<BodyFault> {
        self.cell().body_fault
    }

    /// Since when nothing is to be done: no exchange is running, and no byte of the next request is here.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.cell().silent_since
    }

    pub(super) fn set_silent_since(&self, since: Option<Instant>) {
        self.cell().silent_since = since;
    }

    pub(super) fn has_client_finished(&self) -> bool {
        self.cell().client_finished.is_some()
    }

    pub(super) fn set_client_finished(&self) {
        self.cell().client_finished.get_or_insert_with(Instant::now);
    }

    pub(super) fn set_body_fault(&self, fault: BodyFault) {
        self.cell().body_fault.get_or_insert(fault);
    }

    pub(super) fn set_head(&self, head: RequestHead) {
        let mut cell = self.cell();
        cell.head = Some(head);
        cell.interim.clear();
        cell.interim_count = 0;
        cell.client_finished = None;
        cell.body_fault = None;
    }

    pub(super) fn take_head(&self) -> Option<RequestHead> {
        self.cell().head.take()
    }

    pub(super) fn take_takeover(&self) -> Option<Takeover> {
        self.cell().takeover.take()
    }

    /// The next interim response that is to be written. Asked for while hyper holds no unwritten byte, and again after the
    /// last one is written.
    pub(super) fn next_interim(&self) -> Option<Bytes> {
        let mut cell = self.cell();
        let next = cell.interim.pop_front();
        if next.is_none()
            && let Some(waker) = cell.interim_sent.take()
        {
            waker.wake();
        }
        next
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("peer", &self.peer).field("local", &self.local).finish_non_exhaustive()
    }
}
