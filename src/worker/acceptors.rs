//! The sockets on which a process accepts: its own, and those of slots that have nobody for now.
//!
//! Must not know why a socket is taken or left. A socket that is left is only let go: its queue belongs to whoever else
//! holds it, and connections that were accepted from it go on.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

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
    /// Where clients speak TLS.
    tls: Vec<SocketAddr>,
    drain: Drain,
    running: HashMap<Owner, Vec<Acceptor>>,
}

/// One socket and the task that accepts from it.
struct Acceptor {
    socket: TcpListener,
    task: AbortHandle,
}

impl Acceptors {
    /// Nothing accepts yet. All of them stop when `drain` starts.
    pub(super) fn new(
        proxy: Arc<Proxy>,
        options: ConnectionOptions,
        tls: Vec<SocketAddr>,
        drain: Drain,
    ) -> Self {
        Self { proxy, options, tls, drain, running: HashMap::new() }
    }

    /// Accepts on `sockets`, in place of those that this owner had. Inside a runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch them; then none is taken.
    pub(super) fn take(&mut self, owner: Owner, sockets: Vec<TcpListener>) -> io::Result<()> {
        let acceptors = sockets.into_iter().map(|socket| self.accept(socket)).collect::<io::Result<_>>()?;
        self.leave(owner);
        self.running.insert(owner, acceptors);
        Ok(())
    }

    /// Does not accept any more for this owner.
    pub(super) fn leave(&mut self, owner: Owner) {
        for acceptor in self.running.remove(&owner).into_iter().flatten() {
            acceptor.task.abort();
        }
    }

    /// Lets go of every socket. The drain has started: it ends the tasks, after they have taken what is waiting.
    pub(super) fn let_go(&mut self) {
        self.running.clear();
    }

    /// How many sockets there are.
    pub(super) fn len(&self) -> usize {
        self.running.values().map(Vec::len).sum()
    }

    /// Serves connections with these options from now on; those that are there keep what they have. Inside a runtime.
    pub(super) fn serve_with(&mut self, options: ConnectionOptions) {
        if self.drain.is_draining() {
            return;
        }
        self.options = options;
        for (owner, acceptors) in std::mem::take(&mut self.running) {
            let again =
                |acceptor: Acceptor| match acceptor.socket.try_clone().and_then(|socket| self.accept(socket))
                {
                    Ok(other) => {
                        acceptor.task.abort();
                        other
                    }
                    Err(error) => {
                        tracing::error!(%error, "a socket goes on with the old options");
                        acceptor
                    }
                };
            let acceptors = acceptors.into_iter().map(again).collect();
            self.running.insert(owner, acceptors);
        }
    }

    fn accept(&self, socket: TcpListener) -> io::Result<Acceptor> {
        socket.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(socket.try_clone()?)?;
        let (proxy, mut options, drain) = (Arc::clone(&self.proxy), self.options.clone(), self.drain.clone());
        if !self.tls.contains(&socket.local_addr()?) {
            options.tls = None;
        } else if options.tls.is_none() {
            return Err(io::Error::other("clients speak TLS here, and there is no certificate"));
        }
        let task = tokio::spawn(accept::accept(listener, proxy, options, drain)).abort_handle();
        Ok(Acceptor { socket, task })
    }
}
