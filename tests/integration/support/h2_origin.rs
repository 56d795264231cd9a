//! An origin that speaks HTTP/2 by ALPN, made with the `h2` crate, and HTTP/1.1 where nothing else is offered.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{Notify, Semaphore},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use super::{
    Signed,
    h2_client::{H2Answer, read, send_all},
    secure,
};

/// What it has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections of HTTP/2 so far, and those that are open.
    connections: AtomicUsize,
    open: AtomicUsize,
    /// Connections of HTTP/1.1 so far.
    http1: AtomicUsize,
    /// Requests that are served now, and the most that ever were.
    serving: AtomicUsize,
    most: AtomicUsize,
    requests: Mutex<Vec<Request<()>>>,
    farewell: Notify,
    held: Held,
}

/// Those who wait to be let on.
#[derive(Debug)]
struct Held(Semaphore);

impl Default for Held {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

/// The origin. It ends with its runtime.
#[derive(Debug)]
pub(crate) struct H2Origin {
    addr: SocketAddr,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

/// A request, and where it is answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: Request<()>,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
    seen: Arc<Seen>,
}

impl H2Origin {
    /// Answers every request with `ok`.
    pub(crate) fn ok(signed: &Signed) -> Self {
        Self::start(signed, async |asked| asked.answer("ok").await)
    }

    /// Runs `script` for every request of HTTP/2.
    pub(crate) fn start<F>(signed: &Signed, script: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), h2::Error>> + Send + 'static,
    {
        Self::start_with(signed, |_| {}, script)
    }

    /// The same, with these settings.
    pub(crate) fn start_with<F>(
        signed: &Signed,
        set: impl FnOnce(&mut Builder),
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), h2::Error>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads can be made");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let mut config = ServerConfig::clone(&secure::server(signed, None));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut builder = Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(8 << 20);
        set(&mut builder);
        let (seen, script) = (Arc::new(Seen::default()), Arc::new(script));
        let shared = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, builder) = (acceptor.clone(), builder.clone());
                let (seen, script) = (Arc::clone(&shared), Arc::clone(&script));
                tokio::spawn(async move {
                    let _ = socket.set_nodelay(true);
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        serve(stream, &builder, &seen, script).await;
                    } else {
                        seen.http1.fetch_add(1, Ordering::SeqCst);
                        let _ = serve_http1(stream).await;
                    }
                });
            }
        });
        Self { addr, seen, _runtime: runtime }
    }

    pub(crate) fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.addr.port())
    }

    /// `https://localhost` with its port, and this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority("localhost"))
    }

    /// Connections of HTTP/2 so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Those that are open.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Connections of HTTP/1.1 so far.
    pub(crate) fn http1(&self) -> usize {
        self.seen.http1.load(Ordering::SeqCst)
    }

    /// The most requests that were served at a time.
    pub(crate) fn most(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }

    /// Requests that are served now.
    pub(crate) fn serving(&self) -> usize {
        self.seen.serving.load(Ordering::SeqCst)
    }

    /// The heads so far.
    pub(crate) fn requests(&self) -> Vec<Request<()>> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Says GOAWAY on one connection, and answers what it has.
    pub(crate) fn say_farewell(&self) {
        self.seen.farewell.notify_one();
    }

    /// Lets so many go on that are [held](Asked::held).
    pub(crate) fn let_on(&self, count: usize) {
        self.seen.held.0.add_permits(count);
    }
}

async fn serve<F>(
    stream: TlsStream<TcpStream>,
    builder: &Builder,
    seen: &Arc<Seen>,
    script: Arc<impl Fn(Asked) -> F + Send + Sync + 'static>,
) where
    F: Future<Output = Result<(), h2::Error>> + Send + 'static,
{
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    seen.connections.fetch_add(1, Ordering::SeqCst);
    seen.open.fetch_add(1, Ordering::SeqCst);
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = seen.farewell.notified() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { break };
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts, ());
        seen.requests.lock().unwrap().push(head.clone());
        let now = seen.serving.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        let (seen, script) = (Arc::clone(seen), Arc::clone(&script));
        tokio::spawn(async move {
            // What the proxy does wrong shows at the client.
            let _ = script(Asked { head, body, respond, seen: Arc::clone(&seen) }).await;
            seen.serving.fetch_sub(1, Ordering::SeqCst);
        });
    }
    seen.open.fetch_sub(1, Ordering::SeqCst);
}

/// Answers with `one`, and what asks for an upgrade with an echo.
async fn serve_http1(mut stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if String::from_utf8_lossy(&head).contains("upgrade: websocket") {
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                )
                .await?;
            let mut bytes = [0; 1024];
            loop {
                let count = stream.read(&mut bytes).await?;
                if count == 0 {
                    return Ok(());
                }
                stream.write_all(&bytes[..count]).await?;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none").await?;
        head.clear();
    }
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.head.uri().path()
    }

    /// Waits until the test lets it go on.
    pub(crate) fn held(&self) -> impl Future<Output = ()> + Send + use<> {
        let seen = Arc::clone(&self.seen);
        async move { seen.held.0.acquire().await.expect("it is never closed").forget() }
    }

    /// All of the request, which is to come.
    pub(crate) async fn read(self) -> Result<(H2Answer, SendResponse<Bytes>), h2::Error> {
        let request = read(Response::new(self.body)).await?;
        Ok((request, self.respond))
    }

    /// Answers with 200 and this content, whose length is told.
    pub(crate) async fn answer(self, content: impl Into<Bytes>) -> Result<(), h2::Error> {
        answer(self.respond, content).await
    }

    /// Begins to answer with 200 and these fields.
    pub(crate) fn begin(
        mut self,
        fields: &[(&'static str, &'static str)],
    ) -> Result<SendStream<Bytes>, h2::Error> {
        self.respond.send_response(response(StatusCode::OK, fields), false)
    }
}

/// Answers with 200 and this content, whose length is told.
pub(crate) async fn answer(
    mut respond: SendResponse<Bytes>,
    content: impl Into<Bytes>,
) -> Result<(), h2::Error> {
    let content = content.into();
    let mut response = response(StatusCode::OK, &[]);
    response.headers_mut().insert("content-length", content.len().into());
    if content.is_empty() {
        return respond.send_response(response, true).map(drop);
    }
    let mut stream = respond.send_response(response, false)?;
    send_all(&mut stream, content, true).await
}

/// A head with these fields.
pub(crate) fn response(status: StatusCode, fields: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().expect("a value"));
    }
    response
}

/// Trailers with this field.
pub(crate) fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().expect("a value"));
    trailers
}
