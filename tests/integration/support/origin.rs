//! A server behind the proxy: a script a connection, every byte that came in recorded.

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{Body, End, Head, Wire, eventually, wire::Record};

/// A request as the origin got it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// On which connection, counted from 0.
    pub(crate) connection: usize,
    pub(crate) head: Head,
    pub(crate) body: Body,
}

/// One connection that the proxy made.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) index: usize,
    wire: Wire,
    seen: Arc<Seen>,
}

#[derive(Debug)]
pub(crate) struct Origin {
    addr: SocketAddr,
    seen: Arc<Seen>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    stopped: AtomicBool,
    requests: Mutex<Vec<Request>>,
    records: Mutex<Vec<Arc<Mutex<Record>>>>,
    open: Mutex<HashMap<usize, TcpStream>>,
}

impl Origin {
    /// Runs `script` for every connection; it is closed when the script returns.
    pub(crate) fn start(script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    pub(crate) fn on(
        addr: SocketAddr,
        script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).expect("a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Seen::default());
        let script = Arc::new(script);
        let shared = Arc::clone(&seen);
        let acceptor = thread::spawn(move || {
            for (index, stream) in listener.incoming().flatten().enumerate() {
                if shared.stopped.load(Ordering::Relaxed) {
                    break;
                }
                let wire = Wire::new(stream);
                shared.records.lock().unwrap().push(wire.record());
                shared
                    .open
                    .lock()
                    .unwrap()
                    .insert(index, wire.stream().try_clone().expect("free descriptors"));
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                thread::spawn(move || {
                    let mut conn = Conn { index, wire, seen: Arc::clone(&seen) };
                    // What the proxy does wrong shows at the client or in the record, not here.
                    let _ = script(&mut conn);
                    seen.open.lock().unwrap().remove(&index);
                });
            }
        });
        Self { addr, seen, acceptor: Some(acceptor) }
    }

    /// Answers every request with `200` and the body `ok`, on connections that stay open.
    pub(crate) fn ok() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// Answers every request with these bytes, on connections that stay open.
    pub(crate) fn answering(response: impl AsRef<[u8]>) -> Self {
        let response = response.as_ref().to_vec();
        Self::start(move |conn| {
            loop {
                conn.read_request()?;
                conn.write(&response)?;
            }
        })
    }

    /// Answers the first request of each connection with these bytes, finishes, and reads on.
    pub(crate) fn answering_once(response: impl AsRef<[u8]>) -> Self {
        let response = response.as_ref().to_vec();
        Self::start(move |conn| {
            conn.read_request()?;
            conn.write(&response)?;
            conn.finish()?;
            conn.read_to_end().map(drop)
        })
    }

    /// Sends back every byte; finishes when the other side has.
    pub(crate) fn echo() -> Self {
        Self::start(Conn::echo)
    }

    /// Accepts and says nothing.
    pub(crate) fn silent() -> Self {
        Self::start(|conn| conn.read_to_end().map(drop))
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    pub(crate) fn authority(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// A GET in absolute-form with further field lines.
    pub(crate) fn get(&self, path: &str, fields: &[&str]) -> Vec<u8> {
        self.request("GET", path, fields)
    }

    /// A request in absolute-form with further field lines; a body, if any, is for the caller to append.
    pub(crate) fn request(&self, method: &str, path: &str, fields: &[&str]) -> Vec<u8> {
        let mut lines = vec![format!("{method} {} HTTP/1.1", self.url(path)), format!("Host: {}", self.addr)];
        lines.extend(fields.iter().map(|&field| field.to_owned()));
        super::head(&lines)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Request number `index`, waited for.
    #[track_caller]
    pub(crate) fn request_at(&self, index: usize) -> Request {
        eventually("the origin gets the request", || self.seen.requests.lock().unwrap().get(index).cloned())
    }

    /// How many connections came in so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.records.lock().unwrap().len()
    }

    /// Every byte that came in on connection `index` so far.
    pub(crate) fn received(&self, index: usize) -> Vec<u8> {
        let records = self.seen.records.lock().unwrap();
        records.get(index).map_or_else(Vec::new, |record| record.lock().unwrap().bytes.clone())
    }

    /// How the proxy ended connection `index`, waited for. The script must be reading.
    #[track_caller]
    pub(crate) fn end_of(&self, index: usize) -> End {
        eventually("the proxy ends its connection to the origin", || self.end_so_far(index))
    }

    /// How the proxy ended connection `index`, if it has.
    pub(crate) fn end_so_far(&self, index: usize) -> Option<End> {
        self.seen.records.lock().unwrap().get(index).and_then(|record| record.lock().unwrap().end)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then sees the flag.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.seen.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Conn {
    /// Reads one request with its body and notes it.
    pub(crate) fn read_request(&mut self) -> io::Result<Request> {
        let head = self.wire.read_head()?;
        let body = self.wire.read_body(&head, false)?;
        let request = Request { connection: self.index, head, body };
        self.seen.requests.lock().unwrap().push(request.clone());
        if request.body.complete { Ok(request) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Answers `200` with this body.
    pub(crate) fn answer(&mut self, body: impl AsRef<[u8]>) -> io::Result<()> {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        self.wire.write(bytes)
    }

    /// Sends back every byte; finishes when the other side has.
    pub(crate) fn echo(&mut self) -> io::Result<()> {
        loop {
            let count = self.wire.buffered().len();
            let bytes = self.wire.read_exact(count)?;
            self.wire.write(bytes)?;
            if self.wire.fill()? == 0 {
                return self.wire.finish();
            }
        }
    }
}

impl Deref for Conn {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}
