//! Linux: from socket to socket inside the kernel, through a pipe.
//!
//! For many bytes this costs a fraction of copying, for few it costs more, so who uses it decides when. A pipe is filled
//! only when it is empty and emptied before it is filled again: so "would block" always means the socket. Pipes are kept
//! by the thread; an idle relay has none. Must not know what is relayed.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use tokio::{io::Interest, net::TcpStream};

/// What a pipe should hold; more than this an unprivileged process does not get.
const WANTED: usize = 1024 * 1024;

/// A pipe that holds less than this is not worth it: the kernel gives small ones to a user who has many.
const LEAST: usize = 64 * 1024;

/// Pipes that a thread keeps.
const POOLED_PIPES: usize = 8;

thread_local! {
    static PIPES: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// A pipe and what is in it. An empty one goes back to the thread it is dropped on.
#[derive(Debug)]
pub(super) struct Pipe {
    ends: Option<Ends>,
    held: usize,
}

#[derive(Debug)]
struct Ends {
    reading: OwnedFd,
    writing: OwnedFd,
    capacity: usize,
}

impl Pipe {
    /// None when the kernel gives none that is large enough.
    pub(super) fn take() -> Option<Self> {
        let pooled = PIPES.try_with(|pipes| pipes.borrow_mut().pop()).ok().flatten();
        let ends = pooled.or_else(|| Ends::new().ok()).filter(|ends| ends.capacity >= LEAST)?;
        Some(Self { ends: Some(ends), held: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes what the socket has, up to `most` bytes, into an empty pipe. Zero at the socket's end.
    ///
    /// # Errors
    ///
    /// The socket's. "Would block" when it has nothing; then, and only then, its readiness is taken back.
    pub(super) fn fill(&mut self, source: &TcpStream, most: usize) -> io::Result<usize> {
        debug_assert!(self.is_empty(), "filled only when empty");
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        self.held =
            source.try_io(Interest::READABLE, || transfer(source, &ends.writing, ends.capacity.min(most)))?;
        Ok(self.held)
    }

    /// Gives the socket what it takes.
    ///
    /// # Errors
    ///
    /// The socket's. "Would block" when it takes nothing.
    pub(super) fn drain(&mut self, sink: &TcpStream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let moved = sink.try_io(Interest::WRITABLE, || transfer(&ends.reading, sink, self.held))?;
        self.held -= moved;
        Ok(moved)
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let capacity = fcntl_setpipe_size(&writing, WANTED).or_else(|_| fcntl_getpipe_size(&writing))?;
        Ok(Self { reading, writing, capacity })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // One that still holds something is closed: those bytes belong to nobody else.
        let Some(ends) = self.ends.take().filter(|_| self.held == 0) else { return };
        let _ = PIPES.try_with(|pipes| {
            let mut pipes = pipes.borrow_mut();
            if pipes.len() < POOLED_PIPES {
                pipes.push(ends);
            }
        });
    }
}

/// How many pipes this thread keeps.
#[cfg(test)]
pub(super) fn pooled() -> usize {
    PIPES.with(|pipes| pipes.borrow().len())
}

fn transfer(from: impl AsFd, to: impl AsFd, count: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, count, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_go_through_and_the_pipe_comes_back() {
        let ((mut from, source), (mut to, sink)) = (pair().await, pair().await);
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(pipe.fill(&source, usize::MAX).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        from.write_all(b"through").await.unwrap();
        source.readable().await.unwrap();
        assert_eq!(pipe.fill(&source, usize::MAX).unwrap(), 7);
        assert!(!pipe.is_empty());
        sink.writable().await.unwrap();
        assert_eq!(pipe.drain(&sink).unwrap(), 7);
        let mut received = [0; 7];
        to.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"through");
        drop(from);
        source.readable().await.unwrap();
        assert_eq!(pipe.fill(&source, usize::MAX).unwrap(), 0);
        let before = pooled();
        drop(pipe);
        assert_eq!(pooled(), before + 1);
    }

    #[tokio::test]
    async fn a_pipe_that_holds_something_is_not_kept() {
        let (mut from, source) = pair().await;
        let mut pipe = Pipe::take().unwrap();
        from.write_all(b"secret").await.unwrap();
        source.readable().await.unwrap();
        assert_eq!(pipe.fill(&source, usize::MAX).unwrap(), 6);
        let before = pooled();
        drop(pipe);
        assert_eq!(pooled(), before);
    }
}
