//! What a service that is broken does to those who are served beside.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    message::head::HeadLimits,
    server::{After, Client, ClientOptions, RefusedHead, RequestHead, RequestTarget, is_contained},
};

/// Answers every request, but panics at `/panic`.
#[derive(Debug, Default)]
struct Fragile {
    connections: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for Fragile {
    type Ticket = Ticket;
    type Crowd = ();

    fn admit(&self, _: SocketAddr) -> Result<Ticket, ()> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Ok(Ticket(Arc::clone(&self.connections)))
    }

    fn admit_unnamed(&self) -> Result<Ticket, ()> {
        self.admit(SocketAddr::from(([0; 4], 0)))
    }

    fn name(&self, _: &mut Ticket, _: SocketAddr) -> Result<(), ()> {
        Ok(())
    }

    fn crowded(&self, (): (), _: SocketAddr) -> Bytes {
        Bytes::new()
    }

    async fn serve(&self, head: &RequestHead, client: &mut Client) -> After {
        assert!(is_contained(), "who serves is contained");
        if matches!(&head.target, RequestTarget::Origin(path) if path == "/panic") {
            panic!("injected");
        }
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

async fn ask(stream: &mut TcpStream, path: &str) -> Vec<u8> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 27];
    match stream.read_exact(&mut answer).await {
        Ok(_) => answer,
        Err(_) => Vec::new(),
    }
}

#[tokio::test]
async fn a_panic_takes_nobody_else_down() {
    let service = Arc::new(Fragile::default());
    let connections = Arc::clone(&service.connections);
    let options = ConnectionOptions {
        client: ClientOptions {
            head: HeadLimits { max_bytes: 1024, max_headers: 10 },
            client_header: Duration::from_secs(10),
            client_idle: Duration::from_secs(10),
            body_idle: Duration::from_secs(10),
            socks5: false,
        },
        balancers: Arc::default(),
        tcp_keepalive: Duration::from_secs(30),
        tls: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept(listener, service, options, Drain::new()));
    let mut beside = TcpStream::connect(address).await.unwrap();
    assert!(!ask(&mut beside, "/").await.is_empty());
    for _ in 0..3 {
        let mut fatal = TcpStream::connect(address).await.unwrap();
        assert!(!ask(&mut fatal, "/").await.is_empty());
        assert!(ask(&mut fatal, "/panic").await.is_empty(), "its own connection ends");
        assert!(!ask(&mut beside, "/").await.is_empty(), "the other goes on");
    }
    assert!(!is_contained());
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the tickets of the others are given back");
}
