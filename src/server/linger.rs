//! Closing a connection on which the peer may still be sending.
//!
//! A socket that is closed with unread bytes in it resets the connection, and the reset can destroy an answer that
//! the peer has not read yet (RFC 9112 section 9.6). So the write side is closed first, and what comes is thrown
//! away until the peer closes, within bounds.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use crate::net::stream::Stream;

/// The most that is thrown away before the connection is closed in any case.
pub(super) const MAX_DISCARD: usize = 64 << 20;

/// Closes `stream` for writing, then discards what arrives until its end, for at most `patience`.
pub(super) async fn close(mut stream: Stream, patience: Duration) {
    let deadline = Instant::now() + patience;
    // What is encrypted has to be written before it can end.
    if !matches!(timeout_at(deadline, stream.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let mut left = MAX_DISCARD;
    let mut buf = Vec::with_capacity(16 * 1024);
    while left > 0 {
        buf.clear();
        match timeout_at(deadline, stream.read_buf(&mut buf)).await {
            Ok(Ok(read)) if read > 0 => left = left.saturating_sub(read),
            _ => return,
        }
    }
}
