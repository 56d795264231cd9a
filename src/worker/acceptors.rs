//! The sockets on which a process accepts: its own, and those of slots that have nobody for now.
//!
//! Must not know why a socket is taken or left. A socket that is left is only let go: its queue belongs to whoever else
//! holds it, and connections that were accepted from it go on.

use std::{collections::HashMap, io, net::TcpListener, sync::Arc};

use tokio::task::AbortHandle;

use crate::{
    proxy::Proxy,
    server::{ConnectionOptions, accept, drain::Drain},
};

/// Whose sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// This process.
    Own,
    /// The slot with this index.
    Slot(usize),
}

/// What accepts.
pub(super) struct Acceptors {
    proxy: Arc<Proxy>,
    options: ConnectionOptions,
    drain: Drain,
    running: HashMap<Owner, Vec<AbortHandle>>,
}

impl Acceptors {
    /// Nothing accepts yet. All of them stop when `drain` starts.
    pub(super) fn new(proxy: Arc<Proxy>, options: ConnectionOptions, drain: Drain) -> Self {
        Self { proxy, options, drain, running: HashMap::new() }
    }

    /// Accepts on `listeners`, in place of those that this owner had. Inside a runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch them; then none is taken.
    pub(super) fn take(&mut self, owner: Owner, listeners: Vec<TcpListener>) -> io::Result<()> {
        let watch = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        let listeners = listeners.into_iter().map(watch).collect::<io::Result<Vec<_>>>()?;
        self.leave(owner);
        let accept = |listener| {
            let (proxy, options, drain) = (Arc::clone(&self.proxy), self.options.clone(), self.drain.clone());
            tokio::spawn(accept::accept(listener, proxy, options, drain)).abort_handle()
        };
        self.running.insert(owner, listeners.into_iter().map(accept).collect());
        Ok(())
    }

    /// Does not accept any more for this owner.
    pub(super) fn leave(&mut self, owner: Owner) {
        for acceptor in self.running.remove(&owner).into_iter().flatten() {
            acceptor.abort();
        }
    }
}
