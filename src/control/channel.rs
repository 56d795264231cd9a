//! The control channel: a socket pair, one end of which is the worker's standard input.
//!
//! A message is one line of JSON. Descriptors travel with it (SCM_RIGHTS). The end of the stream is a message too: the
//! other process is gone. A line that is too long or is no message ends the channel.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::Arc,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

/// The longest message, in bytes. The configuration file is in one.
const MAX_MESSAGE: usize = 8 << 20;

/// Descriptors that can come with a message.
const MAX_DESCRIPTORS: usize = 64;

/// Receives the first message and its descriptors. Blocks until it is there.
///
/// # Errors
///
/// The operating system's; what comes is no message.
pub fn receive_first<T: DeserializeOwned>(stream: &mut StdUnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut inbox = Inbox::default();
    loop {
        if let Some(message) = inbox.take()? {
            return Ok((message, inbox.descriptors));
        }
        if inbox.fill(&*stream)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The channel of this process to its launcher: its standard input, if that is one.
///
/// # Errors
///
/// When standard input is no socket.
pub fn of_this_process() -> io::Result<StdUnixStream> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let stream = StdUnixStream::from(stdin);
    // It fails on anything but a socket.
    stream.peer_addr()?;
    Ok(stream)
}

/// One end, split for a reader and a writer.
///
/// # Errors
///
/// The runtime's.
pub fn split(stream: StdUnixStream) -> io::Result<(Receiver, Sender)> {
    stream.set_nonblocking(true)?;
    let stream = Arc::new(UnixStream::from_std(stream)?);
    Ok((Receiver { stream: Arc::clone(&stream), inbox: Inbox::default() }, Sender { stream }))
}

/// The end that is read.
#[derive(Debug)]
pub struct Receiver {
    stream: Arc<UnixStream>,
    inbox: Inbox,
}

impl Receiver {
    /// The next message; none when the other process is gone or does not speak our language. Cancel-safe.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            match self.inbox.take() {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(_) => return None,
            }
            self.stream.readable().await.ok()?;
            let inbox = &mut self.inbox;
            match self.stream.try_io(Interest::READABLE, || inbox.fill(&*self.stream)) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

impl Receiver {
    /// The descriptors that came with the message that was returned last, for one with which some come.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.inbox.descriptors)
    }
}

/// The end that is written.
#[derive(Debug)]
pub struct Sender {
    stream: Arc<UnixStream>,
}

impl Sender {
    /// Sends a message. Waits while the other process does not read.
    ///
    /// # Errors
    ///
    /// When the other process is gone.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.send_with(message, &[]).await
    }

    /// Sends a message and descriptors with it.
    ///
    /// # Errors
    ///
    /// When the other process is gone; too many descriptors.
    pub async fn send_with<T: Serialize>(
        &mut self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "more listening sockets than can be handed over",
            ));
        }
        let line = encode(message)?;
        let mut sent = 0;
        while sent < line.len() {
            self.stream.writable().await?;
            // Descriptors go with the first byte.
            let with = if sent == 0 { descriptors } else { &[] };
            match self.stream.try_io(Interest::WRITABLE, || send_some(&*self.stream, &line[sent..], with)) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn send_some(stream: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    Ok(rustix::net::sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// What has been received and is not yet taken.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Inbox {
    /// Receives once; 0 is the end.
    fn fill(&mut self, stream: impl AsFd) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut room = [IoSliceMut::new(&mut bytes)];
        let received =
            rustix::net::recvmsg(stream, &mut room, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(handed) = message {
                self.descriptors.extend(handed);
            }
        }
        self.bytes.extend_from_slice(&bytes[..received]);
        Ok(received)
    }

    /// Takes a message, if a whole one is here. Descriptors stay for the one that they belong to: the kernel ends a
    /// reception behind the bytes that they came with, so they are never those of a later message.
    fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            let too_long = self.bytes.len() > MAX_MESSAGE || self.descriptors.len() > MAX_DESCRIPTORS;
            return if too_long { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
        };
        let message = serde_json::from_slice(&self.bytes[..end])?;
        self.bytes.drain(..=end);
        Ok(Some(message))
    }
}

fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
    };

    use super::*;
    use crate::control::{Order, Report};

    #[tokio::test]
    async fn descriptors_come_with_their_message() {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        let (_, mut sender) = split(ours).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"seen").unwrap();
        sender.send(&Order::Ping).await.unwrap();
        sender.send_with(&Order::Lend { slot: 1 }, &[file.as_fd()]).await.unwrap();
        sender.send(&Order::Drain).await.unwrap();
        let (mut receiver, _) = split(theirs).unwrap();
        assert_eq!(receiver.next::<Order>().await, Some(Order::Ping));
        assert_eq!(receiver.next::<Order>().await, Some(Order::Lend { slot: 1 }));
        let mut handed = receiver.take_descriptors();
        let mut handed = File::from(handed.pop().unwrap());
        handed.rewind().unwrap();
        let mut text = String::new();
        handed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "seen");
        assert_eq!(receiver.next::<Order>().await, Some(Order::Drain));
        assert!(receiver.take_descriptors().is_empty());
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_channel() {
        for bytes in [&b"{\"Nonsense\":1}\n"[..], b"\xff\xfe\n", b"\"Ready\"", b""] {
            let (mut ours, theirs) = StdUnixStream::pair().unwrap();
            let (mut receiver, _sender) = split(theirs).unwrap();
            ours.write_all(b"\"Ready\"\n").unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            assert_eq!(receiver.next::<Report>().await, Some(Report::Ready));
            assert!(receiver.next::<Report>().await.is_none(), "{bytes:?}");
        }
    }
}
