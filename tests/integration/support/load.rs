//! Clients that make one new connection after another, and count every failure.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Origin, Proxy, eventually};

/// Threads of clients, until [`Load::finish`].
#[derive(Debug)]
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    /// Connections that could not be made.
    pub(crate) refused: Vec<String>,
    /// Connections that were made and then got no answer, or half of one.
    pub(crate) broken: Vec<String>,
    /// The longest wait for an answer.
    pub(crate) slowest: Duration,
}

impl Load {
    /// Starts `clients` clients, each of which sends a request to `origin` on a new connection, again and again.
    #[track_caller]
    pub(crate) fn start(proxy: &Proxy, origin: &Origin, clients: usize) -> Self {
        let (is_over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let request = origin.get("/", &["Connection: close"]);
        let addr = proxy.addr();
        let clients = (0..clients).map(|_| {
            let (is_over, done, request) = (Arc::clone(&is_over), Arc::clone(&done), request.clone());
            thread::spawn(move || {
                let mut tally = Tally::default();
                while !is_over.load(Ordering::Relaxed) {
                    tally.exchange(addr, &request);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                tally
            })
        });
        Self { clients: clients.collect(), is_over, done }
    }

    /// Waits until there were `count` more exchanges.
    #[track_caller]
    pub(crate) fn go_on(&self, count: usize) {
        let goal = self.done.load(Ordering::Relaxed) + count;
        eventually("clients get on", || (self.done.load(Ordering::Relaxed) >= goal).then_some(()));
    }

    /// What all clients have seen.
    #[track_caller]
    pub(crate) fn finish(self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            let tally = client.join().expect("clients do not panic");
            all.answered += tally.answered;
            all.refused.extend(tally.refused);
            all.broken.extend(tally.broken);
            all.slowest = all.slowest.max(tally.slowest);
        }
        all
    }
}

impl Tally {
    /// Nobody was turned away, and nobody waited for long.
    #[track_caller]
    pub(crate) fn expect_no_failure(&self) {
        assert!(self.refused.is_empty() && self.broken.is_empty() && self.answered > 0, "{self:?}");
        assert!(self.slowest < Duration::from_secs(1), "somebody waited for {:?}", self.slowest);
    }

    fn exchange(&mut self, addr: SocketAddr, request: &[u8]) {
        let begun = Instant::now();
        let mut stream = match TcpStream::connect_timeout(&addr, Duration::from_secs(10)) {
            Ok(stream) => stream,
            Err(error) => return self.refused.push(error.to_string()),
        };
        let answer = answer(&mut stream, request);
        self.slowest = self.slowest.max(begun.elapsed());
        match answer {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok") => {
                self.answered += 1
            }
            Ok(answer) => self.broken.push(format!("{answer:?}")),
            Err(error) => self.broken.push(error.to_string()),
        }
    }
}

fn answer(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
        read => read.map(|_| answer),
    }
}
