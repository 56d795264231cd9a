//! Taking connections from a listening socket.
//!
//! A connection that finds no room is answered and closed before anything is allocated for it. An accept that
//! fails for lack of descriptors or memory is tried again a little later, never in a tight loop.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::{
    client::Peer,
    connection::{self, Arrived, ConnectionOptions, Shared},
    contained::contain,
    drain::{Drain, DrainGuard},
    handshake, http2,
    service::Service,
};
use crate::net::{
    socket,
    tls::{Accepted, Protocol},
};

/// How long to wait after an accept failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often the lack of resources is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts on `listener` until the drain starts, and serves `service` on every connection in a task of its own. What
/// waits to be accepted then is accepted still: closing the socket would reset it.
///
/// The listening socket is dropped with the future. Connections live on until they are finished; the guards of
/// `drain` tell when.
pub async fn accept<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    options: ConnectionOptions,
    drain: Drain,
) {
    // The drain is not finished before the last connections are taken.
    let _guard = drain.guard();
    let mut shared = Shared::new(service, &options, drain.clone());
    shared.is_prepared = socket::prepare_all(&listener, options.tcp_keepalive);
    let shared = Arc::new(shared);
    let mut complained: Option<Instant> = None;
    let mut drain_started = std::pin::pin!(drain.started());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut drain_started => return sweep(&listener, &shared).await,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => take(stream, peer, &shared),
            Err(error) if is_transient(&error) => {}
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() > COMPLAINT_INTERVAL) {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    complained = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes every connection that is complete already.
async fn sweep<S: Service>(listener: &TcpListener, shared: &Arc<Shared<S>>) {
    let taking = poll_fn(|cx| {
        while let Poll::Ready(Ok((stream, peer))) = listener.poll_accept(cx) {
            take(stream, peer, shared);
        }
        Poll::Ready(())
    });
    tokio::task::unconstrained(taking).await;
}

fn take<S: Service>(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared<S>>) {
    if shared.balancers.include(peer.ip()) {
        return take_brought(stream, peer, shared);
    }
    let ticket = match shared.service.admit(peer) {
        Ok(ticket) => ticket,
        Err(crowd) => return turn_away(&stream, crowd, peer, shared),
    };
    prepare(&stream, shared);
    let guard = shared.drain.guard();
    let peer = Peer { address: peer, is_brought: false, destination: None };
    tokio::spawn(contain(serve(stream, peer, Arc::clone(shared), ticket, guard)));
}

/// A connection that a balancer brings: its first bytes say whose it is. It has a place among all of them before that, and one
/// among those of its client only then.
fn take_brought<S: Service>(stream: TcpStream, balancer: SocketAddr, shared: &Arc<Shared<S>>) {
    let mut ticket = match shared.service.admit_unnamed() {
        Ok(ticket) => ticket,
        Err(crowd) => return turn_away(&stream, crowd, balancer, shared),
    };
    prepare(&stream, shared);
    let guard = shared.drain.guard();
    let shared = Arc::clone(shared);
    tokio::spawn(contain(async move {
        let patience = shared.client.client_header;
        // Boxed: what is served has no need of its room.
        let naming = Box::pin(shared.balancers.client(&stream, balancer, patience, &shared.drain));
        let Some(peer) = naming.await else { return };
        if let Err(crowd) = shared.service.name(&mut ticket, peer.address) {
            return turn_away(&stream, crowd, peer.address, &shared);
        }
        serve(stream, peer, shared, ticket, guard).await;
    }));
}

fn prepare<S: Service>(stream: &TcpStream, shared: &Shared<S>) {
    if !shared.is_prepared {
        // A client that is gone already is found out by the first read.
        let _ = socket::prepare(stream, shared.tcp_keepalive);
    }
}

/// Serves `stream`, whose next byte is the client's first.
async fn serve<S: Service>(
    stream: TcpStream,
    peer: Peer,
    shared: Arc<Shared<S>>,
    ticket: S::Ticket,
    guard: DrainGuard,
) {
    let Some(arrived) = welcome(stream, peer, &shared).await else { return };
    if arrived.protocol == Protocol::Http2 {
        // Boxed, so that who speaks HTTP/1.1 need not have the room.
        return Box::pin(http2::serve(arrived, shared)).await;
    }
    if let Some(tunnel) = connection::serve(arrived, shared).await {
        // In a task of its own, which is as large as the tunnel needs it: it may live long, and be one of many.
        tokio::spawn(contain(async move {
            tunnel.await;
            drop((ticket, guard));
        }));
    }
}

/// A client that can speak, once it is encrypted where that is wanted; none when it is gone.
async fn welcome<S: Service>(stream: TcpStream, peer: Peer, shared: &Shared<S>) -> Option<Arrived> {
    let Some(tls) = &shared.tls else {
        return Some(Arrived {
            stream: stream.into(),
            peer,
            user: None,
            protocol: Protocol::Http1,
            inside: None,
        });
    };
    // Boxed, so that who serves a client need not have the room for its handshake.
    let shaking =
        Box::pin(handshake::shake_hands(stream, tls, &shared.drain, |how| shared.service.shaken(how)));
    let Accepted { stream, protocol, user, .. } = shaking.await?;
    Some(Arrived { stream, peer, user, protocol, inside: None })
}

/// Answers a client for which there is no room, with what the socket takes at once. One that expects TLS understands no answer.
fn turn_away<S: Service>(stream: &TcpStream, crowd: S::Crowd, peer: SocketAddr, shared: &Shared<S>) {
    let answer = shared.service.crowded(crowd, peer);
    if shared.tls.is_some() {
        return;
    }
    // What the client has sent is read, for an unread byte would turn the close into a reset that eats the answer.
    let mut scratch = [0; 4096];
    let _ = socket2::SockRef::from(stream).send(&answer);
    let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
    let _ = stream.try_read(&mut scratch);
}

/// The failure of one connection that was gone before it was accepted.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted | Kind::WouldBlock
    ) || matches!(
        error.kind(),
        Kind::PermissionDenied
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

#[cfg(test)]
mod tests;
