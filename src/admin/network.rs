//! The endpoint's socket for browsers and monitoring, over TCP.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::host_names::HostNames;
use crate::net::listen::{ListenError, listen};

/// Connections that can wait to be taken.
const BACKLOG: u32 = 128;

/// A listening socket, and the names under which it answers.
#[derive(Debug)]
pub struct Network {
    listener: TcpListener,
    address: SocketAddr,
    names: HostNames,
}

impl Network {
    /// Listens on `address`.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr, names: HostNames) -> Result<Self, ListenError> {
        let listener = listen(address, 1, BACKLOG)?.pop().expect("one socket was asked for");
        Self::adopt(listener, names).map_err(|source| ListenError { address, source })
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn adopt(listener: TcpListener, names: HostNames) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, listener, names })
    }

    /// Where it listens, the port resolved.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another handle to the socket.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    pub(super) fn names(&self) -> &HostNames {
        &self.names
    }
}
