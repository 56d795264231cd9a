//! How much one session may hold, and how many of them there are.
//!
//! What is not here is in the configuration: the size of a header list follows `limits.max_header_bytes`, a session without streams is
//! closed after `upstream.idle_timeout`, one that does not answer a PING, or does not let itself be closed, after
//! `timeouts.connect`; on each stream the deadlines of its request hold.

use std::time::Duration;

use h2::client::Builder;

use crate::message::head::HeadLimits;

/// Streams of a session at a time, where the origin does not allow fewer.
pub(super) const MAX_STREAMS: usize = 128;

/// Sessions with one origin. Requests beyond what they carry wait.
pub(super) const MAX_SESSIONS: usize = 64;

/// Connections that are made at once because all sessions with an origin are full.
pub(super) const MAX_DIALS: usize = 8;

/// Origins of which it is remembered what they speak.
pub(super) const MAX_ORIGINS: usize = 4096;

/// For so long it is remembered that an origin speaks HTTP/1.1.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

/// After somebody could not connect, others need not wait for each other for so long.
pub(super) const UNHAPPY: Duration = Duration::from_secs(1);

/// Streams whose end is awaited though all of their content is here, and nobody needs more.
pub(super) const MAX_LEFT: usize = 64;

/// A session that was idle for so long is asked by a PING whether the origin is there still, beside the request that goes out.
pub(super) const DOUBTFUL_AFTER: Duration = Duration::from_secs(10);

/// What an origin may send on one stream before the client takes it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// And on all together: clients that take nothing must not stop the streams of others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;

/// What is kept of a request for an origin that takes nothing, in bytes.
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// Streams that we have reset and for which frames may still come.
const MAX_OWN_RESETS: usize = 64;

/// Streams that were reset because something was wrong with them. One more, and the session is closed.
const MAX_FAULTS: usize = 1024;

/// A field costs so much beyond its bytes (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// What is read of an origin before others have their turn, in bytes.
pub(super) const TURN: usize = 512 * 1024;

/// A client within these bounds.
pub(super) fn builder(limits: HeadLimits) -> Builder {
    // A head is judged by the bytes that it has in HTTP/1.1. What is above this bound is not even kept.
    let list = limits.max_bytes.saturating_mul(2).saturating_add(limits.max_headers * FIELD_OVERHEAD);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_concurrent_streams(0)
        // Before the origin has said how many it takes: the one for which the connection was made.
        .initial_max_send_streams(1)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(MAX_OWN_RESETS)
        .max_local_error_reset_streams(Some(MAX_FAULTS));
    builder
}
