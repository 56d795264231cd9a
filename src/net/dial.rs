//! One connection to an authority: resolve, filter every address, race what is left (RFC 8305).
//!
//! Whatever a name stands for is decided on here, at the address that is dialled: no answer of a name server leads
//! around the rules, and none leads back to our own listeners. Must not know who asks or why.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, Sleep, sleep_until, timeout_at},
};

use super::{
    authority::{Authority, Host},
    filter::{NetFilter, NetPattern},
    own::OwnListeners,
    resolve::{Family, ResolveError, Resolver},
    socket,
    stream::Stream,
};

/// How long an answer of the family that is not preferred waits for the other (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long an attempt has before the next address is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried at most.
const MAX_ADDRESSES: usize = 16;

/// How connections are made.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// Resolution and connecting together.
    pub connect_timeout: Duration,
    /// The family that is tried first.
    pub prefer: Family,
    /// The source address; only addresses of its family are tried.
    pub bind_addr: Option<IpAddr>,
    /// Silence before keep-alive probes are sent.
    pub keepalive: Duration,
}

/// Which addresses may be reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// What the rules refuse; none = nothing.
    pub filter: Option<NetFilter>,
    /// Never these.
    pub own: OwnListeners,
}

impl Reach {
    /// Whether `address` may be dialled.
    ///
    /// # Errors
    ///
    /// [`DialError::Own`] or [`DialError::Prohibited`].
    pub fn check(&self, address: SocketAddr) -> Result<(), DialError> {
        if self.own.owns(address) {
            return Err(DialError::Own { address });
        }
        match self.filter.as_ref().map(|filter| filter.check(address.ip())) {
            Some(Err(pattern)) => Err(DialError::Prohibited { address, pattern }),
            _ => Ok(()),
        }
    }
}

/// A connection that was made.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// The address it goes to.
    pub peer: SocketAddr,
    /// How long resolution took, where DNS had to be asked.
    pub dns: Option<Duration>,
    /// How long connecting took.
    pub connect: Duration,
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no address.
    #[error(transparent)]
    Dns(ResolveError),
    /// The name was not resolved within the deadline.
    #[error("the name was not resolved in time")]
    DnsTimeout,
    /// No address of the host may be reached.
    #[error("the address {} is not to be reached through this proxy", address.ip())]
    Prohibited {
        /// One that was refused.
        address: SocketAddr,
        /// By this.
        pattern: NetPattern,
    },
    /// The address is one of our own listeners.
    #[error("the request would come back to this proxy")]
    Own {
        /// The listener.
        address: SocketAddr,
    },
    /// No address is of the family of `upstream.bind_addr`.
    #[error("no address of the host is of the family of upstream.bind_addr")]
    NoFamily,
    /// The host refused the connection.
    #[error("the connection was refused")]
    Refused,
    /// There is no way to the address.
    #[error("the address cannot be reached")]
    Unreachable,
    /// No connection within the deadline.
    #[error("the connection was not made in time")]
    Timeout,
    /// Something else.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => Self::Unreachable,
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Io(error),
        }
    }
}

/// Makes connections. Clones share the resolver's cache.
#[derive(Clone, Debug)]
pub struct Dialer {
    resolver: Resolver,
    options: DialOptions,
    /// Which of the addresses of a family comes first.
    turn: usize,
}

impl Dialer {
    /// A dialer.
    #[must_use]
    pub fn new(resolver: Resolver, mut options: DialOptions) -> Self {
        if let Some(own) = options.bind_addr {
            // Nothing is gained by waiting for addresses of the other family.
            options.prefer = Family::of(own);
        }
        Self { resolver, options, turn: 0 }
    }

    /// One that connects from `source`, where there is one, and with each `turn` to another address of a name first. They share the resolver's cache.
    #[must_use]
    pub fn with(&self, source: Option<IpAddr>, turn: usize) -> Self {
        let mut options = self.options.clone();
        if let Some(source) = source {
            options.prefer = Family::of(source);
            options.bind_addr = Some(source);
        }
        Self { resolver: self.resolver.clone(), options, turn }
    }

    /// Connects to `authority`, at an address that `reach` allows.
    ///
    /// # Errors
    ///
    /// See [`DialError`]; within `connect_timeout` in any case. Dropping the future closes every attempt.
    pub async fn dial(&self, authority: &Authority, reach: &Reach) -> Result<Dialled, DialError> {
        self.dial_within(self.options.connect_timeout, authority, reach).await
    }

    /// The same with another deadline.
    ///
    /// # Errors
    ///
    /// See [`DialError`]; within `connect_timeout` in any case. Dropping the future closes every attempt.
    pub async fn dial_within(
        &self,
        connect_timeout: Duration,
        authority: &Authority,
        reach: &Reach,
    ) -> Result<Dialled, DialError> {
        let started = Instant::now();
        let deadline = started + connect_timeout;
        let mut race = Race::new(&self.options, reach, authority.port, self.turn);
        let mut resolved = None;
        let known = match &authority.host {
            Host::Name(name) => self.resolver.known(name),
            Host::V4(address) => vec![(*address).into()],
            Host::V6(address) => vec![(*address).into()],
        };
        let connected = match &authority.host {
            Host::Name(name) if known.is_empty() => {
                let racing = self.resolve_and_race(name, &mut race, &mut resolved);
                timeout_at(deadline, racing).await
            }
            _ => {
                race.add(known);
                timeout_at(deadline, poll_fn(|cx| race.poll(cx, true))).await
            }
        };
        let (stream, peer) = match connected {
            Ok(connected) => connected?,
            Err(_) => return Err(race.overtaken()),
        };
        socket::prepare(&stream, self.options.keepalive)?;
        let dns = resolved.map(|at: Instant| at - started);
        Ok(Dialled { stream: stream.into(), peer, dns, connect: started.elapsed() - dns.unwrap_or_default() })
    }

    /// Asks for both families at once and connects to what comes first, the preferred family having a small lead.
    async fn resolve_and_race(
        &self,
        name: &str,
        race: &mut Race<'_>,
        resolved: &mut Option<Instant>,
    ) -> Result<(TcpStream, SocketAddr), DialError> {
        let mut answers = self.resolver.ask(name);
        let mut lead: Option<Pin<Box<Sleep>>> = None;
        let mut held = Vec::new();
        poll_fn(|cx| {
            while !answers.are_complete() {
                match answers.poll_next(cx) {
                    Poll::Ready(Some(Ok(addresses))) => {
                        let preferred =
                            addresses.first().is_some_and(|first| Family::of(*first) == self.options.prefer);
                        if preferred || resolved.is_some() {
                            resolved.get_or_insert_with(Instant::now);
                            race.add(addresses);
                        } else {
                            held = addresses;
                            lead = Some(Box::pin(sleep_until(Instant::now() + RESOLUTION_DELAY)));
                        }
                    }
                    Poll::Ready(Some(Err(ResolveError::Timeout))) => {
                        return Poll::Ready(Err(DialError::DnsTimeout));
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(DialError::Dns(error))),
                    Poll::Ready(None) => {}
                    Poll::Pending => break,
                }
            }
            let waited = lead.as_mut().is_some_and(|lead| lead.as_mut().poll(cx).is_ready());
            if waited || resolved.is_some() || answers.are_complete() {
                lead = None;
                resolved.get_or_insert_with(Instant::now);
                race.add(std::mem::take(&mut held));
            }
            race.poll(cx, answers.are_complete())
        })
        .await
    }
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send>>;

/// Attempts to connect, each begun a while after the one before or as soon as that has failed.
struct Race<'a> {
    options: &'a DialOptions,
    reach: &'a Reach,
    port: u16,
    turn: usize,
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt>,
    next: Option<Pin<Box<Sleep>>>,
    added: usize,
    refused: Option<DialError>,
    failed: Option<DialError>,
}

impl<'a> Race<'a> {
    fn new(options: &'a DialOptions, reach: &'a Reach, port: u16, turn: usize) -> Self {
        Self {
            options,
            reach,
            port,
            turn,
            waiting: VecDeque::new(),
            running: Vec::new(),
            next: None,
            added: 0,
            refused: None,
            failed: None,
        }
    }

    /// More addresses, in the order of preference inside their family. Families take turns (RFC 8305 section 4).
    fn add(&mut self, mut addresses: Vec<IpAddr>) {
        // Those of one family come together, or sorted by it.
        addresses.chunk_by_mut(|a, b| a.is_ipv4() == b.is_ipv4()).for_each(|family| {
            family.rotate_left(self.turn % family.len());
        });
        for ip in addresses {
            let address = SocketAddr::new(ip, self.port);
            let fits = self.options.bind_addr.is_none_or(|own| own.is_ipv4() == ip.to_canonical().is_ipv4());
            if !fits {
                self.refused.get_or_insert(DialError::NoFamily);
            } else if let Err(error) = self.reach.check(address) {
                // The rules are the reason to give, where there are two.
                if matches!(self.refused, None | Some(DialError::NoFamily)) {
                    self.refused = Some(error);
                }
            } else if self.added < MAX_ADDRESSES && !self.waiting.contains(&address) {
                self.waiting.push_back(address);
                self.added += 1;
            }
        }
        if self.waiting.len() < 2 {
            return;
        }
        let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
            self.waiting.drain(..).partition(|address| Family::of(address.ip()) == self.options.prefer);
        while let Some(address) = first.pop_front() {
            self.waiting.push_back(address);
            self.waiting.extend(second.pop_front());
        }
        self.waiting.append(&mut second);
    }

    /// The first connection that is made; an error when all have failed and, `complete` being true, none will be added.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        complete: bool,
    ) -> Poll<Result<(TcpStream, SocketAddr), DialError>> {
        loop {
            let mut at = 0;
            let mut any_failed = false;
            while at < self.running.len() {
                match self.running[at].as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => return Poll::Ready(Ok(connected)),
                    Poll::Ready(Err(error)) => {
                        drop(self.running.swap_remove(at));
                        self.note(error.into());
                        any_failed = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            let due = self.running.is_empty()
                || any_failed
                || self.next.as_mut().is_some_and(|next| next.as_mut().poll(cx).is_ready());
            if !due {
                return Poll::Pending;
            }
            let Some(address) = self.waiting.pop_front() else {
                self.next = None;
                return if self.running.is_empty() && complete {
                    Poll::Ready(Err(self.verdict()))
                } else {
                    Poll::Pending
                };
            };
            self.running.push(Box::pin(connect(address, self.options.bind_addr)));
            self.next = (!self.waiting.is_empty() || !complete)
                .then(|| Box::pin(sleep_until(Instant::now() + ATTEMPT_DELAY)));
        }
    }

    /// Keeps the failure of the address that came closest: that IPv6 is unreachable says nothing where IPv4 was refused.
    fn note(&mut self, error: DialError) {
        let closeness = |error: &DialError| match error {
            DialError::Unreachable => 0,
            DialError::Timeout => 1,
            DialError::Refused => 3,
            _ => 2,
        };
        if self.failed.as_ref().is_none_or(|kept| closeness(kept) < closeness(&error)) {
            self.failed = Some(error);
        }
    }

    fn verdict(&mut self) -> DialError {
        self.failed
            .take()
            .or_else(|| self.refused.take())
            .unwrap_or(DialError::Dns(ResolveError::NotFound { rcode: "NOERROR" }))
    }

    /// What the deadline has overtaken.
    fn overtaken(self) -> DialError {
        if self.added > 0 { DialError::Timeout } else { self.refused.unwrap_or(DialError::DnsTimeout) }
    }
}

async fn connect(address: SocketAddr, from: Option<IpAddr>) -> io::Result<(TcpStream, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        socket::bind_source(&socket, from)?;
    }
    Ok((socket.connect(address).await?, address))
}

#[cfg(test)]
mod tests;
