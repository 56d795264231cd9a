//! Options of any stream.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How often a peer that does not answer a keep-alive probe is asked again.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Sends small writes at once, and notices a peer that is gone: probes start after `keepalive` of silence.
///
/// # Errors
///
/// The kernel's, when the socket is not one that can have these options.
pub fn prepare(stream: &TcpStream, keepalive: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(keepalive).with_interval(PROBE_INTERVAL);
    socket.set_tcp_keepalive(&probes)
}
