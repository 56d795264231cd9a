//! One client connection from its first byte to its close.
//!
//! Runs hyper on the [`Front`], then does what HTTP leaves to be done: the answer to a head that was refused,
//! the tunnel that takes the socket over, the close that lets the client read what was sent.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

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
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order, or by an error that concerns nobody any more.
    Done,
    /// Nothing was to be done for a while: hyper was put away, and the connection goes on.
    Parked,
    /// The body of a response failed on its way: it must not look complete.
    Cut,
    /// The socket failed.
    Broken,
}

/// How long hyper and its buffers are kept for a client that is silent.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// A client that has just connected is about to send its first request; it cannot know that the server drains, and it
/// takes the request for lost when it is turned away.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// Serves `stream` until it is closed.
pub(super) async fn serve<S: Service>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<S>>) {
    let Ok(local) = stream.local_addr() else { return };
    let wire = Arc::new(Wire::new(peer, local));
    let mut front = Front::new(stream, Arc::clone(&wire), Arc::clone(&shared.front));
    let mut end = End::Parked;
    let mut spare_until = Some(Instant::now() + FIRST_REQUEST_GRACE);
    while end == End::Parked && await_request(&mut front, &wire, &shared.drain, spare_until).await {
        spare_until = None;
        // Boxed, so that neither a silent client nor a tunnel holds the room that HTTP needs.
        (front, end) = Box::pin(run_http(front, Arc::clone(&wire), &shared)).await;
    }
    let takeover = wire.take_takeover();
    match (end, takeover, front.take_refused()) {
        (End::Done, Some(takeover), _) => {
            drop(shared);
            let (stream, inbox) = front.into_parts();
            takeover(ClientIo { stream, early: inbox.freeze() }).await;
        }
        (End::Done | End::Parked, _, Some(refused)) => {
            let answer = shared.service.refuse(&wire, &refused);
            let (mut stream, _) = front.into_parts();
            let patience = shared.front.client_header;
            if let Ok(Ok(())) = timeout(patience, stream.write_all(&answer)).await {
                linger::close(stream, patience).await;
            }
        }
        (End::Done | End::Parked, ..) => close(front, shared.front.client_header).await,
        (End::Cut, ..) if front.is_http10() => {
            // The end of the stream would be the end of the message: only a reset says that it is not.
            let (stream, _) = front.into_parts();
            let _ = stream.set_zero_linger();
        }
        (End::Cut | End::Broken, ..) => {}
    }
}

/// Waits for a complete head. False when there will be none: the client has closed, has been silent for too long or has
/// sent something else, or the server drains and the client is silent, `spare_until` at least.
async fn await_request(front: &mut Front, wire: &Wire, drain: &Drain, spare_until: Option<Instant>) -> bool {
    let mut drain_started = pin!(drain.started());
    let mut is_draining = false;
    poll_fn(|cx| match front.poll_request(cx) {
        Poll::Ready(has_come) => Poll::Ready(has_come),
        Poll::Pending => {
            is_draining = is_draining || drain_started.as_mut().poll(cx).is_ready();
            let is_spared = |until| wire.poll_until(cx, until).is_pending();
            if is_draining && front.is_between_requests() && !spare_until.is_some_and(is_spared) {
                Poll::Ready(false)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

/// Lets hyper read and answer requests, the first of which is there.
async fn run_http<S: Service>(front: Front, wire: Arc<Wire>, shared: &Shared<S>) -> (Front, End) {
    let service = Arc::clone(&shared.service);
    let mut draining = shared.drain.is_draining();
    let mut http = shared.http.clone();
    // A connection that is drained from the start serves one request and says that it closes.
    http.keep_alive(!draining);
    let served = Arc::clone(&wire);
    let mut connection = http.serve_connection(
        front,
        service_fn(move |request| {
            let service = Arc::clone(&service);
            let wire = Arc::clone(&served);
            async move {
                let head = wire.take_head().expect("the front sets a head before hyper sees it");
                Ok::<_, Infallible>(service.call(request, Call { wire, head }).await)
            }
        }),
    );
    let mut drain_started = pin!(shared.drain.started());
    let mut parked = false;
    let result = poll_fn(|cx| {
        if !draining && drain_started.as_mut().poll(cx).is_ready() {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        ready_or(Pin::new(&mut connection).poll(cx), || {
            let silent = wire.silent_since()?;
            if parked || wire.poll_until(cx, silent + PARK_AFTER).is_pending() {
                return None;
            }
            // An idle connection ends at once; its socket stays open, for the front does not follow hyper in closing it.
            parked = true;
            Pin::new(&mut connection).graceful_shutdown();
            Some(Pin::new(&mut connection).poll(cx))
        })
    })
    .await;
    let end = match result {
        Ok(()) if parked => End::Parked,
        Ok(()) => End::Done,
        Err(error) if error.is_user() => End::Cut,
        Err(_) => End::Broken,
    };
    (connection.into_parts().io, end)
}

/// `polled`, or what `otherwise` says when that is pending.
fn ready_or<T>(polled: Poll<T>, otherwise: impl FnOnce() -> Option<Poll<T>>) -> Poll<T> {
    if polled.is_pending() { otherwise().unwrap_or(Poll::Pending) } else { polled }
}

/// Ends a connection on which nothing is owed any more.
async fn close(front: Front, patience: Duration) {
    let drained = front.is_between_requests();
    let (mut stream, _) = front.into_parts();
    let mut byte = [0];
    let silent = drained && !matches!(stream.try_read(&mut byte), Ok(read) if read > 0);
    if silent {
        let _ = stream.shutdown().await;
    } else {
        linger::close(stream, patience).await;
    }
}
