//! One HTTP/1.1 connection to an origin, or a stream of HTTP/2 that looks like one.
//!
//! It has no task of its own: the exchange that holds it moves its bytes, and whoever takes it out of the pool looks at it first,
//! which shows at that moment whether the origin has closed it or sent something that nobody asked for.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    message::{
        head::{HeadLimits, find_end},
        response_head::{check_beginning, check_size},
    },
    net::{
        authority::Authority,
        dial::Dialled,
        inbox::Inbox,
        stream::Stream,
        tls::{Connector, TlsError},
    },
    shared_memory::Seat,
};

use super::{
    error::UpstreamError,
    http2::{OpenStream, Session, StreamFault},
    place::Place,
};

/// What is spoken on a connection, as far as it matters to who may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP/1.1 in clear text.
    Clear,
    /// TLS, and in it what was agreed on.
    Tls,
    /// TLS, and in it HTTP/1.1, for nothing else was offered.
    TlsHttp1,
}

/// A connection to an origin that is open and not in use by anybody else. It lives in a box, for it goes from hand to hand.
#[derive(Debug)]
pub struct Connection {
    /// Taken when HTTP has ended on it.
    stream: Option<Stream>,
    inbox: Inbox,
    origin: Arc<Authority>,
    peer: SocketAddr,
    /// The server of a group that it leads to or through; 0 = none.
    pub(super) way: u64,
    pub(super) kind: Kind,
    /// No other request may have it.
    is_for_one: bool,
    /// Who has made sure that it is the origin.
    verified_by: Option<Connector>,
    standing: Standing,
    /// It was in the pool: the origin may have closed it at any time.
    pub(super) reused: bool,
    /// How far the inbox was searched for the end of a head.
    searched: usize,
    /// Whether a byte of a response to the current request has come.
    has_answered: bool,
    /// Whether the last response leaves it open for another request.
    is_kept: bool,
    /// An exchange on it has begun and is not complete.
    is_in_midst: bool,
    /// When it was last parked, and how long the origin says that it will be kept.
    pub(super) idle_since: Instant,
    pub(super) keep_alive: Option<Duration>,
}

/// What a connection is counted as.
#[derive(Debug)]
enum Standing {
    /// One connection.
    Own(Place),
    /// A stream of one that is counted.
    Shared(OpenStream),
}

impl Connection {
    /// A connection that was just dialled. It is counted in `seat` as long as it lives.
    #[must_use]
    pub fn new(dialled: Dialled, origin: Arc<Authority>, seat: Seat) -> Box<Self> {
        let kind = if dialled.stream.is_tls() { Kind::Tls } else { Kind::Clear };
        Self::with(dialled.stream, dialled.peer, kind, origin, Standing::Own(Place::in_use(seat)))
    }

    /// A stream of `session`; none when it has no room, or was idle and idle ones are not kept. It is for one request.
    pub(super) fn shared(
        session: &Arc<Session>,
        origin: Arc<Authority>,
        way: u64,
        is_kept: bool,
    ) -> Option<Box<Self>> {
        let (carriage, open, was_used) = session.open(is_kept)?;
        let (stream, standing) = (Stream::Carried(Box::new(carriage)), Standing::Shared(open));
        let mut connection = Self::with(stream, session.peer(), Kind::Tls, origin, standing);
        (connection.is_for_one, connection.reused) = (true, was_used);
        Some(connection.by_way_of(way))
    }

    fn with(
        stream: Stream,
        peer: SocketAddr,
        kind: Kind,
        origin: Arc<Authority>,
        standing: Standing,
    ) -> Box<Self> {
        Box::new(Self {
            kind,
            is_for_one: false,
            verified_by: None,
            stream: Some(stream),
            inbox: Inbox::new(),
            origin,
            peer,
            way: 0,
            standing,
            reused: false,
            searched: 0,
            has_answered: false,
            is_kept: false,
            is_in_midst: true,
            idle_since: Instant::now(),
            keep_alive: None,
        })
    }

    /// One that leads to or through a server of a group, and is kept apart from all that do not.
    #[must_use]
    pub(super) fn by_way_of(mut self: Box<Self>, way: u64) -> Box<Self> {
        self.way = way;
        self
    }

    /// It is for one request: no pool keeps it.
    #[must_use]
    pub(super) fn used_once(mut self: Box<Self>) -> Box<Self> {
        self.is_for_one = true;
        self
    }

    /// Nothing but HTTP/1.1 was offered on it: it is for requests that need that.
    #[must_use]
    pub fn of_http1(mut self: Box<Self>) -> Box<Self> {
        if self.kind == Kind::Tls {
            self.kind = Kind::TlsHttp1;
        }
        self
    }

    /// It is with TLS, and `connector` has verified whose it is.
    #[must_use]
    pub fn verified_by(mut self: Box<Self>, connector: Connector) -> Box<Self> {
        self.verified_by = Some(connector);
        self
    }

    /// Whether who has verified it would not do so any more.
    pub(super) fn is_distrusted(&self) -> bool {
        self.verified_by.as_ref().is_some_and(Connector::is_retired)
    }

    /// The address it is connected to.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whom it was made for, or the server of a group that takes requests for anybody: its key in the pool.
    #[must_use]
    pub fn origin(&self) -> &Arc<Authority> {
        &self.origin
    }

    /// Whether it has carried a request before the current one.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Whether a byte of a response to the current request has come.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// What was read and not used, and the stream that more comes from.
    pub fn parts(&mut self) -> (&mut Inbox, &mut Stream) {
        (&mut self.inbox, self.stream.as_mut().expect(HTTP))
    }

    /// Waits for a complete response head; where it ends in the inbox. There is no deadline in here.
    ///
    /// # Errors
    ///
    /// Whatever ends the connection before the head is complete, and heads that are too large.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
    ) -> Poll<Result<usize, UpstreamError>> {
        loop {
            if !self.inbox.is_empty() {
                self.has_answered = true;
                check_beginning(self.inbox.unread())?;
                let end = find_end(self.inbox.unread(), self.searched);
                let size = end.unwrap_or_else(|| self.inbox.unread().len());
                check_size(size, limits).map_err(UpstreamError::from)?;
                if let Some(end) = end {
                    self.searched = 0;
                    return Poll::Ready(Ok(end));
                }
                self.searched = size;
            }
            match ready!(self.inbox.poll_fill(cx, self.stream.as_mut().expect(HTTP))) {
                Ok(0) => return Poll::Ready(Err(UpstreamError::Terminated)),
                Err(error) => return Poll::Ready(Err(failure(&error))),
                Ok(_) => {}
            }
        }
    }

    /// Takes to heart what the head of the final response says about the connection: whether it stays open, and for how long.
    pub fn learn(&mut self, is_kept: bool, keep_alive: Option<Duration>) {
        self.is_kept = is_kept;
        self.keep_alive = keep_alive.or(self.keep_alive);
    }

    /// Whether another request can be sent on it: the last exchange, which is complete, has left it open, and the origin has
    /// sent nothing that was not asked for, nor is it somebody's own. Whether it is open still, [`Self::is_alive`] tells.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.is_kept && !self.is_for_one && self.inbox.is_empty()
    }

    /// Looks whether the origin has closed it, or has sent something, since it was parked.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        let nothing = self.stream.as_mut().map(|stream| stream.try_read(&mut [0]));
        matches!(nothing, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The exchange on it is complete.
    pub fn finish(&mut self) {
        self.is_in_midst = false;
    }

    /// Another request goes out on it.
    pub(super) fn reuse(&mut self) {
        self.reused = true;
        self.is_kept = false;
        self.has_answered = false;
        self.is_in_midst = true;
        self.count_as(false);
    }

    /// It is kept for the next request, or in use again.
    pub(super) fn count_as(&mut self, is_kept: bool) {
        if let Standing::Own(place) = &mut self.standing {
            place.change(is_kept);
        }
    }

    /// The stream, and what was read from it and belongs to no response.
    #[must_use]
    pub fn into_parts(mut self) -> (Stream, Bytes) {
        (self.stream.take().expect(HTTP), self.inbox.take())
    }
}

const HTTP: &str = "HTTP has not ended on it";

/// Why a response did not come.
#[cold]
fn failure(error: &io::Error) -> UpstreamError {
    match StreamFault::inside(error) {
        Some(StreamFault::Unprocessed | StreamFault::NeedsHttp1) => UpstreamError::Unprocessed,
        Some(StreamFault::Malformed) => UpstreamError::Malformed,
        Some(StreamFault::Tls(error)) => UpstreamError::Tls(error.clone()),
        Some(StreamFault::Reset) => UpstreamError::Reset,
        Some(StreamFault::Ended) => UpstreamError::Terminated,
        None => TlsError::of(error).map_or(UpstreamError::Terminated, UpstreamError::Tls),
    }
}

impl Drop for Connection {
    /// An exchange that is dropped in its midst must not look complete, and what the origin has not taken of it is not to
    /// wait for it in the kernel: the connection is reset.
    fn drop(&mut self) {
        if let Standing::Shared(stream) = &self.standing
            && self.is_in_midst
            && !self.has_answered
        {
            stream.doubt();
        }
        match &mut self.stream {
            Some(stream) if self.is_in_midst => stream.reset_on_close(),
            Some(stream) => stream.say_farewell(),
            None => {}
        }
    }
}
