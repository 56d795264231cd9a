//! The socket of a client as hyper sees it: exactly one message at a time.
//!
//! hyper answers what it cannot parse by itself, reads ahead into the next message and hands early tunnel bytes
//! over only in part. So this layer reads the socket into its own inbox, checks a complete head with
//! [`message::head`](crate::message::head) before hyper sees a byte of it, and then delivers exactly that head and
//! exactly its body. What stands behind stays here: it is the next request, or the first bytes of a tunnel.
//! It must not know what the service is, and it never writes a message of its own except interim responses.
//!
//! Invariant: hyper never holds a byte that does not belong to the message it was given.

use std::{
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Version;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::{
    head::{self as kept, RequestHead},
    tap::Tap,
    wire::{BodyFault, Wire},
};
use crate::message::{
    framing::{ChunkLimits, ChunkScan, Framing},
    head::{self, HeadError, HeadLimits},
};

/// How much is read from the socket at a time while a head is awaited, and inside a chunked body.
const HEAD_READ: usize = 4 * 1024;
const CHUNKED_READ: usize = 16 * 1024;

/// What a [`Front`] lets through, and for how long it waits.
#[derive(Clone, Debug)]
pub struct FrontOptions {
    /// Bounds of a head.
    pub head: HeadLimits,
    /// First byte to end of a head.
    pub client_header: Duration,
    /// No byte between two requests.
    pub client_idle: Duration,
    /// No progress in a body, or in what the client has to take from us.
    pub body_idle: Duration,
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
}

#[derive(Debug)]
enum Phase {
    /// Between messages: waiting for a complete head.
    Head,
    /// This much of the checked head is still to be given to hyper.
    Deliver(Bytes, Framing),
    /// This many bytes of the body are still to come.
    Length(u64),
    /// Inside a chunked body. The number is what the scan has already let through and hyper has not taken.
    Chunked(ChunkScan, usize),
    /// The message was delivered whole.
    Delivered,
    /// Nothing more will be read.
    Closed,
}

/// The layer between a client's socket and hyper.
#[derive(Debug)]
pub(super) struct Front {
    io: TokioIo<Tap>,
    inbox: BytesMut,
    phase: Phase,
    wire: Arc<Wire>,
    options: Arc<FrontOptions>,
    /// How far the inbox was searched for the end of a head.
    searched: usize,
    /// When the first byte of the head in the inbox was there.
    head_started: Option<Instant>,
    refused: Option<RefusedHead>,
    /// Since when hyper waits for bytes, and since when for room.
    read_waiting: Option<Instant>,
    write_waiting: Option<Instant>,
    /// An interim response that is partly written.
    interim: Bytes,
    /// How much of `HTTP/1.0` in the status line has been written as `HTTP/1.1`; none = nothing to change.
    status_line: Option<usize>,
}

impl Front {
    pub(super) fn new(stream: TcpStream, wire: Arc<Wire>, options: Arc<FrontOptions>) -> Self {
        Self {
            io: TokioIo::new(Tap::new(stream)),
            inbox: BytesMut::new(),
            phase: Phase::Head,
            wire,
            options,
            searched: 0,
            head_started: None,
            refused: None,
            read_waiting: None,
            write_waiting: None,
            interim: Bytes::new(),
            status_line: None,
        }
    }

    /// Whether no byte of a further request is here.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.phase, Phase::Head | Phase::Delivered) && self.inbox.is_empty()
    }

    /// The head that ended this connection, if one did.
    pub(super) fn take_refused(&mut self) -> Option<RefusedHead> {
        self.refused.take()
    }

    /// Whether the client's last request was one of HTTP/1.0.
    pub(super) fn is_http10(&self) -> bool {
        self.status_line.is_some()
    }

    /// Waits for a complete and acceptable head; false when there will be none.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if matches!(self.phase, Phase::Delivered) {
            self.phase = Phase::Head;
        }
        if matches!(self.phase, Phase::Head) && ready!(self.poll_head(cx)).is_err() {
            self.phase = Phase::Closed;
        }
        Poll::Ready(matches!(self.phase, Phase::Deliver(..)))
    }

    /// The socket and what was read from it and not delivered.
    pub(super) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.io.into_inner().into_stream(), self.inbox)
    }

    /// Moves to [`Phase::Deliver`] with a checked head, or to [`Phase::Closed`]; pending until one is complete.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limits = self.options.head;
        loop {
            if let Some(end) = head::find_end(&self.inbox, self.searched) {
                self.begin(end);
                return Poll::Ready(Ok(()));
            }
            if !self.inbox.is_empty()
                && let Err(error) = head::check_partial_head(&self.inbox, limits)
            {
                self.refuse(Fault::Head(error));
                return Poll::Ready(Ok(()));
            }
            self.searched = self.inbox.len();
            let read = match self.poll_fill(cx, HEAD_READ) {
                Poll::Ready(read) => read?,
                Poll::Pending => return self.wait_for_head(cx),
            };
            if read == 0 {
                if self.inbox.is_empty() {
                    self.phase = Phase::Closed;
                } else {
                    self.refuse(Fault::Incomplete);
                }
                return Poll::Ready(Ok(()));
            }
            self.head_started.get_or_insert_with(Instant::now);
        }
    }

    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let since = *self.read_waiting.get_or_insert_with(Instant::now);
        if self.inbox.is_empty() {
            // A client that is silent holds no buffer.
            self.inbox = BytesMut::new();
            self.wire.set_silent_since(Some(since));
        }
        let at = match self.head_started {
            Some(started) if !self.inbox.is_empty() => started + self.options.client_header,
            _ => since + self.options.client_idle,
        };
        ready!(self.wire.poll_until(cx, at));
        if self.inbox.is_empty() {
            self.phase = Phase::Closed;
        } else {
            self.refuse(Fault::HeadTimeout);
        }
        Poll::Ready(Ok(()))
    }

    /// A complete head of `end` bytes is in the inbox: checks it and makes it the one that is delivered.
    fn begin(&mut self, end: usize) {
        let started = self.head_started.take().unwrap_or_else(Instant::now);
        let raw = self.inbox.split_to(end).freeze();
        self.searched = 0;
        self.read_waiting = None;
        self.wire.set_silent_since(None);
        match head::check_request_head(&raw, self.options.head) {
            Ok(facts) => {
                if !self.inbox.is_empty() {
                    self.head_started = Some(Instant::now());
                }
                if facts.version == Version::HTTP_10 {
                    self.status_line = Some(0);
                }
                let (framing, http10) = (facts.framing, facts.version == Version::HTTP_10);
                let head = RequestHead::new(raw.clone(), facts, started);
                self.wire.set_head(head);
                let shown = if http10 { kept::without_keep_alive(&raw) } else { raw };
                self.phase = Phase::Deliver(shown, framing);
            }
            Err(error) => {
                self.refused = Some(RefusedHead { fault: Fault::Head(error), raw, started });
                self.phase = Phase::Closed;
            }
        }
    }

    /// Ends the stream in front of a head that will not be one. The fault is kept for the answer.
    fn refuse(&mut self, fault: Fault) {
        let started = self.head_started.take().unwrap_or_else(Instant::now);
        self.refused = Some(RefusedHead { fault, raw: self.inbox.split().freeze(), started });
        self.phase = Phase::Closed;
    }

    /// Reads up to `most` bytes more into the inbox.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let most = most.max(1);
        self.inbox.reserve(most);
        let mut room = (&mut self.inbox).limit(most);
        pin!(self.io.inner_mut().stream().read_buf(&mut room)).poll(cx)
    }

    /// Hands `most` bytes of the inbox to hyper.
    fn deliver(&mut self, buf: &mut ReadBufCursor<'_>, most: usize) -> usize {
        let size = most.min(buf.remaining()).min(self.inbox.len());
        buf.put_slice(&self.inbox[..size]);
        self.inbox.advance(size);
        size
    }

    fn poll_length(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
        left: u64,
    ) -> Poll<io::Result<()>> {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let read = if !self.inbox.is_empty() {
            self.deliver(&mut buf, wanted)
        } else if wanted >= buf.remaining() {
            // The rest of the body fills hyper's buffer: no byte behind it can come along.
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            self.io.inner().last_read()
        } else {
            ready!(self.poll_fill(cx, wanted.min(CHUNKED_READ)))?;
            self.deliver(&mut buf, wanted)
        };
        if read == 0 {
            return Poll::Ready(self.body_fault(BodyFault::Incomplete));
        }
        let left = left - read as u64;
        self.phase = if left == 0 { Phase::Delivered } else { Phase::Length(left) };
        Poll::Ready(Ok(()))
    }

    fn poll_chunked(&mut self, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            let Phase::Chunked(scan, passed) = &mut self.phase else { return Poll::Ready(Ok(())) };
            let behind = &self.inbox[*passed..];
            if !behind.is_empty() && !scan.is_done() {
                match scan.feed(behind) {
                    Ok(fed) => *passed += fed.consumed,
                    Err(_) => return Poll::Ready(self.body_fault(BodyFault::Malformed)),
                }
            }
            if *passed > 0 {
                let size = (*passed).min(buf.remaining());
                *passed -= size;
                let done = *passed == 0 && scan.is_done();
                buf.put_slice(&self.inbox[..size]);
                self.inbox.advance(size);
                if done {
                    self.phase = Phase::Delivered;
                }
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(cx, CHUNKED_READ))? == 0 {
                return Poll::Ready(self.body_fault(BodyFault::Incomplete));
            }
        }
    }

    /// Ends the stream inside a body. hyper sees its end, the service sees why.
    fn body_fault(&mut self, fault: BodyFault) -> io::Result<()> {
        self.wire.set_body_fault(fault);
        self.phase = Phase::Closed;
        Ok(())
    }

    fn poll_read_message(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.phase {
                Phase::Head => ready!(self.poll_head(cx))?,
                // hyper asks for more only when the exchange is over: what comes next is a head.
                Phase::Delivered => self.phase = Phase::Head,
                Phase::Deliver(rest, framing) => {
                    let size = rest.len().min(buf.remaining());
                    buf.put_slice(&rest.split_to(size));
                    if rest.is_empty() {
                        self.phase = match *framing {
                            Framing::None | Framing::Length(0) => Phase::Delivered,
                            Framing::Length(length) => Phase::Length(length),
                            Framing::Chunked => Phase::Chunked(ChunkScan::new(ChunkLimits::default()), 0),
                        };
                    }
                    return Poll::Ready(Ok(()));
                }
                Phase::Length(left) => {
                    let left = *left;
                    return self.poll_length(cx, buf, left);
                }
                Phase::Chunked(..) => return self.poll_chunked(cx, buf),
                Phase::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes interim responses. To be called while hyper holds no unwritten byte.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.interim.is_empty() {
                match self.wire.next_interim() {
                    Some(head) => self.interim = head,
                    None => return Poll::Ready(Ok(())),
                }
            }
            let written = ready!(Pin::new(self.io.inner_mut().stream()).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
        }
    }

    /// Notices that a client which waits for its response closes its side, or is gone.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !matches!(self.phase, Phase::Delivered)
            || !self.inbox.is_empty()
            || self.wire.has_client_finished()
        {
            return Ok(());
        }
        let mut byte = [MaybeUninit::uninit()];
        let mut buf = ReadBuf::uninit(&mut byte);
        match self.io.inner_mut().stream().poll_peek(cx, &mut buf) {
            Poll::Ready(Ok(0)) => {
                self.wire.set_client_finished();
                // The exchange has been polled already this time, without knowing.
                cx.waker().wake_by_ref();
            }
            // The next request: it has time.
            Poll::Ready(Ok(_)) | Poll::Pending => {}
            Poll::Ready(Err(error)) => return Err(error),
        }
        Ok(())
    }

    /// The deadline on a client that takes nothing from us.
    fn wait_for_room<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let since = *self.write_waiting.get_or_insert_with(Instant::now);
        ready!(self.wire.poll_until(cx, since + self.options.body_idle));
        // What it does not take is not kept for it in the kernel.
        let _ = self.io.inner_mut().stream().set_zero_linger();
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client took nothing for timeouts.body_idle",
        )))
    }

    /// Writes the status line of an answer to an HTTP/1.0 request with our own version (RFC 9112 section 2.3).
    fn poll_write_status_line(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
        at: usize,
    ) -> Poll<io::Result<usize>> {
        const OWN: &[u8; 8] = b"HTTP/1.1";
        let mut line = buf.to_vec();
        for (byte, own) in line.iter_mut().zip(&OWN[at..]) {
            *byte = *own;
        }
        let written = ready!(Pin::new(self.io.inner_mut().stream()).poll_write(cx, &line))?;
        self.status_line = Some(at + written.min(OWN.len() - at));
        Poll::Ready(Ok(written))
    }
}

impl Read for Front {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let front = self.get_mut();
        match front.poll_read_message(cx, buf) {
            Poll::Ready(result) => {
                front.read_waiting = None;
                Poll::Ready(result)
            }
            Poll::Pending => {
                if matches!(front.phase, Phase::Length(_) | Phase::Chunked(..)) {
                    let since = *front.read_waiting.get_or_insert_with(Instant::now);
                    ready!(front.wire.poll_until(cx, since + front.options.body_idle));
                    return Poll::Ready(front.body_fault(BodyFault::Timeout));
                }
                Poll::Pending
            }
        }
    }
}

impl Write for Front {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let front = self.get_mut();
        let mut polled = Poll::Ready(Ok(0));
        if !front.interim.is_empty() {
            polled = front.poll_interim(cx).map_ok(|()| 0);
        }
        if let Poll::Ready(Ok(_)) = polled {
            polled = match front.status_line {
                Some(at) if at < 8 => {
                    let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
                    front.poll_write_status_line(cx, first, at)
                }
                _ => Pin::new(front.io.inner_mut().stream()).poll_write_vectored(cx, bufs),
            };
        }
        match polled {
            Poll::Ready(result) => {
                front.write_waiting = None;
                Poll::Ready(result)
            }
            Poll::Pending => front.wait_for_room(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let front = self.get_mut();
        match front.poll_interim(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(front.poll_watch(cx)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => front.wait_for_room(cx),
        }
    }

    /// hyper's wish to shut the socket down is not followed: `connection` closes it in an orderly way.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
