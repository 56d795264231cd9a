//! The hosts file: names that the operator of this machine has answered already.
//!
//! Knows the file's format (hosts(5)) and no resolver. The invariant: an answer is never older than
//! [`CHECK_INTERVAL`] behind the file.

use std::{
    collections::HashMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// The hosts file, read again when it has changed.
#[derive(Debug)]
pub(super) struct Hosts {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    checked: Instant,
    stamp: Option<Stamp>,
    names: HashMap<Box<str>, Vec<IpAddr>>,
}

/// What tells one version of the file from another.
type Stamp = (SystemTime, u64);

impl Hosts {
    /// Reads the file; one that is not there or cannot be read has no names.
    pub(super) fn read(path: PathBuf, now: Instant) -> Self {
        let state = State { checked: now, stamp: stamp(&path), names: load(&path) };
        Self { path, state: Mutex::new(state) }
    }

    /// The addresses of `name`, which is in lower case and has no trailing dot; none when the file does not have it.
    ///
    /// At most once in [`CHECK_INTERVAL`] this asks the file system whether the file has changed.
    pub(super) fn find(&self, name: &str, now: Instant) -> Vec<IpAddr> {
        // A panic while the lock was held can have left nothing half-done: the table is replaced whole.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.checked) >= CHECK_INTERVAL {
            state.checked = now;
            let stamp = stamp(&self.path);
            if stamp != state.stamp {
                state.stamp = stamp;
                state.names = load(&self.path);
            }
        }
        state.names.get(name).cloned().unwrap_or_default()
    }
}

/// Where the system keeps the file.
pub(super) fn system_path() -> PathBuf {
    if cfg!(windows) { r"C:\Windows\System32\drivers\etc\hosts".into() } else { "/etc/hosts".into() }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}

fn load(path: &Path) -> HashMap<Box<str>, Vec<IpAddr>> {
    match fs::read(path) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
        Err(_) => HashMap::new(),
    }
}

fn parse(text: &str) -> HashMap<Box<str>, Vec<IpAddr>> {
    let mut names: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        for name in words {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into_boxed_str();
            let addresses = names.entry(name).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    names
}

const CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_format() {
        let names = parse(
            "\u{feff}127.0.0.1 localhost\n\
             # a comment\n\
             \t10.0.0.1\tA.Test. a # b.test\r\n\
             10.0.0.2 a.test\n\
             10.0.0.2 a.test\n\
             ::1 a.test\n\
             fe80::1%lo0 zone.test\n\
             10.0.0.3\n\
             not-an-address c.test\n",
        );
        let found = |name: &str| {
            names.get(name).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(found("a.test").as_deref(), Some("10.0.0.1 10.0.0.2 ::1"));
        assert_eq!(found("a").as_deref(), Some("10.0.0.1"));
        assert_eq!(found("localhost").as_deref(), Some("127.0.0.1"));
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn a_changed_file_is_read_again_but_not_at_once() {
        let path = std::env::temp_dir().join(format!("hosts-{}", std::process::id()));
        let start = Instant::now();
        let hosts = Hosts::read(path.clone(), start);
        assert!(hosts.find("a.test", start + CHECK_INTERVAL).is_empty());
        fs::write(&path, "10.0.0.1 a.test").unwrap();
        assert!(hosts.find("a.test", start + CHECK_INTERVAL * 3 / 2).is_empty());
        assert_eq!(hosts.find("a.test", start + CHECK_INTERVAL * 2), [IpAddr::from([10, 0, 0, 1])]);
        fs::remove_file(&path).unwrap();
        assert!(hosts.find("a.test", start + CHECK_INTERVAL * 3).is_empty());
    }
}
