//! Clients of the proxy: each sends one request after the other, as fast as it is answered, or when it is due.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    origin::field,
    poll::{Poll, Ready, Token, connect, discard, unless_blocked},
};

/// An upload or a download without an end.
pub(crate) const ENDLESS: u64 = 1 << 50;

/// What a client does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// One request after the other.
    KeepAlive,
    /// One request on each.
    New,
    /// One request, and then nothing.
    Idle,
}

/// What all clients do.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) proxy: SocketAddr,
    pub(crate) habit: Habit,
    /// Sent first on a connection, and answered with 200; one for each origin. Empty = no tunnel.
    pub(crate) connects: Vec<Rc<[u8]>>,
    /// With its body, if that is small.
    pub(crate) request: Rc<[u8]>,
    /// Sent before it, once each.
    pub(crate) tour: Vec<Rc<[u8]>>,
    /// Bytes of filler that follow the request.
    pub(crate) upload: u64,
    /// Between two requests of all clients together; none = each as soon as the one before is answered.
    pub(crate) interval: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) bytes: u64,
    pub(crate) micros: Vec<u32>,
    /// Connections that were closed between two requests, as a server may.
    pub(crate) reconnects: u64,
    pub(crate) errors: BTreeMap<String, u64>,
}

/// All clients.
#[derive(Debug)]
pub(crate) struct Clients {
    work: Work,
    token: fn(usize) -> Token,
    clients: Vec<Client>,
    pub(crate) tally: Tally,
    /// Those that have fallen silent, as their habit is.
    pub(crate) idle: usize,
    /// Those that could not even begin to connect.
    stranded: Vec<usize>,
    /// Those that are answered and wait for their next request to be due, the one that waits longest first.
    resting: VecDeque<usize>,
    /// When the next request is due.
    due: Instant,
    scratch: Vec<u8>,
    filler: Vec<u8>,
}

#[derive(Debug)]
struct Client {
    stream: Option<TcpStream>,
    phase: Phase,
    begun: Instant,
    outgoing: Rc<[u8]>,
    sent: usize,
    upload: u64,
    head: Vec<u8>,
    waits_to_write: bool,
    is_used: bool,
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// The answer to CONNECT is on its way.
    Establishing,
    Head,
    Body(u64),
    /// A body without a length.
    UntilEnd,
    /// The next request is not due yet.
    Resting,
    /// The proxy has said that it closes.
    Parting,
    Idle,
}

impl Clients {
    /// Nobody has connected yet.
    pub(crate) fn new(work: Work, token: fn(usize) -> Token) -> Self {
        let (scratch, filler) = (vec![0; 1 << 20], vec![b'x'; 256 * 1024]);
        Self {
            work,
            token,
            clients: Vec::new(),
            tally: Tally::default(),
            idle: 0,
            stranded: Vec::new(),
            resting: VecDeque::new(),
            due: Instant::now(),
            scratch,
            filler,
        }
    }

    /// Whether everything that comes first has been sent.
    pub(crate) fn has_toured(&self) -> bool {
        self.work.tour.is_empty()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.clients.len()
    }

    /// One more.
    pub(crate) fn add(&mut self, poll: &Poll) {
        self.clients.push(Client {
            stream: None,
            phase: Phase::Connecting,
            begun: Instant::now(),
            outgoing: Rc::clone(&self.work.request),
            sent: 0,
            upload: 0,
            head: Vec::new(),
            waits_to_write: false,
            is_used: false,
            closes: false,
        });
        self.open(poll, self.clients.len() - 1);
    }

    /// Serves a client whose socket is ready.
    pub(crate) fn handle(&mut self, poll: &Poll, index: usize, ready: Ready) {
        let outcome = self.advance(poll, index, ready);
        self.settle(poll, index, outcome);
    }

    fn settle(&mut self, poll: &Poll, index: usize, outcome: Result<(), String>) {
        if let Err(error) = outcome {
            *self.tally.errors.entry(error).or_default() += 1;
            if self.work.habit != Habit::Idle {
                self.open(poll, index);
            }
        }
    }

    fn advance(&mut self, poll: &Poll, index: usize, ready: Ready) -> Result<(), String> {
        if self.clients[index].phase == Phase::Connecting {
            return self.begin(poll, index);
        }
        if ready.writes {
            self.send(poll, index)?;
        }
        if ready.reads { self.receive(poll, index) } else { Ok(()) }
    }

    /// Tries again what failed before it began.
    pub(crate) fn retry(&mut self, poll: &Poll) {
        for index in std::mem::take(&mut self.stranded) {
            self.open(poll, index);
        }
    }

    /// Sends the requests that are due. The time of a request begins when it is due, whether there was a client for it or not: what
    /// waits because others take long is late too.
    pub(crate) fn go_on(&mut self, poll: &Poll) {
        let Some(interval) = self.work.interval else { return };
        let now = Instant::now();
        while self.due <= now {
            let Some(index) = self.resting.pop_front() else { return };
            let outcome = self.request(poll, index);
            self.clients[index].begun = self.due;
            self.due += interval;
            self.settle(poll, index, outcome);
        }
    }

    /// Nothing is late yet.
    pub(crate) fn restart(&mut self) {
        self.tally = Tally::default();
        self.due = Instant::now();
    }

    /// Connects anew.
    fn open(&mut self, poll: &Poll, index: usize) {
        self.resting.retain(|resting| *resting != index);
        let client = &mut self.clients[index];
        client.stream = None;
        client.phase = Phase::Connecting;
        client.begun = Instant::now();
        client.head.clear();
        client.waits_to_write = false;
        (client.is_used, client.closes) = (false, false);
        let opened = connect(self.work.proxy).and_then(|stream| {
            poll.add(&stream, (self.token)(index), true)?;
            client.waits_to_write = true;
            client.stream = Some(stream);
            Ok(())
        });
        if let Err(error) = opened {
            *self.tally.errors.entry(format!("connect: {error}")).or_default() += 1;
            self.stranded.push(index);
        }
    }

    /// The connection is there: asks for a tunnel, or sends the first request.
    fn begin(&mut self, poll: &Poll, index: usize) -> Result<(), String> {
        let connects = &self.work.connects;
        if connects.is_empty() {
            return self.request(poll, index);
        }
        let client = &mut self.clients[index];
        client.outgoing =
            Rc::clone(&connects[(index + usize::try_from(self.tally.done).unwrap_or(0)) % connects.len()]);
        (client.sent, client.upload) = (0, 0);
        client.phase = Phase::Establishing;
        self.send(poll, index)
    }

    fn request(&mut self, poll: &Poll, index: usize) -> Result<(), String> {
        let request = self.work.tour.pop().unwrap_or_else(|| Rc::clone(&self.work.request));
        let client = &mut self.clients[index];
        client.outgoing = request;
        (client.sent, client.upload) = (0, self.work.upload);
        client.head.clear();
        client.phase = Phase::Head;
        // The time of a new connection or a tunnel is that of all of it.
        if client.is_used {
            client.begun = Instant::now();
        }
        self.send(poll, index)
    }

    fn send(&mut self, poll: &Poll, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        let Some(mut stream) = client.stream.as_ref() else { return Ok(()) };
        let mut is_blocked = false;
        while client.sent < client.outgoing.len() || client.upload > 0 {
            let is_head = client.sent < client.outgoing.len();
            let piece = match is_head {
                true => &client.outgoing[client.sent..],
                false => {
                    &self.filler
                        [..self.filler.len().min(usize::try_from(client.upload).unwrap_or(usize::MAX))]
                }
            };
            match unless_blocked(stream.write(piece)).map_err(|error| format!("send: {:?}", error.kind()))? {
                None => {
                    is_blocked = true;
                    break;
                }
                Some(count) if is_head => client.sent += count,
                Some(count) => {
                    client.upload -= count as u64;
                    self.tally.bytes += count as u64;
                }
            }
        }
        if is_blocked != client.waits_to_write {
            client.waits_to_write = is_blocked;
            poll.change(&stream, (self.token)(index), is_blocked).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn receive(&mut self, poll: &Poll, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        let Some(mut stream) = client.stream.as_ref() else { return Ok(()) };
        let got = match client.phase {
            Phase::Body(left) => {
                let most = self.scratch.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                discard(stream, &mut self.scratch[..most])
            }
            _ => unless_blocked(stream.read(&mut self.scratch[..64 * 1024])),
        };
        let count = match got {
            Ok(None) => return Ok(()),
            Ok(Some(count)) => count,
            Err(error) => return Err(format!("receive: {:?}", error.kind())),
        };
        self.tally.bytes += count as u64;
        match client.phase {
            Phase::Parting if count == 0 => {
                self.open(poll, index);
                Ok(())
            }
            Phase::UntilEnd if count == 0 => self.done(poll, index),
            // A server may close a connection that it has kept; the request is sent on another one.
            Phase::Head if count == 0 && client.is_used && client.head.is_empty() => {
                self.tally.reconnects += 1;
                self.open(poll, index);
                Ok(())
            }
            _ if count == 0 => Err("closed early".into()),
            Phase::Body(left) => {
                client.phase = Phase::Body(left - count as u64);
                if left == count as u64 { self.done(poll, index) } else { Ok(()) }
            }
            Phase::Head | Phase::Establishing => {
                client.head.extend_from_slice(&self.scratch[..count]);
                self.head(poll, index)
            }
            Phase::UntilEnd | Phase::Parting | Phase::Connecting | Phase::Resting | Phase::Idle => Ok(()),
        }
    }

    /// Looks at what there is of a head.
    fn head(&mut self, poll: &Poll, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        let Some(end) = memchr::memmem::find(&client.head, b"\r\n\r\n") else { return Ok(()) };
        let head = std::str::from_utf8(&client.head[..end]).map_err(|_| "a head that is no text")?;
        match head.get(9..12) {
            Some("200") => {}
            status => return Err(format!("status {}", status.unwrap_or("?"))),
        }
        if client.phase == Phase::Establishing {
            return self.request(poll, index);
        }
        let connection = field(head, "connection").unwrap_or("");
        client.closes = connection.eq_ignore_ascii_case("close")
            || (head.starts_with("HTTP/1.0") && !connection.eq_ignore_ascii_case("keep-alive"));
        if field(head, "transfer-encoding").is_some() {
            return Err("an answer in chunks".into());
        }
        let length: Option<u64> = field(head, "content-length").and_then(|length| length.parse().ok());
        let here = (client.head.len() - end - 4) as u64;
        match length {
            None => client.phase = Phase::UntilEnd,
            Some(length) if here >= length => return self.done(poll, index),
            Some(length) => client.phase = Phase::Body(length - here),
        }
        Ok(())
    }

    /// An answer is complete.
    fn done(&mut self, poll: &Poll, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        self.tally.done += 1;
        self.tally.micros.push(u32::try_from(client.begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        client.is_used = true;
        match self.work.habit {
            Habit::Idle => {
                client.phase = Phase::Idle;
                self.idle += 1;
            }
            _ if client.phase == Phase::UntilEnd => self.open(poll, index),
            // It says that it closes: it does so first.
            _ if client.closes => client.phase = Phase::Parting,
            Habit::New => self.open(poll, index),
            Habit::KeepAlive if self.work.interval.is_some() => {
                client.phase = Phase::Resting;
                self.resting.push_back(index);
            }
            Habit::KeepAlive => return self.request(poll, index),
        }
        Ok(())
    }
}

/// Text that is sent as it is.
pub(crate) fn bytes(text: &str) -> Rc<[u8]> {
    text.as_bytes().into()
}

/// What errors that are `io`'s own become.
pub(crate) fn failed(what: &str, errors: &BTreeMap<String, u64>) -> io::Error {
    io::Error::other(format!("{what}: {errors:?}"))
}
