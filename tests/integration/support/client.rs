//! One connection of a client to the proxy. Sends exactly the bytes it is given.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use super::{Answer, End, Head, PATIENCE, Wire};

#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("the proxy listens");
        Self { wire: Wire::new(stream) }
    }

    /// From another of this host's addresses.
    #[track_caller]
    pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("sockets can be made");
        socket.bind(&SocketAddr::new(from, 0).into()).expect("the address is this host's");
        socket.connect_timeout(&to.into(), PATIENCE).expect("the proxy listens");
        Self { wire: Wire::new(socket.into()) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.wire.stream()
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.wire.local_addr()
    }

    /// Throws away what was received and not yet read; returns how much it was. What follows is read from the stream.
    pub(crate) fn take_buffered(&mut self) -> usize {
        self.wire.take_buffered()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.write(bytes).expect("the proxy takes what is sent");
    }

    /// Sends what the proxy may not want: an error is no failure, what is answered counts.
    pub(crate) fn send_unwanted(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.write(bytes);
    }

    /// Whether what was sent has met a closed connection.
    pub(crate) fn has_failed(&self) -> bool {
        self.wire.record().lock().unwrap().end == Some(End::Reset)
    }

    /// Sends FIN and goes on reading.
    #[track_caller]
    pub(crate) fn finish(&mut self) {
        self.wire.finish().expect("the connection is up");
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        self.wire.reset_on_close();
    }

    pub(crate) fn set_deadline(&mut self, deadline: Duration) {
        self.wire.set_deadline(deadline);
    }

    /// The next head, interim or final.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        match self.wire.read_head() {
            Ok(head) => head,
            Err(error) => {
                let got = String::from_utf8_lossy(self.wire.buffered()).into_owned();
                panic!("no complete head: {error}; so far {got:?}")
            }
        }
    }

    /// The next final response and its body, to a method that has one.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The next final response to this method.
    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head();
            if (100..200).contains(&head.status()) && head.status() != 101 {
                interim.push(head);
            } else {
                break head;
            }
        };
        let status = head.status();
        let opened = method == "CONNECT" && (200..300).contains(&status);
        let bodiless = method == "HEAD" || opened || matches!(status, 101 | 204 | 304);
        let body = if bodiless {
            super::Body { complete: true, ..Default::default() }
        } else {
            self.wire
                .read_body(&head, true)
                .unwrap_or_else(|error| panic!("no body: {error}; after {head:?}"))
        };
        Answer { interim, head, body }
    }

    #[track_caller]
    pub(crate) fn read_exact(&mut self, count: usize) -> Vec<u8> {
        match self.wire.read_exact(count) {
            Ok(bytes) => bytes,
            Err(error) => panic!("wanted {count} bytes: {error}; so far {}", self.wire.buffered().len()),
        }
    }

    /// Everything up to the end, whichever way the proxy ends it.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> (Vec<u8>, End) {
        self.wire.read_to_end().unwrap_or_else(|error| panic!("the connection did not end: {error}"))
    }

    /// The proxy has nothing more to say and closes.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let (rest, _) = self.read_to_end();
        assert!(rest.is_empty(), "more bytes before the end: {:?}", String::from_utf8_lossy(&rest));
    }

    /// The proxy finishes with FIN, not with a reset, and has nothing more to say.
    #[track_caller]
    pub(crate) fn expect_fin(&mut self) {
        let (rest, end) = self.read_to_end();
        assert!(rest.is_empty(), "more bytes before the end: {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(end, End::Fin);
    }

    /// Whether the proxy says nothing for this long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        if !self.wire.buffered().is_empty() {
            return false;
        }
        self.wire.set_deadline(time);
        let silent = self.wire.fill().is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        self.wire.set_deadline(PATIENCE);
        silent
    }

    /// The next byte, which is still to be read then; none when the proxy has ended the connection, either way.
    #[track_caller]
    pub(crate) fn next_byte(&mut self) -> Option<u8> {
        if self.wire.buffered().is_empty() {
            match self.wire.fill() {
                Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
                    panic!("neither a byte nor an end: {error}")
                }
                _ => {}
            }
        }
        self.wire.buffered().first().copied()
    }

    /// CONNECT to `authority`; panics when that is not granted.
    #[track_caller]
    pub(crate) fn tunnel(&mut self, authority: &str) {
        self.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        let answer = self.answer_to("CONNECT");
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
}
