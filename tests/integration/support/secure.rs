//! Either end of TLS for tests, on plain threads: an origin whose script sees what was decrypted, and a client.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};

use super::{Authority, Config, Signed, wait::PATIENCE};

/// The server's end of a connection.
pub(crate) type SecureConn = StreamOwned<ServerConnection, TcpStream>;

/// The client's end of a connection.
pub(crate) type SecureClient = StreamOwned<ClientConnection, TcpStream>;

/// An origin with TLS.
pub(crate) struct SecureOrigin {
    addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
}

impl SecureOrigin {
    /// Answers every request with `ok`, on connections that stay open.
    pub(crate) fn ok(signed: &Signed) -> Self {
        Self::answering(signed, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// Answers every request with these bytes, on connections that stay open.
    pub(crate) fn answering(signed: &Signed, response: &'static str) -> Self {
        Self::start(server(signed, None), move |conn, heads| {
            while let Some(head) = read_head(conn)? {
                heads.lock().unwrap().push(head);
                conn.write_all(response.as_bytes())?;
                conn.flush()?;
            }
            Ok(())
        })
    }

    /// Runs `script` for every connection; it is closed, without a word, when the script returns.
    pub(crate) fn start(
        config: Arc<ServerConfig>,
        script: impl Fn(&mut SecureConn, &Mutex<Vec<String>>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let (heads, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (shared, ends, script) = (Arc::clone(&heads), Arc::clone(&stopped), Arc::new(script));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                let (config, heads, script) = (Arc::clone(&config), Arc::clone(&shared), Arc::clone(&script));
                thread::spawn(move || {
                    let session = ServerConnection::new(config).expect("the configuration is whole");
                    let _ = socket.set_read_timeout(Some(PATIENCE));
                    let mut conn = StreamOwned::new(session, socket);
                    // What the proxy does wrong shows at the client.
                    let _ = script(&mut conn, &heads);
                });
            }
        });
        Self { addr, heads, stopped }
    }

    pub(crate) fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.addr.port())
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for SecureOrigin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

/// A server that has this certificate, and asks for those that `client_ca` has signed.
pub(crate) fn server(signed: &Signed, client_ca: Option<&str>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder(roots(pem)).build().expect("there is an authority"),
        ),
    };
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("it is a key");
    Arc::new(builder.with_single_cert(chain(&signed.cert), key).expect("they belong together"))
}

/// A client that trusts `ca` and speaks this version only.
pub(crate) fn client_of(ca: &str, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_protocol_versions(&[version]);
    Arc::new(builder.with_root_certificates(roots(ca)).with_no_client_auth())
}

/// A client that trusts `ca` and is who `signed` says.
pub(crate) fn client(ca: &str, signed: Option<&Signed>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder().with_root_certificates(roots(ca));
    Arc::new(match signed {
        None => builder.with_no_client_auth(),
        Some(signed) => {
            let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("it is a key");
            builder.with_client_auth_cert(chain(&signed.cert), key).expect("they belong together")
        }
    })
}

/// Connects as `config` says, to what has to be `localhost`, and shakes hands.
pub(crate) fn connect(config: &Arc<ClientConfig>, addr: SocketAddr) -> io::Result<SecureClient> {
    over(config, TcpStream::connect(addr)?)
}

/// The same, on a connection that was made.
pub(crate) fn over(config: &Arc<ClientConfig>, socket: TcpStream) -> io::Result<SecureClient> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from("localhost").expect("it is a name");
    let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Ends the write side: of TLS, and of the socket.
pub(crate) fn finish(stream: &mut SecureClient) -> io::Result<()> {
    stream.conn.send_close_notify();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock)?;
    }
    stream.sock.shutdown(Shutdown::Write)
}

/// Ends TLS as it should be ended.
pub(crate) fn close(conn: &mut SecureConn) -> io::Result<()> {
    conn.conn.send_close_notify();
    conn.flush()
}

/// Reads a head; none at the end in front of one.
pub(crate) fn read_head(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// Reads a response with `Content-Length`: its head and its content.
pub(crate) fn read_response(stream: &mut impl Read) -> io::Result<(String, String)> {
    let head = read_head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut content)?;
    Ok((head, String::from_utf8_lossy(&content).into_owned()))
}

fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(chain(pem));
    Arc::new(store)
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("they are certificates")
}

/// The configuration with a listener for TLS on any free port, which has a certificate for `localhost` of this authority.
pub(crate) fn listening(config: Config, authority: &Authority) -> Config {
    let signed = authority.server(&["localhost", "127.0.0.1"]);
    config
        .set("tls.listen_addr", "127.0.0.1:0")
        .set("tls.cert_path", "cert.pem")
        .set("tls.key_path", "key.pem")
        .file("cert.pem", &signed.cert)
        .file("key.pem", &signed.key)
        .file("ca.pem", &authority.pem())
}
