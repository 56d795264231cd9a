//! A server of a group: counts what it gets, and can be killed and started again on its port. Light enough for a hundred thousand
//! requests.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{eventually, pause};

#[derive(Debug)]
pub(crate) struct Backend {
    addr: SocketAddr,
    delay: Duration,
    seen: Arc<Seen>,
    life: Option<Life>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: AtomicUsize,
    /// How often each `X-Id` came.
    ids: Mutex<HashMap<String, usize>>,
}

#[derive(Debug)]
struct Life {
    is_over: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: JoinHandle<()>,
}

impl Backend {
    /// Answers `200` and `ok` to everything, after a delay.
    pub(crate) fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Seen::default());
        let life = Some(Life::begin(listener, delay, &seen));
        Self { addr, delay, seen, life }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many requests it got.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// How often each `X-Id` came.
    pub(crate) fn ids(&self) -> HashMap<String, usize> {
        self.seen.ids.lock().unwrap().clone()
    }

    /// Closes everything at once, in the midst of whatever it is.
    pub(crate) fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        life.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
        let _ = life.acceptor.join();
        for stream in life.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// It is there again.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        let listener = eventually("the port is free", || TcpListener::bind(self.addr).ok());
        self.life = Some(Life::begin(listener, self.delay, &self.seen));
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Life {
    fn begin(listener: TcpListener, delay: Duration, seen: &Arc<Seen>) -> Self {
        let (is_over, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (over, streams, seen) = (Arc::clone(&is_over), Arc::clone(&open), Arc::clone(seen));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let _ = stream.set_nodelay(true);
                streams.lock().unwrap().push(stream.try_clone().expect("free descriptors"));
                let seen = Arc::clone(&seen);
                thread::Builder::new()
                    .stack_size(128 << 10)
                    .spawn(move || drop(serve(stream, delay, &seen)))
                    .expect("threads can be started");
            }
        });
        Self { is_over, open, acceptor }
    }
}

fn serve(stream: TcpStream, delay: Duration, seen: &Seen) -> std::io::Result<()> {
    let mut sink = stream.try_clone()?;
    let mut source = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let (mut length, mut is_first) = (0, true);
        loop {
            line.clear();
            if source.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let text = line.trim_end();
            if let Some(value) = text.strip_prefix("content-length: ") {
                length = value.parse().unwrap_or(0);
            }
            if let Some(id) = text.strip_prefix("x-id: ") {
                *seen.ids.lock().unwrap().entry(id.to_owned()).or_default() += 1;
            }
            if text.is_empty() && !is_first {
                break;
            }
            is_first = false;
        }
        let mut body = vec![0; length];
        source.read_exact(&mut body)?;
        seen.requests.fetch_add(1, Ordering::Relaxed);
        if !delay.is_zero() {
            pause(delay);
        }
        sink.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}
