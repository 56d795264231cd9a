//! The listening sockets of the instance: one for each slot and address, bound before anything is spawned, never closed
//! while the instance lives. A worker that dies leaves its queue to the next, or to who accepts meanwhile.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use crate::{
    config::settings::Settings,
    net::listen::{ListenError, join, listen},
};

/// All listening sockets.
#[derive(Debug)]
pub struct Sockets {
    addresses: Vec<SocketAddr>,
    /// Those of them where clients speak TLS.
    tls: Vec<SocketAddr>,
    /// For each address, one socket a slot, or one for all.
    sockets: Vec<Vec<TcpListener>>,
    are_shared: bool,
    backlog: u32,
}

impl Sockets {
    /// Binds everything that `settings` ask for, for so many slots.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had.
    pub fn bind(settings: &Settings, slots: usize) -> Result<Self, ListenError> {
        let are_shared = !settings.runtime.use_reuseport || !KERNEL_SPREADS;
        let count = if are_shared { 1 } else { slots };
        let backlog = settings.listen.backlog.get();
        let asked: Vec<_> = settings.listen_addr.iter().chain(&settings.tls.listen_addr).collect();
        let bound = asked.iter().map(|address| listen(**address, count, backlog));
        let sockets = bound.collect::<Result<Vec<_>, _>>()?;
        let addresses = sockets.iter().zip(asked).map(|(sockets, asked)| {
            sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(*asked)
        });
        let addresses: Vec<_> = addresses.collect();
        let tls = addresses[settings.listen_addr.len()..].to_vec();
        Ok(Self { addresses, tls, sockets, are_shared, backlog })
    }

    /// Takes sockets that somebody else has bound. All slots accept from them: more sockets for their ports can be had by
    /// the user who has bound them only, who is another.
    ///
    /// # Errors
    ///
    /// When one does not know its address.
    pub fn adopt(settings: &Settings, listeners: Vec<TcpListener>) -> io::Result<Self> {
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let sockets = listeners.into_iter().map(|listener| vec![listener]).collect();
        let tls = settings.tls.listen_addr.iter().copied().filter(|at| addresses.contains(at)).collect();
        Ok(Self { addresses, tls, sockets, are_shared: true, backlog: settings.listen.backlog.get() })
    }

    /// All of them, for each address.
    pub(super) fn all(&self) -> &[Vec<TcpListener>] {
        &self.sockets
    }

    /// What another launcher has left.
    pub(super) fn inherit(
        settings: &Settings,
        addresses: Vec<SocketAddr>,
        tls: Vec<SocketAddr>,
        sockets: Vec<Vec<TcpListener>>,
        are_shared: bool,
    ) -> Self {
        Self { addresses, tls, sockets, are_shared, backlog: settings.listen.backlog.get() }
    }

    /// Where the instance listens, ports resolved.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses among them where clients speak TLS.
    #[must_use]
    pub fn tls(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// Whether all slots accept from the same sockets.
    pub(super) fn are_shared(&self) -> bool {
        self.are_shared
    }

    /// Duplicates of the sockets of one slot. A slot that is new gets its own.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptor left, or refuses the address by now.
    pub(super) fn of_slot(&mut self, slot: usize) -> io::Result<Vec<OwnedFd>> {
        let place = if self.are_shared { 0 } else { slot };
        let mut duplicates = Vec::with_capacity(self.sockets.len());
        for (address, sockets) in self.addresses.iter().zip(&mut self.sockets) {
            while sockets.len() <= place {
                sockets.push(join(*address, self.backlog).map_err(io::Error::other)?);
            }
            duplicates.push(sockets[place].try_clone()?.into());
        }
        Ok(duplicates)
    }

    /// Nobody is listened to any more, once the workers have let go as well.
    pub(super) fn close(&mut self) {
        self.sockets.clear();
    }
}

/// macOS gives all connections to the socket that was bound last.
const KERNEL_SPREADS: bool = !cfg!(target_os = "macos");
