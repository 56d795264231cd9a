//! How much one connection may hold, and how much of a nuisance it may be.
//!
//! What is not here is in the configuration: the size of a header list is `limits.max_header_bytes`, a connection without streams is
//! closed after `timeouts.client_idle`, a client that does not answer a PING, has no preface to send or does not close after
//! `timeouts.client_header`, a stream of which the client takes nothing is reset after `timeouts.body_idle`.
//!
//! The most that a connection holds for a client that takes nothing: [`CONNECTION_WINDOW`] of what it has sent,
//! [`MAX_STREAMS`] times [`SEND_BUFFER`] of what it has not taken, and what each stream of HTTP/1.1 would hold.

use std::time::Duration;

use h2::server::Builder;
use tokio::time::Instant;

/// Streams at a time, those that have ended for the client and not yet for us among them. What is more is refused, and may be
/// tried again.
pub(super) const MAX_STREAMS: usize = 128;

/// What a client may send on one stream before it is passed on, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// And on all of them together.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// What is kept of a stream for a client that takes nothing, in bytes.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// Streams that the client has reset before we have seen them. One more, and the connection is closed.
const MAX_PENDING_RESETS: usize = 32;

/// Streams that we have reset and for which frames may still come.
const MAX_OWN_RESETS: usize = 64;

/// Streams that were reset because something was wrong with them. One more, and the connection is closed.
const MAX_FAULTS: usize = 1024;

/// Streams that a client may reset at once, and how many more each second: a browser that leaves a page resets all of its
/// requests. Above that the connection is closed, for each of them was work.
const RESET_BURST: f64 = 1000.0;
const RESETS_PER_SECOND: f64 = 33.0;

/// A connection with streams gets a PING so often: a client that is gone is found out where its system does not tell.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(60);

/// A connection that has no streams when the server stops has so long to answer the PING that comes with GOAWAY, and to close: a
/// stream that was on its way then is here before that answer.
pub(super) const IDLE_FAREWELL: Duration = Duration::from_secs(2);

/// A server within these bounds, that takes header lists of `max_header_bytes`.
pub(super) fn builder(max_header_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_concurrent_reset_streams(MAX_OWN_RESETS)
        .max_local_error_reset_streams(Some(MAX_FAULTS))
        .enable_connect_protocol();
    builder
}

/// How many resets are left to a client.
#[derive(Debug)]
pub(super) struct Resets {
    left: f64,
    at: Instant,
}

impl Resets {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: RESET_BURST, at: now }
    }

    /// There were `count` more. Whether that is within bounds.
    pub(super) fn take(&mut self, count: usize, now: Instant) -> bool {
        let refilled = now.saturating_duration_since(self.at).as_secs_f64() * RESETS_PER_SECOND;
        self.at = now;
        self.left =
            (self.left + refilled).min(RESET_BURST) - f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.left >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_few_in_the_long_run() {
        let start = Instant::now();
        let mut resets = Resets::new(start);
        assert!(resets.take(1000, start));
        assert!(resets.take(33, start + Duration::from_secs(1)));
        assert!(!resets.take(40, start + Duration::from_secs(2)));
        let mut resets = Resets::new(start);
        let hour = start + Duration::from_secs(3600);
        assert!(resets.take(1000, hour) && !resets.take(1, hour), "what was not used is not saved up");
    }
}
