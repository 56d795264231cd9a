//! What a server is told of a connection before anything else, TLS too: whose it is (`proxy_protocol` of a group).
//!
//! Must not know how the connection was chosen. Invariant: a connection that was announced for one client is used for nobody else,
//! for which `Turn` keeps none of them.

use std::{io, net::SocketAddr};

use tokio::io::AsyncWriteExt as _;

use crate::net::{
    proxy_protocol::{self, Version},
    stream::Stream,
};

/// The two ends of a client's connection to us.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The client's.
    pub client: SocketAddr,
    /// Ours.
    pub destination: SocketAddr,
}

/// Says that `stream` is for the client at one of these ends, or, without any, that it is for nobody but us. Waits for as long as
/// it takes; a future that is dropped leaves a stream that is of no more use.
pub(super) async fn announce(stream: &mut Stream, version: Version, ends: Option<Ends>) -> io::Result<()> {
    let mut header = Vec::with_capacity(128);
    match ends {
        Some(Ends { client, destination }) => {
            proxy_protocol::write(version, client, destination, &mut header);
        }
        None => proxy_protocol::write_own(version, &mut header),
    }
    stream.write_all(&header).await
}
