//! One client connection from its first byte to its close.
//!
//! Requests are read and served one after the other; then comes what HTTP leaves to be done: the answer to a head that was
//! refused, the tunnel that takes the socket over, the close that lets the client read what was sent.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout},
};

use super::{
    balancer::Balancers,
    client::{Client, ClientOptions, Next, Peer, RefusedHead},
    drain::Drain,
    handshake::TlsOptions,
    http2, linger,
    service::{After, ClientIo, Inside, Service, Tunnel},
};
use crate::net::{
    authority::Authority,
    stream::Stream,
    tls::{Accepted, Protocol, TlsError},
};

/// How connections are served.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// What is read, and how long is waited for it.
    pub client: ClientOptions,
    /// Who brings the connections of others.
    pub balancers: Arc<Balancers>,
    /// Silence before keep-alive probes are sent to a client.
    pub tcp_keepalive: Duration,
    /// How clients are encrypted; none = they are not.
    pub tls: Option<TlsOptions>,
}

/// A client that is here and can speak.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// Whom its certificate names.
    pub(super) user: Option<Arc<str>>,
    /// What it wants to speak, as agreed on in the TLS handshake.
    pub(super) protocol: Protocol,
    /// Whom it believes to speak with, where that is somebody else than us.
    pub(super) inside: Option<Arc<Authority>>,
}

/// What every connection of a server shares.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) service: Arc<S>,
    pub(super) client: Arc<ClientOptions>,
    pub(super) drain: Drain,
    pub(super) balancers: Arc<Balancers>,
    pub(super) tcp_keepalive: Duration,
    pub(super) tls: Option<TlsOptions>,
    /// Whether connections have the options of their socket from the listening one.
    pub(super) is_prepared: bool,
}

impl<S: Service> Shared<S> {
    pub(super) fn new(service: Arc<S>, options: &ConnectionOptions, drain: Drain) -> Self {
        Self {
            service,
            client: Arc::new(options.client.clone()),
            drain,
            balancers: Arc::clone(&options.balancers),
            tcp_keepalive: options.tcp_keepalive,
            tls: options.tls.clone(),
            is_prepared: false,
        }
    }
}

/// How HTTP ended on a connection.
enum End {
    After(After),
    Refused(RefusedHead),
    /// The last request was one of HTTP/1.0, and its response was cut.
    CutUnframed,
    /// There is no tunnel for one who speaks SOCKS5.
    Socks,
}

/// A client that has just connected is about to send its first request; it cannot know that the server drains, and it
/// takes the request for lost when it is turned away.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A client that speaks SOCKS5 and is told no is closed within this time (RFC 1928 section 6).
const SOCKS_PATIENCE: Duration = Duration::from_secs(10);

/// Serves a client until it is closed, or goes on as a tunnel.
pub(super) async fn serve<S: Service>(arrived: Arrived, shared: Arc<Shared<S>>) -> Option<Tunnel> {
    let mut client = Client::new(arrived, Arc::clone(&shared.client), shared.drain.clone());
    let mut spare_until = Some(Instant::now() + FIRST_REQUEST_GRACE);
    // One for all requests: what waits for it stands in a list that all connections share.
    let drain = client.drain();
    let mut drain_started = pin!(drain.started());
    let end = loop {
        let head = match next(&mut client, drain_started.as_mut(), spare_until.take()).await {
            Next::Head(head) => head,
            Next::Socks(started) => {
                // Boxed, as below.
                match Box::pin(shared.service.serve_socks(&mut client, started)).await {
                    after @ (After::Takeover(_) | After::Inside(_)) => break End::After(after),
                    _ => break End::Socks,
                }
            }
            Next::Refused(refused) => break End::Refused(refused),
            Next::Closed => break End::After(After::Close),
        };
        // Boxed, so that neither a silent client nor a tunnel holds the room that a request needs.
        match Box::pin(shared.service.serve(&head, &mut client)).await {
            After::KeepAlive => {}
            After::Cut if head.is_http10() => break End::CutUnframed,
            after => break End::After(after),
        }
    };
    match end {
        End::After(After::Takeover(takeover)) => {
            let (stream, early) = client.into_parts();
            Some(takeover(ClientIo { stream, early }))
        }
        End::After(After::Inside(inside)) => Some(enter(*inside, client, shared)),
        end => {
            // Boxed, as above.
            Box::pin(finish(end, client, &shared)).await;
            None
        }
    }
}

/// Goes on as the connection inside of `client`, which is served as any other is: to be run where tunnels are.
pub(super) fn enter<S: Service>(inside: Inside, client: Client, shared: Arc<Shared<S>>) -> Tunnel {
    Box::pin(async move {
        let Some(arrived) = shake_hands(inside, client, &shared).await else { return };
        if arrived.protocol == Protocol::Http2 {
            http2::serve(arrived, shared).await;
        } else if let Some(tunnel) = serve(arrived, shared).await {
            tunnel.await;
        }
    })
}

/// Shakes hands with a client that believes to speak with somebody else; none when it is closed.
async fn shake_hands<S: Service>(inside: Inside, client: Client, shared: &Shared<S>) -> Option<Arrived> {
    let Inside { acceptor, timeout: patience, authority, user, tell } = inside;
    let peer = client.whose();
    let (stream, early) = client.into_parts();
    match timeout(patience, acceptor.accept(stream, &early)).await {
        Ok(Ok(Accepted { stream, protocol, .. })) => {
            tell(Ok(()));
            Some(Arrived { stream, peer, user, protocol, inside: Some(authority) })
        }
        Ok(Err(refused)) => {
            tell(Err(refused.error));
            linger::close(refused.stream, shared.client.client_header).await;
            None
        }
        Err(_) => {
            tell(Err(TlsError::Closed));
            None
        }
    }
}

/// Does what is left to be done on a connection that carries no further request.
async fn finish<S: Service>(end: End, client: Client, shared: &Shared<S>) {
    let patience = shared.client.client_header;
    match end {
        End::Refused(refused) => {
            let answer = shared.service.refuse(client.peer(), &refused);
            let (mut stream, _) = client.into_parts();
            if let Ok(Ok(())) = timeout(patience, stream.write_all(&answer)).await {
                linger::close(stream, patience).await;
            }
        }
        End::After(After::Close | After::KeepAlive) => close(client, patience).await,
        End::Socks => linger::close(client.into_parts().0, patience.min(SOCKS_PATIENCE)).await,
        End::After(After::Linger) => linger::close(client.into_parts().0, patience).await,
        // The end of the stream would be the end of the message: only a reset says that it is not. And what a client does
        // not take is not kept for it in the kernel.
        End::CutUnframed | End::After(After::Broken) => {
            let (stream, _) = client.into_parts();
            stream.reset_on_close();
        }
        End::After(After::Cut | After::Takeover(_) | After::Inside(_)) => {}
    }
}

/// What the client sends next. A silent client is closed when the server drains, but not before `spare_until`.
async fn next(
    client: &mut Client,
    mut drain_started: Pin<&mut impl Future<Output = ()>>,
    spare_until: Option<Instant>,
) -> Next {
    poll_fn(|cx| {
        if let Poll::Ready(next) = client.poll_next(cx) {
            return Poll::Ready(next);
        }
        // It is not asked again once it has come.
        let is_draining = client.is_draining() || drain_started.as_mut().poll(cx).is_ready();
        if !client.is_silent() {
            return Poll::Pending;
        }
        if is_draining && spare_until.is_none_or(|until| client.poll_until(cx, until).is_ready()) {
            return Poll::Ready(Next::Closed);
        }
        Poll::Pending
    })
    .await
}

/// Ends a connection on which nothing is owed any more.
async fn close(client: Client, patience: Duration) {
    let is_silent = client.is_silent();
    let (mut stream, _) = client.into_parts();
    let mut byte = [0];
    if is_silent && !matches!(stream.try_read(&mut byte), Ok(read) if read > 0) {
        // What is encrypted has to be written before it can end.
        let _ = timeout(patience, stream.shutdown()).await;
    } else {
        linger::close(stream, patience).await;
    }
}
