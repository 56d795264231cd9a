//! The facts of one exchange, as the access log has them (CONTRACT section 5).

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use crate::net::authority::Host;

/// What is written of one request or tunnel. Borrowed from whoever knows it.
#[derive(Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When its first byte came.
    pub at: SystemTime,
    /// The id that our answers name too.
    pub id: &'a [u8],
    /// The worker's index; none in a process that runs alone.
    pub worker: Option<usize>,
    /// The client.
    pub client: SocketAddr,
    /// Who the client said it is, and proved.
    pub user: Option<&'a str>,
    /// The method, where there was one to be understood.
    pub method: Option<&'a str>,
    /// `http`, `https`; none for a tunnel.
    pub scheme: Option<&'static str>,
    /// The host that was asked for.
    pub host: Option<&'a Host>,
    /// The port that was asked for.
    pub port: Option<u16>,
    /// Path and query as received; for what never became a request, its first line.
    pub path: &'a [u8],
    /// Whether the query is shown.
    pub keep_query: bool,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub proto: &'static str,
    /// What the client was answered, where it was.
    pub status: Option<u16>,
    /// What went wrong (RFC 9209).
    pub error: Option<&'static str>,
    /// The rule that decided.
    pub rule: Option<&'a str>,
    /// The way that was taken.
    pub route: Option<&'a str>,
    /// The address that was dialled.
    pub upstream: Option<SocketAddr>,
    /// Whether the connection had been used before.
    pub reused: bool,
    /// Content from the client, in bytes.
    pub bytes_in: u64,
    /// Content to the client, in bytes.
    pub bytes_out: u64,
    /// Name resolution.
    pub dns: Option<Duration>,
    /// Connecting.
    pub connect: Option<Duration>,
    /// From the first byte of the request to the head of the response.
    pub first_byte: Option<Duration>,
    /// From first to last.
    pub duration: Duration,
    /// The trace that the client says it belongs to; none where it says none.
    pub traceparent: Option<&'a str>,
    /// How it ended.
    pub close: &'static str,
}

impl AccessRecord<'_> {
    /// Whether nothing went wrong, whosever fault it would have been.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.error.is_none() && self.status.is_some_and(|status| status < 400)
    }
}

impl fmt::Debug for AccessRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessRecord")
            .field("client", &self.client)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
