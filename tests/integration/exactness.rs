//! The numbers in the metrics are the numbers that clients count: over all workers, over deaths, whatever clients send.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::support::{
    Config, Mode, Origin, Proxy, at_full_size, eventually, in_every_mode, metrics, process, within,
};

in_every_mode! {
    whatever_clients_send_makes_no_series,
}

/// Clients of the counting test, each with one request under way at a time.
const CLIENTS: usize = 8;

/// One client on a connection that it keeps, and makes anew when it breaks.
struct Counting {
    proxy: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Counting {
    /// Whether the request was answered, whole.
    fn exchange(&mut self, request: &[u8]) -> bool {
        let answered = self.try_exchange(request);
        if answered.is_err() {
            self.connection = None;
        }
        answered.is_ok()
    }

    fn try_exchange(&mut self, request: &[u8]) -> std::io::Result<()> {
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.proxy)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            self.connection = Some(BufReader::new(stream));
        }
        let connection = self.connection.as_mut().expect("it was made above");
        connection.get_mut().write_all(request)?;
        let (mut line, mut length, mut closes) = (String::new(), 0, false);
        loop {
            line.clear();
            if connection.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let field = line.trim_end().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length: ") {
                length = value.parse().map_err(std::io::Error::other)?;
            }
            closes |= field == "connection: close";
        }
        let mut content = vec![0; length];
        connection.read_exact(&mut content)?;
        if closes {
            self.connection = None;
        }
        Ok(())
    }
}

fn counted(proxy: &Proxy) -> f64 {
    let page = metrics(proxy);
    let requests = page.iter().filter(|(series, _)| series.starts_with("forward_proxy_requests_total"));
    requests.map(|(_, count)| count).sum()
}

#[test]
fn the_sums_are_exact_over_workers_that_are_killed() {
    let total = at_full_size(10_000, 100_000);
    let proxy = Config::new(Mode::MultiProcess)
        .set("runtime.process_count", 4)
        .set("supervision.restart_delay", "10ms")
        .with_admin()
        .start();
    let origin = Origin::ok();
    proxy.serving_all(4);
    let (taken, answered, failed) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (taken, answered, failed) = (Arc::clone(&taken), Arc::clone(&answered), Arc::clone(&failed));
            let (request, proxy) = (origin.get("/", &[]), proxy.addr());
            thread::spawn(move || {
                let mut client = Counting { proxy, connection: None };
                while taken.fetch_add(1, Ordering::Relaxed) < total {
                    let is_answered = client.exchange(&request);
                    let count = if is_answered { &answered } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for part in [3, 2] {
        let goal = total / part;
        let reached = within(Duration::from_secs(300), || answered.load(Ordering::Relaxed) >= goal);
        assert!(reached, "clients do not get on");
        process::signal(proxy.serving_all(4)[part - 2], Signal::SIGKILL);
        // The second is killed when the first is replaced.
        eventually("somebody is in its place", || (proxy.serving().len() == 4).then_some(()));
    }
    for client in clients {
        client.join().unwrap();
    }
    let (answered, failed) = (answered.load(Ordering::Relaxed) as f64, failed.load(Ordering::Relaxed) as f64);
    assert_eq!(answered + failed, total as f64);
    // Under way at a kill can be what each client has sent, and of each what it was answered just before may not be counted.
    let in_flight = (2 * CLIENTS) as f64;
    assert!(failed <= in_flight, "{failed} failed");
    let told = eventually("all is counted", || {
        Some(counted(&proxy)).filter(|told| (told - answered).abs() <= in_flight)
    });
    eprintln!("{answered} answered, {failed} failed, {told} counted");
    let page = metrics(&proxy);
    assert_eq!(page["forward_proxy_worker_restarts_total{reason=\"killed\"}"], 2.0);
    let by_worker =
        page.iter().filter(|(series, _)| series.starts_with("forward_proxy_worker_requests_total"));
    assert_eq!(
        by_worker.map(|(_, count)| count).sum::<f64>(),
        told,
        "workers' own numbers add up to the same"
    );
    assert_eq!(page["forward_proxy_request_duration_seconds_count"], told);
}

/// Numbers that repeat from run to run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn word(&mut self, length: u64) -> String {
        (0..=self.roll(length)).map(|_| char::from(b'a' + self.roll(26) as u8)).collect()
    }
}

fn series(proxy: &Proxy) -> BTreeSet<String> {
    metrics(proxy).into_keys().collect()
}

fn whatever_clients_send_makes_no_series(mode: Mode) {
    let total = at_full_size(3_000, 1_000_000);
    let proxy = Config::new(mode)
        .with_admin()
        .set("access.destinations.deny", vec![".test"])
        .set("access_log.file", serde_json::Value::Null)
        .start();
    let origin = Origin::ok();
    // The rule has a series of its own from its first refusal on: one for each that the configuration names.
    proxy.exchange("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n").expect_own(&[403]);
    let before = eventually("the refusal is counted", || {
        let all = series(&proxy);
        all.iter().any(|one| one.starts_with("forward_proxy_denied_total")).then_some(all)
    });
    let (requests, port) = (total / 4, origin.port());
    let clients: Vec<_> = (0..4_u64)
        .map(|client| {
            let proxy = proxy.addr();
            thread::spawn(move || {
                let (mut dice, mut client) = (Dice(client), Counting { proxy, connection: None });
                let known = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
                for _ in 0..requests {
                    let method = match dice.roll(3) {
                        0 => known[dice.roll(known.len() as u64) as usize].to_owned(),
                        1 => dice.word(12).to_ascii_uppercase(),
                        _ => dice.word(12),
                    };
                    // Refused by name, so that no name server is needed; or somewhere on this host.
                    let host = match dice.roll(16) {
                        0 => format!("127.0.0.{}:{port}", 1 + dice.roll(2)),
                        _ => format!("{}.{}.test", dice.word(20), dice.word(10)),
                    };
                    let path = format!("/{}?{}={}", dice.word(40), dice.word(8), dice.word(8));
                    let request = format!(
                        "{method} http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nX-{}: {}\r\n\r\n",
                        dice.word(10),
                        dice.word(10)
                    );
                    client.exchange(request.as_bytes());
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    eventually("all is counted", || (counted(&proxy) >= 0.9 * requests as f64 * 4.0).then_some(()));
    let after = series(&proxy);
    let changed: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(changed.is_empty(), "{changed:?}");
}
