//! Another binary in the place of the one that runs: the launcher is replaced under its own number, and nobody notices.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Config, Load, Mode, Origin, Proxy, copy, eventually, metrics, process};

fn config() -> Config {
    Config::new(Mode::MultiProcess)
        .set("runtime.process_count", 3)
        .set("supervision.restart_delay", "10ms")
        .set("supervision.restart_delay_max", "20ms")
        .with_own_binary()
}

/// Puts another file in the place of the binary, as an upgrade does: by renaming.
pub(crate) fn replace(proxy: &Proxy, text: Option<&str>) {
    let path = proxy.folder().path().join("rust-forward-proxy");
    let new = path.with_extension("new");
    match text {
        Some(text) => copy(&proxy.folder().write("script", text), &new),
        None => copy(Path::new(env!("CARGO_BIN_EXE_rust-forward-proxy")), &new),
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, path).unwrap();
}

fn runs(pid: u32) -> String {
    fs::read_link(format!("/proc/{pid}/exe"))
        .map_or_else(|_| String::new(), |path| path.display().to_string())
}

#[track_caller]
fn status(proxy: &Proxy) -> Value {
    let finished = proxy.operate(&["status", "--json"]);
    assert_eq!(finished.code(), 0, "{finished:?}");
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn a_new_binary_takes_over_and_nobody_notices() {
    let mut proxy = config().start();
    let (origin, echo) = (Origin::ok(), Origin::echo());
    proxy.serving_all(3);
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    let load = Load::start(&proxy, &origin, 4);
    for round in 1..=3 {
        load.go_on(50);
        replace(&proxy, None);
        assert!(runs(proxy.pid()).ends_with("(deleted)"), "the old program runs on");
        proxy.signal(Signal::SIGUSR2);
        eventually("the launcher is replaced and has replaced its workers", || {
            let ended = proxy.log_lines("rolling restart finished").len() >= round;
            let replaced = proxy.log_lines("launcher replaced").len() >= round;
            // An old worker stays for the tunnel.
            let new = proxy.serving().iter().filter(|&&pid| !runs(pid).ends_with("(deleted)")).count();
            (ended && replaced && new == 3).then_some(())
        });
        assert!(!runs(proxy.pid()).ends_with("(deleted)"), "{}", runs(proxy.pid()));
        tunnel.send("echo");
        assert_eq!(tunnel.read_exact(4), b"echo");
    }
    load.finish().expect_no_failure();
    eventually("those without a tunnel are gone", || (proxy.serving().len() == 4).then_some(()));
    let told = status(&proxy);
    let ready = |worker: &&Value| worker["state"] == "ready";
    assert_eq!(told["workers"].as_array().unwrap().iter().filter(ready).count(), 3, "{told}");
    assert_eq!(told["pid"], proxy.pid());
    assert_eq!(told["totals"]["restarts"], 0);
    drop(tunnel);
    // The new launcher keeps its workers as the old one did.
    let victim = proxy.serving_all(3)[0];
    process::signal(victim, Signal::SIGKILL);
    eventually("another worker is there", || {
        let now = proxy.serving();
        (now.len() == 3 && !now.contains(&victim)).then_some(())
    });
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    proxy.stop();
}

#[test]
fn nothing_is_lost_on_the_way() {
    let proxy = config().start();
    let mut first = proxy.serving_all(3);
    let files = |workers: &[u32]| {
        let of_workers: Vec<_> = workers.iter().map(|&pid| process::open_files(pid)).collect();
        (process::open_files(proxy.pid()), of_workers)
    };
    let found = files(&first);
    for _ in 0..4 {
        replace(&proxy, None);
        assert_eq!(proxy.operate(&["restart"]).code(), 0);
        eventually("new workers have as many descriptors as the old, and the launcher as before", || {
            let workers = proxy.serving();
            let are_new = workers.iter().all(|pid| !first.contains(pid)) && workers.len() == 3;
            (are_new && files(&workers) == found).then(|| first = workers)
        });
    }
}

#[test]
fn the_command_waits_until_the_new_launcher_has_new_workers() {
    let proxy = config().start();
    let before = proxy.serving_all(3);
    replace(&proxy, None);
    let restarted = proxy.operate(&["restart"]);
    assert_eq!(restarted.code(), 0, "{restarted:?}");
    assert_eq!(restarted.stdout, "the launcher and every worker are new\n");
    eventually("the old workers are gone", || {
        before.iter().all(|&pid| !process::is_alive(pid)).then_some(())
    });
    let told = status(&proxy);
    assert_eq!((told["reloads"].as_u64(), &told["last_reload"]["successful"]), (Some(1), &Value::Bool(true)));
    // Nothing has changed since: the launcher stays.
    let restarted = proxy.operate(&["restart"]);
    assert_eq!(restarted.stdout, "every worker is new\n");
    assert_eq!(proxy.log_lines("launcher replaced").len(), 1);
}

#[test]
fn a_binary_that_cannot_take_over_changes_nothing() {
    let proxy = config().start();
    let origin = Origin::ok();
    let before = proxy.serving_all(3);
    for (text, reason) in [
        ("#!/bin/sh\necho cannot take over: no >&2\nexit 1\n", "cannot take over: no"),
        ("not a program", "xec"),
    ] {
        replace(&proxy, Some(text));
        let refused = proxy.operate(&["restart"]);
        assert_eq!(refused.code(), 1, "{refused:?}");
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        assert_eq!(proxy.serving_all(3), before);
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    // It says that it can, and then cannot even be executed: the old one goes on with all its workers.
    let guard = proxy.folder().path().join("asked");
    let script = format!("#!/bin/sh\nrm -f {0}; touch {0}\nchmod 644 $0\n", guard.display());
    replace(&proxy, Some(&script));
    let refused = proxy.operate(&["restart"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(Path::new(&guard).exists() && refused.stderr.contains("old one goes on"), "{refused:?}");
    assert_eq!(proxy.serving_all(3), before);
    assert_eq!(proxy.operate(&["scale", "4"]).code(), 1, "a worker is started from what is there");
    for _ in 0..8 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    replace(&proxy, None);
    assert_eq!(proxy.operate(&["restart"]).stdout, "the launcher and every worker are new\n");
}

#[test]
fn a_spoilt_file_keeps_the_old_launcher() {
    let proxy = config().start();
    let before = proxy.serving_all(3);
    replace(&proxy, None);
    let text = proxy.folder().read("config.yml");
    proxy.folder().write("config.yml", format!("{text}nonsense: 1\n"));
    let refused = proxy.operate(&["restart"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert_eq!(proxy.serving(), before);
    // What the new launcher finds is in force at once.
    proxy.folder().write("config.yml", text.replace("process_count: 3", "process_count: 5"));
    assert_eq!(proxy.operate(&["restart"]).code(), 0);
    proxy.serving_all(5);
}

#[test]
fn signals_that_come_meanwhile_are_not_lost() {
    // While the new binary is asked, and while it is put in the place of the old one.
    for moment in ["it is asked", "takes over"] {
        let mut proxy = config().start();
        proxy.serving_all(3);
        replace(&proxy, None);
        proxy.signal(Signal::SIGUSR2);
        proxy.log_line(moment);
        proxy.signal(Signal::SIGTERM);
        assert_eq!(proxy.wait_exit(crate::support::PATIENCE).code(), Some(0), "{moment}: {}", proxy.log());
    }
}

#[test]
fn the_admin_endpoint_and_its_numbers_stay() {
    let proxy = config().with_admin().start();
    let (admin, origin) = (proxy.admin(), Origin::ok());
    for _ in 0..12 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    replace(&proxy, None);
    let restarted = proxy.operate(&["restart"]);
    assert_eq!(restarted.code(), 0, "{restarted:?}");
    proxy.log_line("launcher replaced");
    assert_eq!(admin.get("/readyz").0, 200);
    let page = metrics(&proxy);
    assert_eq!(page["forward_proxy_requests_total{method=\"GET\",code=\"2xx\"}"], 12.0);
    assert_eq!(page["forward_proxy_worker_restarts_total{reason=\"renewed\"}"], 3.0);
    let by_worker = |worker| page[&format!("forward_proxy_worker_requests_total{{worker=\"{worker}\"}}")];
    assert_eq!((0..3).map(by_worker).sum::<f64>(), 12.0, "what the old workers did stays with their slots");
}
