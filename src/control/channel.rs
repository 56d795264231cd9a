//! The control channel: a socket pair, one end of which is the worker's standard input.
//!
//! A message is one line of JSON. Descriptors travel with the first one (SCM_RIGHTS). The end of the stream is a message too: the
//! other process is gone. A line that is too long or is no message ends the channel.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
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
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// The longest message, in bytes. The configuration file is in one.
const MAX_MESSAGE: u64 = 8 << 20;

/// Descriptors that can come with a message.
const MAX_DESCRIPTORS: usize = 64;

/// Sends the first message with descriptors. Blocks until it is written.
///
/// # Errors
///
/// The operating system's; too many descriptors.
pub fn send_first<T: Serialize>(
    stream: &mut StdUnixStream,
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
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    let sent = rustix::net::sendmsg(&*stream, &[IoSlice::new(&line)], &mut ancillary, SendFlags::empty())?;
    stream.write_all(&line[sent..])
}

/// Receives the first message and its descriptors. Blocks until it is there.
///
/// # Errors
///
/// The operating system's; what comes is no message.
pub fn receive_first<T: DeserializeOwned>(stream: &mut StdUnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut line = vec![0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        &*stream,
        &mut [IoSliceMut::new(&mut line)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    line.truncate(received.bytes);
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let mut byte = [0];
    // The launcher sends nothing more before it is answered: what is missing of the line is all that can come.
    while line.last() != Some(&b'\n') {
        if line.len() as u64 > MAX_MESSAGE || stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.push(byte[0]);
    }
    Ok((decode(&line)?, descriptors))
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
    let (read, write) = UnixStream::from_std(stream)?.into_split();
    Ok((Receiver { lines: BufReader::with_capacity(512, read), line: Vec::new() }, Sender { write }))
}

/// The end that is read.
#[derive(Debug)]
pub struct Receiver {
    lines: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

impl Receiver {
    /// The next message; none when the other process is gone or does not speak our language. Cancel-safe.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        let room = MAX_MESSAGE.saturating_sub(self.line.len() as u64);
        let read = (&mut self.lines).take(room).read_until(b'\n', &mut self.line).await;
        let complete = read.is_ok() && self.line.last() == Some(&b'\n');
        let message = if complete { decode(&self.line).ok() } else { None };
        self.line.clear();
        message
    }
}

/// The end that is written.
#[derive(Debug)]
pub struct Sender {
    write: OwnedWriteHalf,
}

impl Sender {
    /// Sends a message. Waits while the other process does not read.
    ///
    /// # Errors
    ///
    /// When the other process is gone.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.write.write_all(&encode(message)?).await
    }
}

fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

fn decode<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(line)?)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Seek};

    use super::*;
    use crate::control::{Order, Report};

    #[test]
    fn descriptors_come_with_the_first_message() {
        let (mut ours, mut theirs) = StdUnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"seen").unwrap();
        send_first(&mut ours, &Order::Ping, &[file.as_fd()]).unwrap();
        let (order, mut descriptors) = receive_first::<Order>(&mut theirs).unwrap();
        assert_eq!(order, Order::Ping);
        let mut handed = File::from(descriptors.pop().unwrap());
        handed.rewind().unwrap();
        let mut text = String::new();
        handed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "seen");
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
            assert_eq!(receiver.next::<Report>().await, None, "{bytes:?}");
        }
    }
}
