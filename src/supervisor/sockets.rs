//! The listening sockets of the instance: one for each slot and address, bound before anything is spawned, never closed
//! while the launcher lives. A worker that dies leaves its queue to the next.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, BorrowedFd},
};

use crate::{
    config::settings::Settings,
    net::listen::{ListenError, listen},
};

/// All listening sockets.
#[derive(Debug)]
pub struct Sockets {
    addresses: Vec<SocketAddr>,
    /// For each address, one socket a slot, or one for all.
    sockets: Vec<Vec<TcpListener>>,
}

impl Sockets {
    /// Binds everything that `settings` ask for, for so many slots.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had.
    pub fn bind(settings: &Settings, slots: usize) -> Result<Self, ListenError> {
        let count = if settings.runtime.use_reuseport && KERNEL_SPREADS { slots } else { 1 };
        let backlog = settings.listen.backlog.get();
        let bound = settings.listen_addr.iter().map(|address| listen(*address, count, backlog));
        let sockets = bound.collect::<Result<Vec<_>, _>>()?;
        let addresses = sockets.iter().zip(&settings.listen_addr).map(|(sockets, asked)| {
            sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(*asked)
        });
        Ok(Self { addresses: addresses.collect(), sockets })
    }

    /// Where the instance listens, ports resolved.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether all slots have the same sockets: then each worker accepts for all.
    pub(super) fn are_shared(&self) -> bool {
        self.sockets.iter().all(|sockets| sockets.len() == 1)
    }

    /// The sockets of one slot.
    pub(super) fn of_slot(&self, slot: usize) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(|sockets| sockets[slot % sockets.len()].as_fd()).collect()
    }
}

/// macOS gives all connections to the socket that was bound last.
const KERNEL_SPREADS: bool = !cfg!(target_os = "macos");
