//! HTTP through the doors of the endpoint: one request a connection.
//!
//! What an operator asks through the socket file may take as long as it takes; what he sends may not. Over TCP, where anybody
//! may come, the whole connection has a deadline. Only a few are open at a time, so that nobody can hold the instance by
//! its own endpoint; each door counts its own, so that who crowds the one does not close the other.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};

#[cfg(unix)]
use super::socket_file::SocketFile;
use super::{
    answer::{Door, answer},
    ask::Desk,
    host_names::HostNames,
    network::Network,
};
use crate::server::drain::Drain;

/// Connections at a time, through each door.
const MAX_CONNECTIONS: usize = 32;

/// How long a request head may take to come.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection over TCP may take in all.
const VISIT: Duration = Duration::from_secs(30);

/// The longest request head, in bytes. A browser's has some cookies of others on this host.
const MAX_HEAD: usize = 32 << 10;

/// How often it is looked whether all answers are written.
const REST_INTERVAL: Duration = Duration::from_millis(5);

/// How long to wait after an accept failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where operators come in.
#[derive(Debug, Default)]
pub struct Doors {
    /// For those who only look.
    pub network: Option<Network>,
    /// For the owner, who may do everything.
    #[cfg(unix)]
    pub socket: Option<SocketFile>,
}

/// The endpoint. Dropped, it takes no more connections and the name of its socket file is gone.
#[derive(Debug)]
pub struct Server {
    doors: Doors,
    acceptors: Vec<AbortHandle>,
    drain: Drain,
}

impl Server {
    /// Begins to answer at `doors` what `desk` can answer. To be called inside a runtime.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn start(doors: Doors, desk: &Desk) -> io::Result<Self> {
        let drain = Drain::new();
        let mut acceptors = Vec::new();
        #[cfg(unix)]
        if let Some(socket) = &doors.socket {
            let listener = UnixListener::from_std(socket.listener()?)?;
            let (desk, drain) = (desk.clone(), drain.clone());
            let acceptor = async move {
                let take = |cx: &mut Context<'_>| listener.poll_accept(cx).map_ok(|(stream, _)| stream);
                accept(take, |stream| owner(stream, desk.clone()), drain).await;
            };
            acceptors.push(tokio::spawn(acceptor).abort_handle());
        }
        if let Some(network) = &doors.network {
            let listener = TcpListener::from_std(network.listener()?)?;
            let (desk, drain, names) = (desk.clone(), drain.clone(), Arc::new(network.names().clone()));
            let acceptor = async move {
                let take = |cx: &mut Context<'_>| listener.poll_accept(cx).map_ok(|(stream, _)| stream);
                accept(take, |stream| visitor(stream, desk.clone(), Arc::clone(&names)), drain).await;
            };
            acceptors.push(tokio::spawn(acceptor).abort_handle());
            tracing::info!(admin = %network.address(), "listening for operators");
        }
        Ok(Self { doors, acceptors, drain })
    }

    /// Where it answers.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Lets the answers be written that are there, for so long. Others may come meanwhile.
    pub async fn rest(&self, patience: Duration) {
        let silence = async {
            while self.drain.active() > 0 {
                sleep(REST_INTERVAL).await;
            }
        };
        let _ = timeout(patience, silence).await;
    }

    /// Takes no more connections and lets those finish that are open, for so long.
    pub async fn finish(self, patience: Duration) {
        self.close();
        self.drain.start();
        let _ = timeout(patience, self.drain.finished()).await;
    }

    fn close(&self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

async fn accept<S, F>(
    take: impl Fn(&mut Context<'_>) -> Poll<io::Result<S>>,
    serve: impl Fn(S) -> F,
    drain: Drain,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match poll_fn(&take).await {
            Ok(stream) => {
                let (served, guard) = (serve(stream), drain.guard());
                tokio::spawn(async move {
                    served.await;
                    drop((permit, guard));
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection of an operator; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(unix)]
async fn owner(stream: tokio::net::UnixStream, desk: Desk) {
    serve(stream, &desk, Door::Socket).await;
}

async fn visitor(stream: tokio::net::TcpStream, desk: Desk, names: Arc<HostNames>) {
    if timeout(VISIT, serve(stream, &desk, Door::Network(&names))).await.is_err() {
        tracing::debug!("a connection to the admin endpoint took too long");
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, desk: &Desk, door: Door<'_>) {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request, desk, door).await));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of an operator failed");
    }
}

#[cfg(test)]
mod tests;
