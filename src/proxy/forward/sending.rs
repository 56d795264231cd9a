//! A request on its way: written, held back, waited for, until the head of the final response is here.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::StatusCode;
use tokio::{io::AsyncWrite as _, time::Instant};

use super::{Errand, with_head};
use crate::{
    message::{hop_by_hop::Upgrade, onward},
    proxy::{
        error::{BodyFault, ProxyError},
        exchange::Exchange,
        flow::{Flow, FlowError, Waiting},
    },
    server::Client,
    upstream::{Connection, UpstreamError, retry::Attempt},
};

/// How long the body of a request with `Expect: 100-continue` is held back when the origin says nothing
/// (RFC 9110 section 10.1.1 allows a proxy to go on after a while).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// Interim responses to one request. An origin that sends more does not mean well.
const MAX_INTERIM: usize = 32;

/// A request as the next hop gets it.
pub(super) struct Prepared {
    pub(super) request: Flow,
    /// What it asks to be upgraded to.
    pub(super) upgrade: Option<Upgrade>,
    /// Whether the client takes trailers.
    pub(super) accepts_trailers: bool,
}

/// A request on its way, and what has come of it.
pub(super) struct Attending<'a> {
    pub(super) errand: &'a Errand<'a>,
    pub(super) request: Flow,
    /// What it asks to be upgraded to.
    pub(super) upgrade: Option<Upgrade>,
    /// Whether the client takes trailers.
    pub(super) accepts_trailers: bool,
    pub(super) state: Sending,
    started: Instant,
    /// How long an answer was waited for before it was sent once more.
    waited: Duration,
    /// Interim responses for the client, from `interim_at` on.
    interim: Vec<u8>,
    interim_at: usize,
    interim_count: usize,
}

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// On its way.
    Going,
    /// All of it was written then.
    Sent(Instant),
    /// The origin takes no more of it. It may have answered before it stopped listening.
    Deaf(Instant),
}

/// Why there is no response.
pub(super) enum Failed {
    /// The client, or what it sent.
    Client(ProxyError),
    /// The origin.
    Origin(UpstreamError),
}

impl<'a> Attending<'a> {
    /// It lives in a box, for it goes from hand to hand.
    pub(super) fn new(errand: &'a Errand<'a>, prepared: Prepared, started: Instant) -> Box<Self> {
        let Prepared { request, upgrade, accepts_trailers } = prepared;
        Box::new(Self {
            errand,
            request,
            upgrade,
            accepts_trailers,
            state: Sending::Going,
            started,
            waited: Duration::ZERO,
            interim: Vec::new(),
            interim_at: 0,
            interim_count: 0,
        })
    }

    /// Sends what is left of interim responses. Whatever is said next, what was begun is finished first; a client that is gone
    /// is found out then.
    pub(super) async fn finish_interim(&mut self, client: &mut Client) {
        let interim = mem::take(&mut self.interim);
        let sent = mem::take(&mut self.interim_at);
        if sent < interim.len() {
            // Boxed, as there hardly ever are any.
            let _ = Box::pin(client.send(&interim[sent..])).await;
        }
    }

    /// What is known of it, now that it has failed on `connection` in this way.
    pub(super) fn attempt(&self, connection: &Connection, failure: &UpstreamError) -> Attempt<'_> {
        Attempt {
            method: &self.errand.head.method,
            // Who resets a stream is there.
            reused: connection.is_reused() && !matches!(failure, UpstreamError::Reset),
            unsent: !self.request.has_begun(),
            unprocessed: matches!(failure, UpstreamError::Unprocessed),
            response_begun: connection.has_answered(),
            body_whole: !self.request.took_content(),
        }
    }

    /// Sends it from the beginning, as of now.
    pub(super) fn restart(&mut self) {
        self.request.restart();
        self.state = Sending::Going;
        self.started = Instant::now();
    }

    /// Sends it as it is `prepared` for another server. No content of it was taken.
    pub(super) fn begin_again(&mut self, prepared: Prepared) {
        let Prepared { mut request, .. } = prepared;
        if let Sending::Sent(at) | Sending::Deaf(at) = self.state {
            self.waited += at.elapsed();
        }
        if self.request.is_open() {
            request.open();
        }
        self.request = request;
        self.state = Sending::Going;
        self.started = Instant::now();
    }

    /// Ready when the head of the final response is in the inbox of `connection`: where it ends.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<usize, Failed>> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_request(cx, client, connection, exchange) {
                return Poll::Ready(Err(Failed::Client(error)));
            }
            match connection.poll_head(cx, self.errand.live.response_limits) {
                Poll::Ready(Ok(end)) => match self.interim(connection, end) {
                    Ok(true) => continue,
                    Ok(false) => return Poll::Ready(Ok(end)),
                    Err(error) => return Poll::Ready(Err(Failed::Origin(error))),
                },
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::Origin(error))),
                Poll::Pending => {}
            }
            if self.poll_interim(cx, client).is_err()
                || (self.state != Sending::Going && client.poll_watch(cx).is_err())
            {
                return Poll::Ready(Err(Failed::Client(UpstreamError::ClientGone.into())));
            }
            match self.poll_deadline(cx, client) {
                Poll::Ready(Some(failed)) => return Poll::Ready(Err(failed)),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Moves the request. Only what is the client's fault is an error.
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        connection: &mut Connection,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), ProxyError>> {
        if self.state != Sending::Going {
            return Poll::Ready(Ok(()));
        }
        let (inbox, source) = client.parts();
        let polled = self.request.poll(cx, (inbox, source), connection.parts().1);
        exchange.received(self.request.content());
        let result = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(result) => result,
        };
        Poll::Ready(match result {
            Ok(()) => {
                // Most requests are written at once.
                let now = if self.request.took_content() { Instant::now() } else { self.started };
                self.state = Sending::Sent(now);
                Ok(())
            }
            Err(FlowError::Sink) => {
                self.state = Sending::Deaf(Instant::now());
                Ok(())
            }
            Err(FlowError::Ended) => Err(BodyFault::Incomplete.into()),
            Err(FlowError::Malformed) => Err(BodyFault::Malformed.into()),
            Err(FlowError::TooLarge) => Err(ProxyError::too_large(&self.errand.permit.route)),
        })
    }

    /// Takes an interim response out of the inbox; false when it is the final one.
    fn interim(&mut self, connection: &mut Connection, end: usize) -> Result<bool, UpstreamError> {
        let (inbox, _) = connection.parts();
        let raw = &inbox.unread()[..end];
        // `HTTP/1.1 2`: most responses are final, and those are not looked at twice.
        if matches!(raw.get(9), Some(b'2'..=b'5')) {
            return Ok(false);
        }
        let (errand, live) = (self.errand, self.errand.live);
        let is_interim = with_head(raw, errand, |head| {
            let head = head?;
            if !head.is_interim() {
                return Ok(false);
            }
            if head.status == StatusCode::CONTINUE {
                let said = self.may_continue();
                self.interim.extend_from_slice(said);
            } else if !errand.head.is_http10() {
                onward::write_interim(&mut self.interim, &head, live.name.via(), None, live.keep_case);
            }
            Ok(true)
        })?;
        if is_interim {
            inbox.consume(end);
            self.interim_count += 1;
            if self.interim_count > MAX_INTERIM {
                return Err(UpstreamError::Malformed);
            }
        }
        Ok(is_interim)
    }

    /// Lets the body flow; what is to be said to a client that waits for it.
    fn may_continue(&mut self) -> &'static [u8] {
        if self.request.is_open() {
            return b"";
        }
        self.request.open();
        b"HTTP/1.1 100 Continue\r\n\r\n"
    }

    /// Sends interim responses to the client, as much as it takes.
    fn poll_interim(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Result<(), ()> {
        let (_, stream) = client.parts();
        while self.interim_at < self.interim.len() {
            match Pin::new(&mut *stream).poll_write(cx, &self.interim[self.interim_at..]) {
                Poll::Ready(Ok(written)) if written > 0 => self.interim_at += written,
                Poll::Ready(_) => return Err(()),
                Poll::Pending => return Ok(()),
            }
        }
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(()),
            _ => Ok(()),
        }
    }

    /// What has been waited for too long; none when it is to be looked at everything again.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<Option<Failed>> {
        let (live, timeouts) = (self.errand.live, &self.errand.permit.route.timeouts);
        let (mut at, mut late) = match self.state {
            Sending::Sent(at) | Sending::Deaf(at) => (
                at + timeouts.response_head.saturating_sub(self.waited),
                Failed::Origin(UpstreamError::HeadTimeout),
            ),
            Sending::Going if !self.request.is_open() => {
                if client.poll_until(cx, self.started + CONTINUE_PATIENCE).is_pending() {
                    return Poll::Pending;
                }
                let said = self.may_continue();
                self.interim.extend_from_slice(said);
                return Poll::Ready(None);
            }
            Sending::Going => match self.request.waiting() {
                Some((Waiting::Source, since)) => {
                    (since + timeouts.body_idle, Failed::Client(BodyFault::Timeout.into()))
                }
                Some((Waiting::Sink, since)) => {
                    (since + timeouts.body_idle, Failed::Origin(UpstreamError::BodyTimeout))
                }
                // It has had its turn, and is polled again at once.
                None => return Poll::Pending,
            },
        };
        if let Some(finished) = client.finished()
            && finished + live.client_header < at
        {
            (at, late) = (finished + live.client_header, Failed::Client(UpstreamError::ClientGone.into()));
        }
        client.poll_until(cx, at).map(|()| Some(late))
    }
}
