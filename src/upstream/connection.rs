//! One HTTP/1.1 connection to an origin.
//!
//! hyper splits a client connection into a sender and a driver and expects the driver to run in a task of its
//! own. Here the holder of the [`Connection`] polls it: while it awaits the response, while it streams the body, and
//! once more when it takes the connection out of the pool, which shows at that moment whether the origin has
//! closed it or sent something that nobody asked for.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::{bell::Bell, place::Place};
use crate::{
    net::{authority::Authority, dial::Dialled},
    shared_memory::Seat,
};

/// How HTTP is read from origins.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// Bound of a response head, in bytes.
    pub max_header_bytes: usize,
    /// Header fields of a response.
    pub max_headers: usize,
    /// Send header names as they were received.
    pub preserve_header_case: bool,
}

impl ConnectionOptions {
    /// Whether the head of a response is no larger than it may be. hyper's buffer, which bounds it too, cannot be smaller than
    /// [`MIN_BUFFER`].
    pub fn admits(&self, head: &HeaderMap) -> bool {
        const STATUS_LINE: usize = "HTTP/1.1 200 \r\n\r\n".len();
        let field =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
        self.max_header_bytes >= MIN_BUFFER
            || STATUS_LINE + head.iter().map(field).sum::<usize>() <= self.max_header_bytes
    }
}

/// A connection to an origin that is open and not in use by anybody else.
pub struct Connection<B: Body + 'static> {
    sender: SendRequest<B>,
    driver: Driver<B>,
    bell: Bell,
    received: Arc<AtomicU64>,
    origin: Arc<Authority>,
    peer: std::net::SocketAddr,
    pub(super) place: Place,
    /// It was in the pool: the origin may have closed it at any time.
    pub(super) reused: bool,
    /// The framing of a response left doubts about what comes next on it.
    retired: bool,
    /// When it was last parked, and how long the origin says that it will be kept.
    pub(super) idle_since: Instant,
    pub(super) keep_alive: Option<Duration>,
}

/// A request that got no response.
pub struct SendFailure<B> {
    /// Why.
    pub error: hyper::Error,
    /// The request, where not a byte of it has been written.
    pub unsent: Option<Request<B>>,
    /// Whether a byte of a response came.
    pub response_begun: bool,
}

impl<B> Connection<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Begins HTTP on a connection that was just dialled, and counts it in `seat` as long as it lives.
    ///
    /// # Errors
    ///
    /// None is known; hyper reserves the right.
    pub async fn begin(
        dialled: Dialled,
        origin: Arc<Authority>,
        options: &ConnectionOptions,
        seat: Seat,
    ) -> Result<Self, hyper::Error> {
        let received = Arc::new(AtomicU64::new(0));
        let stream = OriginStream { stream: dialled.stream, received: Arc::clone(&received) };
        let (sender, driver) = http1::Builder::new()
            .allow_spaces_after_header_name_in_responses(true)
            .preserve_header_case(options.preserve_header_case)
            .max_headers(options.max_headers)
            .max_buf_size(options.max_header_bytes.max(MIN_BUFFER))
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self {
            sender,
            driver: Driver { http: Some(Box::new(driver)), ended: false },
            bell: Bell::new(),
            received,
            origin,
            peer: dialled.peer,
            place: Place::in_use(seat),
            reused: false,
            retired: false,
            idle_since: Instant::now(),
            keep_alive: None,
        })
    }

    /// The address it is connected to.
    pub fn peer(&self) -> std::net::SocketAddr {
        self.peer
    }

    /// The authority it was dialled for: its key in the pool.
    pub fn origin(&self) -> &Arc<Authority> {
        &self.origin
    }

    /// Whether it has carried a request before the current one.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Takes to heart what a response says about the connection: `Keep-Alive: timeout=…`. To be called before the
    /// hop-by-hop fields are taken away.
    pub fn learn(&mut self, response: &HeaderMap) {
        if let Some(value) = response.get("keep-alive") {
            self.keep_alive = keep_alive_timeout(value.as_bytes());
        }
    }

    /// This connection carries no other request.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// Sends `request` and waits for the head of the final response. Interim responses go to the callback that
    /// [`hyper::ext::on_informational`] has left in the request.
    ///
    /// # Errors
    ///
    /// Whatever ends the connection before the head is complete. There is no deadline in here. Dropping the
    /// future leaves the connection useless: drop it too.
    pub async fn send(&mut self, request: Request<B>) -> Result<Response<Incoming>, SendFailure<B>> {
        let before = self.received.load(Ordering::Relaxed);
        let mut response = pin!(self.sender.try_send_request(request));
        let (bell, driver) = (&self.bell, &mut self.driver);
        let sent = poll_fn(|cx| {
            bell.poll(cx, |cx| {
                driver.poll(cx);
                response.as_mut().poll(cx)
            })
        })
        .await;
        sent.map_err(|mut failure| SendFailure {
            unsent: failure.take_message(),
            error: failure.into_error(),
            response_begun: self.received.load(Ordering::Relaxed) != before,
        })
    }

    /// The next frame of `body`, which is the response's. Moves what there is to move of the request, too.
    pub fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let driver = &mut self.driver;
        self.bell.poll(cx, |cx| {
            driver.poll(cx);
            Pin::new(&mut *body).poll_frame(cx)
        })
    }

    /// Lets the exchange go on in a task of its own, for one whose response has begun before its request has
    /// ended: the request must move while the client takes nothing of the response. Such a connection is not kept.
    pub fn detach(&mut self) {
        if let Some(http) = self.driver.http.take() {
            self.driver.ended = true;
            tokio::spawn(async move {
                // Its error reaches the exchange through the bodies.
                let _ = http.await;
            });
        }
    }

    /// Whether a request can be sent on it: the last exchange is complete on both sides, the origin has not
    /// closed it and has sent nothing that was not asked for.
    pub fn is_reusable(&mut self) -> bool {
        self.driver.poll(&mut Context::from_waker(Waker::noop()));
        !self.retired && !self.driver.ended && self.sender.is_ready()
    }

    /// The socket, and what was read from it and belongs to no response. Only after a 101: then hyper has finished.
    pub fn into_upgraded(mut self) -> Option<(TcpStream, Bytes)> {
        self.driver.poll(&mut Context::from_waker(Waker::noop()));
        if !self.driver.ended {
            return None;
        }
        let parts = self.driver.http?.into_parts();
        Some((parts.io.into_inner().stream, parts.read_buf))
    }
}

/// `timeout` of a `Keep-Alive` field, less a second for the way (its unit is seconds).
fn keep_alive_timeout(value: &[u8]) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?;
    let timeout = value.split(',').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("timeout")
            .then(|| value.trim().trim_matches('"').parse::<u32>().ok())?
    })?;
    Some(Duration::from_secs(u64::from(timeout.saturating_sub(1))))
}

/// hyper's buffers for one connection are allowed at least this much.
const MIN_BUFFER: usize = 64 * 1024;

/// hyper's half of the connection. One that has ended is kept, for an upgrade takes its socket out of it.
struct Driver<B: Body + 'static> {
    http: Option<Box<http1::Connection<TokioIo<OriginStream>, B>>>,
    ended: bool,
}

impl<B> Driver<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(http) = &mut self.http
            && !self.ended
        {
            // An error reaches the exchange through its response or its bodies.
            self.ended = http.poll_without_shutdown(cx).is_ready();
        }
    }
}

impl<B: Body + 'static> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("origin", &self.origin)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for SendFailure<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFailure").field("error", &self.error).finish_non_exhaustive()
    }
}

/// The socket, counting what it receives: the one sure sign that an origin has begun to answer.
struct OriginStream {
    stream: TcpStream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for OriginStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.received.fetch_add(read as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_is_read_with_a_margin() {
        for (value, expected) in [
            ("timeout=5", Some(4)),
            ("max=100, Timeout = \"15\"", Some(14)),
            ("timeout=0", Some(0)),
            ("max=100", None),
            ("timeout=soon", None),
        ] {
            assert_eq!(keep_alive_timeout(value.as_bytes()), expected.map(Duration::from_secs), "{value}");
        }
    }
}
