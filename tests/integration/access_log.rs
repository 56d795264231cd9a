//! The access log as an operator configures it: forms, samples, tunnels that run, rotation, and disks that fail.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Config, Load, Mode, Origin, Proxy, eventually, in_every_mode, metrics, pause};

in_every_mode! {
    a_line_may_have_the_form_of_others,
    a_sample_of_successes_and_every_failure,
    a_tunnel_has_lines_while_it_runs,
    the_trace_of_a_client_is_noted,
    the_origin_may_get_the_id,
    rotation_under_load_loses_and_tears_no_line,
    a_pipe_without_a_reader_slows_nobody,
}

fn lines(proxy: &Proxy, count: usize) -> Vec<String> {
    eventually("the lines are there", || {
        let text = proxy.folder().read("logs/access.log");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    })
}

fn a_line_may_have_the_form_of_others(mode: Mode) {
    let origin = Origin::ok();
    for (format, has) in [
        ("common", "\"GET http://ORIGIN/a?redacted HTTP/1.1\" 200 2"),
        ("combined", "\"GET http://ORIGIN/a?redacted HTTP/1.1\" 200 2 \"-\" \"-\""),
        ("squid", " 127.0.0.1 TCP_MISS/200 2 GET http://ORIGIN/a?redacted - HIER_DIRECT/127.0.0.1 -"),
    ] {
        let proxy = Config::new(mode).set("access_log.format", format).start();
        proxy.exchange(origin.get("/a?b", &[])).expect_ok("ok");
        let line = lines(&proxy, 1).remove(0);
        assert!(line.contains(&has.replace("ORIGIN", &origin.authority())), "{format}: {line}");
    }
    // Another form is put in force while it runs.
    let proxy = Config::new(mode).set("access_log.format", "json").start();
    let text = proxy.folder().read("config.yml").replace("format: \"json\"", "format: squid");
    proxy.folder().write("config.yml", text);
    assert_eq!(proxy.operate(&["reload"]).stdout, "in force: access_log.format\n");
    proxy.exchange(origin.get("/b", &[])).expect_ok("ok");
    assert!(lines(&proxy, 1)[0].contains("TCP_MISS/200"));
}

fn a_sample_of_successes_and_every_failure(mode: Mode) {
    let proxy = Config::new(mode).set("access_log.sample", 0.0).with_admin().start();
    let origin = Origin::ok();
    for _ in 0..20 {
        proxy.exchange(origin.get("/fine", &[])).expect_ok("ok");
    }
    proxy.exchange("GET http://127.0.0.1:1/refused HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.exchange("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    // Two threads may write them, whichever is first.
    let lines = proxy.access_lines_at_least(2);
    let mut paths: Vec<_> = lines.iter().map(|line| line["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/nothing", "/refused"]);
    assert_eq!(metrics(&proxy)["forward_proxy_requests_total{method=\"GET\",code=\"2xx\"}"], 20.0);
}

fn a_tunnel_has_lines_while_it_runs(mode: Mode) {
    let proxy = Config::new(mode).set("access_log.tunnel_interval", "1s").start();
    let echo = Origin::echo();
    let mut client = proxy.client();
    client.tunnel(&echo.authority());
    client.send("hello");
    client.read_exact(5);
    let early = proxy.access_lines_at_least(2);
    for line in &early[..2] {
        assert_eq!((&line["close"], &line["method"]), (&"open".into(), &"CONNECT".into()), "{line}");
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &5.into()), "{line}");
    }
    client.finish();
    client.expect_fin();
    let last = proxy.access_line(|line| line["close"] != "open");
    assert_eq!(last["close"], "complete");
    assert!(early.iter().all(|line| line["id"] == last["id"]), "{early:?} {last}");
}

fn the_trace_of_a_client_is_noted(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    proxy.exchange(origin.get("/traced", &[&format!("Traceparent: {trace}")])).expect_ok("ok");
    proxy.exchange(origin.get("/garbled", &["Traceparent: 00-geheim-1-1"])).expect_ok("ok");
    assert_eq!(proxy.access_line(|line| line["path"] == "/traced")["traceparent"], trace);
    assert_eq!(proxy.access_line(|line| line["path"] == "/garbled").get("traceparent"), None);
    assert_eq!(origin.request_at(0).head.one("traceparent").as_deref(), Some(trace));
}

fn the_origin_may_get_the_id(mode: Mode) {
    let origin = Origin::ok();
    let quiet = Proxy::new(mode);
    quiet.exchange(origin.get("/", &["X-Request-Id: theirs"])).expect_ok("ok");
    assert_eq!(origin.request_at(0).head.one("x-request-id").as_deref(), Some("theirs"));
    let proxy = Config::new(mode).set("forwarding.request_id_header", "X-Request-Id").start();
    proxy.exchange(origin.get("/", &["X-Request-Id: theirs"])).expect_ok("ok");
    let line = proxy.access_lines_at_least(1).remove(0);
    assert_eq!(origin.request_at(1).head.one("x-request-id").as_deref(), line["id"].as_str());
    let refused = proxy.exchange("GET http://127.0.0.1:1/x HTTP/1.1\r\nHost: a\r\n\r\n");
    let line = proxy.access_line(|line| line["path"] == "/x");
    assert!(refused.text().contains(line["id"].as_str().unwrap()), "{refused:?}");
}

fn rotation_under_load_loses_and_tears_no_line(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::ok();
    let load = Load::start(&proxy, &origin, 4);
    let logs = proxy.folder().path().join("logs");
    for rotation in 0..5 {
        load.go_on(100);
        fs::rename(logs.join("access.log"), logs.join(format!("access.log.{rotation}"))).unwrap();
        assert_eq!(proxy.operate(&["reopen-logs"]).code(), 0);
        eventually("everybody has opened the new file", || logs.join("access.log").exists().then_some(()));
    }
    let tally = load.finish();
    tally.expect_no_failure();
    let all = || {
        let files = fs::read_dir(&logs).unwrap().map(|file| file.unwrap().path());
        let files = files
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("access")));
        files.map(|path| fs::read_to_string(path).unwrap()).collect::<String>()
    };
    let text = eventually("every line is written", || {
        Some(all()).filter(|text| text.lines().count() >= tally.answered)
    });
    let ids: std::collections::HashSet<_> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            line["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!((ids.len(), text.lines().count()), (tally.answered, tally.answered), "each once");
}

/// Sends requests with long lines until some are lost. Nobody waits for that.
#[track_caller]
fn expect_losses_and_no_wait(proxy: &Proxy) {
    let origin = Origin::ok();
    let path = format!("/{}", "x".repeat(3000));
    let dropped = || metrics(proxy)["forward_proxy_access_log_dropped_total"];
    let (mut client, mut slowest) = (proxy.client(), Duration::ZERO);
    let deadline = Instant::now() + Duration::from_secs(60);
    while dropped() == 0.0 {
        assert!(Instant::now() < deadline, "nothing is lost");
        for _ in 0..100 {
            let begun = Instant::now();
            client.send(origin.get(&path, &[]));
            client.answer().expect_ok("ok");
            slowest = slowest.max(begun.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(1), "a request took {slowest:?}");
    let before = dropped();
    for _ in 0..50 {
        client.send(origin.get(&path, &[]));
        client.answer().expect_ok("ok");
    }
    eventually("the losses rise", || (dropped() > before).then_some(()));
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn a_pipe_without_a_reader_slows_nobody(mode: Mode) {
    let config = Config::new(mode).one_worker().with_admin().set("access_log.file", "pipe");
    make_pipe(&config.folder().path().join("pipe"));
    let mut proxy = config.start();
    expect_losses_and_no_wait(&proxy);
    let begun = Instant::now();
    assert_eq!(proxy.operate(&["reopen-logs"]).code(), 0);
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    assert!(begun.elapsed() < Duration::from_secs(1), "who reopens logs waits, not who serves");
    // Whoever begins to read finds whole lines.
    let pipe = proxy.folder().path().join("pipe");
    let reader = Command::new("head").args(["-n", "3"]).arg(&pipe).output().unwrap();
    for line in String::from_utf8(reader.stdout).unwrap().lines() {
        let _: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    proxy.stop();
}

/// A file system of its own, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at);
        mount.output().is_ok_and(|mount| mount.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever writes to it may live on for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Only root can have a file system of its own; for everybody else the device that is always full has to do.
#[test]
fn a_full_file_system_slows_nobody() {
    let config = Config::new(Mode::MultiProcess).one_worker().with_admin();
    let small = config.folder().path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = Mount::new(&small, "256k");
    let file = if mount.is_some() { "small/access.log" } else { "/dev/full" };
    let mut proxy = config.set("access_log.file", file).start();
    expect_losses_and_no_wait(&proxy);
    proxy.log_line("access log cannot be written");
    if mount.is_some() {
        let text = fs::read_to_string(small.join("access.log")).unwrap();
        fs::write(small.join("access.log"), "").unwrap();
        let origin = Origin::ok();
        // Room again: lines are written again, and none is torn but the one that the disk has torn.
        eventually("lines are written again", || {
            proxy.exchange(origin.get("/after", &[])).expect_ok("ok");
            pause(Duration::from_millis(50));
            fs::read_to_string(small.join("access.log")).unwrap().contains("/after").then_some(())
        });
        let torn = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
        assert!(torn <= 1, "{torn} lines are torn");
    }
    proxy.stop();
}
