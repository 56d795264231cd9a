//! Linux: when what goes one way is worth a pipe, and its way through one.
//!
//! The figures are measured: four full reads in a row begin it, a small one ends it. What is in the pipe was read and is not
//! written yet; whoever counts, counts what [`Bulk::drain`] says. Must not know what the bytes are.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::net::TcpStream;

use super::splice::Pipe;

/// A read of this size is a large one.
const LARGE: usize = 48 * 1024;

/// So many large reads in a row, and the direction is bulk.
const LARGE_READS: u8 = 4;

/// A filling of less than this, and it is bulk no longer.
const SMALL: usize = 8 * 1024;

/// Whether one way goes through a pipe, and the pipe while something is in it.
#[derive(Debug, Default)]
pub struct Bulk {
    pipe: Option<Pipe>,
    large_reads: u8,
    is_on: bool,
    /// The kernel does not do it for these sockets.
    is_impossible: bool,
}

impl Bulk {
    /// What never goes through a pipe.
    #[must_use]
    pub fn never() -> Self {
        Self { is_impossible: true, ..Self::default() }
    }

    /// A read by copying was this large.
    pub fn note(&mut self, read: usize) {
        self.large_reads = if read >= LARGE { self.large_reads.saturating_add(1) } else { 0 };
        self.is_on = self.large_reads >= LARGE_READS && !self.is_impossible;
    }

    /// Whether the next bytes are worth the pipe.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether there are bytes that have been read and not yet written.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Takes what the source has into a pipe, up to `most` bytes. `Some(0)` is the source's end; none is nothing at all, as
    /// before: it may have stopped being bulk.
    ///
    /// # Errors
    ///
    /// The source's.
    pub fn fill(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        most: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        match source.poll_read_ready(cx) {
            Poll::Ready(is_ready) => is_ready?,
            Poll::Pending => {
                // Who waits needs no pipe.
                self.pipe = None;
                return Poll::Pending;
            }
        }
        let Some(pipe) = self.pipe.take().or_else(Pipe::take) else {
            self.stop();
            return Poll::Ready(Ok(None));
        };
        match self.pipe.insert(pipe).fill(source, most) {
            Ok(filled) => {
                if filled < SMALL {
                    self.stop();
                }
                Poll::Ready(Ok(Some(filled)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Ready(Ok(None)),
            // Nothing has moved: the copying goes on where it stopped.
            Err(error) if is_refusal(&error) => {
                self.is_impossible = true;
                self.stop();
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Gives the sink what it takes of that: so many bytes. None is nothing at all: it may take some the next time.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn drain(&mut self, cx: &mut Context<'_>, sink: &TcpStream) -> Poll<io::Result<Option<usize>>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(None)) };
        ready!(sink.poll_write_ready(cx))?;
        let drained = match pipe.drain(sink) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Ready(Ok(None)),
            drained => drained?,
        };
        if pipe.is_empty() && !self.is_on {
            self.pipe = None;
        }
        Poll::Ready(Ok(Some(drained)))
    }

    fn stop(&mut self) {
        self.is_on = false;
        self.large_reads = 0;
        if !self.is_holding() {
            self.pipe = None;
        }
    }
}

/// The kernel, or what guards it, does not do this at all.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::InvalidInput | Kind::PermissionDenied | Kind::Unsupported)
}
