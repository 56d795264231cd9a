//! The endpoint for browsers and monitoring: what it answers, to whom, when, and what it costs nobody.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Config, Mode, Origin, eventually, in_every_mode, metrics, process};

in_every_mode! {
    everything_can_be_looked_at,
    what_passed_is_in_the_metrics,
    it_is_not_ready_as_soon_as_it_drains,
    it_is_asked_under_its_own_names_only,
    an_address_that_was_asked_for_is_had_or_nothing_starts,
    a_crowd_of_silent_visitors_harms_nobody,
    metrics_are_as_prometheus_wants_them,
}

fn everything_can_be_looked_at(mode: Mode) {
    let proxy = Config::new(mode).with_admin().start();
    let admin = proxy.admin();
    assert_eq!(admin.get("/healthz"), (200, "alive\n".to_owned()));
    assert_eq!(admin.get("/readyz"), (200, "ready\n".to_owned()));
    let (status, page) = admin.get("/");
    assert!(status == 200 && page.contains("<!doctype html>"), "{page}");
    let (_, json) = admin.get("/status");
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&told["mode"], &told["pid"]), (&mode.name().into(), &proxy.pid().into()));
    let said: Value = serde_json::from_str(&proxy.operate(&["status", "--json"]).stdout).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&told), keys(&said), "both doors tell the same");
    let (_, pac) = admin.get("/proxy.pac");
    assert!(pac.contains(&format!("PROXY {}", proxy.addr())), "{pac}");
    for command in ["/reload", "/restart", "/scale?workers=3", "/stop", "/reopen-logs"] {
        let refused = admin.ask(&format!("POST {command} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    }
    assert_eq!(admin.get("/readyz").0, 200);
}

fn what_passed_is_in_the_metrics(mode: Mode) {
    let proxy = Config::new(mode).with_admin().start();
    let (origin, echo) = (Origin::ok(), Origin::echo());
    for _ in 0..9 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    proxy.exchange("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    tunnel.send("hello");
    tunnel.read_exact(5);
    // Nine times `ok`, and what has passed through the tunnel so far.
    let page = eventually("all is counted", || {
        let page = metrics(&proxy);
        (page["forward_proxy_requests_total{method=\"GET\",code=\"2xx\"}"] == 9.0
            && page["forward_proxy_bytes_total{direction=\"out\"}"] == 9.0 * 2.0 + 5.0)
            .then_some(page)
    });
    for (series, value) in [
        ("forward_proxy_requests_total{method=\"GET\",code=\"5xx\"}", 1.0),
        ("forward_proxy_errors_total{error=\"connection_refused\"}", 1.0),
        ("forward_proxy_request_duration_seconds_count", 10.0),
        ("forward_proxy_tunnels_active", 1.0),
        ("forward_proxy_bytes_total{direction=\"in\"}", 5.0),
        ("forward_proxy_config_last_reload_successful", 1.0),
        ("forward_proxy_generation", 1.0),
        ("forward_proxy_upstream_connections{state=\"active\"}", 0.0),
    ] {
        assert_eq!(page[series], value, "{series}");
    }
    let idle = page["forward_proxy_upstream_connections{state=\"idle\"}"];
    assert!((1.0..=2.0).contains(&idle), "one a worker that was asked: {idle}");
    let ready = if mode == Mode::MultiProcess { 2.0 } else { 1.0 };
    assert_eq!(page["forward_proxy_workers{state=\"ready\"}"], ready);
    let by_worker: f64 = (0..2)
        .filter_map(|worker| page.get(&format!("forward_proxy_worker_requests_total{{worker=\"{worker}\"}}")))
        .sum();
    assert_eq!(by_worker, 10.0);
    assert!(page["process_resident_memory_bytes"] > 1e6 && page["process_open_fds"] > 5.0);
}

fn it_is_not_ready_as_soon_as_it_drains(mode: Mode) {
    let mut proxy = Config::new(mode).with_admin().set("supervision.shutdown_timeout", "10s").start();
    let (echo, admin) = (Origin::echo(), proxy.admin());
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    proxy.signal(Signal::SIGTERM);
    proxy.log_line("draining");
    let (status, text) = admin.get("/readyz");
    assert_eq!((status, text.as_str()), (503, "stopping\n"));
    assert_eq!(admin.get("/healthz").0, 200, "it is alive still");
    assert!(metrics(&proxy)["forward_proxy_tunnels_active"] == 1.0);
    tunnel.finish();
    tunnel.expect_fin();
    assert_eq!(proxy.wait_exit(crate::support::PATIENCE).code(), Some(0));
    assert!(TcpStream::connect(admin.addr()).is_err());
}

fn it_is_asked_under_its_own_names_only(mode: Mode) {
    let proxy = Config::new(mode).with_admin().set("admin.host_names", vec!["proxy.test"]).start();
    let admin = proxy.admin();
    for (host, status) in
        [("127.0.0.1:1", 200), ("localhost", 200), ("Proxy.Test:9901", 200), ("evil.test", 421), ("", 421)]
    {
        let answer = admin.ask(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

fn an_address_that_was_asked_for_is_had_or_nothing_starts(mode: Mode) {
    let proxy = Config::new(mode).with_admin().start();
    let taken = proxy.admin().addr().to_string();
    let refused = Config::new(mode).set("admin.listen_addr", taken.as_str()).run();
    assert_eq!(refused.code(), 69, "{refused:?}");
    assert!(
        refused.stderr.contains("admin.listen_addr")
            && refused.stderr.contains(&taken)
            && refused.stderr.contains("in use"),
        "{}",
        refused.stderr
    );
    let by_variable = Config::new(mode).unset("admin").env("PROXY_ADMIN_LISTEN_ADDR", &taken).run();
    assert_eq!(by_variable.code(), 69, "{by_variable:?}");
    let off = Config::new(mode).env("PROXY_ADMIN_LISTEN_ADDR", "null").start();
    assert!(off.log_lines("listening for operators").is_empty(), "{}", off.log());
}

/// Two instances on one host are no mistake: who has not asked for the default address starts without it.
#[test]
fn a_default_that_is_taken_is_done_without() {
    let _taken = eventually("the default address is had", || TcpListener::bind("127.0.0.1:9901").ok());
    for mode in [Mode::MultiProcess, Mode::SingleThreaded] {
        let proxy = Config::new(mode).unset("admin").start();
        proxy.log_line("goes without an admin endpoint");
        assert!(proxy.log_lines("listening for operators").is_empty(), "{}", proxy.log());
    }
}

fn a_crowd_of_silent_visitors_harms_nobody(mode: Mode) {
    let proxy = Config::new(mode).with_admin().start();
    let origin = Origin::ok();
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(proxy.admin().addr()).unwrap()).collect();
    // The owner has a door of his own, and clients are not concerned.
    assert_eq!(proxy.operate(&["status"]).code(), 0);
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    drop(crowd);
    assert_eq!(eventually("visitors are answered again", || Some(proxy.admin().get("/healthz").0)), 200);
}

/// Workers that are stopped dead cannot answer anything.
#[test]
fn a_scrape_asks_no_worker() {
    let proxy = Config::new(Mode::MultiProcess).with_admin().start();
    let origin = Origin::ok();
    for _ in 0..6 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    let counted = || metrics(&proxy)["forward_proxy_requests_total{method=\"GET\",code=\"2xx\"}"];
    eventually("all is counted", || (counted() == 6.0).then_some(()));
    let workers = proxy.serving_all(2);
    for &worker in &workers {
        process::signal(worker, Signal::SIGSTOP);
    }
    let counted = counted();
    let (status, _) = proxy.admin().get("/status");
    for &worker in &workers {
        process::signal(worker, Signal::SIGCONT);
    }
    assert_eq!((counted, status), (6.0, 200));
}

/// What rules and limits refuse is told under their names, as soon as there is something to tell.
#[test]
fn refusals_are_told_by_rule() {
    let proxy = Config::new(Mode::MultiProcess)
        .with_admin()
        .set("access.destinations.deny", vec!["special", "tracker.test"])
        .start();
    for _ in 0..3 {
        let refused = proxy.exchange("GET http://tracker.test/ HTTP/1.1\r\nHost: tracker.test\r\n\r\n");
        assert_eq!(refused.status(), 403);
    }
    let told = eventually("refusals are counted", || {
        let (_, json) = proxy.admin().get("/status");
        let status: Value = serde_json::from_str(&json).unwrap();
        let denied = status["traffic"]["denied"].as_object().unwrap().clone();
        (denied.values().filter_map(Value::as_u64).sum::<u64>() == 3).then_some(denied)
    });
    let (rule, _) = told.iter().next().unwrap();
    assert_eq!(metrics(&proxy)[&format!("forward_proxy_denied_total{{rule=\"{rule}\"}}")], 3.0);
}

fn metrics_are_as_prometheus_wants_them(mode: Mode) {
    let proxy = Config::new(mode).with_admin().start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let text = proxy
        .admin()
        .ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n");
    assert!(text.contains("content-type: application/openmetrics-text; version=1.0.0"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let (_, page) = proxy.admin().get("/metrics");
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("promtool is not installed: the page is not checked by it");
        return;
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
