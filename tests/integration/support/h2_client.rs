//! Clients of the TLS listener that speak HTTP/2: one by the `h2` crate, and one that writes its frames by hand, for what that
//! crate refuses to do.

use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use super::{Authority, Config, PATIENCE, Proxy, Signed};

/// A proxy with a TLS listener, and whom its certificate is from.
pub(crate) struct H2Proxy {
    pub(crate) proxy: Proxy,
    authority: Authority,
}

/// A client, its connection moved by a runtime of its own.
#[derive(Debug)]
pub(crate) struct H2 {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    connection: Option<JoinHandle<Result<(), h2::Error>>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct H2Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A client that writes frames by hand.
#[derive(Debug)]
pub(crate) struct Frames {
    tls: StreamOwned<ClientConnection, TcpStream>,
    /// What has come and nobody has waited for yet.
    passed: Vec<Frame>,
    /// Why nothing more comes.
    end: Option<std::io::Error>,
}

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl H2Proxy {
    #[track_caller]
    pub(crate) fn start(config: Config) -> Self {
        Self::start_by(config, Authority::new())
    }

    #[track_caller]
    fn start_by(config: Config, authority: Authority) -> Self {
        let signed = authority.server(&["localhost", "127.0.0.1"]);
        let proxy = config
            .set("tls.listen_addr", "127.0.0.1:0")
            .set("tls.cert_path", "cert.pem")
            .set("tls.key_path", "key.pem")
            .file("cert.pem", &signed.cert)
            .file("key.pem", &signed.key)
            .start();
        Self { proxy, authority }
    }

    /// With clients who have to show a certificate of the same authority.
    #[track_caller]
    pub(crate) fn start_mutual(config: Config) -> Self {
        let authority = Authority::new();
        let config = config.set("tls.client_ca_path", "clients.pem").file("clients.pem", &authority.pem());
        Self::start_by(config, authority)
    }

    #[track_caller]
    pub(crate) fn client(&self) -> H2 {
        H2::connect(self.proxy.tls_addr(), &Arc::new(self.tls(None)))
    }

    /// A client whose certificate says that it is called this.
    #[track_caller]
    pub(crate) fn client_called(&self, name: &str) -> H2 {
        let signed = self.authority.client(name);
        H2::connect(self.proxy.tls_addr(), &Arc::new(self.tls(Some(&signed))))
    }

    #[track_caller]
    pub(crate) fn frames(&self) -> Frames {
        let socket = TcpStream::connect_timeout(&self.proxy.tls_addr(), PATIENCE).expect("the proxy listens");
        socket.set_nodelay(true).expect("a socket takes options");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes options");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket takes options");
        let session = ClientConnection::new(Arc::new(self.tls(None)), name()).expect("a client of rustls");
        Frames { tls: StreamOwned::new(session, socket), passed: Vec::new(), end: None }
    }

    fn tls(&self, client: Option<&Signed>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).expect("a certificate");
        roots.add(root).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring does TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let certificate =
                    CertificateDer::from_pem_slice(client.cert.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("they match")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

impl H2 {
    #[track_caller]
    fn connect(addr: SocketAddr, tls: &Arc<ClientConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads can be made");
        let tls = TlsConnector::from(Arc::clone(tls));
        let (send, connection) = runtime.block_on(within(async move {
            let socket = tokio::net::TcpStream::connect(addr).await.expect("the proxy listens");
            let stream = tls.connect(name(), socket).await.expect("the proxy shakes hands");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is agreed on");
            let (send, connection) = h2::client::Builder::new()
                .initial_window_size(1 << 20)
                .initial_connection_window_size(8 << 20)
                .handshake(stream)
                .await
                .expect("the proxy speaks HTTP/2");
            (send, tokio::spawn(connection))
        }));
        Self { runtime, send, connection: Some(connection) }
    }

    /// What a test does on the connection, which must not take long.
    #[track_caller]
    pub(crate) fn run<T>(&self, what: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
        let send = self.send.clone();
        self.runtime.block_on(within(async move { what(send).await }))
    }

    /// One request without a body and its answer, which has to come.
    #[track_caller]
    pub(crate) fn ask(&self, request: Request<()>) -> H2Answer {
        self.run(async |send| ask(send, request).await.expect("there is an answer"))
    }

    /// How the connection ends, waited for.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Result<(), h2::Error> {
        let connection = self.connection.take().expect("it has not ended");
        self.runtime.block_on(within(connection)).expect("the connection does not panic")
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it does not take so long")
}

/// One request without a body and its answer.
pub(crate) async fn ask(send: SendRequest<Bytes>, request: Request<()>) -> Result<H2Answer, h2::Error> {
    let mut send = send.ready().await?;
    let (answer, _) = send.send_request(request, true)?;
    read(answer.await?).await
}

/// All that comes behind the head of an answer.
pub(crate) async fn read(answer: Response<RecvStream>) -> Result<H2Answer, h2::Error> {
    let (parts, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok(H2Answer { head: Response::from_parts(parts, ()), body: bytes.into(), trailers })
}

/// Sends all of `bytes`, as the window allows.
pub(crate) async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    is_last: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
        let part = bytes.split_to(room?.min(bytes.len()));
        stream.send_data(part, false)?;
    }
    if is_last { stream.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Exactly so many bytes of a stream.
pub(crate) async fn take(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let data = body.data().await.expect("the stream goes on").expect("the stream is well");
        body.flow_control().release_capacity(data.len()).expect("the stream is well");
        bytes.extend_from_slice(&data);
    }
    assert_eq!(bytes.len(), count, "more than was sent");
    bytes
}

/// The end of a stream, in order.
pub(crate) async fn expect_end(body: &mut RecvStream) {
    while let Some(data) = body.data().await {
        assert!(data.expect("the stream is well").is_empty(), "more than was sent");
    }
}

impl H2Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    /// The only value of this field; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let mut values = self.head.headers().get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().expect("ASCII"));
        assert!(values.next().is_none(), "{name} comes twice: {self:?}");
        value
    }
}

impl Frames {
    /// Says hello: the preface and an empty SETTINGS.
    #[track_caller]
    pub(crate) fn greet(&mut self) {
        self.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the proxy takes a preface");
        self.send(4, 0, 0, b"").expect("the proxy takes settings");
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        self.write(&frame(kind, flags, stream, payload))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.tls.write_all(bytes)?;
        self.tls.flush()
    }

    /// HEADERS with these fields, which end the request.
    #[track_caller]
    pub(crate) fn request(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(1, 5, stream, &block(fields)).expect("the proxy takes a request");
    }

    /// The next frame; none at the end of the connection, however that came.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.read().map_err(|error| self.end = Some(error)).ok()
    }

    fn read(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.tls.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.tls.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first frame for which this holds, of those that nobody has waited for yet and those that come; settings are acknowledged on
    /// the way. Frames of several streams come in any order.
    #[track_caller]
    pub(crate) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(at) = self.passed.iter().position(&wanted) {
            return self.passed.remove(at);
        }
        loop {
            let Some(frame) = self.next() else {
                panic!("nothing more comes ({:?}) after {:?}", self.end, self.passed)
            };
            if frame.kind == 4 && frame.flags == 0 {
                let _ = self.send(4, 1, 0, b"");
            }
            if wanted(&frame) {
                return frame;
            }
            self.passed.push(frame);
        }
    }

    /// The kernel keeps little of what is not read.
    pub(crate) fn read_little(&self) {
        socket2::SockRef::from(&self.tls.sock).set_recv_buffer_size(4096).expect("a socket takes options");
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.tls.sock.set_read_timeout(Some(patience)).expect("a socket takes options");
        self.tls.sock.set_write_timeout(Some(patience)).expect("a socket takes options");
    }
}

impl Frame {
    /// The code of RST_STREAM, or of GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == 7 { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block that leaves no trace in the table: every field a literal.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            // A length of 127 or more goes on in the next byte.
            match u8::try_from(text.len()) {
                Ok(length) if length < 127 => bytes.push(length),
                _ => {
                    let mut left = text.len() - 127;
                    bytes.push(127);
                    while left >= 128 {
                        bytes.push((left % 128) as u8 | 128);
                        left /= 128;
                    }
                    bytes.push(left as u8);
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}
