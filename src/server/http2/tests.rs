//! What a service that is broken does to the streams beside it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::serve;
use crate::{
    message::head::HeadLimits,
    net::tls::Protocol,
    server::{
        After, Client, ClientOptions, ConnectionOptions, Peer, RefusedHead, RequestHead, RequestTarget,
        Service,
        connection::{Arrived, Shared},
        drain::Drain,
        is_contained,
    },
};

/// Answers every request, but panics at `/panic`.
#[derive(Debug)]
struct Fragile;

impl Service for Fragile {
    type Ticket = ();
    type Crowd = ();

    fn admit(&self, _: SocketAddr) -> Result<(), ()> {
        Ok(())
    }

    fn admit_unnamed(&self) -> Result<(), ()> {
        Ok(())
    }

    fn name(&self, (): &mut (), _: SocketAddr) -> Result<(), ()> {
        Ok(())
    }

    fn crowded(&self, (): (), _: SocketAddr) -> Bytes {
        Bytes::new()
    }

    async fn serve(&self, head: &RequestHead, client: &mut Client) -> After {
        assert!(is_contained(), "who serves is contained");
        let RequestTarget::Absolute { path_and_query, .. } = &head.target else { return After::Broken };
        assert_ne!(&path_and_query[..], b"/panic", "injected");
        match client.send(b"HTTP/1.1 204 No Content\r\n\r\n").await {
            Ok(()) => After::KeepAlive,
            Err(_) => After::Broken,
        }
    }

    async fn serve_socks(&self, _: &mut Client, _: Instant) -> After {
        After::Cut
    }

    fn refuse(&self, _: SocketAddr, _: &RefusedHead) -> Bytes {
        Bytes::new()
    }
}

/// A client of [`Fragile`].
async fn connect() -> h2::client::SendRequest<Bytes> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, address) = listener.accept().await.unwrap();
    let options = ConnectionOptions {
        client: ClientOptions {
            head: HeadLimits { max_bytes: 8192, max_headers: 10 },
            socks5: false,
            client_header: Duration::from_secs(10),
            client_idle: Duration::from_secs(10),
            body_idle: Duration::from_secs(10),
        },
        balancers: Arc::default(),
        tcp_keepalive: Duration::from_secs(30),
        tls: None,
    };
    let shared = Shared::new(Arc::new(Fragile), &options, Drain::new());
    let peer = Peer { address, is_brought: false, destination: None };
    let arrived = Arrived { stream: far.into(), peer, user: None, protocol: Protocol::Http2, inside: None };
    tokio::spawn(serve(arrived, Arc::new(shared)));
    let (send, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    send
}

async fn ask(send: &h2::client::SendRequest<Bytes>, path: &str) -> Result<u16, h2::Error> {
    let request = Request::get(format!("http://a.test{path}")).body(()).unwrap();
    let (answer, _) = send.clone().ready().await?.send_request(request, true)?;
    Ok(answer.await?.status().as_u16())
}

#[tokio::test]
async fn a_panic_ends_its_own_stream_and_no_other() {
    let client = connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&client, "/").await.unwrap(), 204);
        let error = ask(&client, "/panic").await.unwrap_err();
        assert!(error.is_reset() && error.reason() != Some(h2::Reason::NO_ERROR), "{error}");
    }
    assert_eq!(ask(&client, "/").await.unwrap(), 204);
}
