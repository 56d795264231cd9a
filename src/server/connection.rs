//! One client connection from its first byte to its close.
//!
//! Runs hyper on the [`Front`], then does what HTTP leaves to be done: the answer to a head that was refused,
//! the tunnel that takes the socket over, the close that lets the client read what was sent.

use std::{
    convert::Infallible, future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{
    drain::Drain,
    front::{Front, FrontOptions},
    linger,
    service::{Call, Service},
    wire::{ClientIo, Wire},
};

/// hyper's read buffer for one connection never grows beyond this, unless heads may be larger.
const MIN_BUFFER: usize = 64 * 1024;

/// How connections are served.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// What is read, and how long is waited for it.
    pub front: FrontOptions,
    /// Send header names as they were received.
    pub preserve_header_case: bool,
    /// Silence before keep-alive probes are sent to a client.
    pub tcp_keepalive: Duration,
}

/// What every connection of a server shares.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) service: Arc<S>,
    pub(super) http: http1::Builder,
    pub(super) front: Arc<FrontOptions>,
    pub(super) drain: Drain,
    pub(super) tcp_keepalive: Duration,
}

impl<S: Service> Shared<S> {
    pub(super) fn new(service: Arc<S>, options: &ConnectionOptions, drain: Drain) -> Self {
        let head = &options.front.head;
        let mut http = http1::Builder::new();
        http.half_close(true)
            .preserve_header_case(options.preserve_header_case)
            .max_buf_size(MIN_BUFFER.max(head.max_bytes + 1024))
            .max_headers(head.max_headers.max(1));
        Self {
            service,
            http,
            front: Arc::new(options.front.clone()),
            drain,
            tcp_keepalive: options.tcp_keepalive,
        }
    }
}

/// How HTTP ended on a connection.
enum End {
    /// In order, or by an error that concerns nobody any more.
    Done,
    /// The body of a response failed on its way: it must not look complete.
    Cut,
    /// The socket failed.
    Broken,
}

/// Serves `stream` until it is closed.
pub(super) async fn serve<S: Service>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<S>>) {
    let Ok(local) = stream.local_addr() else { return };
    let wire = Arc::new(Wire::new(peer, local));
    // Boxed, so that a tunnel does not hold the room that HTTP needed.
    let (mut front, end) = Box::pin(run_http(stream, Arc::clone(&wire), Arc::clone(&shared))).await;
    let takeover = wire.take_takeover();
    match (end, takeover, front.take_refused()) {
        (End::Done, Some(takeover), _) => {
            drop(shared);
            let (stream, inbox) = front.into_parts();
            takeover(ClientIo { stream, early: inbox.freeze() }).await;
        }
        (End::Done, None, Some(refused)) => {
            let answer = shared.service.refuse(&wire, &refused);
            let (mut stream, _) = front.into_parts();
            let patience = shared.front.client_header;
            if let Ok(Ok(())) = timeout(patience, stream.write_all(&answer)).await {
                linger::close(stream, patience).await;
            }
        }
        (End::Done, None, None) => close(front, shared.front.client_header).await,
        (End::Cut, ..) if front.is_http10() => {
            // The end of the stream would be the end of the message: only a reset says that it is not.
            let (stream, _) = front.into_parts();
            let _ = stream.set_zero_linger();
        }
        (End::Cut | End::Broken, ..) => {}
    }
}

async fn run_http<S: Service>(stream: TcpStream, wire: Arc<Wire>, shared: Arc<Shared<S>>) -> (Front, End) {
    let front = Front::new(stream, Arc::clone(&wire), Arc::clone(&shared.front));
    let service = Arc::clone(&shared.service);
    let mut connection = shared.http.serve_connection(
        front,
        service_fn(move |request| {
            let service = Arc::clone(&service);
            let wire = Arc::clone(&wire);
            async move {
                let head = wire.take_head().expect("the front sets a head before hyper sees it");
                Ok::<_, Infallible>(service.call(request, Call { wire, head }).await)
            }
        }),
    );
    let mut drain_started = std::pin::pin!(shared.drain.started());
    let mut draining = false;
    let result = poll_fn(|cx| {
        if !draining && drain_started.as_mut().poll(cx).is_ready() {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    let end = match result {
        Ok(()) => End::Done,
        Err(error) if error.is_user() => End::Cut,
        Err(_) => End::Broken,
    };
    (connection.into_parts().io, end)
}

/// Ends a connection on which nothing is owed any more.
async fn close(front: Front, patience: Duration) {
    let drained = front.is_drained();
    let (mut stream, _) = front.into_parts();
    let mut byte = [0];
    let silent = drained && !matches!(stream.try_read(&mut byte), Ok(read) if read > 0);
    if silent {
        let _ = stream.shutdown().await;
    } else {
        linger::close(stream, patience).await;
    }
}
