//! Looks at servers when nobody asks them anything: connects, or asks for a path, and tells all workers what came of it.
//!
//! One worker of the instance does it: whoever has the lease in shared memory, which goes to another one as soon as that worker is
//! gone, or has not renewed it in time. Nothing here is on the way of a request, and without health checks nothing here runs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    announcement::announce,
    backend::{self, Backend},
    group::{Group, Groups},
    lot,
};
use crate::{
    config::settings::{HealthCheckSettings, ServerScheme},
    message::head::find_end,
    net::{dial::Dialer, stream::Stream, tls::Connector},
    shared_memory::Seat,
};

/// How long the lease lasts that is not renewed, and how often it is.
const LEASE: Duration = Duration::from_secs(2);
const RENEWAL: Duration = Duration::from_millis(500);

/// The most that is read of an answer.
const MAX_ANSWER: usize = 16 << 10;

impl Groups {
    /// Whether there is anything to look at.
    #[must_use]
    pub fn are_checked(&self) -> bool {
        self.iter().any(|group| group.health_check.is_some())
    }
}

/// Looks at the servers of `groups` for as long as it is polled, whenever the worker in `seat` is the one that does.
pub async fn watch(groups: &Groups, dialer: &Dialer, connector: &Connector, seat: &Seat) {
    let mut looks = JoinSet::new();
    loop {
        let now = backend::now();
        let until = now + u64::try_from(LEASE.as_millis()).unwrap_or(0);
        if !seat.segment().lease_backends(seat, now, until) {
            // Somebody else looks.
            looks.abort_all();
            while looks.join_next().await.is_some() {}
        } else if looks.is_empty() {
            for group in groups.iter().filter(|group| group.health_check.is_some()) {
                for index in 0..group.backends.len() {
                    looks.spawn(look_after(Arc::clone(group), index, dialer.clone(), connector.clone()));
                }
            }
        }
        sleep(RENEWAL).await;
    }
}

async fn look_after(group: Arc<Group>, index: usize, dialer: Dialer, connector: Connector) {
    let Some(settings) = &group.health_check else { return };
    let backend = &group.backends[index];
    // Not all at once.
    sleep(part(settings.interval.min(LEASE), 0)).await;
    loop {
        let began = Instant::now();
        let found =
            match timeout(settings.timeout, look(&group, backend, (&dialer, &connector), settings)).await {
                Ok(found) => found,
                Err(_) => Err("no answer within health_check.timeout"),
            };
        backend.looked(found, backend::now(), settings);
        // Up to a tenth less than the interval: what is said of the time until a server is used again holds.
        sleep(part(settings.interval, 90).saturating_sub(began.elapsed())).await;
    }
}

/// By lot, from so many hundredths of a duration to all of it.
fn part(of: Duration, from: u64) -> Duration {
    let hundredths = from + lot::draw() % (101 - from);
    of * u32::try_from(hundredths).unwrap_or(100) / 100
}

async fn look(
    group: &Group,
    backend: &Backend,
    (dialer, connector): (&Dialer, &Connector),
    settings: &HealthCheckSettings,
) -> Result<(), &'static str> {
    let dialer = dialer.with(group.bind_addr, 0);
    let dialled = dialer.dial_within(settings.timeout, &backend.authority, &group.reach);
    let dialled = dialled.await.map_err(|_| "no connection can be made")?;
    let mut stream = dialled.stream;
    if let Some(version) = group.announcement {
        // Nobody's but our own.
        announce(&mut stream, version, None).await.map_err(|_| "it takes no PROXY header")?;
    }
    if backend.scheme == ServerScheme::Https {
        let connected = connector.connect(stream, &backend.authority.host);
        stream = connected.await.map_err(|_| "TLS with it fails")?.stream;
    }
    let Some(path) = &settings.path else { return Ok(()) };
    let status = ask(stream, backend, path).await.ok_or("it does not answer in HTTP")?;
    let is_expected = settings.expected_status.iter().any(|range| range.contains(&status));
    if is_expected { Ok(()) } else { Err("it answers with another status than expected") }
}

/// The status that a GET is answered with.
async fn ask(mut stream: Stream, backend: &Backend, path: &str) -> Option<u16> {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: ").into_bytes();
    let default_port = if backend.scheme == ServerScheme::Https { 443 } else { 80 };
    backend.authority.write_host(&mut request, default_port);
    request.extend_from_slice(b"\r\nuser-agent: rust-forward-proxy\r\nconnection: close\r\n\r\n");
    stream.write_all(&request).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::with_capacity(1024);
    while find_end(&answer, 0).is_none() {
        if answer.len() >= MAX_ANSWER || stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
    status(&answer)
}

fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let (code, after) = (rest.get(2..5)?, rest.get(5)?);
    let is_status = rest[0].is_ascii_digit() && rest[1] == b' ' && matches!(after, b' ' | b'\r' | b'\n');
    is_status.then(|| std::str::from_utf8(code).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_one() {
        for (answer, expected) in [
            (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], Some(204)),
            (b"HTTP/1.0 503\r\n\r\n", Some(503)),
            (b"HTTP/2 200\r\n\r\n", None),
            (b"HTTP/1.1 2000 x\r\n\r\n", None),
            (b"SSH-2.0-x\r\n\r\n", None),
            (b"HTTP/1.1", None),
        ] {
            assert_eq!(status(answer), expected);
        }
    }
}
