//! What TLS with clients costs: handshakes and bytes for a second of CPU time, and the memory of a client that is silent, of the
//! product and of the least that could do it with tokio-rustls.
//!
//! Handshakes are compared with a server that sends back what it gets, and bytes with that and with one more. Bytes go there and
//! back: for the product through a tunnel to an echo without TLS, so that it has two sockets to move them over where a server that
//! is the echo itself has one, and needs half as many calls of the kernel; the relay does what the product does, and nothing else.
//!
//! Each serves in one thread of a process of its own, with the same certificate and sealed session tickets, by turns; what counts is the
//! CPU time that the kernel books for that process, and the ratio in each round. Linux only. `cargo bench --bench tls`, and with a word
//! of a title behind it (`-- bytes`) only that, for whoever looks where the time goes.

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs, io,
        net::SocketAddr,
        path::Path,
        process::{Child, Command, Stdio},
        sync::Arc,
        time::{Duration, Instant},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes},
        net::{TcpListener, TcpStream},
        runtime::Builder,
    };
    use tokio_rustls::{
        TlsAcceptor, TlsConnector,
        client::TlsStream,
        rustls::{
            ClientConfig, RootCertStore, ServerConfig,
            client::Resumption,
            crypto::ring::Ticketer,
            pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        },
    };

    const ROUNDS: usize = 11;
    const HANDSHAKES: usize = 200;
    const ECHOED: usize = 96 << 20;
    const PIECE: usize = 256 << 10;
    /// What the bare servers move at a time.
    const ROOM: usize = 64 << 10;
    const SILENT: usize = 1000;

    /// A server in a process of its own.
    struct Server {
        child: Child,
        addr: SocketAddr,
        /// What stands in front of the bytes that are sent back.
        opening: String,
    }

    pub(super) fn main() -> io::Result<()> {
        let mut arguments = std::env::args().skip(1);
        if let (Some("--echo"), Some(folder)) = (arguments.next().as_deref(), arguments.next()) {
            let origin = arguments.next().map(|addr| addr.parse().expect("it is an address"));
            return single(bare_server(Path::new(&folder), origin));
        }
        let folder = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
        fs::write(folder.path().join("cert.pem"), made.cert.pem())?;
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
        single(compare(folder.path()))
    }

    fn single(task: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        Builder::new_current_thread().enable_all().build()?.block_on(task)
    }

    async fn compare(folder: &Path) -> io::Result<()> {
        let plain = TcpListener::bind("127.0.0.1:0").await?;
        let origin = plain.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = plain.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let _ = copy(&mut from, &mut to).await;
                });
            }
        });
        // What it takes to wake a processor that sleeps is not what a server costs.
        tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let only = std::env::args().nth(1).filter(|only| !only.starts_with('-'));
        let product = product(folder, origin)?;
        let (echo, relay) = (bare(folder, None)?, bare(folder, Some(origin))?);
        println!("{:<44}{:>12}{:>12}{:>8}", "", "the product", "bare", "ratio");
        for (title, bare) in [
            ("full handshakes per CPU second", &echo),
            ("resumed handshakes per CPU second", &echo),
            ("GB of bytes per CPU second, and an echo", &echo),
            ("GB of bytes per CPU second, and a relay", &relay),
            ("KiB of a silent client", &echo),
        ] {
            if only.as_ref().is_some_and(|only| !title.contains(only)) {
                continue;
            }
            let rounds = if title.starts_with("KiB") { 1 } else { ROUNDS };
            let [mut ours, mut theirs, mut ratios] = [const { Vec::new() }; 3];
            for _ in 0..rounds {
                let [our, their] =
                    [measure(title, &product, folder).await?, measure(title, bare, folder).await?];
                ours.push(our);
                theirs.push(their);
                ratios.push(our / their);
            }
            let [ours, theirs, ratio] = [ours, theirs, ratios].map(median);
            println!("{title:<44}{ours:>12.2}{theirs:>12.2}{ratio:>8.2}");
        }
        Ok(())
    }

    async fn measure(title: &str, server: &Server, folder: &Path) -> io::Result<f64> {
        match title.split(' ').next() {
            Some("full") => handshakes(server, &client(folder, false)?).await,
            Some("resumed") => handshakes(server, &client(folder, true)?).await,
            Some("GB") => echo(server, &client(folder, false)?).await,
            _ => silent(server, &client(folder, false)?).await,
        }
    }

    fn product(folder: &Path, origin: SocketAddr) -> io::Result<Server> {
        let text = "listen_addr: \"127.0.0.1:0\"\nadmin: { listen_addr: null, socket_path: null }\nlogging: { file: null }\n\
            tls: { listen_addr: \"127.0.0.1:0\", cert_path: \"cert.pem\", key_path: \"key.pem\" }\n";
        fs::write(folder.join("config.yml"), text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"));
        let opening = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
        begin(command.current_dir(folder), "tls=true", opening)
    }

    /// An echo, or a relay to one.
    fn bare(folder: &Path, origin: Option<SocketAddr>) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--echo").arg(folder).args(origin.map(|origin| origin.to_string()));
        begin(&mut command, "addr=", String::new())
    }

    /// Starts it, and waits until it says where it listens.
    fn begin(command: &mut Command, said: &str, opening: String) -> io::Result<Server> {
        use std::io::BufRead;
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut log = io::BufReader::new(child.stderr.take().expect("it was asked for"));
        loop {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err(io::Error::other("it does not begin"));
            }
            let field = line.split_whitespace().find_map(|word| word.strip_prefix("addr="));
            if let Some(addr) = field.filter(|_| line.contains(said)).and_then(|addr| addr.parse().ok()) {
                std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
                return Ok(Server { child, addr, opening });
            }
        }
    }

    async fn bare_server(folder: &Path, origin: Option<SocketAddr>) -> io::Result<()> {
        let (chain, key) = identity(folder)?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .map_err(io::Error::other)?;
        config.ticketer = Ticketer::new().map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        eprintln!("addr={}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if let Some(origin) = origin {
                    let Ok(mut far) = TcpStream::connect(origin).await else { return };
                    let _ = far.set_nodelay(true);
                    let _ = copy_bidirectional_with_sizes(&mut stream, &mut far, ROOM, ROOM).await;
                    return;
                }
                let (mut from, mut to) = tokio::io::split(stream);
                let _ = copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    }

    /// Sends back what comes, in pieces of which a silent peer holds none.
    async fn copy(
        from: &mut (impl AsyncReadExt + Unpin),
        to: &mut (impl AsyncWriteExt + Unpin),
    ) -> io::Result<()> {
        let mut first = [0];
        while from.read(&mut first).await? == 1 {
            to.write_all(&first).await?;
            let mut room = vec![0; ROOM];
            loop {
                let read = from.read(&mut room).await?;
                if read == 0 {
                    return Ok(());
                }
                to.write_all(&room[..read]).await?;
                to.flush().await?;
                if read == 1 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn identity(folder: &Path) -> io::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let read = |error: tokio_rustls::rustls::pki_types::pem::Error| io::Error::other(error.to_string());
        let chain = CertificateDer::from_pem_file(folder.join("cert.pem")).map_err(read)?;
        Ok((chain, PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(read)?))
    }

    fn client(folder: &Path, resumes: bool) -> io::Result<TlsConnector> {
        let mut store = RootCertStore::empty();
        store.add(identity(folder)?.0).map_err(io::Error::other)?;
        let mut config = ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config).into())
    }

    async fn connect(server: &Server, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(server.addr).await?;
        stream.set_nodelay(true)?;
        connector.connect(ServerName::try_from("localhost").expect("it is a name"), stream).await
    }

    /// Connections that are closed after their handshake and one byte or answer, which brings the session ticket.
    async fn handshakes(server: &Server, connector: &TlsConnector) -> io::Result<f64> {
        let meet = || async {
            let mut stream = connect(server, connector).await?;
            // The end of the server comes after its tickets.
            stream.shutdown().await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.map(drop)
        };
        meet().await?;
        let before = cpu(&server.child)?;
        for _ in 0..HANDSHAKES {
            meet().await?;
        }
        Ok(HANDSHAKES as f64 / (cpu(&server.child)? - before).as_secs_f64())
    }

    async fn echo(server: &Server, connector: &TlsConnector) -> io::Result<f64> {
        let mut stream = connect(server, connector).await?;
        stream.write_all(server.opening.as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        while !server.opening.is_empty() && !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let (mut from, mut to) = tokio::io::split(stream);
        let before = cpu(&server.child)?;
        let sending = async {
            let piece = vec![7; PIECE];
            for _ in 0..ECHOED / PIECE {
                to.write_all(&piece).await?;
            }
            to.flush().await
        };
        let receiving = async {
            let mut room = vec![0; PIECE];
            let mut left = ECHOED;
            while left > 0 {
                match from.read(&mut room).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => left -= read,
                }
            }
            Ok(())
        };
        tokio::try_join!(sending, receiving)?;
        Ok(ECHOED as f64 / 1e9 / (cpu(&server.child)? - before).as_secs_f64())
    }

    /// The memory that a client holds which has shaken hands and says nothing, in KiB.
    async fn silent(server: &Server, connector: &TlsConnector) -> io::Result<f64> {
        let before = resident(&server.child)?;
        let mut clients = Vec::new();
        for _ in 0..SILENT {
            clients.push(connect(server, connector).await?);
        }
        // What a handshake needs is given back a little later.
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok((resident(&server.child)? - before) / SILENT as f64)
    }

    /// The CPU time of a process whose threads all live.
    fn cpu(child: &Child) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// In KiB.
    fn resident(child: &Child) -> io::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kib.ok_or_else(|| io::Error::other("no VmRSS"))
    }

    fn median(mut figures: Vec<f64>) -> f64 {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
