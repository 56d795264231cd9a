//! What is different between two configurations, and how much has to be replaced for it.
//!
//! Must not know how anything is replaced. A key that nobody has thought about needs new workers: they read everything.

use super::{load::Loaded, settings::Mode};

/// What a changed key needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// It is swapped while connections go on.
    Live,
    /// It is read when a worker begins.
    Workers,
    /// It is read when the instance begins.
    Instance,
}

/// A key whose value is another now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key's path.
    pub key: &'static str,
    /// What it needs.
    pub scope: Scope,
}

/// Every key that differs, in the order of the manual.
#[must_use]
pub fn changes(old: &Loaded, new: &Loaded) -> Vec<Change> {
    let differs = |key: &&'static str| {
        let value = |loaded: &Loaded| {
            loaded.in_force.iter().find(|value| value.key == *key).map(|value| value.value.clone())
        };
        value(old) != value(new)
    };
    let keys = new.in_force.iter().map(|value| value.key).filter(differs);
    keys.map(|key| Change { key, scope: scope(key, old.settings.runtime.mode) }).collect()
}

fn scope(key: &str, mode: Mode) -> Scope {
    match key {
        "listen_addr"
        | "user"
        | "group"
        | "listen.backlog"
        | "runtime.mode"
        | "runtime.use_reuseport"
        | "logging.console"
        | "logging.file"
        | "logging.format"
        | "admin.listen_addr"
        | "admin.socket_path" => Scope::Instance,
        "runtime.worker_threads" if mode == Mode::MultiThreaded => Scope::Instance,
        // For the first two, the launcher starts or drains workers; where they mean nothing, they change nothing.
        "runtime.process_count"
        | "runtime.worker_threads"
        | "log_level"
        | "limits.max_connections"
        | "limits.max_body_size"
        | "timeouts.connect"
        | "timeouts.response_head"
        | "timeouts.tunnel_idle"
        | "timeouts.half_close"
        | "upstream.max_idle_per_host"
        | "upstream.max_idle"
        | "upstream.idle_timeout"
        | "upstream.bind_addr"
        | "forwarding.via"
        | "forwarding.client_address"
        | "access_log.query" => Scope::Live,
        _ if ["supervision.", "dns.", "access."].iter().any(|section| key.starts_with(section)) => {
            Scope::Live
        }
        _ => Scope::Workers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn loaded(text: &str) -> Loaded {
        let text = Some(("config.yml".into(), text.to_owned()));
        load(&Sources { text, ..Sources::default() }).unwrap()
    }

    #[test]
    fn only_what_differs_counts() {
        let old = loaded("runtime: { mode: multi_process }\ntimeouts: { connect: 10s }\n");
        assert_eq!(changes(&old, &loaded("runtime: {mode: multi_process}\n# said in another way\n")), []);
        let text = "{ log_level: debug, runtime: { mode: multi_process, process_count: 2 },
                      timeouts: { connect: 5s, client_idle: 5s }, listen_addr: '127.0.0.1:1' }";
        let found = changes(&old, &loaded(text));
        let expected = [
            ("listen_addr", Scope::Instance),
            ("log_level", Scope::Live),
            ("runtime.process_count", Scope::Live),
            ("timeouts.client_idle", Scope::Workers),
            ("timeouts.connect", Scope::Live),
        ];
        assert_eq!(found, expected.map(|(key, scope)| Change { key, scope }));
    }

    #[test]
    fn threads_matter_only_where_there_are_threads() {
        assert_eq!(scope("runtime.worker_threads", Mode::MultiThreaded), Scope::Instance);
        assert_eq!(scope("runtime.worker_threads", Mode::MultiProcess), Scope::Live);
        assert_eq!(scope("something.new", Mode::SingleThreaded), Scope::Workers);
    }
}
