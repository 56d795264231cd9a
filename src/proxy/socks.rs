//! SOCKS5: another way to ask for a tunnel (RFC 1928, 1929).
//!
//! Only the words differ from `CONNECT`: who it is, whether he may, where it goes and what is written of it are decided and done
//! where they are for HTTP. Invariant: a client that is not told that its tunnel is open has none.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::{
    error::{Blame, ProxyError},
    exchange::Exchange,
    live::Live,
    login::NotKnown,
    service::{admit, identify, weigh},
    tunnel::{self, Tongue},
};
use crate::{
    message::socks::{self, Offer, Reply, Request, SocksError},
    server::{After, Client},
    telemetry::names::ProxyErrorType,
};

/// What is said to a client before it is closed, and what was wrong.
struct Failed {
    /// None = nothing: it is gone, or says nothing.
    told: Option<Vec<u8>>,
    error: ProxyError,
}

/// Why nothing more comes of a client.
enum Silence {
    Malformed(SocksError),
    Gone,
    Late,
}

/// Serves a client whose greeting has begun to come at `started`.
pub(super) async fn serve(
    client: &mut Client,
    live: &Arc<Live>,
    mut exchange: Box<Exchange>,
    started: Instant,
) -> After {
    exchange.requested(Method::CONNECT, "SOCKS5", None);
    let until = started + live.client_header;
    let request = match negotiate(client, live, &mut exchange, until).await {
        Ok(request) => request,
        Err(failed) => return close(client, exchange, failed).await,
    };
    let origin = Arc::new(request.authority);
    exchange.targets(None, Some(Arc::clone(&origin)), bytes::Bytes::new());
    if !request.is_connect {
        let error = ProxyError::new(
            Blame::Downstream,
            StatusCode::NOT_IMPLEMENTED,
            ProxyErrorType::HttpRequestError,
            "of SOCKS5 only CONNECT is served",
        );
        return close(client, exchange, Failed::telling(Reply::CommandNotSupported, error)).await;
    }
    match weigh(live, client, &Method::CONNECT, &origin, None, &mut exchange).await {
        Ok(permit) => tunnel::open(client, live, None, &origin, &permit, exchange, Tongue::Socks).await,
        Err(error) => refuse(client, exchange, error).await,
    }
}

/// Tells why there is no tunnel.
pub(super) async fn refuse(client: &mut Client, exchange: Box<Exchange>, error: ProxyError) -> After {
    let reply = reply_to(&error);
    close(client, exchange, Failed::telling(reply, error)).await
}

async fn close(client: &mut Client, mut exchange: Box<Exchange>, failed: Failed) -> After {
    exchange.refused(&failed.error);
    exchange.respond(failed.error.status);
    drop(exchange);
    match failed.told {
        Some(bytes) if client.send(&bytes).await.is_err() => After::Broken,
        _ => After::Linger,
    }
}

/// Greeting, login, request.
async fn negotiate(
    client: &mut Client,
    live: &Live,
    exchange: &mut Exchange,
    until: Instant,
) -> Result<Request, Failed> {
    let offer = message(client, until, socks::greeting).await.map_err(Failed::silently)?;
    // Whom a certificate names is known already.
    let login = live.kept.login.as_ref().filter(|_| client.user().is_none());
    if let Some(user) = client.user() {
        exchange.identified(Arc::clone(user));
    }
    if login.is_some() {
        // Who is not served is not asked for a password either.
        admit(live, client)
            .map_err(|refusal| Failed::telling(Reply::NotAllowed, refusal.into()).unasked())?;
    }
    let method = choose(offer, login.is_some(), live.reports_only);
    send(client, &socks::choice(method)).await?;
    let field = match method {
        socks::Method::Unacceptable => {
            let error = match login {
                Some(_) => ProxyError::not_known(NotKnown::Unknown, &live.challenge),
                None => ProxyError::bad_request("no way to log in that the client offers is known"),
            };
            return Err(Failed { told: None, error });
        }
        socks::Method::None => None,
        socks::Method::Password => Some(
            message(client, until, |bytes| {
                let found = socks::login(bytes)?;
                Ok(found.map(|((user, password), length)| (as_field(user, password), length)))
            })
            .await
            .map_err(Failed::silently)?,
        ),
    };
    if let Some(login) = login {
        let values = field.iter().flatten().map(String::as_bytes);
        if let Err(error) = identify(login, live, values, client.peer().ip(), exchange).await {
            let told = field.is_some().then(|| socks::verdict(false).to_vec());
            return Err(Failed { told, error });
        }
    }
    if field.is_some() {
        send(client, &socks::verdict(true)).await?;
    }
    message(client, until, socks::request).await.map_err(|silence| match silence {
        Silence::Malformed(error) => {
            let reply = match error {
                SocksError::AddressType => Reply::AddressTypeNotSupported,
                SocksError::Malformed | SocksError::Authority(_) => Reply::Failure,
            };
            Failed::telling(reply, ProxyError::bad_request(error.to_string()))
        }
        silence => Failed::silently(silence),
    })
}

/// Where nobody has to log in, what a client says of itself is not looked at.
fn choose(offer: Offer, must_log_in: bool, reports_only: bool) -> socks::Method {
    match offer {
        Offer { password: true, .. } if must_log_in => socks::Method::Password,
        Offer { none: true, .. } if !must_log_in || reports_only => socks::Method::None,
        Offer { password: true, .. } => socks::Method::Password,
        _ => socks::Method::Unacceptable,
    }
}

/// What `Proxy-Authorization` would say. None where it cannot: a name with a colon in it is nobody's.
fn as_field(user: &[u8], password: &[u8]) -> Option<String> {
    let pair = [user, b":", password].concat();
    (!user.contains(&b':')).then(|| format!("Basic {}", STANDARD.encode(pair)))
}

/// Reads one message of the client. What is behind it stays.
async fn message<T>(
    client: &mut Client,
    until: Instant,
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, SocksError>,
) -> Result<T, Silence> {
    loop {
        let inbox = client.parts().0;
        if let Some((message, length)) = parse(inbox.unread()).map_err(Silence::Malformed)? {
            inbox.consume(length);
            return Ok(message);
        }
        match client.fill(until).await {
            Ok(1..) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(Silence::Late),
            Ok(0) | Err(_) => return Err(Silence::Gone),
        }
    }
}

async fn send(client: &mut Client, bytes: &[u8]) -> Result<(), Failed> {
    client.send(bytes).await.map_err(|_| Failed::silently(Silence::Gone))
}

/// By cause: a client can tell its user what to do about it.
fn reply_to(error: &ProxyError) -> Reply {
    use ProxyErrorType as Kind;
    match error.kind {
        Kind::HttpRequestDenied | Kind::DestinationIpProhibited | Kind::ProxyLoopDetected => {
            Reply::NotAllowed
        }
        Kind::DestinationIpUnroutable => Reply::NetworkUnreachable,
        Kind::DnsError
        | Kind::DnsTimeout
        | Kind::ConnectionTimeout
        | Kind::DestinationNotFound
        | Kind::DestinationUnavailable => Reply::HostUnreachable,
        Kind::ConnectionRefused => Reply::Refused,
        _ => Reply::Failure,
    }
}

impl Failed {
    fn telling(reply: Reply, error: ProxyError) -> Self {
        Self { told: Some(socks::reply(reply, None)), error }
    }

    /// Before there is a request, there is no reply to it.
    fn unasked(self) -> Self {
        Self { told: Some(socks::choice(socks::Method::Unacceptable).to_vec()), ..self }
    }

    fn silently(silence: Silence) -> Self {
        let error = match silence {
            Silence::Malformed(error) => ProxyError::bad_request(error.to_string()),
            Silence::Gone => {
                ProxyError::bad_request("the connection was closed before a request was complete")
            }
            Silence::Late => ProxyError::new(
                Blame::Downstream,
                StatusCode::REQUEST_TIMEOUT,
                ProxyErrorType::HttpRequestError,
                "the request was not complete within timeouts.client_header",
            ),
        };
        Self { told: None, error }
    }
}
