//! The control channel: a socket pair, one end of which is the worker's standard input.
//!
//! A message is one line of JSON. Descriptors travel beside it (SCM_RIGHTS) and are taken in the order in which they were
//! sent; the message says how many are its own. The end of the stream is a message too: the other process is gone. A
//! line that is too long or is no message ends the channel, and so do more descriptors than anybody has asked for.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// The longest message, in bytes. The configuration file is in one, with the files that it names.
const MAX_MESSAGE: usize = 64 << 20;

/// Descriptors that can come with a message.
pub const MAX_DESCRIPTORS: usize = 64;

/// Bytes of one read.
const CHUNK: usize = 8 << 10;

/// One end of the channel, before there is a runtime.
#[derive(Debug)]
pub struct Channel {
    stream: StdUnixStream,
    inbox: Inbox,
}

impl Channel {
    /// The two ends of a new channel. Neither is inherited by a child unless it is made to be.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn pair() -> io::Result<(Self, StdUnixStream)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        Ok((Self { stream: ours, inbox: Inbox::default() }, theirs))
    }

    /// The channel of this process to its launcher: its standard input, if that is one.
    ///
    /// # Errors
    ///
    /// When standard input is no socket.
    pub fn of_this_process() -> io::Result<Self> {
        let stream = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // It fails on anything but a socket.
        stream.peer_addr()?;
        Ok(Self { stream, inbox: Inbox::default() })
    }

    /// Waits for the next message. Blocks the thread.
    ///
    /// # Errors
    ///
    /// The operating system's; the other process is gone; what comes is no message.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        loop {
            if let Some(message) = self.inbox.take()? {
                return Ok(message);
            }
            if self.inbox.fill(self.stream.as_fd())? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next `count` descriptors that came, or as many as there are.
    pub fn descriptors(&mut self, count: usize) -> Vec<OwnedFd> {
        self.inbox.descriptors(count)
    }

    /// A reader and a writer, inside a runtime. Nothing that was received is lost.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub fn split(self) -> io::Result<(Receiver, Sender)> {
        self.stream.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(self.stream)?.into_split();
        Ok((Receiver { read, inbox: self.inbox }, Sender { write }))
    }

    /// The two parts of one channel, together again.
    ///
    /// # Errors
    ///
    /// When they are parts of two; the runtime's.
    pub fn join(receiver: Receiver, sender: Sender) -> io::Result<Self> {
        let stream = receiver.read.reunite(sender.write).map_err(io::Error::other)?.into_std()?;
        Ok(Self { stream, inbox: receiver.inbox })
    }

    /// A channel as it was left by another program under this process' number: its descriptor, and what had been received
    /// and not been taken.
    #[must_use]
    pub fn resume(descriptor: OwnedFd, received: Vec<u8>) -> Self {
        Self { stream: descriptor.into(), inbox: Inbox { bytes: received, ..Inbox::default() } }
    }

    /// What was received and not been taken.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.inbox.bytes
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The end that is read.
#[derive(Debug)]
pub struct Receiver {
    read: OwnedReadHalf,
    inbox: Inbox,
}

impl Receiver {
    /// The next message; none when the other process is gone or does not speak our language. Cancel-safe.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(message) = self.inbox.take().ok()? {
                return Some(message);
            }
            let (read, inbox) = (self.read.as_ref(), &mut self.inbox);
            let received = read.async_io(Interest::READABLE, || inbox.fill(read.as_fd())).await;
            if received.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next `count` descriptors that came, or as many as there are.
    pub fn descriptors(&mut self, count: usize) -> Vec<OwnedFd> {
        self.inbox.descriptors(count)
    }
}

/// The end that is written.
#[derive(Debug)]
pub struct Sender {
    write: OwnedWriteHalf,
}

impl Sender {
    /// Sends a message, and descriptors beside it. Waits while the other process does not read. Dropped half-way, it
    /// leaves a channel that must not be used any more.
    ///
    /// # Errors
    ///
    /// When the other process is gone; too many descriptors.
    pub async fn send<T: Serialize>(
        &mut self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if descriptors.len() > MAX_DESCRIPTORS {
            let text = format!("more than {MAX_DESCRIPTORS} sockets cannot be handed over");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut sent = 0;
        if !descriptors.is_empty() {
            let stream = self.write.as_ref();
            sent = stream.async_io(Interest::WRITABLE, || send_with(stream, &line, descriptors)).await?;
        }
        self.write.write_all(&line[sent..]).await
    }
}

fn send_with(stream: &UnixStream, line: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    Ok(rustix::net::sendmsg(stream, &[IoSlice::new(line)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// What was received and not yet taken.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// How far there is no end of a line.
    searched: usize,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Receives once; 0 at the end of the stream.
    fn fill(&mut self, stream: BorrowedFd<'_>) -> io::Result<usize> {
        let mut chunk = [0; CHUNK];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut chunks = [IoSliceMut::new(&mut chunk)];
            match rustix::net::recvmsg(stream, &mut chunks, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received?.bytes,
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                self.descriptors.extend(rights);
            }
        }
        self.bytes.extend_from_slice(&chunk[..received]);
        if self.descriptors.len() > 2 * MAX_DESCRIPTORS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors that nobody takes"));
        }
        Ok(received)
    }

    /// The next message, if it is complete.
    fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.bytes.len();
            if self.searched > MAX_MESSAGE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without an end"));
            }
            return Ok(None);
        };
        let message = serde_json::from_slice(&self.bytes[..end])?;
        self.bytes.drain(..=end);
        self.bytes.shrink_to(CHUNK);
        self.searched = 0;
        Ok(Some(message))
    }

    fn descriptors(&mut self, count: usize) -> Vec<OwnedFd> {
        let count = count.min(self.descriptors.len());
        self.descriptors.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
    };

    use super::*;
    use crate::control::{Order, Report};

    fn file(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn text(descriptor: OwnedFd) -> String {
        let (mut file, mut text) = (File::from(descriptor), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test]
    async fn descriptors_come_in_the_order_of_their_messages() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut theirs = Channel { stream: theirs, inbox: Inbox::default() };
        let (_receiver, mut sender) = ours.split().unwrap();
        let (one, two, three) = (file("one"), file("two"), file("three"));
        sender.send(&Order::Ping, &[one.as_fd()]).await.unwrap();
        sender.send(&Order::Drain, &[]).await.unwrap();
        sender.send(&Order::Stop, &[two.as_fd(), three.as_fd()]).await.unwrap();
        assert_eq!(theirs.receive::<Order>().unwrap(), Order::Ping);
        assert_eq!(theirs.descriptors(1).into_iter().map(text).collect::<Vec<_>>(), ["one"]);
        assert_eq!(theirs.receive::<Order>().unwrap(), Order::Drain);
        let (mut receiver, _sender) = theirs.split().unwrap();
        assert_eq!(receiver.next::<Order>().await, Some(Order::Stop));
        assert_eq!(receiver.descriptors(9).into_iter().map(text).collect::<Vec<_>>(), ["two", "three"]);
    }

    #[tokio::test]
    async fn a_channel_goes_on_where_it_was_left() {
        let (ours, mut theirs) = Channel::pair().unwrap();
        let (mut receiver, sender) = ours.split().unwrap();
        theirs.write_all(b"\"Ready\"\n\"Po").unwrap();
        assert_eq!(receiver.next::<Report>().await, Some(Report::Ready));
        let left = Channel::join(receiver, sender).unwrap();
        let received = left.received().to_vec();
        assert_eq!(received, b"\"Po");
        let descriptor = left.as_fd().try_clone_to_owned().unwrap();
        drop(left);
        theirs.write_all(b"ng\"\n").unwrap();
        let (mut receiver, _sender) = Channel::resume(descriptor, received).split().unwrap();
        assert_eq!(receiver.next::<Report>().await, Some(Report::Pong));
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_channel() {
        for bytes in [&b"{\"Nonsense\":1}\n"[..], b"\xff\xfe\n", b"\"Ready\"", b""] {
            let (ours, mut theirs) = Channel::pair().unwrap();
            let (mut receiver, _sender) = ours.split().unwrap();
            theirs.write_all(b"\"Ready\"\n").unwrap();
            theirs.write_all(bytes).unwrap();
            drop(theirs);
            assert_eq!(receiver.next::<Report>().await, Some(Report::Ready));
            assert_eq!(receiver.next::<Report>().await, None, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_large_message_passes_a_small_socket() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (_receiver, mut sender) = ours.split().unwrap();
        let (mut reports, _sender) = Channel { stream: theirs, inbox: Inbox::default() }.split().unwrap();
        let long = "x".repeat(3 << 20);
        let (sent, received) = tokio::join!(sender.send(&long, &[]), reports.next::<String>());
        sent.unwrap();
        assert_eq!(received, Some(long));
    }
}
