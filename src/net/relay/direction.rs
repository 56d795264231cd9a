//! One way of a relay.
//!
//! The invariant: bytes are written in the order they were read and counted when they are written; the sink learns of the
//! end after the last of them.

use std::{
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Conduit, RelayCounts, buffer::Buffer};
#[cfg(target_os = "linux")]
use crate::net::bulk::Bulk;

/// How often one direction may move before the other, and other relays, have their turn.
const TURNS: usize = 8;

/// What a slow sink has not taken is copied out of the buffer up to this size; more of it keeps the buffer, for copying costs
/// more than the memory.
const SMALL_REST: usize = 8 * 1024;

/// Which end of a direction failed.
pub(super) enum Fault {
    Source(io::Error),
    Sink(io::Error),
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client to the origin.
    Up,
    /// From the origin to the client.
    Down,
}

/// One way.
pub(super) struct Direction {
    held: Held,
    state: State,
    tally: Tally,
    turns: usize,
    #[cfg(target_os = "linux")]
    bulk: Bulk,
}

/// What has been written.
pub(super) struct Tally {
    way: Way,
    moved: u64,
    unflushed: bool,
}

/// Read and not yet written.
enum Held {
    Nothing,
    Bytes(Bytes),
    Buffer(Buffer, Range<usize>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has finished; what is held is still to be written.
    Ending,
    /// The sink takes no more: the source is read to its end for nothing.
    Discarding,
    Done,
}

impl Direction {
    /// One that is paced moves a buffer at a time, lest it is far over what it may be before it can be stopped.
    pub(super) fn new(way: Way, early: Bytes, is_paced: bool) -> Self {
        let held = if early.is_empty() { Held::Nothing } else { Held::Bytes(early) };
        Self {
            held,
            state: State::Open,
            tally: Tally { way, moved: 0, unflushed: false },
            turns: if is_paced { 1 } else { TURNS },
            #[cfg(target_os = "linux")]
            bulk: if is_paced { Bulk::never() } else { Bulk::default() },
        }
    }

    /// Bytes written in all.
    pub(super) fn moved(&self) -> u64 {
        self.tally.moved
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether there is something that the sink has not taken.
    pub(super) fn is_holding(&self) -> bool {
        #[cfg(target_os = "linux")]
        if self.bulk.is_holding() {
            return true;
        }
        // What encrypts holds what is not flushed.
        !matches!(self.held, Held::Nothing) || self.tally.unflushed
    }

    /// From now on the source is read, but nothing is written.
    pub(super) fn discard(&mut self) {
        self.held = Held::Nothing;
        self.state = State::Discarding;
        #[cfg(target_os = "linux")]
        {
            self.bulk = Bulk::default();
        }
    }

    /// Ready when the source has finished and the sink knows. Bytes are moved as long as there are any, and the task woken
    /// again after a while of that. With the `last` direction both connections end.
    pub(super) fn poll<S: Conduit, D: Conduit>(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut S, &mut D),
        counts: &RelayCounts,
        last: bool,
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..self.turns {
            match self.state {
                State::Done => return Poll::Ready(Ok(())),
                State::Discarding => ready!(self.drop_some(cx, source))?,
                _ if !matches!(self.held, Held::Nothing) => ready!(self.write_held(cx, sink, counts))?,
                #[cfg(target_os = "linux")]
                _ if self.bulk.is_holding() => ready!(self.drain_pipe(cx, sink, counts))?,
                // A socket says by its close that it has finished.
                State::Ending if last && sink.plain().is_some() => self.state = State::Done,
                State::Ending => {
                    // An error here says that the sink is gone, which its own direction finds out.
                    let _ = ready!(Pin::new(&mut *sink).poll_shutdown(cx));
                    self.state = State::Done;
                }
                State::Open => ready!(self.pump(cx, source, sink, counts))?,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes what was read; what the sink does not take is held.
    fn pump<S: Conduit, D: Conduit>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut D,
        counts: &RelayCounts,
    ) -> Poll<Result<(), Fault>> {
        #[cfg(target_os = "linux")]
        if self.bulk.is_on()
            && let (Some(socket), Some(_)) = (source.plain(), sink.plain())
        {
            if ready!(self.bulk.fill(cx, socket, usize::MAX)).map_err(Fault::Source)? == Some(0) {
                self.state = State::Ending;
            }
            return Poll::Ready(Ok(()));
        }
        let mut buffer = Buffer::take();
        let read = match read(cx, source, &mut buffer) {
            Poll::Ready(read) => read.map_err(Fault::Source)?,
            Poll::Pending => {
                drop(buffer);
                self.flush(cx, sink)?;
                return Poll::Pending;
            }
        };
        if read == 0 {
            self.state = State::Ending;
            return Poll::Ready(Ok(()));
        }
        #[cfg(target_os = "linux")]
        self.bulk.note(read);
        let written = match Pin::new(&mut *sink).poll_write(cx, &buffer[..read]) {
            Poll::Ready(written) => self.tally.passed(written, counts)?,
            Poll::Pending => 0,
        };
        self.held = match read - written {
            0 => Held::Nothing,
            1..=SMALL_REST => Held::Bytes(Bytes::copy_from_slice(&buffer[written..read])),
            _ => Held::Buffer(buffer, written..read),
        };
        Poll::Ready(Ok(()))
    }

    fn write_held<D: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut D,
        counts: &RelayCounts,
    ) -> Poll<Result<(), Fault>> {
        let rest = match &self.held {
            Held::Nothing => &[][..],
            Held::Bytes(bytes) => bytes,
            Held::Buffer(buffer, range) => &buffer[range.clone()],
        };
        let written = ready!(Pin::new(sink).poll_write(cx, rest));
        let written = self.tally.passed(written, counts)?;
        let is_written = match &mut self.held {
            Held::Nothing => true,
            Held::Bytes(bytes) => {
                bytes.advance(written);
                bytes.is_empty()
            }
            Held::Buffer(_, range) => {
                range.start += written;
                range.start == range.end
            }
        };
        if is_written {
            self.held = Held::Nothing;
        }
        Poll::Ready(Ok(()))
    }

    #[cfg(target_os = "linux")]
    fn drain_pipe<D: Conduit>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &D,
        counts: &RelayCounts,
    ) -> Poll<Result<(), Fault>> {
        match sink.plain() {
            Some(socket) => {
                match ready!(self.bulk.drain(cx, socket)) {
                    Ok(None) => {}
                    Ok(Some(drained)) => {
                        self.tally.passed(Ok(drained), counts)?;
                    }
                    Err(error) => return Poll::Ready(Err(Fault::Sink(error))),
                }
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(Fault::Sink(io::ErrorKind::Unsupported.into()))),
        }
    }

    /// Nothing for a socket; what encrypts may have kept something back.
    fn flush<D: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, sink: &mut D) -> Result<(), Fault> {
        if self.tally.unflushed
            && let Poll::Ready(flushed) = Pin::new(sink).poll_flush(cx)
        {
            flushed.map_err(Fault::Sink)?;
            self.tally.unflushed = false;
        }
        Ok(())
    }

    fn drop_some<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
    ) -> Poll<Result<(), Fault>> {
        if ready!(read(cx, source, &mut Buffer::take())).map_err(Fault::Source)? == 0 {
            self.state = State::Done;
        }
        Poll::Ready(Ok(()))
    }
}

impl Tally {
    /// Counts what a write has given.
    pub(super) fn passed(
        &mut self,
        written: io::Result<usize>,
        counts: &RelayCounts,
    ) -> Result<usize, Fault> {
        match written {
            Ok(0) => Err(Fault::Sink(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                self.unflushed = true;
                self.moved += written as u64;
                counts.add(self.way, written as u64);
                Ok(written)
            }
            Err(error) => Err(Fault::Sink(error)),
        }
    }
}

/// Zero at the end. A socket that gave less than it was asked for is not asked again before it has more.
fn read<S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    source: &mut S,
    buffer: &mut Buffer,
) -> Poll<io::Result<usize>> {
    let mut space = ReadBuf::new(buffer);
    ready!(Pin::new(source).poll_read(cx, &mut space))?;
    Poll::Ready(Ok(space.filled().len()))
}
