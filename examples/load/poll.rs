//! Readiness, and sockets that do not block.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    net::RecvFlags,
};
use socket2::{Domain, Socket, Type};

/// Events taken at once.
const BATCH: usize = 512;

/// Whose socket is ready, and its place among those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Listener(usize),
    Served(usize),
    Client(usize),
    Bystander(usize),
}

impl Token {
    fn to_word(self) -> u64 {
        let (kind, index) = match self {
            Self::Listener(index) => (0, index),
            Self::Served(index) => (1, index),
            Self::Client(index) => (2, index),
            Self::Bystander(index) => (3, index),
        };
        kind << 48 | index as u64
    }

    fn of_word(word: u64) -> Self {
        let index = usize::try_from(word & ((1 << 48) - 1)).unwrap_or(usize::MAX);
        match word >> 48 {
            0 => Self::Listener(index),
            1 => Self::Served(index),
            2 => Self::Client(index),
            _ => Self::Bystander(index),
        }
    }
}

/// What a socket is ready for. An end or an error counts as something to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

/// Level-triggered epoll. A socket that is closed is forgotten by the kernel.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(BATCH) })
    }

    pub(crate) fn add(&self, socket: &impl AsFd, token: Token, writes: bool) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token.to_word()), interest(writes))?)
    }

    pub(crate) fn change(&self, socket: &impl AsFd, token: Token, writes: bool) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(token.to_word()), interest(writes))?)
    }

    /// Replaces `ready` by the sockets that are, after `patience` at most.
    pub(crate) fn wait(&mut self, patience: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&patience))?;
        ready.clear();
        ready.extend(self.events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            Ready {
                token: Token::of_word(data.u64()),
                reads: !flags.difference(epoll::EventFlags::OUT).is_empty(),
                writes: flags.contains(epoll::EventFlags::OUT),
            }
        }));
        Ok(())
    }
}

fn interest(writes: bool) -> epoll::EventFlags {
    if writes { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

/// Begins to connect.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}

/// None where it would block.
pub(crate) fn unless_blocked(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Throws up to as many received bytes away as `scratch` is long, without copying them out of the kernel.
pub(crate) fn discard(stream: &TcpStream, scratch: &mut [u8]) -> io::Result<Option<usize>> {
    let got = rustix::net::recv(stream, scratch, RecvFlags::TRUNC);
    unless_blocked(got.map(|(_, count)| count).map_err(io::Error::from))
}
