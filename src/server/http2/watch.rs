//! The deadlines of a connection: how long it may be without streams, whether the client still answers, and how long its end
//! may take.
//!
//! There is one timer for all of them, which says when to look again.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::Instant;

use super::bounds::{IDLE_FAREWELL, PING_INTERVAL};
use crate::server::client::ClientOptions;

/// What is to be done with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// It is to take no more streams, and to be closed.
    Close,
    /// The client is gone, or takes too long to go.
    Cut,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    pings: Option<PingPong>,
    client: Arc<ClientOptions>,
    /// Since when there are no streams.
    idle_since: Option<Instant>,
    next_ping: Instant,
    pinged: Option<Instant>,
    /// How long it may be without streams.
    patience: Duration,
    is_closing: bool,
    at: Instant,
}

impl Watch {
    /// It has just begun.
    pub(super) fn new(pings: Option<PingPong>, client: &Arc<ClientOptions>, now: Instant) -> Self {
        Self {
            pings,
            client: Arc::clone(client),
            idle_since: Some(now),
            next_ping: now + PING_INTERVAL,
            pinged: None,
            patience: client.client_idle,
            is_closing: false,
            at: now + client.client_idle,
        }
    }

    /// When to call [`Self::fire`].
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// The server stops. Who has no streams has read all that was sent to it when it answers, so little is waited for.
    pub(super) fn drain(&mut self, now: Instant) {
        self.close(now);
        if self.idle_since.is_some() {
            self.patience = self.patience.min(IDLE_FAREWELL);
        }
    }

    fn close(&mut self, now: Instant) {
        self.is_closing = true;
        self.patience = self.client.client_header;
        self.idle_since = self.idle_since.map(|_| now);
    }

    /// There are so many streams now.
    pub(super) fn look(&mut self, streams: usize, now: Instant) {
        match (streams, self.idle_since) {
            (0, None) => self.idle_since = Some(now),
            (1.., Some(_)) => {
                self.idle_since = None;
                self.next_ping = now + PING_INTERVAL;
                if self.is_closing {
                    self.patience = self.client.client_header;
                }
            }
            _ => {}
        }
        let idle = self.idle_since.map(|since| since + self.patience);
        let ping = match self.pinged {
            Some(since) => Some(since + self.client.client_header),
            None => self.idle_since.is_none().then_some(self.next_ping),
        };
        self.at = [idle, ping].into_iter().flatten().min().unwrap_or(self.next_ping);
    }

    /// A deadline may have passed.
    pub(super) fn fire(&mut self, now: Instant) -> Wish {
        if self.pinged.is_some_and(|since| since + self.client.client_header <= now) {
            return Wish::Cut;
        }
        if self.idle_since.is_some_and(|since| since + self.patience <= now) {
            if self.is_closing {
                return Wish::Cut;
            }
            self.close(now);
            return Wish::Close;
        }
        if self.idle_since.is_none() && self.pinged.is_none() && self.next_ping <= now {
            self.next_ping = now + PING_INTERVAL;
            if self.pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok()) {
                self.pinged = Some(now);
            }
        }
        Wish::Nothing
    }

    /// Whether the client, if it was asked, has answered or still may.
    pub(super) fn is_answered(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(pings) = self.pings.as_mut().filter(|_| self.pinged.is_some()) else { return true };
        match pings.poll_pong(cx) {
            Poll::Ready(pong) => {
                self.pinged = None;
                pong.is_ok()
            }
            Poll::Pending => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::head::HeadLimits;

    fn options() -> Arc<ClientOptions> {
        Arc::new(ClientOptions {
            head: HeadLimits { max_bytes: 1000, max_headers: 10 },
            socks5: false,
            client_header: Duration::from_secs(10),
            client_idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
        })
    }

    #[test]
    fn who_is_idle_when_the_server_stops_is_not_waited_for_long() {
        let (client, start) = (options(), Instant::now());
        let mut watch = Watch::new(None, &client, start);
        watch.drain(start);
        watch.look(0, start);
        assert_eq!(watch.at(), start + IDLE_FAREWELL);
        // A stream was on its way: what it was answered takes its time to be read.
        watch.look(1, start);
        let now = start + IDLE_FAREWELL;
        assert_eq!(watch.fire(now), Wish::Nothing);
        watch.look(0, now);
        assert_eq!(watch.at(), now + client.client_header);
        assert_eq!(watch.fire(now + client.client_header), Wish::Cut);
        let mut watch = Watch::new(None, &client, start);
        watch.look(1, start);
        watch.drain(start);
        watch.look(0, start);
        assert_eq!(watch.at(), start + client.client_header, "it had streams");
    }

    #[test]
    fn without_streams_it_is_closed_and_then_cut() {
        let (client, start) = (options(), Instant::now());
        let mut watch = Watch::new(None, &client, start);
        assert_eq!(watch.at(), start + client.client_idle);
        watch.look(1, start);
        assert_eq!(watch.at(), start + PING_INTERVAL);
        let now = start + Duration::from_secs(80);
        assert_eq!(watch.fire(now), Wish::Nothing, "it is in use");
        watch.look(0, now);
        assert_eq!((watch.fire(now), watch.at()), (Wish::Nothing, now + client.client_idle));
        let now = now + client.client_idle;
        assert_eq!(watch.fire(now), Wish::Close);
        watch.look(0, now);
        assert_eq!(watch.at(), now + client.client_header);
        // A stream that came in the meantime is served.
        watch.look(1, now);
        assert_eq!(watch.fire(now + client.client_header), Wish::Nothing);
        watch.look(0, now + client.client_header);
        assert_eq!(watch.fire(now + 2 * client.client_header), Wish::Cut);
    }
}
