use std::time::Duration;

use super::*;
use crate::{
    config::settings::{Mode, Via},
    net::filter::{NetPattern, NetSet},
};

/// Loads `text` as a file of its own.
fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yml");
    fs::write(&path, text).unwrap();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&Sources { file: Some(path), environment, ..Sources::default() })
}

fn problems(text: &str, environment: &[(&str, &str)]) -> String {
    load_text(text, environment).expect_err("there are problems").to_string()
}

#[test]
fn five_mistakes_are_five_problems() {
    let text = "listen_adr: \"127.0.0.1:1\"\nruntime:\n  mode: \"many\"\n  process_count: 0\ntimeouts:\n  connect: fast\nlimits:\n  max_headers: [1]\n";
    let all = problems(text, &[]);
    let lines: Vec<_> = all.lines().collect();
    assert_eq!(lines.len(), 5, "{all}");
    for (line, key) in [
        (1, "listen_adr: unknown key; is listen_addr meant?"),
        (3, "runtime.mode: found \"many\"; accepted are single_threaded, multi_threaded, multi_process"),
        (4, "runtime.process_count: found 0; a whole number from 1 to 256 is accepted, or null"),
        (6, "timeouts.connect: found \"fast\"; a duration such as"),
        (8, "limits.max_headers: found a list; a whole number"),
    ] {
        assert!(
            lines.iter().any(|found| found.contains(&format!("config.yml:{line}: {key}"))),
            "{line} {key}: {all}"
        );
    }
}

#[test]
fn all_sources_are_reported_together() {
    let all = problems(
        "dns: { cache_size: no }\n",
        &[("PROXY_TIMEOUTS__CONNECT", "x"), ("PROXY_PROCESS_COUNT", "-1")],
    );
    for expected in [
        "dns.cache_size",
        "environment PROXY_TIMEOUTS__CONNECT: timeouts.connect",
        "environment PROXY_PROCESS_COUNT",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
}

#[test]
fn environment_beats_the_file_and_flags_beat_both() {
    let loaded = load_text(
        "runtime: { mode: \"multi_process\", process_count: 2 }\ntimeouts: { connect: 1s }\n",
        &[
            ("PROXY_PROCESS_COUNT", "3"),
            ("PROXY_TIMEOUTS__CONNECT", "5s"),
            ("PROXY_ACCESS__CONNECT_PORTS", "443, 8443"),
        ],
    )
    .unwrap();
    assert_eq!(loaded.settings.runtime.mode, Mode::MultiProcess);
    assert_eq!(loaded.settings.runtime.process_count.get(), 3);
    assert_eq!(loaded.settings.timeouts.connect, Duration::from_secs(5));
    assert_eq!(loaded.settings.access.connect_ports, [443, 8443]);
    let sources = Sources {
        environment: vec![("PROXY_LISTEN_ADDR".into(), "127.0.0.1:1".into())],
        flags: vec![("listen_addr", "--listen", "127.0.0.1:2".into())],
        ..Sources::default()
    };
    let flagged = load(&Sources { file: Some("/dev/null".into()), ..sources }).unwrap();
    assert_eq!(flagged.settings.listen_addr, ["127.0.0.1:2".parse().unwrap()]);
    let shown = flagged.in_force.iter().find(|value| value.key == "listen_addr").unwrap();
    assert_eq!(shown.origin.to_string(), "flag --listen");
}

#[test]
fn unknown_variables_are_notices() {
    let loaded =
        load_text("", &[("PROXY_LISTEN_ADR", "x"), ("PROXY_PROCESS_INDEX", "0"), ("HTTP_PROXY", "x")])
            .unwrap();
    assert_eq!(loaded.notices.len(), 1, "{:?}", loaded.notices);
    assert!(loaded.notices[0].contains("PROXY_LISTEN_ADDR"), "{:?}", loaded.notices);
}

#[test]
fn two_names_for_one_key_must_agree() {
    let all = problems("", &[("PROXY_PROCESS_COUNT", "2"), ("PROXY_RUNTIME__PROCESS_COUNT", "3")]);
    assert!(all.contains("PROXY_PROCESS_COUNT"), "{all}");
}

#[test]
fn a_missing_file_is_a_problem_only_when_it_was_named() {
    let named = load(&Sources { file: Some("/nowhere/config.yml".into()), ..Sources::default() });
    assert!(named.unwrap_err().to_string().contains("/nowhere/config.yml cannot be read"));
    let variable = vec![("PROXY_CONFIG".into(), "/nowhere/x.yml".into())];
    assert!(load(&Sources { environment: variable, ..Sources::default() }).is_err());
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (text, key) in [
        ("user: nobody", "user"),
        ("tls: { listen_addr: \"0.0.0.0:8443\" }", "tls.listen_addr"),
        ("routes: [{ via: deny }]", "routes"),
        ("access_log: { sample: 0.5 }", "access_log.sample"),
        ("admin: { listen_addr: \"127.0.0.1:9901\" }", "admin.listen_addr"),
    ] {
        let all = problems(text, &[]);
        assert!(all.contains(&format!("{key}: ")) && all.contains("not supported yet"), "{all}");
    }
    let defaults =
        "user: null\ntls: { min_version: \"1.2\" }\nroutes: []\naccess_log: { sample: 1.0, format: json }\n";
    assert!(load_text(defaults, &[]).is_ok());
}

#[test]
fn values_have_many_forms() {
    let text = "listen_addr: [\"127.0.0.1:0\", \"[::1]:0\"]\nforwarding: { via: off }\ndns: { servers: [\"192.0.2.53\", \"192.0.2.54:5353\"] }\n\
                timeouts: { connect: 2, half_close: 1500ms, tunnel_idle: 1h }\nlimits: { max_header_bytes: 8KiB, max_body_size: 1MB }\n\
                access: { clients: [loopback, 10.0.0.0/8, \"192.0.2.7\"], destinations: { deny: [\".Example.COM\", \"a.test\", special], allow: [\"10.1.0.0/16\"] } }\n";
    let settings = load_text(text, &[]).unwrap().settings;
    assert_eq!(settings.listen_addr.len(), 2);
    assert_eq!(settings.forwarding.via, Via::Off);
    assert_eq!(settings.dns.servers.unwrap().iter().map(|at| at.port()).collect::<Vec<_>>(), [53, 5353]);
    assert_eq!(settings.timeouts.connect, Duration::from_secs(2));
    assert_eq!(settings.timeouts.half_close, Duration::from_millis(1500));
    assert_eq!((settings.limits.max_header_bytes, settings.limits.max_body_size), (8192, 1_000_000));
    assert_eq!(settings.access.clients[0], NetPattern::Set(NetSet::Loopback));
    assert_eq!(settings.access.deny.len(), 3);
}

#[test]
fn contradictions_are_problems() {
    for text in [
        "supervision: { restart_delay: 40s }",
        "upstream: { max_idle: 10 }",
        "listen_addr: [\"0.0.0.0:80\", \"127.0.0.1:80\"]",
        "listen_addr: [\"127.0.0.1:80\", \"127.0.0.1:80\"]",
        "just text",
        "[1, 2]",
        "limits: 5",
    ] {
        assert!(load_text(text, &[]).is_err(), "{text}");
    }
}

#[test]
fn the_manual_is_complete_and_true() {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.yml")).unwrap();
    for key in KEYS {
        let name = key.rsplit('.').next().unwrap();
        assert!(manual.contains(&format!("{name}:")), "config.yml says nothing of {key}");
    }
    let shipped = load_text(&manual, &[]).unwrap();
    assert_eq!(shipped.notices, Vec::<String>::new());
    let mut expected =
        load_text("runtime: { mode: multi_process, worker_threads: null, process_count: 4 }", &[])
            .unwrap()
            .settings;
    expected.runtime.worker_threads = shipped.settings.runtime.worker_threads;
    assert_eq!(shipped.settings, expected, "apart from the mode, the shipped values are the defaults");
}
