//! What the streams of one connection share.
//!
//! A session is held by the table of sessions, by its own task and by each of its streams. Invariant: there are never more streams than
//! the origin allows, and none begins on a session that is closing.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, RecvStream, client::SendRequest};
use tokio::{sync::Notify, time::Instant};

use super::{
    bounds::{DOUBTFUL_AFTER, MAX_LEFT, MAX_STREAMS},
    carriage::Carriage,
    fault::StreamFault,
};
use crate::{
    net::tls::{Connector, TlsError},
    upstream::place::Place,
};

/// One connection that many requests share.
#[derive(Debug)]
pub(in crate::upstream) struct Session {
    peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// Who has made sure that it is the origin.
    connector: Connector,
    state: Mutex<State>,
    /// Streams that it may have now.
    limit: AtomicUsize,
    /// The origin has said how many it takes.
    is_settled: AtomicBool,
    /// The origin wants HTTP/1.1 instead.
    needs_http1: AtomicBool,
    /// Why TLS has ended it.
    tls: Arc<OnceLock<TlsError>>,
    /// Told when there is room again, or it is over.
    room: Arc<Notify>,
    /// Told when it is to be given up at once.
    cut: Notify,
}

#[derive(Debug)]
struct State {
    /// None when it is closing: then it ends with its last stream.
    send: Option<SendRequest<Bytes>>,
    pings: Option<PingPong>,
    pinged: Option<Instant>,
    /// It is to be asked whether the origin is there still.
    is_doubted: bool,
    open: usize,
    has_carried: bool,
    /// Streams of which nothing but the end is still to come.
    left: Vec<(RecvStream, Instant)>,
    /// Since when there are no streams, or since when it closes.
    since: Instant,
    place: Place,
    is_over: bool,
}

/// A stream of a session. Dropping it says that it has ended.
#[derive(Debug)]
pub(in crate::upstream) struct OpenStream(Arc<Session>);

impl Session {
    pub(super) fn new(
        (send, pings): (SendRequest<Bytes>, Option<PingPong>),
        (local, peer): (SocketAddr, SocketAddr),
        connector: Connector,
        tls: Arc<OnceLock<TlsError>>,
        room: Arc<Notify>,
        place: Place,
    ) -> Self {
        let limit = send.current_max_send_streams().min(MAX_STREAMS);
        let state = State {
            send: Some(send),
            pings,
            pinged: None,
            is_doubted: false,
            open: 0,
            has_carried: false,
            left: Vec::new(),
            since: Instant::now(),
            place,
            is_over: false,
        };
        Self {
            peer,
            local,
            connector,
            state: Mutex::new(state),
            limit: AtomicUsize::new(limit),
            is_settled: AtomicBool::new(false),
            needs_http1: AtomicBool::new(false),
            tls,
            room,
            cut: Notify::new(),
        }
    }

    /// The address it is connected to.
    pub(in crate::upstream) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A stream on it; none when there is no room. With it, whether there were others before. Where nothing is kept, one whose streams
    /// have all ended is used no more.
    pub(in crate::upstream) fn open(self: &Arc<Self>, is_kept: bool) -> Option<(Carriage, OpenStream, bool)> {
        let mut state = self.state();
        if !is_kept && state.open == 0 && state.has_carried {
            state.close();
            return None;
        }
        if state.open >= self.limit.load(Ordering::Relaxed) {
            return None;
        }
        if !state.can_begin() {
            state.close();
            return None;
        }
        let send = state.send.clone()?;
        if state.open == 0 {
            state.is_doubted |= state.has_carried && state.since.elapsed() >= DOUBTFUL_AFTER;
            state.place.change(false);
        }
        state.open += 1;
        let was_used = std::mem::replace(&mut state.has_carried, true);
        drop(state);
        Some((Carriage::new(send, Arc::clone(self)), OpenStream(Arc::clone(self)), was_used))
    }

    /// Whether more streams may begin on it: it is not closing, and who has verified it would do so again.
    pub(super) fn is_offered(&self) -> bool {
        !self.connector.is_retired() && self.state().send.is_some()
    }

    /// Lets no more streams begin. It ends with the last one.
    pub(super) fn close(&self) {
        self.state().close();
    }

    /// The origin allows so many streams.
    pub(super) fn allow(&self, streams: usize) {
        self.limit.store(streams.min(MAX_STREAMS), Ordering::Relaxed);
        self.is_settled.store(true, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// The origin has sent something, and its settings before: they were what we have taken them for.
    pub(super) fn settle(&self) {
        if !self.is_settled.load(Ordering::Relaxed) && !self.is_settled.swap(true, Ordering::Relaxed) {
            self.room.notify_waiters();
        }
    }

    /// Whether it is known how many streams the origin takes.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    /// It is no more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.close();
        state.left.clear();
        state.is_over = true;
        drop(state);
        self.room.notify_waiters();
    }

    /// Waits until it is to be given up. Cancel-safe.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// Awaits the end of a stream whose content is complete: a reset would look as if nobody had wanted it. There is no hurry.
    pub(super) fn leave(&self, body: RecvStream) {
        let mut state = self.state();
        if state.left.len() < MAX_LEFT && !state.is_over {
            state.left.push((body, Instant::now()));
        }
    }

    /// Forgets streams whose end has come.
    pub(super) fn tidy(&self, cx: &mut Context<'_>) {
        // Anything is the end, or more than there should be.
        self.state().left.retain_mut(|(body, _)| body.poll_data(cx).is_pending());
    }

    /// Whether it has no streams.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.send.is_some() && state.open == 0
    }

    /// What an error of one of its streams means.
    pub(super) fn fault(&self, error: &h2::Error) -> StreamFault {
        let fault = StreamFault::of(error, self.tls.get());
        if matches!(fault, StreamFault::NeedsHttp1) {
            self.needs_http1.store(true, Ordering::Relaxed);
            self.close();
        }
        fault
    }

    /// Whether the origin wants HTTP/1.1 instead.
    pub(super) fn needs_http1(&self) -> bool {
        self.needs_http1.load(Ordering::Relaxed)
    }

    /// Looks after it, now and then; false when it is over. `idle` is how long it may be without streams, and `patience` how long
    /// the origin may take to answer.
    pub(super) fn look(&self, now: Instant, idle: Duration, patience: Duration) -> bool {
        let mut state = self.state();
        if state.is_over {
            return false;
        }
        state.listen();
        if state.send.is_some() && !state.can_begin() {
            // Who waits for room here waits in vain.
            state.close();
            self.room.notify_waiters();
        }
        state.left.retain(|(_, since)| now < *since + patience);
        if self.connector.is_retired() || (state.open == 0 && state.since + idle <= now) {
            state.close();
        }
        let is_gone = state.pinged.is_some_and(|at| at + patience <= now);
        if is_gone || (state.send.is_none() && state.open == 0 && state.since + patience <= now) {
            state.close();
            drop(state);
            self.cut.notify_one();
            return true;
        }
        if state.is_doubted && state.pinged.is_none() {
            state.is_doubted = false;
            if state.pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok()) {
                state.pinged = Some(now);
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) {
        if self.send.take().is_some() {
            self.since = Instant::now();
        }
    }

    /// Whether the origin has not said farewell.
    fn can_begin(&mut self) -> bool {
        let ready = self.send.as_mut().map(|send| send.poll_ready(&mut Context::from_waker(Waker::noop())));
        matches!(ready, Some(Poll::Ready(Ok(()))))
    }

    /// Whether the PING was answered.
    fn listen(&mut self) {
        if self.pinged.is_some()
            && let Some(pings) = &mut self.pings
            && pings.poll_pong(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            self.pinged = None;
        }
    }
}

impl OpenStream {
    /// Nothing has come on it for too long: the origin may be gone without a word.
    pub(in crate::upstream) fn doubt(&self) {
        self.0.state().is_doubted = true;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let was_full = state.open >= self.0.limit.load(Ordering::Relaxed);
        state.open -= 1;
        if state.open == 0 {
            state.since = Instant::now();
            state.place.change(true);
        }
        drop(state);
        if was_full {
            self.0.room.notify_one();
        }
    }
}
