//! What a request over HTTP/2 costs beside one over HTTP/1.1, both in TLS: CPU time of the product, with one request at a time and with
//! many, which are so many streams of one connection there and so many connections here.
//!
//! They take turns in one run, on connections that stay; what counts is the CPU time that the kernel books for the process of
//! the product, and the ratio in each round. Linux only. `cargo bench --bench http2`, and with a title behind it (`-- HTTP/2`)
//! only that one, for whoever looks where the time goes.

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs, io,
        net::SocketAddr,
        path::Path,
        process::{Child, Command, Stdio},
        sync::Arc,
        time::Duration,
    };

    use bytes::Bytes;
    use h2::client::SendRequest;
    use http::{Request, Version};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        runtime::Builder,
        task::JoinSet,
    };
    use tokio_rustls::{
        TlsConnector,
        client::TlsStream,
        rustls::{
            ClientConfig, RootCertStore,
            pki_types::{CertificateDer, ServerName, pem::PemObject},
        },
    };

    const ROUNDS: usize = 9;
    const REQUESTS: usize = 2000;
    /// Connections of HTTP/1.1, or streams of HTTP/2, where many requests are under way at a time.
    const MANY: usize = 50;
    const CONTENT: usize = 1024;

    pub(super) fn main() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
        fs::write(folder.path().join("cert.pem"), made.cert.pem())?;
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
        Builder::new_current_thread().enable_all().build()?.block_on(compare(folder.path()))
    }

    async fn compare(folder: &Path) -> io::Result<()> {
        let origin = TcpListener::bind("127.0.0.1:0").await?;
        let uri = format!("http://{}/", origin.local_addr()?);
        tokio::spawn(serve(origin));
        // What it takes to wake a processor that sleeps is not what a request costs.
        tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let product = Product::begin(folder)?;
        let mut plain = Vec::new();
        for _ in 0..MANY {
            plain.push(product.connect(folder, b"http/1.1").await?);
        }
        let (http2, connection) =
            h2::client::handshake(product.connect(folder, b"h2").await?).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let only = std::env::args().nth(1).filter(|only| !only.starts_with('-'));
        let titles = ["HTTP/1.1", "HTTP/2", "HTTP/1.1, many at a time", "HTTP/2, many at a time"];
        let mut costs: [Vec<f64>; 4] = Default::default();
        for round in 0..=ROUNDS {
            for (row, costs) in costs.iter_mut().enumerate() {
                if only.as_ref().is_some_and(|only| only != titles[row]) {
                    continue;
                }
                let cost = match row {
                    0 => product.cost(ask_in_turn(&mut plain, 1, &uri)).await?,
                    1 => product.cost(ask_streams(&http2, &uri, 1)).await?,
                    2 => product.cost(ask_in_turn(&mut plain, MANY, &uri)).await?,
                    _ => product.cost(ask_streams(&http2, &uri, MANY)).await?,
                };
                // The first is for getting warm.
                if round > 0 {
                    costs.push(cost);
                }
            }
        }
        println!("{:<28}{:>12}{:>8}", "a request in TLS", "us of CPU", "ratio");
        for (row, costs_of_it) in costs.iter().enumerate().filter(|(_, costs)| !costs.is_empty()) {
            let ratios: Vec<_> =
                costs_of_it.iter().zip(&costs[row & 2]).map(|(ours, plain)| ours / plain).collect();
            let ratio = if ratios.is_empty() { f64::NAN } else { median(ratios) };
            println!("{:<28}{:>12.1}{ratio:>8.2}", titles[row], median(costs_of_it.clone()));
        }
        Ok(())
    }

    /// The product, in a process of its own.
    struct Product {
        child: Child,
        addr: SocketAddr,
    }

    impl Product {
        /// Starts it, and waits until it says where it listens.
        fn begin(folder: &Path) -> io::Result<Self> {
            use std::io::BufRead;
            let text = "listen_addr: \"127.0.0.1:0\"\nadmin: { listen_addr: null, socket_path: null }\nlogging: { file: null }\n\
                tls: { listen_addr: \"127.0.0.1:0\", cert_path: \"cert.pem\", key_path: \"key.pem\" }\n";
            fs::write(folder.join("config.yml"), text)?;
            let mut command = Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"));
            command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = command.spawn()?;
            let mut log = io::BufReader::new(child.stderr.take().expect("it was asked for"));
            loop {
                let mut line = String::new();
                if log.read_line(&mut line)? == 0 {
                    return Err(io::Error::other("it does not begin"));
                }
                let field = line.split_whitespace().find_map(|word| word.strip_prefix("addr="));
                if let Some(addr) =
                    field.filter(|_| line.contains("tls=true")).and_then(|addr| addr.parse().ok())
                {
                    std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
                    return Ok(Self { child, addr });
                }
            }
        }

        async fn connect(&self, folder: &Path, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
            let mut store = RootCertStore::empty();
            let cert = CertificateDer::from_pem_file(folder.join("cert.pem"));
            let cert = cert.map_err(|error| io::Error::other(error.to_string()))?;
            store.add(cert).map_err(io::Error::other)?;
            let mut config = ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            let stream = TcpStream::connect(self.addr).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").expect("it is a name");
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        }

        /// Microseconds of its CPU time for a request.
        async fn cost(&self, asking: impl Future<Output = io::Result<()>>) -> io::Result<f64> {
            let before = self.cpu()?;
            asking.await?;
            Ok((self.cpu()? - before).as_secs_f64() * 1e6 / REQUESTS as f64)
        }

        /// The CPU time of all its threads, which all live.
        fn cpu(&self) -> io::Result<Duration> {
            let mut nanos = 0;
            for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                nanos += text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
            }
            Ok(Duration::from_nanos(nanos))
        }
    }

    impl Drop for Product {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Answers whatever is asked with [`CONTENT`] bytes.
    async fn serve(listener: TcpListener) {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {CONTENT}\r\n\r\n")
                .into_bytes();
        answer.resize(answer.len() + CONTENT, b'x');
        let answer = Bytes::from(answer);
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    }

    /// On each connection one after the other, on all of them at a time.
    async fn ask_in_turn(streams: &mut Vec<TlsStream<TcpStream>>, count: usize, uri: &str) -> io::Result<()> {
        let host = uri.trim_start_matches("http://").trim_end_matches('/');
        let request =
            format!("GET {uri} HTTP/1.1\r\nhost: {host}\r\nuser-agent: bench\r\naccept: */*\r\n\r\n");
        let turns = REQUESTS / count;
        let mut asking = JoinSet::new();
        for stream in streams.drain(..count) {
            asking.spawn(ask_on(stream, request.clone(), turns));
        }
        while let Some(asked) = asking.join_next().await {
            streams.push(asked??);
        }
        Ok(())
    }

    async fn ask_on(
        mut stream: TlsStream<TcpStream>,
        request: String,
        turns: usize,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut answer = Vec::new();
        for _ in 0..turns {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            answer.clear();
            loop {
                if stream.read_buf(&mut answer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
                if end.is_some_and(|end| answer.len() >= end + 4 + CONTENT) {
                    break;
                }
            }
        }
        Ok(stream)
    }

    async fn ask_streams(http2: &SendRequest<Bytes>, uri: &str, streams: usize) -> io::Result<()> {
        let mut asking = JoinSet::new();
        for _ in 0..streams {
            let (http2, uri) = (http2.clone(), uri.to_owned());
            asking.spawn(async move {
                for _ in 0..REQUESTS / streams {
                    ask(http2.clone(), &uri).await.map_err(io::Error::other)?;
                }
                io::Result::Ok(())
            });
        }
        while let Some(asked) = asking.join_next().await {
            asked??;
        }
        Ok(())
    }

    async fn ask(http2: SendRequest<Bytes>, uri: &str) -> Result<(), h2::Error> {
        let request = Request::get(uri)
            .version(Version::HTTP_2)
            .header("user-agent", "bench")
            .header("accept", "*/*")
            .body(())
            .expect("it is a request");
        let (answer, _) = http2.ready().await?.send_request(request, true)?;
        let mut body = answer.await?.into_body();
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        Ok(())
    }

    fn median(mut figures: Vec<f64>) -> f64 {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
