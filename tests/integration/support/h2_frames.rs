//! The origin's end of a connection of HTTP/2 whose frames are written by hand, for what the `h2` crate refuses to do.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use h2::Reason;
use tokio_rustls::rustls::ServerConfig;

use super::{
    Signed,
    h2_client::{Frame, block, frame},
    secure::{self, SecureConn},
};

/// A server that agrees on HTTP/2.
pub(crate) fn h2(signed: &Signed) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(&secure::server(signed, None));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;

/// The origin's end of a connection whose frames are written by hand.
pub(crate) struct OriginFrames<'a>(&'a mut SecureConn);

impl<'a> OriginFrames<'a> {
    /// After the preface and both settings.
    pub(crate) fn greet(conn: &'a mut SecureConn) -> io::Result<Self> {
        conn.read_exact(&mut [0; 24])?;
        let mut frames = Self(conn);
        frames.send(SETTINGS, 0, 0, b"")?;
        Ok(frames)
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.0.write_all(&frame(kind, flags, stream, payload))?;
        self.0.flush()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.0.sock.set_write_timeout(Some(patience)).expect("a socket takes options");
    }

    pub(crate) fn next(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == SETTINGS && frame.flags == 0 {
            self.send(SETTINGS, 1, 0, b"")?;
        }
        Ok(frame)
    }

    /// The stream of the next request.
    pub(crate) fn request(&mut self) -> io::Result<u32> {
        loop {
            let frame = self.next()?;
            if frame.kind == HEADERS {
                return Ok(frame.stream);
            }
        }
    }

    /// Answers with `ok`.
    pub(crate) fn answer(&mut self, stream: u32) -> io::Result<()> {
        self.send(HEADERS, 4, stream, &block(&[(":status", "200"), ("content-length", "2")]))?;
        self.send(0, 1, stream, b"ok")
    }

    pub(crate) fn goaway(&mut self, last: u32, reason: Reason) -> io::Result<()> {
        let payload = [last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload)
    }
}
