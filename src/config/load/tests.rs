//! Files, variables and flags together: what wins, and what is refused in which words.

use std::time::Duration;

use super::*;
use crate::{
    config::{
        settings::{Mode, Via},
        show::show,
    },
    net::filter::{NetPattern, NetSet},
};

const MANUAL: &str = include_str!("../../../config.yml");

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
    assert_eq!(settings.access.deny.entries.len(), 3);
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
fn nothing_is_not_the_empty_list() {
    for (text, key) in [
        (
            "access: { destinations: { deny: } }",
            "access.destinations.deny: found null; a list is accepted, [] for none",
        ),
        ("access:\n  clients:\n", "access.clients: found null"),
        ("listen_addr: []", "listen_addr: found an empty list; at least one address is accepted"),
        ("listen_addr: null", "listen_addr: found null"),
        ("dns: { servers: [] }", "dns.servers: found an empty list; at least one is accepted, or null"),
        ("dns: { servers: [\"192.0.2.53:0\"] }", "dns.servers: found \"192.0.2.53:0\""),
    ] {
        let all = problems(text, &[]);
        assert!(all.contains(key) && all.lines().count() == 1, "{text}: {all}");
    }
    for (name, key) in
        [("PROXY_PROCESS_COUNT", "runtime.process_count"), ("PROXY_ACCESS__CLIENTS", "access.clients")]
    {
        let all = problems("", &[(name, "")]);
        assert!(all.starts_with(&format!("environment {name}: {key}: found an empty text; ")), "{all}");
    }
    let none =
        "access: { clients: [], connect_ports: [], destinations: { deny: [] } }\ndns: { servers: null }";
    assert_eq!(load_text(none, &[]).unwrap().settings.access.deny, vec![].into());
}

#[test]
fn an_override_hides_no_problem() {
    let text = "limits: 5\ntimeouts: { connect: fast }\naccess: { connect_ports: [x] }\n";
    let environment = [
        ("PROXY_LIMITS__MAX_HEADERS", "3"),
        ("PROXY_TIMEOUTS__CONNECT", "5s"),
        ("PROXY_ACCESS__CONNECT_PORTS", "443,y"),
    ];
    let all = problems(text, &environment);
    let places: Vec<_> = all.lines().map(|line| line.split(": found").next().unwrap()).collect();
    assert_eq!(places.len(), 4, "{all}");
    for (place, expected) in places.iter().zip([
        ":1: limits",
        ":2: timeouts.connect",
        ":3: access.connect_ports",
        "environment PROXY_ACCESS__CONNECT_PORTS: access.connect_ports",
    ]) {
        assert!(place.ends_with(expected), "{expected}: {all}");
    }
}

#[test]
fn an_unknown_key_is_named_where_it_stands_with_what_may_be_meant() {
    for (text, expected) in [
        ("listn:\n  backlog: 5\n", ":1: listn: unknown key; is listen meant?"),
        ("listen:\n  backlogg:\n    - 5\n", ":2: listen.backlogg: unknown key; is listen.backlog meant?"),
        ("process_count: 3", ":1: process_count: unknown key; is runtime.process_count meant?"),
        ("file: x", ":1: file: unknown key; is logging.file or access_log.file meant?"),
        ("timeouts: { conect: 1s }", ":1: timeouts.conect: unknown key; is timeouts.connect meant?"),
        ("<<: { log_level: warn }", ":1: <<: unknown key"),
        ("zzz: 1", ":1: zzz: unknown key"),
    ] {
        let all = problems(text, &[]);
        assert!(all.ends_with(expected), "{expected}: {all}");
    }
}

#[test]
fn what_cannot_be_read_leaves_the_other_sources_to_be_looked_at() {
    for text in ["limits:\n\tmax_headers: 5\n", "- a\n", "just text", "a: 1\n---\nb: 2\n"] {
        let all = problems(text, &[("PROXY_TIMEOUTS__CONNECT", "fast")]);
        assert_eq!(all.lines().count(), 2, "{all}");
        assert!(all.contains("\nenvironment PROXY_TIMEOUTS__CONNECT"), "{all}");
    }
    let all = problems("limits: { max_headers: 5, max_headers: 6 }\ndefault_route: nowhere\n", &[]);
    assert!(all.contains("max_headers: is there twice") && all.contains(":2: default_route: "), "{all}");
}

#[test]
fn files_that_are_no_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yml");
    let answer = |path: &Path| {
        load(&Sources { file: Some(path.into()), ..Sources::default() }).unwrap_err().to_string()
    };
    fs::write(&path, [0xff, 0xfe, b'a', 0]).unwrap();
    assert!(answer(&path).ends_with("config.yml is no text in UTF-8"), "{}", answer(&path));
    fs::write(&path, "#".repeat(MAX_TEXT + 1)).unwrap();
    assert!(answer(&path).ends_with("cannot be read: it is larger than 4 MiB"), "{}", answer(&path));
    assert!(answer(directory.path()).contains("cannot be read"), "{}", answer(directory.path()));
    fs::write(&path, "\u{feff}log_level: \"warn\"\r\n").unwrap();
    assert_eq!(load(&Sources { file: Some(path), ..Sources::default() }).unwrap().settings.log_level, "warn");
}

#[test]
fn variables_that_mean_nothing_are_told_with_what_may_be_meant() {
    for (name, hint) in [
        ("PROXY_FOO", ""),
        ("PROXY_LISTEN", " (is PROXY_LISTEN_ADDR meant?)"),
        ("PROXY_LISTEN_ADR", " (is PROXY_LISTEN_ADDR meant?)"),
        ("PROXY_TIMEOUTS_CONNECT", " (is PROXY_TIMEOUTS__CONNECT meant?)"),
        ("PROXY_timeouts__connect", " (is PROXY_TIMEOUTS__CONNECT meant?)"),
        ("PROXY_CONFIGS", " (is PROXY_CONFIG meant?)"),
        ("PROXY_PROCESS_COUNTS", " (is PROXY_PROCESS_COUNT meant?)"),
    ] {
        let loaded = load_text("", &[(name, "1s")]).unwrap();
        assert_eq!(loaded.notices, [format!("the environment variable {name} means nothing here{hint}")]);
    }
}

#[test]
fn ranges_and_forms() {
    for (text, is_accepted) in [
        ("timeouts: { connect: 1ms }", true),
        ("timeouts: { connect: 0 }", false),
        ("timeouts: { connect: -5 }", false),
        ("timeouts: { connect: .inf }", false),
        ("timeouts: { connect: 1500us }", false),
        ("timeouts: { connect: 31d }", false),
        ("dns: { negative_ttl: 0 }", true),
        ("limits: { max_header_bytes: 1KiB }", true),
        ("limits: { max_header_bytes: 1023 }", false),
        ("limits: { max_header_bytes: 64kb }", false),
        ("limits: { max_body_size: 1.5MiB }", false),
        ("limits: { max_body_size: 99999999999GiB }", false),
        ("limits: { max_connections: 0 }", true),
        ("limits: { max_connections: 4294967296 }", false),
        ("limits: { max_connections_per_client: 4294967295 }", true),
        ("limits: { max_connections_per_client: -1 }", false),
        ("runtime: { process_count: null, worker_threads: null }", true),
        ("runtime: { process_count: 4.0 }", false),
        ("runtime: { process_count: \"4\" }", false),
        ("runtime: { process_count: 257 }", false),
        ("runtime: { mode: }", false),
        ("runtime: { use_reuseport: yes }", true),
        ("runtime: { use_reuseport: 1 }", false),
        ("log_level: off", true),
        ("log_level: \"info,rust_forward_proxy::net=debug\"", true),
        ("log_level: \"info,hyper=debgu\"", false),
        ("log_level: hyper", false),
        ("forwarding: { via: no }", true),
        ("forwarding: { via: \"a b\" }", false),
        ("listen_addr: \"localhost:8080\"", false),
        ("listen_addr: \"127.0.0.1:65536\"", false),
        ("listen_addr: [\"127.0.0.1:0\", \"127.0.0.1:0\"]", true),
        ("listen_addr: [\"0.0.0.0:80\", \"[::]:80\"]", true),
        ("access: { destinations: { deny: [\"*.example.com\"] } }", false),
        ("access: { destinations: { deny: [\"a.test:80\"] } }", false),
        ("access: { clients: [\"10.0.0.0/33\"] }", false),
        ("upstream: { max_idle_per_host: 2000 }", false),
        ("logging: { file: \"logs/access.log\" }", false),
        ("tls:", true),
    ] {
        let result = load_text(text, &[]).map(|_| ());
        assert_eq!(result.is_ok(), is_accepted, "{text}: {result:?}");
    }
}

#[test]
fn what_is_wrong_by_itself_contradicts_nothing() {
    let all = problems("supervision: { restart_delay: x, restart_delay_max: 500ms }", &[]);
    assert_eq!(all.lines().count(), 1, "{all}");
    let all = problems("upstream: { max_idle_per_host: 2000 }", &[]);
    assert!(all.contains(":1: upstream.max_idle_per_host: ") && all.contains("max_idle is 1000"), "{all}");
}

/// What the contract prints for each key, as `check --print` writes it. Left out are the keys of parts that are not built.
#[test]
fn the_shipped_values_are_those_of_the_contract() {
    let shipped = load_text(MANUAL, &[]).unwrap();
    for (key, value) in [
        ("listen_addr", "[\"127.0.0.1:8080\"]"),
        ("log_level", "\"info\""),
        ("listen.backlog", "1024"),
        ("runtime.mode", "\"multi_process\""),
        ("runtime.worker_threads", "null"),
        ("runtime.process_count", "4"),
        ("runtime.use_reuseport", "true"),
        ("supervision.restart_workers", "true"),
        ("supervision.restart_delay", "1s"),
        ("supervision.restart_delay_max", "30s"),
        ("supervision.respawn_threshold", "5"),
        ("supervision.respawn_threshold_time", "1m"),
        ("supervision.max_restarts", "null"),
        ("supervision.start_timeout", "10s"),
        ("supervision.heartbeat_timeout", "10s"),
        ("supervision.shutdown_timeout", "30s"),
        ("limits.max_connections", "10000"),
        ("limits.max_connections_per_client", "0"),
        ("limits.max_header_bytes", "64KiB"),
        ("limits.max_headers", "100"),
        ("limits.max_body_size", "0"),
        ("timeouts.client_header", "10s"),
        ("timeouts.client_idle", "75s"),
        ("timeouts.body_idle", "1m"),
        ("timeouts.connect", "10s"),
        ("timeouts.response_head", "30s"),
        ("timeouts.tunnel_idle", "15m"),
        ("timeouts.half_close", "1m"),
        ("upstream.max_idle_per_host", "50"),
        ("upstream.max_idle", "1000"),
        ("upstream.idle_timeout", "30s"),
        ("upstream.tcp_keepalive", "30s"),
        ("upstream.bind_addr", "null"),
        ("dns.servers", "null"),
        ("dns.cache_size", "10000"),
        ("dns.negative_ttl", "5s"),
        ("dns.prefer", "\"ipv6\""),
        ("forwarding.via", "\"auto\""),
        ("forwarding.client_address", "\"off\""),
        ("forwarding.preserve_header_case", "false"),
        ("access.mode", "\"enforce\""),
        ("access.clients", "[\"loopback\"]"),
        ("access.destinations.deny", "[\"special\"]"),
        ("access.destinations.allow", "[]"),
        ("access.connect_ports", "[443]"),
        ("access.local_client_bypass", "true"),
        ("logging.console", "true"),
        ("logging.file", "\"logs/proxy.log\""),
        ("logging.format", "\"text\""),
        ("access_log.file", "\"logs/access.log\""),
        ("access_log.query", "\"redact\""),
    ] {
        let in_force = shipped.in_force.iter().find(|known| known.key == key).unwrap();
        assert_eq!(in_force.value, value, "{key}");
        assert!(matches!(in_force.origin, Origin::File { .. }), "{key} is written in config.yml");
    }
    assert_eq!(shipped.in_force.len(), KEYS.len(), "every key is in force");
}

#[test]
fn what_is_printed_loads_as_what_was_meant() {
    let odd = "logging: { file: \"a \\\"b\\\" \\\\ \\n c\" }\ndns: { servers: [\"[2001:db8::53]:5353\"], negative_ttl: 0 }\n\
               timeouts: { connect: 1.5, tunnel_idle: 1d }\nlimits: { max_body_size: 1MB }\nforwarding: { via: off }\n\
               listen_addr: [\"127.0.0.1:0\", \"[::1]:0\"]\naccess: { destinations: { deny: [\".example.com\", \"10.0.0.0/8\"] } }\n";
    for text in [MANUAL, "", odd] {
        let loaded = load_text(text, &[]).unwrap();
        let printed = show(&loaded);
        let again = load_text(&printed, &[]).unwrap_or_else(|problems| panic!("{problems}\n{printed}"));
        assert_eq!(again.settings, loaded.settings, "{printed}");
    }
}

#[test]
fn every_printed_value_says_where_it_comes_from() {
    let sources = Sources {
        text: Some(("my.yml".into(), "limits:\n  max_headers: 50\n".into())),
        environment: vec![("PROXY_TIMEOUTS__CONNECT".into(), "5s".into())],
        flags: vec![("log_level", "--log-level", "warn".into())],
        ..Sources::default()
    };
    let printed = show(&load(&sources).unwrap());
    for (start, end) in [
        ("log_level: \"warn\" ", "# flag --log-level"),
        ("  max_headers: 50 ", "# file my.yml:2"),
        ("  connect: 5s ", "# environment PROXY_TIMEOUTS__CONNECT"),
        ("    deny: [\"special\"] ", "# default"),
    ] {
        assert!(
            printed.lines().any(|line| line.starts_with(start) && line.ends_with(end)),
            "{start}: {printed}"
        );
    }
}

#[test]
fn variables_that_are_no_text() {
    let all = problems("", &[("PROXY_LOGGING__FILE", "a\u{fffd}.log"), ("OTHER", "\u{fffd}")]);
    let expected =
        "environment PROXY_LOGGING__FILE: logging.file: is no text in UTF-8; such a text is accepted";
    assert_eq!(all, expected);
    let nameless = vec![("PROXY_CONFIG".to_owned(), String::new())];
    let all = load(&Sources { environment: nameless, ..Sources::default() }).unwrap_err().to_string();
    assert_eq!(all, "environment PROXY_CONFIG: found an empty text; the path of a file is accepted");
}

#[test]
fn a_large_file_of_another_program_has_its_answer_soon() {
    let text: String = (0..20_000).map(|number| format!("log_levl{number}: 1\n")).collect();
    let all = problems(&text, &[]);
    assert_eq!(all.lines().count(), 20_000);
    assert_eq!(all.matches("meant?").count(), MAX_HINTS);
}

#[test]
fn a_path_written_as_one_name_is_not_passed_over() {
    for text in ["timeouts.connect: 5s\n", "access:\n  destinations.deny: []\n"] {
        let all = problems(text, &[]);
        assert!(all.contains("unknown key: a name has no dot; a section"), "{all}");
    }
    let all = problems("a.b: 1\n", &[]);
    assert!(all.ends_with("config.yml:1: a.b: unknown key: a name has no dot"), "{all}");
}
