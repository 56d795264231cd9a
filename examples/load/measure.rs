//! One measurement: what is asked for, and what is said of it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    clients::{Clients, ENDLESS, Habit, Tally, Work, bytes, failed},
    cost::Family,
    origin::Origin,
    poll::{Poll, Token},
};

/// Addresses of the origin: more than one, so that many short tunnels do not run out of ports.
const ORIGINS: u8 = 8;

/// Where the origin listens.
const PORT: u16 = 8000;

/// How many idle connections are being made at a time.
const AT_A_TIME: usize = 64;

/// How long those that are idle are left alone before their memory is looked at. A proxy may take buffers back meanwhile.
const REST: Duration = Duration::from_secs(3);

/// A proxy that does not get all idle connections served within this is broken.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const USAGE: &str =
    "load --work WORK --proxy ADDR:PORT --pid PID [--size BYTES] [--connections N] [--seconds S]
     [--warm-up S] [--idle-clients N] [--hosts N] [--rate N]
WORK: get, post, new, tunnel, download, upload, idle-client, idle-tunnel
PID: the proxy's first process; its descendants count as well
--idle-clients: so many are connected meanwhile, and silent
--hosts: one request is sent to each of so many hosts before, for the proxy to keep connections to all of them
--rate: so many requests in a second, instead of as many as are answered";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Post,
    New,
    Tunnel,
    Download,
    Upload,
    IdleClient,
    IdleTunnel,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    kind: Kind,
    proxy: SocketAddr,
    pid: u32,
    size: u64,
    connections: usize,
    seconds: f64,
    warm_up: f64,
    idle_clients: usize,
    hosts: usize,
    rate: Option<f64>,
}

impl Plan {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, 3128));
        let (size, seconds, warm_up) = (1024, 5.0, 0.5);
        let (connections, idle_clients, hosts) = (64, 0, 0);
        let (kind, pid, rate) = (Kind::Get, 0, None);
        let mut plan =
            Self { kind, proxy, pid, size, connections, seconds, warm_up, idle_clients, hosts, rate };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let understood = match name.as_str() {
                "--work" => word(&value).map(|kind| plan.kind = kind),
                "--proxy" => value.parse().ok().map(|proxy| plan.proxy = proxy),
                "--pid" => value.parse().ok().map(|pid| plan.pid = pid),
                "--size" => value.parse().ok().map(|size| plan.size = size),
                "--connections" => value.parse().ok().map(|connections| plan.connections = connections),
                "--seconds" => value.parse().ok().map(|seconds| plan.seconds = seconds),
                "--warm-up" => value.parse().ok().map(|warm_up| plan.warm_up = warm_up),
                "--idle-clients" => value.parse().ok().map(|idle_clients| plan.idle_clients = idle_clients),
                "--hosts" => value.parse().ok().map(|hosts| plan.hosts = hosts),
                "--rate" => value.parse().ok().filter(|rate| *rate >= 1.0).map(|rate| plan.rate = Some(rate)),
                _ => return Err(format!("{name} is unknown")),
            };
            understood.ok_or_else(|| format!("{name} {value} cannot be understood"))?;
        }
        if !plan.proxy.ip().is_loopback() {
            return Err("only a proxy on this host is measured".into());
        }
        Ok(plan)
    }

    /// What was measured, as one line.
    pub(crate) fn run(&self) -> io::Result<Value> {
        let poll = Poll::new()?;
        let addresses: Vec<_> = origins().collect();
        // Many hosts are one wildcard: nobody binds ten thousand addresses.
        let everywhere = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))];
        let origin = Origin::new(&poll, if self.hosts > 0 { &everywhere } else { &addresses })?;
        let clients = Clients::new(self.work(&addresses), Token::Client);
        let silent = Work { habit: Habit::Idle, tour: Vec::new(), interval: None, ..self.work(&addresses) };
        let bystanders = Clients::new(silent, Token::Bystander);
        let load = Load { poll, origin, clients, bystanders, ready: Vec::new() };
        match self.kind {
            Kind::IdleClient | Kind::IdleTunnel => self.memory(load),
            _ => self.cpu(load),
        }
    }

    fn work(&self, origins: &[SocketAddr]) -> Work {
        let is_tunnel = matches!(self.kind, Kind::Tunnel | Kind::Download | Kind::Upload | Kind::IdleTunnel);
        let (upload, size) = match self.kind {
            Kind::Download => (0, ENDLESS),
            Kind::Upload => (ENDLESS, 2),
            _ => (0, self.size),
        };
        let host = origins[0];
        let prefix = if is_tunnel { String::new() } else { format!("http://{host}") };
        let common = format!("Host: {host}\r\nUser-Agent: load\r\nAccept: */*\r\n");
        let request = match self.kind {
            Kind::Post => {
                let body = "x".repeat(usize::try_from(self.size).unwrap_or(0));
                format!("POST {prefix}/2 HTTP/1.1\r\n{common}Content-Length: {size}\r\n\r\n{body}")
            }
            Kind::Upload => format!("POST {prefix}/2 HTTP/1.1\r\n{common}Content-Length: {upload}\r\n\r\n"),
            _ => format!("GET {prefix}/{size} HTTP/1.1\r\n{common}\r\n"),
        };
        let connect =
            |origin: &SocketAddr| bytes(&format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n"));
        Work {
            proxy: self.proxy,
            habit: match self.kind {
                Kind::New | Kind::Tunnel => Habit::New,
                Kind::IdleClient | Kind::IdleTunnel => Habit::Idle,
                _ => Habit::KeepAlive,
            },
            connects: if is_tunnel { origins.iter().map(connect).collect() } else { Vec::new() },
            request: bytes(&request),
            tour: hosts(self.hosts).map(|other| bytes(&request.replace(&host.to_string(), &other))).collect(),
            upload,
            interval: self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        }
    }

    fn cpu(&self, mut load: Load) -> io::Result<Value> {
        load.fall_silent(Crowd::Bystanders, self.idle_clients)?;
        for _ in 0..self.connections {
            load.clients.add(&load.poll);
        }
        let deadline = Instant::now() + PATIENCE;
        while !load.clients.has_toured() {
            load.serve(0.1)?;
            if Instant::now() > deadline {
                return Err(failed("not all hosts have answered", &load.clients.tally.errors));
            }
        }
        load.serve(self.warm_up)?;
        let family = Family::of(self.pid)?;
        load.clients.restart();
        let (begun, before) = (Instant::now(), family.cpu_seconds());
        load.serve(self.seconds)?;
        let (seconds, cpu_seconds) = (begun.elapsed().as_secs_f64(), family.cpu_seconds() - before);
        let Tally { done, bytes, micros, reconnects, errors } = &mut load.clients.tally;
        micros.sort_unstable();
        let rank = |share: f64| micros.get((micros.len() as f64 * share) as usize);
        Ok(json!({
            "seconds": seconds, "cpu_seconds": cpu_seconds, "done": done, "bytes": bytes, "reconnects": reconnects,
            "p50_us": rank(0.5), "p99_us": rank(0.99), "errors": errors,
        }))
    }

    fn memory(&self, mut load: Load) -> io::Result<Value> {
        let before = Family::of(self.pid)?.memory_kib();
        load.fall_silent(Crowd::Clients, self.connections)?;
        let end = Instant::now() + REST;
        while Instant::now() < end {
            load.turn(Duration::from_millis(10))?;
        }
        let after = Family::of(self.pid)?.memory_kib();
        let each = after.saturating_sub(before) as f64 / load.clients.idle as f64;
        Ok(json!({ "kib_each": each, "kib_before": before, "errors": load.clients.tally.errors }))
    }
}

/// Everything that is served in the one thread.
struct Load {
    poll: Poll,
    origin: Origin,
    clients: Clients,
    /// Connected and silent while others are measured.
    bystanders: Clients,
    ready: Vec<super::poll::Ready>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crowd {
    Clients,
    Bystanders,
}

impl Load {
    /// Has so many of a crowd connect, be answered once, and say nothing more.
    fn fall_silent(&mut self, crowd: Crowd, count: usize) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let clients = match crowd {
                Crowd::Clients => &mut self.clients,
                Crowd::Bystanders => &mut self.bystanders,
            };
            let errors = &clients.tally.errors;
            if !errors.is_empty() || Instant::now() > deadline {
                return Err(failed("not all connections could be made", errors));
            }
            if clients.idle >= count {
                return Ok(());
            }
            while clients.count() < count.min(clients.idle + AT_A_TIME) {
                clients.add(&self.poll);
            }
            self.turn(Duration::from_millis(1))?;
        }
    }

    /// Serves for so long, without a nap.
    fn serve(&mut self, seconds: f64) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            self.turn(Duration::ZERO)?;
        }
        Ok(())
    }

    fn turn(&mut self, patience: Duration) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(patience, &mut ready)?;
        for &event in &ready {
            match event.token {
                Token::Listener(index) => self.origin.accept(&self.poll, index),
                Token::Served(index) => self.origin.serve(&self.poll, index, event),
                Token::Client(index) => self.clients.handle(&self.poll, index, event),
                Token::Bystander(index) => self.bystanders.handle(&self.poll, index, event),
            }
        }
        self.ready = ready;
        self.clients.go_on(&self.poll);
        self.clients.retry(&self.poll);
        self.bystanders.retry(&self.poll);
        Ok(())
    }
}

fn origins() -> impl Iterator<Item = SocketAddr> {
    (2..2 + ORIGINS).map(|last| (IpAddr::from([127, 0, 0, last]), PORT).into())
}

/// Hosts of a tour.
fn hosts(count: usize) -> impl Iterator<Item = String> {
    (0..count)
        .map(|index| format!("127.{}.{}.{}:{PORT}", 1 + index / 62_500, index / 250 % 250, 1 + index % 250))
}

fn word(word: &str) -> Option<Kind> {
    Some(match word {
        "get" => Kind::Get,
        "post" => Kind::Post,
        "new" => Kind::New,
        "tunnel" => Kind::Tunnel,
        "download" => Kind::Download,
        "upload" => Kind::Upload,
        "idle-client" => Kind::IdleClient,
        "idle-tunnel" => Kind::IdleTunnel,
        _ => return None,
    })
}
