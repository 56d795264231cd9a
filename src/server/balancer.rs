//! Connections that balancers bring: whose each is, its first bytes say (`listen.proxy_protocol`).
//!
//! This comes before anything else on a connection, whatever follows, TLS too: not a byte behind the header is read. Must not know
//! what an address is good for. Invariant: who is no balancer is never asked, and who is one is never believed to be a client.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{client::Peer, connection::FIRST_REQUEST_GRACE, drain::Drain};
use crate::net::{
    filter::{NetList, NetPattern},
    proxy_protocol::{self, Header, HeaderError},
};

/// Who brings the connections of others.
#[derive(Debug, Default)]
pub struct Balancers {
    /// None = nobody, which costs nothing to find out.
    networks: Option<NetList>,
    complained: Mutex<Option<Instant>>,
}

/// How often it is logged that a balancer says nothing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// What is looked at in one go: more than any header that has no large extensions.
const PEEKED: usize = 512;

/// Why it is not known whose a connection is.
#[derive(Debug, thiserror::Error)]
enum Unnamed {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the connection was closed inside its PROXY header")]
    Incomplete,
    #[error("no PROXY header came within timeouts.client_header")]
    Timeout,
}

impl Balancers {
    /// Those in these networks.
    #[must_use]
    pub fn new(networks: &[NetPattern]) -> Self {
        let networks = (!networks.is_empty()).then(|| NetList::new(networks));
        Self { networks, complained: Mutex::default() }
    }

    /// Whether the one at `peer` is one of them. An address that merely carries that of one is not.
    pub(super) fn include(&self, peer: IpAddr) -> bool {
        self.networks.as_ref().is_some_and(|networks| networks.find_exactly(peer.to_canonical()).is_some())
    }

    /// Reads the header that `balancer` must send on `stream`, and no byte more. None when there is none: the connection is to be
    /// closed. Waits for `patience`, and not for one that is silent when the server drains.
    pub(super) async fn client(
        &self,
        stream: &TcpStream,
        balancer: SocketAddr,
        patience: Duration,
        drain: &Drain,
    ) -> Option<Peer> {
        let reading = timeout(patience, read(stream));
        let draining = async {
            drain.started().await;
            tokio::time::sleep(FIRST_REQUEST_GRACE).await;
        };
        let read = tokio::select! {
            biased;
            read = reading => read.unwrap_or(Err(Unnamed::Timeout)),
            () = draining => return None,
        };
        match read {
            Ok(Some(header)) => Some(Peer {
                address: header.client.unwrap_or(balancer),
                is_brought: true,
                destination: header.destination,
            }),
            // It has only looked whether somebody is here.
            Ok(None) => None,
            Err(why) => {
                self.complain(balancer, &why);
                None
            }
        }
    }

    fn complain(&self, balancer: SocketAddr, why: &Unnamed) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() > COMPLAINT_INTERVAL) {
            *complained = Some(Instant::now());
            tracing::warn!(%balancer, %why, "closed: listen.proxy_protocol demands a PROXY header");
        }
    }
}

/// None: the connection was closed without a byte.
async fn read(stream: &TcpStream) -> Result<Option<Header>, Unnamed> {
    let mut bytes = Vec::new();
    loop {
        let seen = bytes.len();
        let mut peeked = [0; PEEKED];
        let count = match stream.peek(&mut peeked).await {
            Ok(0) | Err(_) if bytes.is_empty() => return Ok(None),
            Ok(0) | Err(_) => return Err(Unnamed::Incomplete),
            Ok(count) => count,
        };
        bytes.extend_from_slice(&peeked[..count]);
        let header = proxy_protocol::parse(&bytes)?;
        let used = header.map_or(count, |header| header.length - seen);
        take(stream, &mut peeked[..used]).await.map_err(|_| Unnamed::Incomplete)?;
        if let Some(header) = header {
            return Ok(Some(header));
        }
    }
}

/// Takes what was seen to be there.
async fn take(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<()> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.try_read(&mut bytes[taken..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => taken += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
