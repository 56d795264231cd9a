//! One stream from its head to its end: the one request of a client that has no other.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use h2::{Reason, ext::Protocol};
use http::Version;
use tokio::time::Instant;

use super::{
    carriage::Carriage,
    connection::Taken,
    outgoing::Abandonment,
    request::{self, Content, StreamFault, Written},
    tally::{OpenStream, Tally},
};
use crate::{
    message::head::check_request_head,
    net::{authority::Authority, stream::Stream, tls},
    server::{
        client::{Client, Fault, Peer, RefusedHead},
        connection::{self, Arrived, Shared},
        contained::contain,
        head::RequestHead,
        service::{After, ClientIo, Service, Tunnel},
    },
};

/// How the streams of a connection are served.
pub(super) struct Streams<S> {
    pub(super) peer: Peer,
    /// Our end of the connection.
    pub(super) local: SocketAddr,
    /// Whom the client's certificate names.
    pub(super) user: Option<Arc<str>>,
    /// Whom the client believes to speak with, where that is somebody else than us.
    pub(super) inside: Option<Arc<Authority>>,
    pub(super) shared: Arc<Shared<S>>,
    pub(super) tally: Arc<Tally>,
}

impl<S: Service> Streams<S> {
    /// Serves a stream in a task of its own.
    pub(super) fn start(self: &Arc<Self>, taken: Taken) {
        let (streams, open) = (Arc::clone(self), self.tally.open());
        // Boxed, for a task is moved about.
        tokio::spawn(Box::pin(contain(async move {
            if let Some(tunnel) = streams.serve(taken).await {
                // In a task of its own, which is as large as the tunnel needs it.
                tokio::spawn(contain(carry(tunnel, open)));
            }
        })));
    }

    /// The connection that began at `started` has ended: what was opened on it and never taken is told of, all in one.
    pub(super) fn tell_untaken(&self, started: Instant) {
        let count = self.tally.untaken();
        if count > 0 {
            let raw = Bytes::from(format!("{count} streams that were not taken\r\n"));
            let fault = Fault::Stream(StreamFault::Malformed("refused by the reader of frames"));
            self.refuse(fault, raw, started);
        }
    }

    /// Tells of a request that is none; the answer to it.
    fn refuse(&self, fault: Fault, raw: Bytes, started: Instant) -> Bytes {
        let refused = RefusedHead { fault, raw, started, version: Version::HTTP_2 };
        self.shared.service.refuse(self.peer.address, &refused)
    }

    async fn serve(&self, (request, respond): Taken) -> Option<Tunnel> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        let (written, fault) = match request::write(&parts, protocol, body.is_end_stream()) {
            Ok(written) => (written, None),
            Err(fault) => {
                let head = request::first_line(&parts);
                (Written { head, content: Content::Plain, key: None }, Some(fault))
            }
        };
        let mut carriage = Carriage::new(body, respond, (parts.method, &written), self.local, &self.tally);
        if fault.is_some_and(StreamFault::is_malformed) {
            carriage.reset(Reason::PROTOCOL_ERROR);
        }
        let abandonment = carriage.abandonment();
        let arrived = Arrived {
            stream: Stream::Carried(Box::new(carriage)),
            peer: self.peer,
            user: self.user.clone(),
            protocol: tls::Protocol::Http2,
            inside: self.inside.clone(),
        };
        let mut client = Client::new(arrived, Arc::clone(&self.shared.client), self.shared.drain.clone());
        let raw = Bytes::from(written.head);
        let checked = match fault {
            Some(fault) => Err(Fault::Stream(fault)),
            None => check_request_head(&raw, self.shared.client.head).map_err(Fault::Head),
        };
        match checked {
            Ok(facts) => {
                let mut head = RequestHead::new(&raw, facts, started);
                head.version = Version::HTTP_2;
                let serving = Box::pin(self.shared.service.serve(&head, &mut client));
                match unless_abandoned(serving, &abandonment).await? {
                    After::Takeover(takeover) => {
                        let (stream, early) = client.into_parts();
                        return Some(takeover(ClientIo { stream, early }));
                    }
                    After::Inside(inside) => {
                        return Some(connection::enter(*inside, client, Arc::clone(&self.shared)));
                    }
                    _ => {}
                }
            }
            Err(fault) => {
                let answer = self.refuse(fault, raw, started);
                // To one that was reset nothing can be said.
                let _ = client.send(&answer).await;
            }
        }
        None
    }
}

/// What comes of `serving`; none when the client gives the stream up before it is answered. Who is served by a name that is looked up,
/// a connection that is made or a password that is verified does not look at its client meanwhile.
async fn unless_abandoned<T>(
    mut serving: Pin<Box<impl Future<Output = T>>>,
    abandonment: &Abandonment,
) -> Option<T> {
    poll_fn(|cx| match serving.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => abandonment.poll(cx).map(|()| None),
    })
    .await
}

async fn carry(tunnel: Tunnel, open: OpenStream) {
    tunnel.await;
    drop(open);
}
