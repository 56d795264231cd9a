//! The client's end of a connection: its socket, what was read from it, and the one clock that everybody waits on.
//!
//! A complete head is checked before anybody acts on a byte of it; its body, the next request and the first bytes of a tunnel
//! wait in the [`Inbox`] until somebody takes them. It must not know what a proxy is, and it never makes up an answer.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Version;
use tokio::{
    io::AsyncWrite,
    time::{Instant, Sleep},
};

use super::{connection::Arrived, drain::Drain, head::RequestHead, http2::StreamFault};
use crate::{
    message::{
        head::{self, HeadError, HeadLimits},
        socks,
    },
    net::{authority::Authority, inbox::Inbox, stream::Stream},
};

/// What is read from clients, and for how long they are waited for.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Bounds of a head.
    pub head: HeadLimits,
    /// First byte to end of a head.
    pub client_header: Duration,
    /// No byte between two requests.
    pub client_idle: Duration,
    /// No progress in a body, or in what the client has to take from us.
    pub body_idle: Duration,
    /// Whether a client may speak SOCKS5 instead of HTTP.
    pub socks5: bool,
}

/// Why no further request can be read from a connection.
#[derive(Debug)]
pub enum Fault {
    /// The head is not one that a proxy may act on.
    Head(HeadError),
    /// The head was not complete within `timeouts.client_header`.
    HeadTimeout,
    /// The client closed its connection inside the head.
    Incomplete,
    /// What came on a stream of HTTP/2 has no head.
    Stream(StreamFault),
}

/// A head that was refused: the cause, and what had come of it.
#[derive(Debug)]
pub struct RefusedHead {
    /// Why.
    pub fault: Fault,
    /// The bytes up to the point where the fault was seen. May be cut.
    pub raw: Bytes,
    /// When the first of them was there.
    pub started: Instant,
    /// In which version of HTTP they have come.
    pub version: Version,
}

/// What a connection brings next.
#[derive(Debug)]
pub(super) enum Next {
    /// A request.
    Head(Box<RequestHead>),
    /// The client speaks SOCKS5, and has begun to at this time.
    Socks(Instant),
    /// Something that is none.
    Refused(RefusedHead),
    /// Nothing any more.
    Closed,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// A balancer has brought it, and says so: the address is no proof of where the client is.
    pub is_brought: bool,
    /// What it has connected to, as the balancer says.
    pub destination: Option<SocketAddr>,
}

/// The client's end of a connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    inbox: Inbox,
    peer: Peer,
    user: Option<Arc<str>>,
    inside: Option<Arc<Authority>>,
    local: Option<SocketAddr>,
    timer: Timer,
    options: Arc<ClientOptions>,
    drain: Drain,
    /// How far the inbox was searched for the end of a head.
    searched: usize,
    /// When the first byte of the head in the inbox was there.
    head_started: Option<Instant>,
    /// Since when nothing is there of the next head.
    silent_since: Option<Instant>,
    finished: Option<Instant>,
    /// Its first byte may be that of SOCKS5.
    may_be_socks: bool,
}

impl Client {
    pub(super) fn new(arrived: Arrived, options: Arc<ClientOptions>, drain: Drain) -> Self {
        Self {
            stream: arrived.stream,
            inbox: Inbox::new(),
            peer: arrived.peer,
            user: arrived.user,
            may_be_socks: options.socks5 && arrived.inside.is_none(),
            inside: arrived.inside,
            local: None,
            timer: Timer::default(),
            options,
            drain,
            searched: 0,
            head_started: None,
            silent_since: None,
            finished: None,
        }
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer.address
    }

    /// Whether that is what a balancer says.
    #[must_use]
    pub fn is_brought(&self) -> bool {
        self.peer.is_brought
    }

    /// Whose the connection is, where that is known of all of it: whom the client's certificate names, where clients have to have
    /// one.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// Whom the client believes to speak with, where that is somebody else than us.
    #[must_use]
    pub fn inside(&self) -> Option<&Arc<Authority>> {
        self.inside.as_ref()
    }

    /// Our end of the client's connection, as soon as somebody asks for it.
    pub fn local(&mut self) -> SocketAddr {
        *self.local.get_or_insert_with(|| {
            // Only a socket that is no more has no name.
            self.stream.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
        })
    }

    /// What the client has connected to: our end, or what the balancer says that has brought it.
    pub fn destination(&mut self) -> SocketAddr {
        self.peer.destination.unwrap_or_else(|| self.local())
    }

    /// Whether the server takes no further requests: the one that is being answered is the last of its connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }

    /// What was read and not used, and the stream that more comes from.
    pub fn parts(&mut self) -> (&mut Inbox, &mut Stream) {
        (&mut self.inbox, &mut self.stream)
    }

    /// Ready when `at` has passed; otherwise the task is woken then, or earlier.
    ///
    /// All waits of a connection share one timer, which is only ever moved to an earlier time or re-armed after
    /// it fired: a request that is answered in time touches the timer wheel not at all.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.timer.poll_until(cx, at)
    }

    /// Notices that a client which waits for its response has closed its side. It may have finished sending, or be gone: TCP
    /// does not tell. What it sends of the next request meanwhile is kept.
    ///
    /// # Errors
    ///
    /// The connection is gone for sure.
    pub fn poll_watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.finished.is_none()
            && self.inbox.is_empty()
            && let Poll::Ready(read) = self.inbox.poll_fill(cx, &mut self.stream)
            && read? == 0
        {
            self.finished = Some(Instant::now());
        }
        Ok(())
    }

    /// Since when the client's side is closed, while it waits for the response to its current request.
    #[must_use]
    pub fn finished(&self) -> Option<Instant> {
        self.finished
    }

    /// Reads more of what the client sends, once. Zero is its end.
    ///
    /// # Errors
    ///
    /// The connection's, or `TimedOut` at `until`.
    pub async fn fill(&mut self, until: Instant) -> io::Result<usize> {
        poll_fn(|cx| {
            if let Poll::Ready(read) = self.inbox.poll_fill(cx, &mut self.stream) {
                return Poll::Ready(read);
            }
            self.timer.poll_until(cx, until).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// The connection's, or `TimedOut` when the client takes nothing for `timeouts.body_idle`.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut at = 0;
        let mut waiting = None;
        poll_fn(|cx| {
            loop {
                let stream = Pin::new(&mut self.stream);
                let moved = if at < bytes.len() {
                    stream.poll_write(cx, &bytes[at..])
                } else {
                    stream.poll_flush(cx).map_ok(|()| 0)
                };
                match moved {
                    Poll::Ready(moved) => match moved? {
                        0 if at == bytes.len() => return Poll::Ready(Ok(())),
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        written => {
                            at += written;
                            waiting = None;
                        }
                    },
                    Poll::Pending => {
                        let since = *waiting.get_or_insert_with(Instant::now);
                        ready!(self.timer.poll_until(cx, since + self.options.body_idle));
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
        })
        .await
    }

    pub(super) fn whose(&self) -> Peer {
        self.peer
    }

    pub(super) fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// The stream and what was read from it and not used.
    pub(super) fn into_parts(mut self) -> (Stream, Bytes) {
        let early = self.inbox.take();
        (self.stream, early)
    }

    /// Whether no byte of a further request is here.
    pub(super) fn is_silent(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Waits for a complete head, within the deadlines.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let limits = self.options.head;
        loop {
            if !self.inbox.is_empty() {
                let started = *self.head_started.get_or_insert_with(Instant::now);
                if std::mem::take(&mut self.may_be_socks) && self.inbox.unread()[0] == socks::VERSION {
                    return Poll::Ready(Next::Socks(started));
                }
                if let Some(end) = head::find_end(self.inbox.unread(), self.searched) {
                    return Poll::Ready(self.begin(end));
                }
                if let Err(error) = head::check_partial_head(self.inbox.unread(), limits) {
                    return Poll::Ready(self.refuse(Fault::Head(error)));
                }
                self.searched = self.inbox.unread().len();
            }
            if self.finished.is_some() {
                return Poll::Ready(self.ended());
            }
            match self.inbox.poll_fill(cx, &mut self.stream) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(self.ended()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.wait_for_head(cx),
            }
        }
    }

    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let at = match self.head_started {
            Some(started) => started + self.options.client_header,
            None => *self.silent_since.get_or_insert_with(Instant::now) + self.options.client_idle,
        };
        ready!(self.timer.poll_until(cx, at));
        if self.inbox.is_empty() {
            Poll::Ready(Next::Closed)
        } else {
            Poll::Ready(self.refuse(Fault::HeadTimeout))
        }
    }

    fn ended(&mut self) -> Next {
        if self.inbox.is_empty() { Next::Closed } else { self.refuse(Fault::Incomplete) }
    }

    /// A complete head of `end` bytes is in the inbox.
    fn begin(&mut self, end: usize) -> Next {
        let started = self.head_started.take().unwrap_or_else(Instant::now);
        let raw = Bytes::copy_from_slice(&self.inbox.unread()[..end]);
        self.inbox.consume(end);
        self.searched = 0;
        self.silent_since = None;
        match head::check_request_head(&raw, self.options.head) {
            Ok(facts) => Next::Head(Box::new(RequestHead::new(&raw, facts, started))),
            Err(error) => Next::Refused(RefusedHead {
                fault: Fault::Head(error),
                raw,
                started,
                version: Version::HTTP_11,
            }),
        }
    }

    /// What is in the inbox will not become a head.
    fn refuse(&mut self, fault: Fault) -> Next {
        let started = self.head_started.take().unwrap_or_else(Instant::now);
        Next::Refused(RefusedHead { fault, raw: self.inbox.take(), started, version: Version::HTTP_11 })
    }
}

#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
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
}
