//! One request through the real binary on a kept connection, beside the same request to the origin directly: the difference is
//! what the proxy costs. Tunnelled bytes likewise.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// What a tunnel carries in one turn.
const CHUNK: usize = 1 << 20;

struct Proxy {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"))
            .args(["--listen", "127.0.0.1:0", "--mode", "single_threaded"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        let mut address = None;
        while !line.contains(" ready ") {
            line.clear();
            assert!(lines.read_line(&mut line).expect("stderr is text") > 0, "the proxy ended");
            if let Some((_, rest)) = line.split_once("listening addr=") {
                address = rest.split(' ').next().and_then(|text| text.parse().ok());
            }
        }
        // Whatever it says later must not block it.
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, address: address.expect("it says where it listens"), _folder: folder }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request with two bytes, on kept connections.
fn origin() -> SocketAddr {
    serve(|mut stream| {
        let mut head = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            head.extend_from_slice(&bytes[..read]);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                    return;
                }
            }
        }
    })
}

/// Sends back whatever comes.
fn echo() -> SocketAddr {
    serve(|mut stream| {
        let mut back = stream.try_clone().expect("a socket can be cloned");
        let _ = std::io::copy(&mut stream, &mut back);
    })
}

fn serve(each: impl Fn(TcpStream) + Send + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            thread::spawn(move || each(stream));
        }
    });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_nodelay(true).expect("TCP knows nodelay");
    stream
}

/// One request and its answer, which ends with "ok".
fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).expect("the request is taken");
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    while !answer.ends_with(b"ok") {
        let read = stream.read(&mut bytes).expect("an answer comes");
        assert!(read > 0, "the answer ended early");
        answer.extend_from_slice(&bytes[..read]);
    }
}

fn requests(criterion: &mut Criterion) {
    let (proxy, origin) = (Proxy::start(), origin());
    let mut group = criterion.benchmark_group("request");
    let mut direct = connect(origin);
    let request = format!("GET / HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    group.bench_function("direct", |bench| bench.iter(|| exchange(&mut direct, request.as_bytes())));
    let mut through = connect(proxy.address);
    let request = format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    group.bench_function("through the proxy", |bench| {
        bench.iter(|| exchange(&mut through, request.as_bytes()))
    });
    group.finish();
}

fn turn(stream: &TcpStream, chunk: &[u8], back: &mut [u8]) {
    thread::scope(|scope| {
        scope.spawn(|| (&*stream).write_all(chunk).expect("the bytes are taken"));
        (&*stream).read_exact(back).expect("the bytes come back");
    });
}

fn tunnels(criterion: &mut Criterion) {
    let (proxy, echo) = (Proxy::start(), echo());
    let (chunk, mut back) = (vec![7; CHUNK], vec![0; CHUNK]);
    let mut group = criterion.benchmark_group("tunnel");
    group.throughput(Throughput::Bytes(2 * CHUNK as u64));
    let direct = connect(echo);
    group.bench_function("direct", |bench| bench.iter(|| turn(&direct, &chunk, &mut back)));
    let mut through = connect(proxy.address);
    write!(through, "CONNECT {echo} HTTP/1.1\r\nHost: {echo}\r\n\r\n").expect("the request is taken");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        through.read_exact(&mut byte).expect("an answer comes");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    group.bench_function("through the proxy", |bench| bench.iter(|| turn(&through, &chunk, &mut back)));
    group.finish();
}

criterion_group!(benches, requests, tunnels);
criterion_main!(benches);
