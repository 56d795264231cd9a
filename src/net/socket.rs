//! Options of any stream.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

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

/// Gives the connections of a listening socket what [`prepare`] gives to one, where the system hands it down; whether it does.
pub fn prepare_all<'a>(listener: impl Into<SockRef<'a>>, keepalive: Duration) -> bool {
    let socket = listener.into();
    let probes = TcpKeepalive::new().with_time(keepalive).with_interval(PROBE_INTERVAL);
    cfg!(target_os = "linux")
        && socket.set_tcp_nodelay(true).is_ok()
        && socket.set_tcp_keepalive(&probes).is_ok()
}

/// Has a socket that is about to connect do so from `source`.
///
/// On Linux the port is chosen when the socket connects, so that one source port serves connections to different origins: it
/// could otherwise not make more connections in all than there are ephemeral ports.
///
/// # Errors
///
/// The kernel's: the address is not one of this host.
pub fn bind_source(socket: &TcpSocket, source: IpAddr) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(SocketAddr::new(source, 0))
}
