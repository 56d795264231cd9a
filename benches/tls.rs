//! What TLS with clients costs: handshakes and bytes for a second of CPU time, and the memory of a client that is silent, of the
//! product and of the least that could do it: a server of tokio-rustls that sends back what it gets.
//!
//! Both serve in one thread of a process of their own, with the same certificate and sealed session tickets, by turns; what counts is the CPU
//! time that the kernel books for that process. Bytes go there and back: for the product through a tunnel to an echo without TLS, so that it
//! has two sockets to move them over where the other has one. Linux only. `cargo bench --bench tls`.

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
        io::{AsyncReadExt, AsyncWriteExt},
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

    const ROUNDS: usize = 5;
    const HANDSHAKES: usize = 400;
    const ECHOED: usize = 256 << 20;
    const PIECE: usize = 256 << 10;
    const SILENT: usize = 1000;

    /// A server in a process of its own.
    struct Server {
        name: &'static str,
        child: Child,
        addr: SocketAddr,
        /// What stands in front of the bytes that are sent back.
        opening: String,
    }

    pub(super) fn main() -> io::Result<()> {
        let mut arguments = std::env::args().skip(1);
        if let (Some("--echo"), Some(folder)) = (arguments.next().as_deref(), arguments.next()) {
            return single(echo_server(Path::new(&folder)));
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
        let servers = [product(folder, origin)?, bare(folder)?];
        let mut figures: [[Vec<f64>; 3]; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (server, [full, resumed, bytes]) in servers.iter().zip(&mut figures) {
                full.push(handshakes(server, &client(folder, false)?).await?);
                resumed.push(handshakes(server, &client(folder, true)?).await?);
                bytes.push(echo(server, &client(folder, false)?).await?);
            }
        }
        let titles = [
            "full handshakes per CPU second",
            "resumed handshakes per CPU second",
            "GB there and back per CPU second",
        ];
        println!("{:<36}{:>12}{:>12}{:>8}", "", servers[0].name, servers[1].name, "ratio");
        for (row, title) in titles.into_iter().enumerate() {
            let [ours, theirs] = [0, 1].map(|column| median(&mut figures[column][row]));
            println!("{title:<36}{ours:>12.2}{theirs:>12.2}{:>8.2}", ours / theirs);
        }
        let ours = silent(&servers[0], &client(folder, false)?).await?;
        let theirs = silent(&servers[1], &client(folder, false)?).await?;
        println!("{:<36}{ours:>12.2}{theirs:>12.2}{:>8.2}", "KiB of a silent client", ours / theirs);
        Ok(())
    }

    fn product(folder: &Path, origin: SocketAddr) -> io::Result<Server> {
        let text = "listen_addr: \"127.0.0.1:0\"\nadmin: { listen_addr: null, socket_path: null }\nlogging: { file: null }\n\
            tls: { listen_addr: \"127.0.0.1:0\", cert_path: \"cert.pem\", key_path: \"key.pem\" }\n";
        fs::write(folder.join("config.yml"), text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"));
        let opening = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
        begin("the product", command.current_dir(folder), "tls=true", opening)
    }

    fn bare(folder: &Path) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        begin("bare", command.arg("--echo").arg(folder), "addr=", String::new())
    }

    /// Starts it, and waits until it says where it listens.
    fn begin(name: &'static str, command: &mut Command, said: &str, opening: String) -> io::Result<Server> {
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
                return Ok(Server { name, child, addr, opening });
            }
        }
    }

    async fn echo_server(folder: &Path) -> io::Result<()> {
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
                let Ok(stream) = acceptor.accept(stream).await else { return };
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
            let mut room = vec![0; 64 << 10];
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

    fn median(figures: &mut [f64]) -> f64 {
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
