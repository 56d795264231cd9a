//! A stream of bytes to a peer: a socket, or what is carried by one.
//!
//! Whoever moves bytes need not know what is underneath, but for two things: what is a plain socket can be moved by the kernel,
//! and what is not may hold back what was written until it is flushed.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use super::{ahead::Ahead, relay::Conduit, tls::Protocol};

/// A stream of bytes to a peer.
#[derive(Debug)]
pub enum Stream {
    /// A socket.
    Tcp(TcpStream),
    /// TLS, of which we are either end, over another stream.
    Tls(Box<TlsStream<Ahead>>),
    /// One of many that share a connection.
    Carried(Box<dyn Carried>),
}

/// A stream that has no socket of its own, but is carried by a connection beside others.
pub trait Carried: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin {
    /// Our end of what carries it.
    ///
    /// # Errors
    ///
    /// That is no more.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Has it reset when it is dropped.
    fn reset_on_close(&self);
}

impl Stream {
    /// The socket at the bottom of it, where it has it for itself.
    #[must_use]
    pub fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(tls) => tls.get_ref().0.stream().socket(),
            Self::Carried(_) => None,
        }
    }

    /// Our end of it.
    ///
    /// # Errors
    ///
    /// The socket is no more.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Tls(tls) => tls.get_ref().0.stream().local_addr(),
            Self::Carried(carried) => carried.local_addr(),
        }
    }

    /// Reads what is there already.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing, or else the stream's.
    pub fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(bytes),
            // What has come may be no content at all: only reading tells.
            Self::Tls(_) | Self::Carried(_) => {
                let mut space = ReadBuf::new(bytes);
                match Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut space) {
                    Poll::Ready(read) => read.map(|()| space.filled().len()),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// Whether it is TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// What was agreed on to be spoken inside TLS. On anything else it is HTTP/1.1.
    #[must_use]
    pub fn agreed(&self) -> Protocol {
        match self {
            Self::Tls(tls) => Protocol::agreed(tls.get_ref().1.alpn_protocol()),
            Self::Tcp(_) | Self::Carried(_) => Protocol::Http1,
        }
    }

    /// Says that it ends, as far as that takes no waiting, where the end of the connection alone does not say so.
    pub fn say_farewell(&mut self) {
        if self.is_tls() {
            let _ = Pin::new(self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Has the connection reset when it is closed, for what it carries is not complete, or nobody takes it.
    pub fn reset_on_close(&self) {
        match self {
            Self::Tcp(socket) => {
                let _ = socket.set_zero_linger();
            }
            Self::Tls(tls) => tls.get_ref().0.stream().reset_on_close(),
            Self::Carried(carried) => carried.reset_on_close(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl Conduit for Stream {
    fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(_) | Self::Carried(_) => None,
        }
    }

    fn abort(&self) {
        self.reset_on_close();
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => read_records(tls, cx, buf),
            Self::Carried(carried) => Pin::new(carried).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::Carried(carried) => Pin::new(carried).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, parts),
            Self::Carried(carried) => Pin::new(carried).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
            Self::Carried(carried) => carried.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Carried(carried) => Pin::new(carried).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Carried(carried) => Pin::new(carried).poll_shutdown(cx),
        }
    }
}

/// Reads as much as there is: TLS gives one record at a time, and whoever reads writes what he has got before he reads on.
fn read_records(
    tls: &mut TlsStream<Ahead>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = buf.filled().len();
    let mut seen = before;
    let (ahead, session) = tls.get_ref();
    if session.wants_read() && ahead.is_silent(cx) {
        return Poll::Pending;
    }
    loop {
        let polled = Pin::new(&mut *tls).poll_read(cx, buf);
        let now = buf.filled().len();
        if now == seen || buf.remaining() == 0 || !matches!(polled, Poll::Ready(Ok(()))) {
            // An end or a failure behind what was read is found again by who asks again.
            return if now > before { Poll::Ready(Ok(())) } else { polled };
        }
        let (ahead, session) = tls.get_ref();
        if session.wants_read() && ahead.is_drained() {
            return Poll::Ready(Ok(()));
        }
        seen = now;
    }
}
