//! An origin that is as cheap as it can be: one receive and one send for a small exchange.
//!
//! `GET /N` is answered with N bytes, `POST` with two when its body has come. One request at a time on a connection.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
};

use socket2::{Domain, Socket, Type};

use super::poll::{Poll, Ready, Token, discard, unless_blocked};

/// Answers up to this length are kept whole, and sent with their head.
const SMALL: u64 = 128 * 1024;

/// Listeners, and the connections that they have taken.
#[derive(Debug)]
pub(crate) struct Origin {
    listeners: Vec<TcpListener>,
    connections: Vec<Option<Served>>,
    free: Vec<usize>,
    answers: HashMap<u64, Rc<[u8]>>,
    scratch: Vec<u8>,
    filler: Vec<u8>,
}

#[derive(Debug)]
struct Served {
    stream: TcpStream,
    token: Token,
    head: Vec<u8>,
    /// Bytes of a request's body that are yet to come.
    body: u64,
    /// What is being sent, and how much of it has been.
    answer: Option<(Rc<[u8]>, usize)>,
    /// Bytes of filler that follow.
    rest: u64,
    closes: bool,
    waits_to_write: bool,
}

impl Origin {
    /// Listens on `addresses`.
    pub(crate) fn new(poll: &Poll, addresses: &[SocketAddr]) -> io::Result<Self> {
        let listeners = addresses.iter().map(|address| listen(*address)).collect::<io::Result<Vec<_>>>()?;
        for (index, listener) in listeners.iter().enumerate() {
            poll.add(listener, Token::Listener(index), false)?;
        }
        let (scratch, filler) = (vec![0; 1 << 20], vec![b'x'; 256 * 1024]);
        Ok(Self {
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            answers: HashMap::new(),
            scratch,
            filler,
        })
    }

    /// Takes all that wait on a listener.
    pub(crate) fn accept(&mut self, poll: &Poll, index: usize) {
        while let Ok((stream, peer)) = self.listeners[index].accept() {
            if !peer.ip().is_loopback() {
                continue;
            }
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let token = Token::Served(place);
            let is_watched = stream.set_nonblocking(true).is_ok()
                && stream.set_nodelay(true).is_ok()
                && poll.add(&stream, token, false).is_ok();
            if is_watched {
                let (head, answer) = (Vec::new(), None);
                let served = Served {
                    stream,
                    token,
                    head,
                    body: 0,
                    answer,
                    rest: 0,
                    closes: false,
                    waits_to_write: false,
                };
                self.connections[place] = Some(served);
            } else {
                self.free.push(place);
            }
        }
    }

    /// Serves a connection that is ready.
    pub(crate) fn serve(&mut self, poll: &Poll, index: usize, ready: Ready) {
        let Some(served) = self.connections[index].as_mut() else { return };
        let mut goes_on = true;
        if ready.writes {
            goes_on = served.send(poll, &self.filler).unwrap_or(false);
        }
        if goes_on && ready.reads {
            let goes = served.receive(poll, &mut self.scratch, &self.filler, &mut self.answers);
            goes_on = goes.unwrap_or(false);
        }
        if !goes_on {
            self.connections[index] = None;
            self.free.push(index);
        }
    }
}

impl Served {
    /// Whether the connection goes on.
    fn receive(
        &mut self,
        poll: &Poll,
        scratch: &mut [u8],
        filler: &[u8],
        answers: &mut HashMap<u64, Rc<[u8]>>,
    ) -> io::Result<bool> {
        if self.body > 0 {
            let most = scratch.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
            let Some(count) = discard(&self.stream, &mut scratch[..most])? else { return Ok(true) };
            self.body -= count as u64;
            return if count == 0 {
                Ok(false)
            } else if self.body == 0 {
                self.send(poll, filler)
            } else {
                Ok(true)
            };
        }
        let Some(count) = unless_blocked((&self.stream).read(&mut scratch[..64 * 1024]))? else {
            return Ok(true);
        };
        self.head.extend_from_slice(&scratch[..count]);
        let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else { return Ok(count > 0) };
        let Ok(head) = std::str::from_utf8(&self.head[..end]) else { return Ok(false) };
        let size = head.split(' ').nth(1).and_then(|target| target.rsplit('/').next()?.parse().ok());
        let is_post = head.starts_with("POST ");
        let length = field(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        self.closes = field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let here = (self.head.len() - end - 4) as u64;
        self.body = u64::saturating_sub(length, here);
        self.head.clear();
        let size = if is_post { 2 } else { size.unwrap_or(2) };
        let answer = answers.entry(size).or_insert_with(|| answer(size));
        self.answer = Some((Rc::clone(answer), 0));
        self.rest = if size <= SMALL { 0 } else { size };
        if self.body > 0 { Ok(count > 0) } else { self.send(poll, filler) }
    }

    /// Sends what is left of the answer; whether the connection goes on.
    fn send(&mut self, poll: &Poll, filler: &[u8]) -> io::Result<bool> {
        let mut is_blocked = false;
        while let Some((answer, sent)) = self.answer.as_mut() {
            let is_head = *sent < answer.len();
            let piece = match is_head {
                true => &answer[*sent..],
                false => &filler[..filler.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX))],
            };
            match unless_blocked((&self.stream).write(piece))? {
                None => {
                    is_blocked = true;
                    break;
                }
                Some(count) if is_head => *sent += count,
                Some(count) => self.rest -= count as u64,
            }
            if *sent == answer.len() && self.rest == 0 {
                self.answer = None;
            }
        }
        if is_blocked != self.waits_to_write {
            self.waits_to_write = is_blocked;
            poll.change(&self.stream, self.token, is_blocked)?;
        }
        Ok(is_blocked || !self.closes)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn answer(size: u64) -> Rc<[u8]> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/octet-stream\r\n\
         Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nCache-Control: no-store\r\nContent-Length: {size}\r\n\r\n"
    )
    .into_bytes();
    if size <= SMALL {
        answer.extend((0..size).map(|at| b'a' + (at % 23) as u8));
    }
    answer.into()
}

/// The value of a field of a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
