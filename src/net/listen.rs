//! Listening sockets.
//!
//! A port with SO_REUSEPORT can be shared by mistake: the kernel lets any process of the same user join. So the first
//! socket of an address is bound without the option, which fails when somebody else is there, and gets it
//! only afterwards, for the ones that follow.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// A socket that cannot be had.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {}", explain(.source))]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

impl ListenError {
    /// Whether the operating system forbids it, as opposed to: the address is taken, or not ours.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use, by another instance perhaps".into(),
        io::ErrorKind::AddrNotAvailable => "this host does not have the address".into(),
        io::ErrorKind::PermissionDenied => "not permitted (ports below 1024 need a privilege)".into(),
        _ => error.to_string(),
    }
}

/// Binds `count` sockets to `address`, all to the same port when it is 0, and listens on them. With more than one, the kernel
/// spreads connections over them.
///
/// # Errors
///
/// When the address is taken by anybody else, or cannot be had for another reason.
pub fn listen(address: SocketAddr, count: usize, backlog: u32) -> Result<Vec<TcpListener>, ListenError> {
    let failed = |source| ListenError { address, source };
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let mut sockets = vec![first(address).map_err(failed)?];
    let bound = sockets[0].local_addr().map_err(failed)?;
    let bound = bound.as_socket().unwrap_or(address);
    for _ in 1..count {
        sockets.push(further(bound).map_err(failed)?);
    }
    for socket in &sockets {
        socket.listen(backlog).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
    }
    Ok(sockets.into_iter().map(Into::into).collect())
}

/// One more socket for a port on which this process listens already with [`listen`].
///
/// # Errors
///
/// When the operating system refuses it.
pub fn join(address: SocketAddr, backlog: u32) -> Result<TcpListener, ListenError> {
    let joined = further(address).and_then(|socket| {
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    joined.map(Into::into).map_err(|source| ListenError { address, source })
}

fn first(address: SocketAddr) -> io::Result<Socket> {
    let socket = new(address)?;
    // A connection of the last instance that still lingers is no reason to wait.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn further(address: SocketAddr) -> io::Result<Socket> {
    let socket = new(address)?;
    #[cfg(unix)]
    {
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn new(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_for_all_and_nobody_else_on_it() {
        let any = "127.0.0.1:0".parse().unwrap();
        let sockets = listen(any, 3, 16).unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap().port() == port));
        let taken = listen(SocketAddr::new(any.ip(), port), 3, 16).unwrap_err();
        assert!(taken.to_string().contains("in use"), "{taken}");
        drop(sockets);
        assert!(listen(SocketAddr::new(any.ip(), port), 1, 16).is_ok());
    }
}
