//! The commands for a running instance, over its socket: what they do, that they wait for it, and what they say.

use std::{fs, net::TcpStream, os::unix::fs::PermissionsExt};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Config, Mode, Origin, Proxy, eventually, in_every_mode, process};

in_every_mode! {
    status_counts_what_was_done,
    a_reload_is_waited_for_and_its_outcome_said,
    stop_returns_when_everything_has_ended,
    log_files_are_reopened_by_a_command,
    a_spoilt_file_does_not_keep_an_operator_out,
    the_level_of_the_log_is_changed_and_told,
    only_the_owner_can_open_the_socket,
    a_socket_in_use_is_not_taken_and_one_left_behind_is,
}

#[track_caller]
fn status(proxy: &Proxy) -> Value {
    let finished = proxy.operate(&["status", "--json"]);
    assert_eq!(finished.code(), 0, "{finished:?}");
    serde_json::from_str(&finished.stdout).unwrap()
}

fn change(proxy: &Proxy, old: &str, new: &str) {
    let text = proxy.folder().read("config.yml");
    assert!(text.contains(old), "{text}");
    proxy.folder().write("config.yml", text.replace(old, new));
}

fn status_counts_what_was_done(mode: Mode) {
    let proxy = Config::new(mode).start();
    let (origin, echo) = (Origin::ok(), Origin::echo());
    for _ in 0..7 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    let status = eventually("all is counted", || {
        Some(status(&proxy)).filter(|status| {
            status["totals"]["requests_total"] == 7 && status["totals"]["tunnels_active"] == 1
        })
    });
    assert_eq!(status["mode"], mode.name());
    assert_eq!(status["pid"], proxy.pid());
    assert_eq!(status["listeners"], serde_json::json!([proxy.addr().to_string()]));
    assert_eq!((&status["ready"], &status["stopping"]), (&Value::Bool(true), &Value::Bool(false)));
    let workers = status["workers"].as_array().unwrap();
    let pids: Vec<_> = workers.iter().map(|worker| worker["pid"].as_u64().unwrap() as u32).collect();
    let mut serving = proxy.serving();
    serving.sort_unstable_by_key(|pid| pids.iter().position(|known| known == pid));
    assert_eq!(pids, serving);
    assert!(
        workers
            .iter()
            .all(|worker| worker["state"] == "ready" && worker["memory_bytes"].as_u64() > Some(1 << 20))
    );
    let counted: u64 = workers.iter().map(|worker| worker["requests_total"].as_u64().unwrap()).sum();
    assert_eq!(counted, 7);
    let table = proxy.operate(&["status"]).stdout;
    assert!(table.contains("WORKER") && table.contains(&proxy.addr().to_string()), "{table}");
    assert!(pids.iter().all(|pid| table.contains(&format!(" {pid} "))), "{table}");
}

fn a_reload_is_waited_for_and_its_outcome_said(mode: Mode) {
    let proxy = Config::new(mode).set("access.local_client_bypass", false).start();
    let origin = Origin::ok();
    assert_ne!(proxy.exchange(origin.get("/", &[])).status(), 200);
    let same = proxy.operate(&["reload"]);
    assert_eq!((same.code(), same.stdout.as_str()), (0, "nothing is different\n"));
    change(&proxy, "local_client_bypass: false", "local_client_bypass: true");
    let applied = proxy.operate(&["reload"]);
    assert_eq!((applied.code(), applied.stdout.as_str()), (0, "in force: access.local_client_bypass\n"));
    for _ in 0..8 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    change(&proxy, "local_client_bypass: true", "local_client_bypass: 5\n  mode: maybe\n  nonsense: 1");
    let refused = proxy.operate(&["reload"]);
    assert_eq!(refused.code(), 78);
    for key in ["access.local_client_bypass", "access.mode", "access.nonsense"] {
        assert!(refused.stderr.contains(key), "{}", refused.stderr);
    }
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let last = status(&proxy)["last_reload"].clone();
    assert_eq!(last["successful"], false);
    proxy.folder().write("config.yml", "listen_addr: 127.0.0.2:0\n");
    let fixed = proxy.operate(&["reload"]);
    assert_eq!(fixed.code(), 1, "{fixed:?}");
    assert!(fixed.stderr.contains("listen_addr"), "{}", fixed.stderr);
}

fn stop_returns_when_everything_has_ended(mode: Mode) {
    let mut proxy = Config::new(mode).set("supervision.shutdown_timeout", "1s").start();
    let echo = Origin::echo();
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    let family = process::family(proxy.pid());
    let stopped = proxy.operate(&["stop"]);
    assert_eq!((stopped.code(), stopped.stdout.as_str()), (0, "stopped; 1 tunnels were cut\n"));
    assert!(family.iter().skip(1).all(|&pid| !process::is_alive(pid)), "workers are gone before it says so");
    assert_eq!(proxy.wait_exit(crate::support::PATIENCE).code(), Some(0));
    assert!(TcpStream::connect(proxy.addr()).is_err());
    assert!(!proxy.folder().path().join("run/admin.sock").exists());
    let nobody = proxy.operate(&["status"]);
    assert_eq!(nobody.code(), 1);
    assert!(nobody.stderr.contains("run/admin.sock"), "{}", nobody.stderr);
}

fn log_files_are_reopened_by_a_command(mode: Mode) {
    let proxy = Config::new(mode).start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    proxy.access_lines_at_least(1);
    for name in ["access.log", "proxy.log"] {
        let path = proxy.folder().path().join("logs").join(name);
        fs::rename(&path, path.with_extension("1")).unwrap();
    }
    assert_eq!(proxy.operate(&["reopen-logs"]).code(), 0);
    eventually("everybody has reopened", || {
        (proxy.folder().read("logs/proxy.log").matches("log files reopened").count() >= proxy.serving().len())
            .then_some(())
    });
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    assert_eq!(proxy.access_lines_at_least(1).len(), 1);
}

fn a_spoilt_file_does_not_keep_an_operator_out(mode: Mode) {
    let mut proxy = Config::new(mode).set("admin.socket_path", "elsewhere/a.sock").start();
    let text = proxy.folder().read("config.yml");
    proxy.folder().write("config.yml", format!("{text}nonsense: 1\n"));
    assert_eq!(status(&proxy)["pid"], proxy.pid());
    assert_eq!(proxy.operate(&["stop"]).code(), 0);
    assert_eq!(proxy.wait_exit(crate::support::PATIENCE).code(), Some(0));
}

fn the_level_of_the_log_is_changed_and_told(mode: Mode) {
    let proxy = Config::new(mode).set("log_level", "warn,rust_forward_proxy=info").start();
    let level = |arguments: &[&str]| proxy.operate(&[&["log-level"], arguments].concat());
    let configured = "warn,rust_forward_proxy=info";
    assert_eq!(level(&[]).stdout, format!("{configured}\n"));
    let set = level(&["info,rust_forward_proxy::worker=debug"]);
    let said = format!("info,rust_forward_proxy::worker=debug (the configuration says {configured})\n");
    assert_eq!((set.code(), set.stdout.as_str()), (0, said.as_str()));
    let refused = level(&["loud"]);
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("\"loud\" is no level"), "{}", refused.stderr);
    assert_eq!(level(&[]).stdout, said);
    // Another level of the configuration is what was wanted last.
    change(&proxy, configured, "info");
    assert_eq!(proxy.operate(&["reload"]).stdout, "in force: log_level\n");
    assert_eq!(level(&[]).stdout, "info\n");
    assert_eq!(level(&["debug"]).stdout, "debug (the configuration says info)\n");
    assert_eq!(level(&["default"]).stdout, "info\n");
}

/// What a module says at debug is heard from every worker, from one that comes later too, and only while it is wanted.
#[test]
fn the_level_of_the_log_reaches_every_process() {
    let proxy = Config::new(Mode::MultiProcess).set("timeouts.connect", "10s").start();
    let workers = proxy.serving_all(2);
    let said = || proxy.log_lines("configuration in force").len();
    let reload = |old: &str, new: &str| {
        change(&proxy, old, new);
        assert_eq!(proxy.operate(&["reload"]).code(), 0);
    };
    reload("connect: \"10s\"", "connect: \"11s\"");
    assert_eq!(said(), 0);
    assert_eq!(proxy.operate(&["log-level", "info,rust_forward_proxy::worker=debug"]).code(), 0);
    reload("connect: \"11s\"", "connect: \"12s\"");
    eventually("both workers say more", || (said() == 2).then_some(()));
    process::signal(workers[0], Signal::SIGKILL);
    eventually("it is replaced", || {
        let told = status(&proxy);
        let workers_now = told["workers"].as_array().unwrap();
        workers_now
            .iter()
            .all(|worker| worker["state"] == "ready" && worker["pid"] != workers[0])
            .then_some(())
    });
    reload("connect: \"12s\"", "connect: \"13s\"");
    eventually("its successor says more as well", || (said() == 4).then_some(()));
    assert_eq!(proxy.operate(&["log-level", "default"]).code(), 0);
    reload("connect: \"13s\"", "connect: \"14s\"");
    assert_eq!(said(), 4);
}

fn only_the_owner_can_open_the_socket(mode: Mode) {
    let proxy = Config::new(mode).start();
    let mode = fs::metadata(proxy.folder().path().join("run/admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn a_socket_in_use_is_not_taken_and_one_left_behind_is(mode: Mode) {
    let proxy = Config::new(mode).start();
    let path = proxy.folder().path().join("run/admin.sock");
    let another = Config::new(mode).set("admin.socket_path", path.to_str().unwrap());
    let refused = another.run();
    assert_eq!(refused.code(), 69, "{refused:?}");
    assert!(refused.stderr.contains("admin.socket_path"), "{}", refused.stderr);
    assert_eq!(status(&proxy)["pid"], proxy.pid());
    process::signal(proxy.pid(), Signal::SIGKILL);
    eventually("nobody answers any more", || (proxy.operate(&["status"]).code() == 1).then_some(()));
    assert!(path.exists(), "a process that was killed cannot tidy up");
    let another = another.start();
    let finished = another.operate(&["status", "--json"]);
    assert_eq!(finished.code(), 0, "{finished:?}");
}

#[test]
fn workers_are_replaced_and_their_number_changed() {
    let proxy = Config::new(Mode::MultiProcess).start();
    let origin = Origin::ok();
    let before = proxy.serving_all(2);
    let restarted = proxy.operate(&["restart"]);
    assert_eq!((restarted.code(), restarted.stdout.as_str()), (0, "every worker is new\n"));
    let told = status(&proxy);
    let workers = told["workers"].as_array().unwrap().iter();
    let ready: Vec<_> = workers.filter(|worker| worker["state"] == "ready").collect();
    assert_eq!(ready.len(), 2, "{told}");
    assert!(ready.iter().all(|worker| !before.contains(&(worker["pid"].as_u64().unwrap() as u32))), "{told}");
    let scaled = proxy.operate(&["scale", "4"]);
    assert_eq!((scaled.code(), scaled.stdout.as_str()), (0, "4 workers are ready\n"));
    assert_eq!(proxy.serving_all(4).len(), 4);
    assert_eq!(proxy.operate(&["scale", "4"]).code(), 0);
    assert_eq!(proxy.operate(&["scale", "1"]).stdout, "1 workers are ready\n");
    proxy.serving_all(1);
    assert_eq!(proxy.operate(&["scale", "0"]).code(), 64);
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}

#[test]
fn a_restart_brings_the_file_that_is_there_now() {
    let proxy = Config::new(Mode::MultiProcess).set("access.local_client_bypass", false).start();
    let origin = Origin::ok();
    let before = proxy.serving_all(2);
    change(&proxy, "local_client_bypass: false", "local_client_bypass: nonsense");
    let refused = proxy.operate(&["restart"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert_eq!(proxy.serving(), before);
    change(&proxy, "local_client_bypass: nonsense", "local_client_bypass: true");
    let restarted = proxy.operate(&["restart"]);
    let said = "every worker is new; in force: access.local_client_bypass\n";
    assert_eq!((restarted.code(), restarted.stdout.as_str()), (0, said));
    for _ in 0..8 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
}

#[test]
fn a_restart_that_cannot_succeed_is_refused() {
    let proxy = Config::new(Mode::MultiProcess).start();
    let origin = Origin::ok();
    let before = proxy.serving_all(2);
    // No worker can write to it any more.
    let path = proxy.folder().path().join("logs/access.log");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = proxy.operate(&["restart"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert!(refused.stderr.contains("access_log.file"), "{}", refused.stderr);
    assert_eq!(proxy.serving_all(2), before);
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}

#[test]
fn one_process_has_no_workers_to_replace() {
    let proxy = Config::new(Mode::SingleThreaded).start();
    for arguments in [&["restart"][..], &["scale", "2"]] {
        let refused = proxy.operate(arguments);
        assert_eq!(refused.code(), 1, "{refused:?}");
        assert!(refused.stderr.contains("multi_process"), "{}", refused.stderr);
    }
    proxy.operate(&["status"]);
}
