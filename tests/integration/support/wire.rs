//! A buffered socket that reads heads and bodies, with a deadline on every read. Both ends use it.
//!
//! An end of the stream in the middle of a body is not an error here: it is what many tests look for, and it is
//! told by `Body::complete`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::SockRef;

use super::{Head, PATIENCE};

/// How the other side ended the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// The field lines behind the last chunk.
    pub(crate) trailers: Vec<String>,
    /// Whether the framing said that this is all.
    pub(crate) complete: bool,
}

/// Everything that was read from one connection.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: Option<End>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    record: Arc<Mutex<Record>>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero is taken");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero is taken");
        stream.set_nodelay(true).expect("a TCP socket knows no-delay");
        Self { stream, buffer: Vec::new(), record: Arc::default() }
    }

    pub(crate) fn record(&self) -> Arc<Mutex<Record>> {
        Arc::clone(&self.record)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    pub(crate) fn set_deadline(&self, deadline: Duration) {
        self.stream.set_read_timeout(Some(deadline)).expect("a timeout above zero is taken");
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).inspect_err(|error| {
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
                self.note(End::Reset);
            }
        })
    }

    /// Sends FIN and goes on reading.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Makes the close that follows a reset.
    pub(crate) fn reset_on_close(&self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket knows linger");
    }

    /// Bytes that were received and not yet read.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Throws away what was received and not yet read; returns how much it was. What follows is read from the stream.
    pub(crate) fn take_buffered(&mut self) -> usize {
        std::mem::take(&mut self.buffer).len()
    }

    /// Receives once into the buffer; 0 at the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let count = loop {
            match self.stream.read(&mut bytes) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if error.kind() == ErrorKind::ConnectionReset {
                        self.note(End::Reset);
                    }
                    return Err(error);
                }
            }
        };
        if count == 0 {
            self.note(End::Fin);
        }
        let received = &bytes[..count];
        self.buffer.extend_from_slice(received);
        self.record.lock().expect("nobody panics with it").bytes.extend_from_slice(received);
        Ok(count)
    }

    /// The next head, up to and with its empty line. The end of the stream before that is `UnexpectedEof`.
    pub(crate) fn read_head(&mut self) -> io::Result<Head> {
        let mut scanned = 0_usize;
        loop {
            let from = scanned.saturating_sub(3);
            let end = self.buffer[from..].windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let raw: Vec<u8> = self.buffer.drain(..from + end + 4).collect();
                return Ok(Head::parse(&raw));
            }
            scanned = self.buffer.len();
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Everything up to the end of the stream, whichever way it ends; a deadline that passes is an error.
    pub(crate) fn read_to_end(&mut self) -> io::Result<(Vec<u8>, End)> {
        loop {
            match self.fill() {
                Ok(0) => return Ok((std::mem::take(&mut self.buffer), End::Fin)),
                Ok(_) => {}
                Err(error) if is_reset(&error) => return Ok((std::mem::take(&mut self.buffer), End::Reset)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The body that follows `head`; `until_end` says whether a body without a length runs to the end.
    pub(crate) fn read_body(&mut self, head: &Head, until_end: bool) -> io::Result<Body> {
        if head.lists("transfer-encoding", "chunked") {
            return self.read_chunked();
        }
        if let Some(length) = head.all("content-length").first() {
            let length =
                length.parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, "content-length"))?;
            return self.read_length(length);
        }
        if !until_end {
            return Ok(Body { complete: true, ..Body::default() });
        }
        let (bytes, end) = self.read_to_end()?;
        Ok(Body { bytes, trailers: Vec::new(), complete: end == End::Fin })
    }

    fn read_length(&mut self, length: usize) -> io::Result<Body> {
        let mut body = Body::default();
        match self.take(length, &mut body.bytes) {
            Ok(()) => body.complete = true,
            Err(error) if is_end(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(body)
    }

    fn read_chunked(&mut self) -> io::Result<Body> {
        let mut body = Body::default();
        match self.chunks(&mut body) {
            Ok(()) => body.complete = true,
            Err(error) if is_end(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(body)
    }

    fn chunks(&mut self, body: &mut Body) -> io::Result<()> {
        let malformed = |what: &'static str| io::Error::new(ErrorKind::InvalidData, what);
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| malformed("chunk size"))?;
            if size == 0 {
                break;
            }
            self.take(size, &mut body.bytes)?;
            if !self.line()?.is_empty() {
                return Err(malformed("chunk end"));
            }
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            body.trailers.push(line);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, mut count: usize, into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let here = count.min(self.buffer.len());
            into.extend(self.buffer.drain(..here));
            count -= here;
            if count == 0 {
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn note(&self, end: End) {
        self.record.lock().expect("nobody panics with it").end = Some(end);
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}

fn is_end(error: &io::Error) -> bool {
    error.kind() == ErrorKind::UnexpectedEof || is_reset(error)
}
