//! Connections to origins that may speak HTTP/2: one for many requests.
//!
//! A request that finds no connection with room connects, or waits for another one that does. All of it is within
//! `timeouts.connect`. Nothing here is run for a request that goes out in clear text.

use tokio::time::{Instant, timeout_at};

use super::Errand;
use crate::{
    message::{hop_by_hop::Upgrade, http2::request::fits},
    net::{dial::DialError, tls::Protocol},
    proxy::{error::ProxyError, exchange::Exchange, live},
    upstream::{Approach, Connection, UpstreamError},
};

/// Whether HTTP/2 cannot carry the request, which is to be sent with TLS.
pub(super) fn needs_http1(errand: &Errand<'_>, upgrade: Option<&Upgrade>) -> bool {
    errand.live.connector.offers(Protocol::Http2) && (upgrade.is_some() || !fits(&errand.path))
}

/// A connection that was made for this request, or for several.
pub(super) async fn connect(
    errand: &Errand<'_>,
    deadline: Instant,
    exchange: &mut Exchange,
) -> Result<Box<Connection>, ProxyError> {
    let (live, permit) = (errand.live, &errand.permit);
    let late = || ProxyError::from(&DialError::Timeout);
    let dialling = loop {
        match errand.pool.approach(&errand.origin, 0, |peer| permit.reach.check(peer).is_ok()) {
            Approach::Open(connection) => return Ok(connection),
            Approach::Dial(dialling) => break dialling,
            Approach::Wait(change) => timeout_at(deadline, change).await.map_err(|_| late())?,
        }
    };
    let made = async {
        let dialled = timeout_at(deadline, live.dial(&errand.origin, permit)).await.map_err(|_| late())??;
        live::encrypt(live, &errand.origin, dialled, dialling.offers_http2(), deadline).await
    };
    let dialled = match made.await {
        Ok(dialled) => dialled,
        Err(error) => {
            dialling.failed();
            return Err(error);
        }
    };
    exchange.dialled(&dialled);
    let done = dialling.done(dialled, &live.connector, live.response_limits, exchange.seat());
    match timeout_at(deadline, done).await {
        Ok(connection) => connection.map_err(UpstreamError::into),
        Err(_) => Err(late()),
    }
}
