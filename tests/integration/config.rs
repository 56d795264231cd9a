//! The configuration: every problem at once, where each value comes from, and the exit codes.

use std::{fs, net::TcpListener};

use crate::support::{Config, Finished, Mode, Origin, in_every_mode};

in_every_mode! {
    five_mistakes_are_reported_together,
    a_second_instance_is_refused,
    environment_beats_file_and_flag_beats_environment,
}

/// A run from an empty folder with these arguments.
fn run(arguments: &[&str]) -> Finished {
    with_file(None, arguments)
}

/// A run with this text as `config.yml`.
fn with_file(text: Option<&str>, arguments: &[&str]) -> Finished {
    let mut config = Config::empty(Mode::SingleThreaded);
    if let Some(text) = text {
        config = config.text(text);
    }
    arguments.iter().fold(config, |config, argument| config.arg(argument)).run()
}

fn five_mistakes_are_reported_together(mode: Mode) {
    let text = format!(
        "listen_addr: \"127.0.0.1:99999\"\nruntime:\n  mode: \"{}\"\n  proces_count: 2\n\
         limits:\n  max_headers: many\ntimeouts:\n  connect: 10 parsecs\n\
         access:\n  clients: [\"10.0.0.0/33\"]\n",
        mode.name()
    );
    for arguments in [&[] as &[&str], &["check"], &["run"]] {
        let finished = with_file(Some(&text), arguments);
        assert_eq!(finished.code(), 78, "{finished:?}");
        let keys = [
            "listen_addr",
            "runtime.proces_count",
            "limits.max_headers",
            "timeouts.connect",
            "access.clients",
        ];
        for key in keys {
            assert!(finished.output().contains(key), "{arguments:?}: nothing of {key}: {finished:?}");
        }
        assert!(!finished.output().contains("listening"), "{finished:?}");
    }
}

fn a_second_instance_is_refused(mode: Mode) {
    let first = crate::support::Proxy::new(mode);
    for reuseport in [true, false] {
        let second = Config::new(mode)
            .set("listen_addr", first.addr().to_string())
            .set("runtime.use_reuseport", reuseport)
            .run();
        assert_eq!(second.code(), 69, "{second:?}");
        assert!(second.output().contains(&first.addr().to_string()), "which address? {second:?}");
    }
    let origin = Origin::ok();
    first.exchange(origin.get("/", &[])).expect_ok("ok");
    // Nor beside a stranger.
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = stranger.local_addr().unwrap().to_string();
    assert_eq!(Config::new(mode).set("listen_addr", addr).run().code(), 69);
}

fn environment_beats_file_and_flag_beats_environment(mode: Mode) {
    let proxy = Config::new(mode)
        .set("listen_addr", "127.0.0.1:1")
        .env("PROXY_LISTEN_ADDR", "127.0.0.1:2")
        .arg("--listen")
        .arg("127.0.0.1:0")
        .start();
    assert!(proxy.addr().port() > 2);
    let proxy =
        Config::new(mode).set("forwarding.via", "file").env("PROXY_FORWARDING__VIA", "environment").start();
    let origin = Origin::ok();
    assert_eq!(proxy.exchange(origin.get("/", &[])).head.list("via"), "1.1 environment");
}

#[test]
fn check_says_ok() {
    let finished = with_file(Some("listen_addr: \"127.0.0.1:0\"\n"), &["check"]);
    assert_eq!(finished.code(), 0, "{finished:?}");
    assert!(finished.stdout.contains("configuration ok"), "{finished:?}");
}

#[test]
fn shipped_configuration_is_valid() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.yml")).unwrap();
    let finished = with_file(Some(&text), &["check"]);
    assert_eq!(finished.code(), 0, "{finished:?}");
}

#[test]
fn check_print_tells_where_each_value_comes_from() {
    let finished = Config::empty(Mode::SingleThreaded)
        .set("timeouts.connect", "7s")
        .set("listen_addr", "127.0.0.1:0")
        .env("PROXY_TIMEOUTS__RESPONSE_HEAD", "9s")
        .arg("--log-level")
        .arg("warn")
        .arg("check")
        .arg("--print")
        .run();
    assert_eq!(finished.code(), 0, "{finished:?}");
    let line = |key: &str| {
        let found = finished.stdout.lines().find(|line| line.trim_start().starts_with(&format!("{key}:")));
        found.unwrap_or_else(|| panic!("nothing of {key}: {finished:?}")).to_owned()
    };
    for (key, value, origin) in [
        ("connect", "7s", "config.yml"),
        ("response_head", "9s", "PROXY_TIMEOUTS__RESPONSE_HEAD"),
        ("log_level", "warn", "--log-level"),
        ("half_close", "60s", "default"),
    ] {
        let line = line(key);
        assert!(line.contains(value) || (value == "60s" && line.contains("1m")), "{key}: {line}");
        assert!(line.contains(origin), "{key} comes from {origin}: {line}");
    }
}

#[test]
fn what_was_printed_is_a_configuration() {
    let printed = with_file(Some("access:\n  connect_ports: [443, 8443]\n"), &["check", "--print"]);
    assert_eq!(printed.code(), 0, "{printed:?}");
    let again = with_file(Some(&printed.stdout), &["check"]);
    assert_eq!(again.code(), 0, "{again:?}\n{}", printed.stdout);
}

#[test]
fn unknown_variables_are_warned_of_and_bad_ones_refused() {
    let unknown = Config::empty(Mode::SingleThreaded).env("PROXY_LISTEN_ADR", "x").arg("check").run();
    assert_eq!(unknown.code(), 0, "{unknown:?}");
    assert!(unknown.output().contains("PROXY_LISTEN_ADR"), "{unknown:?}");
    let bad = Config::empty(Mode::SingleThreaded).env("PROXY_PROCESS_COUNT", "lots").arg("check").run();
    assert_eq!(bad.code(), 78, "{bad:?}");
    assert!(bad.output().contains("PROXY_PROCESS_COUNT"), "{bad:?}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let finished = run(&["--config", "nowhere.yml", "check"]);
    assert_eq!(finished.code(), 78, "{finished:?}");
    assert!(finished.output().contains("nowhere.yml"), "{finished:?}");
    let finished =
        Config::empty(Mode::SingleThreaded).env("PROXY_CONFIG", "elsewhere.yml").arg("check").run();
    assert_eq!(finished.code(), 78, "{finished:?}");
    assert!(finished.output().contains("elsewhere.yml"), "{finished:?}");
}

#[test]
fn without_a_file_the_defaults_hold() {
    let finished = run(&["check"]);
    assert_eq!(finished.code(), 0, "{finished:?}");
    let proxy = Config::empty(Mode::SingleThreaded).arg("--listen").arg("127.0.0.1:0").start();
    let origin = Origin::ok();
    assert_eq!(proxy.exchange(origin.get("/", &[])).text(), "ok");
}

#[test]
fn another_file_can_be_named() {
    let finished = Config::empty(Mode::SingleThreaded)
        .file("other.yml", "timeouts: { connect: nonsense }\n")
        .arg("--config")
        .arg("other.yml")
        .arg("check")
        .run();
    assert_eq!(finished.code(), 78, "{finished:?}");
    assert!(finished.output().contains("timeouts.connect"), "{finished:?}");
}

#[test]
fn command_line_mistakes_exit_64() {
    for arguments in [
        &["--nonsense"] as &[&str],
        &["explode"],
        &["--listen"],
        &["check", "--prnt"],
        &["scale"],
        &["scale", "x"],
    ] {
        let finished = run(arguments);
        assert_eq!(finished.code(), 64, "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn flags_with_bad_values_are_named() {
    for (arguments, name) in [
        (["--listen", "nonsense", "check"], "--listen"),
        (["--mode", "many", "check"], "--mode"),
        (["--log-level", "loud", "check"], "--log-level"),
    ] {
        let finished = run(&arguments);
        assert!(matches!(finished.code(), 64 | 78), "{finished:?}");
        assert!(finished.output().contains(name), "{finished:?}");
    }
}

#[test]
fn help_and_version_are_there() {
    let help = run(&["--help"]);
    assert_eq!(help.code(), 0, "{help:?}");
    for word in ["check", "--config", "--listen", "--mode", "--log-level"] {
        assert!(help.stdout.contains(word), "{help:?}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.code(), 0, "{version:?}");
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

#[test]
fn an_address_that_is_not_ours_cannot_be_bound() {
    let finished = Config::new(Mode::SingleThreaded).set("listen_addr", "192.0.2.1:8080").run();
    assert_eq!(finished.code(), 69, "{finished:?}");
    assert!(finished.output().contains("192.0.2.1:8080"), "{finished:?}");
}
