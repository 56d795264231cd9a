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

use super::{Origin, Proxy, eventually, pause};

/// Threads of clients, until [`Load::finish`].
#[derive(Debug)]
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
    stall: JoinHandle<Duration>,
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
    /// The longest that this machine left a thread waiting that only wanted to run.
    pub(crate) stall: Duration,
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
        let clients = clients.collect();
        let over = Arc::clone(&is_over);
        let stall = thread::spawn(move || longest_stall(&over));
        Self { clients, stall, is_over, done }
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
        all.stall = self.stall.join().expect("it only looks at the clock");
        all
    }
}

impl Tally {
    /// Nobody was turned away, and nobody waited for long.
    #[track_caller]
    pub(crate) fn expect_no_failure(&self) {
        assert!(self.refused.is_empty() && self.broken.is_empty() && self.answered > 0, "{self:?}");
        self.expect_no_long_wait();
    }

    /// Nobody waited for more than a second and what an overloaded machine makes of the four times that a request
    /// changes threads.
    #[track_caller]
    pub(crate) fn expect_no_long_wait(&self) {
        let allowed = Duration::from_secs(1) + 4 * self.stall;
        assert!(self.slowest < allowed, "somebody waited for {:?}, {allowed:?} is allowed", self.slowest);
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

fn longest_stall(is_over: &AtomicBool) -> Duration {
    let nap = Duration::from_millis(5);
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        pause(nap);
        longest = longest.max(begun.elapsed().saturating_sub(nap));
    }
    longest
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
