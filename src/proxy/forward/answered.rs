//! A response on its way to the client, and what is left of its request on the way to the origin.

use std::{
    future::poll_fn,
    mem,
    task::{Context, Poll},
};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    sending::{Attending, Sending},
    with_head,
};
use crate::{
    message::{
        body::{Body, Coding, TrailerRules},
        framing::Framing,
        onward::{self, ResponseCoding, ResponseOnward},
    },
    proxy::{
        date,
        exchange::Exchange,
        flow::{Flow, FlowError, LITTLE, Waiting},
        respond::{self, Form},
        tunnel,
    },
    server::{After, Client},
    telemetry::names::ProxyErrorType,
    upstream::{Connection, UpstreamError},
};

/// A response whose head is here, and the connection that it comes on.
pub(super) struct Answered<'a> {
    pub(super) attending: Box<Attending<'a>>,
    pub(super) connection: Box<Connection>,
    /// Where the head ends in the inbox of the connection.
    pub(super) head_end: usize,
}

/// What the head of a response says of the rest.
struct Plan {
    /// Boxed, for it goes from hand to hand.
    response: Box<Flow>,
    closes: bool,
    /// It changes the protocol: to this.
    switches: bool,
}

impl Answered<'_> {
    /// Sends the response to the client.
    pub(super) async fn deliver(mut self, client: &mut Client, mut exchange: Box<Exchange>) -> After {
        let errand = self.attending.errand;
        let mut plan = match self.plan(client.is_draining(), &mut exchange) {
            Ok(plan) => plan,
            Err(error) => {
                let form = Form { close: true, ..Form::wanted(errand.head, client.is_draining()) };
                return respond::failure(client, exchange, error.into(), form).await;
            }
        };
        let after = if plan.closes { After::Close } else { After::KeepAlive };
        if !plan.switches
            && matches!(self.attending.state, Sending::Sent(_))
            && let Some(whole) = plan.response.take_whole(self.connection.parts().0)
        {
            // The next request to this origin may come as soon as the client has its answer.
            exchange.sent(plan.response.content());
            self.keep();
            if client.send(&whole).await.is_err() {
                return After::Broken;
            }
            exchange.complete();
            return after;
        }
        let delivered = poll_fn(|cx| self.poll(cx, client, &mut plan.response, &mut exchange)).await;
        match delivered {
            Ok(()) if plan.switches => {
                let (origin, early) = self.connection.into_parts();
                return tunnel::join(errand.live, &errand.permit, exchange, origin, early);
            }
            Ok(()) => exchange.complete(),
            Err(after) => return after,
        }
        drop(exchange);
        if !matches!(self.attending.state, Sending::Sent(_)) {
            return After::Linger;
        }
        self.keep();
        after
    }

    /// The exchange is complete: another one may have the connection.
    fn keep(mut self) {
        self.connection.finish();
        self.attending.errand.pool.put(self.connection);
    }

    /// Reads the head, and writes the client's.
    fn plan(&mut self, is_draining: bool, exchange: &mut Exchange) -> Result<Plan, UpstreamError> {
        let errand = self.attending.errand;
        let (live, head_end) = (errand.live, self.head_end);
        let is_sent = matches!(self.attending.state, Sending::Sent(_));
        let unread = self.connection.parts().0.unread().len();
        // With what is sent together with it.
        let mut out = Vec::with_capacity(unread.min(head_end + LITTLE) + 128);
        let upgrade = self.attending.upgrade.take();
        let mut keep = None;
        let plan = with_head(&self.connection.parts().0.unread()[..head_end], errand, |head| {
            let mut head = head?;
            let via = live.name.via();
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                let agreed = upgrade.as_ref().and_then(|asked| asked.agreed(head.fields()));
                let agreed = agreed.ok_or(UpstreamError::UpgradeFailed)?;
                onward::write_interim(&mut out, &head, via, Some(agreed), live.keep_case);
                exchange.respond(head.status);
                let nothing = Body::of_request(Framing::None, TrailerRules::default());
                return Ok(Plan {
                    response: Box::new(Flow::new(out, nothing, u64::MAX)),
                    closes: false,
                    switches: true,
                });
            }
            let body = ResponseCoding::of(head.framing.body, errand.head.version);
            // What stands behind a body that was not read to its end is not known.
            let closes =
                !errand.head.keep_alive || is_draining || !is_sent || body == ResponseCoding::UntilClose;
            let how = ResponseOnward { body, via, closes, date: date::now, keep_case: live.keep_case };
            onward::write_response(&mut out, &how, &head);
            exchange.respond(head.status);
            keep = Some((head.keeps_connection(), head.keep_alive()));
            let coding = if body == ResponseCoding::Chunked { Coding::Chunked } else { Coding::Plain };
            let rules = TrailerRules {
                wanted: self.attending.accepts_trailers,
                nominated: mem::take(&mut head.hop_by_hop.nominated),
                keep_case: live.keep_case,
            };
            let body = Body::of_response(head.framing.body, coding, rules);
            let response = Box::new(Flow::new(out, body, u64::MAX).paced(exchange.pace()));
            Ok(Plan { response, closes, switches: false })
        });
        let plan = plan?;
        if let Some((is_kept, keep_alive)) = keep {
            self.connection.learn(is_kept, keep_alive);
        }
        self.connection.parts().0.consume(head_end);
        Ok(plan)
    }

    /// Moves what is left of the request, and the response. Ready when the response is written.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        response: &mut Flow,
        exchange: &mut Exchange,
    ) -> Poll<Result<(), After>> {
        if self.attending.state == Sending::Going {
            let polled = self.attending.poll_request(cx, client, &mut self.connection, exchange);
            if let Poll::Ready(Err(_)) = polled {
                // The origin has answered, and gets no more of it.
                self.attending.state = Sending::Deaf(Instant::now());
            }
            if let Some((_, since)) = self.attending.request.waiting()
                && client
                    .poll_until(cx, since + self.attending.errand.permit.route.timeouts.body_idle)
                    .is_ready()
            {
                self.attending.state = Sending::Deaf(Instant::now());
            }
        }
        let (inbox, source) = self.connection.parts();
        let polled = response.poll(cx, (inbox, source), client.parts().1);
        exchange.sent(response.content());
        let body_idle = self.attending.errand.permit.route.timeouts.body_idle;
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(FlowError::Sink)) => Poll::Ready(Err(After::Broken)),
            Poll::Ready(Err(FlowError::Ended | FlowError::Malformed | FlowError::TooLarge)) => {
                exchange.fail(ProxyErrorType::HttpResponseIncomplete);
                Poll::Ready(Err(After::Cut))
            }
            Poll::Pending => {
                let Some((whom, since)) = response.waiting() else { return Poll::Pending };
                if client.poll_until(cx, since + body_idle).is_pending() {
                    return Poll::Pending;
                }
                if whom == Waiting::Sink {
                    return Poll::Ready(Err(After::Broken));
                }
                exchange.fail(ProxyErrorType::HttpResponseTimeout);
                Poll::Ready(Err(After::Cut))
            }
        }
    }
}
