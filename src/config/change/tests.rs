//! Which change of the configuration can be swapped, rolls, or is refused.

use super::*;
use crate::config::{
    keys::KEYS,
    load::{Loaded, Sources, load},
};
use crate::net::tls::issuer::create_authority;

fn loaded(text: &str) -> Loaded {
    let sources = Sources { text: Some(("config.yml".into(), text.into())), ..Sources::default() };
    load(&sources).unwrap_or_else(|problems| panic!("{text}: {problems}"))
}

fn settings(text: &str) -> Settings {
    loaded(text).settings
}

#[test]
fn what_a_change_takes() {
    let old = settings("");
    for (text, change) in [
        ("", Change::Nothing),
        ("# another text, the same meaning\nlimits: { max_header_bytes: 65536 }", Change::Nothing),
        ("timeouts: { connect: 5s }", Change::Swap),
        ("log_level: debug", Change::Swap),
        ("runtime: { process_count: 8 }", Change::Swap),
        ("supervision: { restart_delay: 2s }", Change::Swap),
        #[cfg(target_os = "linux")]
        ("timeouts: { connect: 5s }\nruntime: { cpu_affinity: true }", Change::Roll),
        ("access: { destinations: { allow: [\"10.0.0.0/8\"] } }", Change::Swap),
        ("listen_addr: \"127.0.0.1:1\"", Change::Refused(vec!["listen_addr"])),
        (
            "runtime: { mode: multi_threaded, use_reuseport: false }\nlisten: { backlog: 5, proxy_protocol: [loopback], socks5: false }\ntimeouts: { connect: 5s }",
            Change::Refused(vec!["listen.backlog", "runtime.mode", "runtime.use_reuseport"]),
        ),
    ] {
        assert_eq!(between(&old, &settings(text)), change, "{text}");
    }
}

#[test]
fn every_key_of_the_settings_is_told_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    std::fs::write(&users, "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n").unwrap();
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (authority, authority_key) = create_authority("ours", std::time::SystemTime::now()).unwrap();
    let [ca, ca_key] = ["ca.pem", "ca-key.pem"].map(|name| directory.path().join(name));
    std::fs::write(&ca, authority).unwrap();
    std::fs::write(&ca_key, authority_key).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&ca_key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    // Another value for every key that is built: any difference is noticed, and named as the file names it.
    let other = settings(
        &"listen_addr: \"127.0.0.1:1\"\nlog_level: warn\nuser: ann\ngroup: staff\nlisten: { backlog: 5, proxy_protocol: [loopback], socks5: false }\n\
         runtime: { mode: multi_process, worker_threads: 1000, process_count: 250, use_reuseport: false, cpu_affinity: true }\n\
         supervision: { restart_workers: false, restart_delay: 2s, restart_delay_max: 31s, respawn_threshold: 6, \
         respawn_threshold_time: 61s, max_restarts: 1, start_timeout: 11s, heartbeat_timeout: 11s, shutdown_timeout: 31s }\n\
         limits: { max_connections: 1, max_connections_per_client: 1, max_header_bytes: 1KiB, max_headers: 1, max_body_size: 1 }\n\
         timeouts: { client_header: 1, client_idle: 1, body_idle: 1, connect: 1, response_head: 1, tunnel_idle: 1, half_close: 1 }\n\
         upstream: { max_idle_per_host: 1, max_idle: 1, idle_timeout: 1, tcp_keepalive: 1, bind_addr: \"127.0.0.1\", \
         tls: { system_roots: false, ca_path: \"CERT\", client_cert_path: \"CERT\", client_key_path: \"KEY\", min_version: 1.3, http2: false } }\n\
         dns: { servers: [\"192.0.2.53\"], cache_size: 1, negative_ttl: 1, prefer: ipv4 }\n\
         forwarding: { via: off, client_address: delete, preserve_header_case: true, request_id_header: x-request-id }\n\
         access: { mode: report, clients: [], destinations: { deny: [], allow: [special] }, connect_ports: [], users_file: \"USERS\", realm: x, local_client_bypass: false }\n\
         rate_limit: { store: \"redis://127.0.0.1\", limits: [{ name: a, key: global, rate: 1/s }] }\n\
         upstreams: [{ name: a, kind: proxy, servers: [{ url: \"http://192.0.2.1:3128\" }] }]\n\
         routes: [{ via: deny, match: { ports: [1] } }]\ndefault_route: deny\n\
         tls: { listen_addr: \"127.0.0.1:2\", cert_path: \"CERT\", key_path: \"KEY\", client_ca_path: \"CERT\", min_version: 1.3, handshake_timeout: 1, max_handshakes: 1 }\n\
         interception: { hosts: a.test, exempt: b.test, ca_cert_path: \"AUTHORITY\", ca_key_path: \"ITS_OWN\" }\n\
         logging: { console: false, file: null, format: json }\naccess_log: { file: null, format: squid, tunnel_interval: 1, sample: 0.5, query: keep }\nadmin: { listen_addr: null, host_names: [a.test], socket_path: null }\n"
            .replace("USERS", &users.display().to_string())
            .replace("AUTHORITY", ca.to_str().unwrap())
        .replace("ITS_OWN", ca_key.to_str().unwrap())
        .replace("CERT", &cert.display().to_string())
            .replace("KEY", &key.display().to_string()),
    );
    assert_eq!(differing(&settings(""), &other), KEYS);
}

/// In `config.yml`, a key that is read once at start says so in the comment above it.
#[test]
fn the_manual_says_which_keys_are_read_at_start_only() {
    let manual = include_str!("../../../config.yml");
    let (mut path, mut comment, mut after_key) = (Vec::<(usize, String)>::new(), String::new(), false);
    let mut seen = 0;
    for line in manual.lines() {
        let text = line.trim_start();
        if let Some(words) = text.strip_prefix('#') {
            if after_key {
                comment.clear();
            }
            comment.push_str(words);
            after_key = false;
            continue;
        }
        let Some((name, _)) = text.split_once(':') else {
            comment.clear();
            continue;
        };
        let depth = line.len() - text.len();
        path.retain(|(other, _)| *other < depth);
        path.push((depth, name.to_owned()));
        let key = path.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(".");
        // Keys without a comment between them share the one above.
        after_key = true;
        if KEYS.contains(&key.as_str()) {
            seen += 1;
            let at_start = effect(&key) == Effect::Launcher;
            assert_eq!(comment.contains("Read at start only."), at_start, "{key}:{comment}");
        }
    }
    assert_eq!(seen, KEYS.len(), "every key is in the manual");
}
