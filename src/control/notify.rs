//! What systemd is told: sd_notify(3), one datagram a message, nothing at all without a `NOTIFY_SOCKET`.
//!
//! Must not know why something is said. A message that cannot be sent is lost: no service fails because its manager does not
//! listen. What has to be read as one, such as `RELOADING=1` and its time, is in one datagram.

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::{
    os::unix::net::{SocketAddr, UnixDatagram},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// Variables that are for one process only and not for its children.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that `environment` names to the process `pid`.
    #[must_use]
    pub fn new(environment: &[(String, String)], pid: u32) -> Self {
        let value =
            |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let manager = value("NOTIFY_SOCKET").and_then(|name| {
            let address = address(name);
            let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
            let socket = socket.filter(|(socket, _)| socket.set_nonblocking(true).is_ok());
            if socket.is_none() {
                tracing::warn!(NOTIFY_SOCKET = name, "the service manager cannot be reached");
            }
            socket
        });
        let is_ours = value("WATCHDOG_PID").is_none_or(|watched| watched.parse() == Ok(pid));
        let watchdog =
            value("WATCHDOG_USEC").and_then(|micros| micros.parse().ok()).map(Duration::from_micros);
        let watchdog = watchdog.filter(|patience| is_ours && manager.is_some() && !patience.is_zero());
        Self { manager, watchdog }
    }

    /// How often [`Self::alive`] is to be said, if it is: half of what the manager waits for.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    /// The instance serves, for the first time or again after a reload.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// A reload has begun. To be followed by [`Self::ready`], however it ends.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// The end has begun and may take this long.
    pub fn stopping(&self, patience: Duration) {
        self.send(&format!("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={}", patience.as_micros()));
    }

    /// What is begun may take this long from now on.
    pub fn extend(&self, patience: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", patience.as_micros()));
    }

    /// How it is, for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// For the watchdog.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

/// A path, or with an `@` in front a name without one.
fn address(name: &str) -> Option<SocketAddr> {
    match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name).ok(),
        #[cfg(not(target_os = "linux"))]
        Some(_) => None,
        None if name.starts_with('/') => SocketAddr::from_pathname(name).ok(),
        None => None,
    }
}

/// A text that cannot begin another assignment.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn one_datagram_a_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(&pairs(&[("NOTIFY_SOCKET", path.to_str().unwrap())]), 1);
        notifier.ready("4 workers\nREADY=0");
        assert_eq!(receive(&manager), "READY=1\nSTATUS=4 workers READY=0");
        notifier.reloading();
        let reloading = receive(&manager);
        let micros = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(reloading.starts_with("RELOADING=1\n") && micros.unwrap().parse::<u64>().unwrap() > 0);
        notifier.stopping(Duration::from_secs(3));
        assert_eq!(receive(&manager), "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=3000000");
        assert_eq!(notifier.watchdog(), None);
        drop(manager);
        notifier.alive();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_without_a_path() {
        let name = format!("rust-forward-proxy-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::new(&pairs(&[("NOTIFY_SOCKET", &format!("@{name}"))]), 1).alive();
        assert_eq!(receive(&manager), "WATCHDOG=1");
    }

    #[test]
    fn a_watchdog_that_is_meant_for_us() {
        let rows = [
            (&[("WATCHDOG_USEC", "2000000")][..], Some(1)),
            (&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "7")], Some(1)),
            (&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "8")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
        ];
        for (environment, seconds) in rows {
            let mut environment = pairs(environment);
            environment.push(("NOTIFY_SOCKET".into(), "/nowhere".into()));
            let notifier = Notifier::new(&environment, 7);
            assert_eq!(notifier.watchdog(), seconds.map(Duration::from_secs), "{environment:?}");
        }
        assert_eq!(Notifier::new(&pairs(&[("WATCHDOG_USEC", "2000000")]), 7).watchdog(), None);
        Notifier::new(&pairs(&[("NOTIFY_SOCKET", "relative")]), 7).alive();
    }
}
