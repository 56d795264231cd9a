//! TLS with a client, before anything else: within its deadline, and with so many at once.
//!
//! Who has connected and says nothing takes nobody's turn. A handshake that fails is ended so that the client can read why.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{connection::FIRST_REQUEST_GRACE, drain::Drain, linger, service::Handshake};
use crate::net::tls::{Accepted, Acceptor};

/// How clients with TLS are taken.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Shakes hands.
    pub acceptor: Acceptor,
    /// From connecting to the end of the handshake.
    pub timeout: Duration,
    /// A permit is a handshake that is going on.
    pub turns: Arc<Semaphore>,
}

/// Shakes hands with a client; how that ended is told. None when there is no client any more, and when it is still not done a
/// moment after the server has begun to drain.
pub(super) async fn shake_hands(
    socket: TcpStream,
    options: &TlsOptions,
    drain: &Drain,
    tell: impl Fn(Handshake),
) -> Option<Accepted> {
    let deadline = Instant::now() + options.timeout;
    let shaking = async {
        socket.readable().await.ok()?;
        let _turn = options.turns.acquire().await.ok()?;
        Some(options.acceptor.accept(socket.into(), &[]).await)
    };
    let draining = async {
        drain.started().await;
        tokio::time::sleep(FIRST_REQUEST_GRACE).await;
    };
    let shaken = tokio::select! {
        biased;
        shaken = timeout_at(deadline, shaking) => shaken,
        () = draining => return None,
    };
    let Ok(shaken) = shaken else {
        tell(Handshake::Late);
        return None;
    };
    match shaken {
        Some(Ok(accepted)) => {
            tell(if accepted.resumed { Handshake::Resumed } else { Handshake::Complete });
            Some(accepted)
        }
        Some(Err(refused)) => {
            tell(Handshake::Failed);
            tracing::debug!(error = %refused.error, "no TLS with a client");
            linger::close(refused.stream, deadline - Instant::now()).await;
            None
        }
        None => {
            tell(Handshake::Failed);
            None
        }
    }
}
