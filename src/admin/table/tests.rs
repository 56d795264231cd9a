//! What a person sees, to the character.

use super::*;
use crate::admin::{GroupStatus, LastReload, ServerStatus, Totals};

fn status() -> Status {
    let worker = WorkerStatus {
        index: 0,
        pid: Some(4711),
        generation: 2,
        state: WorkerState::Ready,
        uptime_ms: 3_723_000,
        restarts: 1,
        connections_active: 12,
        connections_total: 100,
        requests_total: 1000,
        requests_per_second: 12.34,
        tunnels_active: 3,
        memory_bytes: 10 << 20,
    };
    let empty = WorkerStatus { index: 11, pid: None, state: WorkerState::GivenUp, memory_bytes: 0, ..worker };
    Status {
        version: "0.1.0".into(),
        pid: 4710,
        mode: "multi_process".into(),
        uptime_ms: 90_061_000,
        generation: 2,
        listeners: vec!["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()],
        tls_listeners: Vec::new(),
        ready: true,
        stopping: false,
        reloads: 1,
        last_reload: Some(LastReload { successful: false, time: u64::MAX, text: "one\ntwo".into() }),
        memory_bytes: 5 << 20,
        workers: vec![worker, empty],
        totals: Totals { restarts: 2, connections_active: 24, ..Totals::default() },
        traffic: Traffic::default(),
        groups: Vec::new(),
    }
}

#[test]
fn servers_of_groups_stand_below() {
    let server = |url: &str, state: &str, latency_ms| ServerStatus {
        url: url.into(),
        state: state.into(),
        active: 2,
        requests_total: 1234,
        failures_total: 5,
        latency_ms,
    };
    let servers = vec![server("http://10.0.0.1:80", "up", Some(1.25)), server("http://b:1", "ejected", None)];
    let groups = vec![GroupStatus { name: "api".into(), servers }];
    let shown = table(&Status { groups, ..status() }, View::default());
    let expected = "
GROUP  SERVER              STATE    ACTIVE  REQUESTS  FAILURES  LATENCY
api    http://10.0.0.1:80  up            2      1234         5    1.2ms
api    http://b:1          ejected       2      1234         5        -
";
    assert!(shown.ends_with(expected), "{shown}");
}

#[test]
fn columns_are_aligned() {
    let expected = "\
rust-forward-proxy 0.1.0  pid 4710  multi_process  ready  up 1d1h  generation 2  on 127.0.0.1:8080, [::1]:8080
last reload refused 0s ago: one

since the instance began
requests  0.0/s  2xx 0  3xx 0  4xx 0  5xx 0  failed 0
latency   p50 -  p95 -  p99 -
bytes     in 0 B/s  out 0 B/s
upstream  0 in use  0 kept  - reused  0 retries  0 connects failed

WORKER   PID  GENERATION  STATE     UPTIME  RESTARTS  CONNECTIONS  REQUESTS/S  TUNNELS  MEMORY
     0  4711           2  ready       1h2m         1           12        12.3        3   10.0M
    11     -           -  given_up       -         1           12        12.3        3       -
   all                                             2           24         0.0        0   15.0M
";
    assert_eq!(table(&status(), View::default()), expected);
}

#[test]
fn what_passed_between_two_looks_is_shown() {
    let mut then = status();
    then.traffic.requests = [("2xx".to_owned(), 100), ("5xx".to_owned(), 1)].into();
    then.traffic.errors = [("dns_error".to_owned(), 5)].into();
    then.traffic.latency = Latency { bounds_ms: vec![1, 2], counts: vec![100, 0, 0], sum_ms: 1.0 };
    let mut now = then.clone();
    now.uptime_ms += 2000;
    now.traffic.requests = [("2xx".to_owned(), 300), ("5xx".to_owned(), 3)].into();
    now.traffic.errors = [("dns_error".to_owned(), 6), ("connection_refused".to_owned(), 2)].into();
    now.traffic.latency.counts = vec![100, 100, 0];
    now.traffic.bytes_out = 4 << 20;
    now.traffic.upstream.connects = 1;
    now.traffic.upstream.reused = 3;
    let shown = table(&now, View { colours: false, before: Some(&then) });
    for expected in [
        "since the last look\nrequests  101.0/s  2xx 200  3xx 0  4xx 0  5xx 2  failed 3\n",
        "latency   p50 1.5ms  p95 1.9ms  p99 2.0ms\n",
        "bytes     in 0 B/s  out 2.0 MiB/s\n",
        " 75 % reused ",
        "errors    connection_refused 2  dns_error 1\n",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    // Another instance answers there now.
    now.uptime_ms = 1000;
    let shown = table(&now, View { colours: false, before: Some(&then) });
    assert!(shown.contains("requests  303.0/s"), "{shown}");
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = table(&status(), View { colours: true, before: None });
    assert!(coloured.contains("\x1b[32mready   \x1b[0m") && coloured.contains("\x1b[31mgiven_up\x1b[0m"));
    let mut plain = coloured;
    for code in [0, 2, 31, 32, 33] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(plain, table(&status(), View::default()));
}

#[test]
fn numbers_have_the_unit_that_suits_them() {
    for (millis, text) in [(999, "0s"), (61_000, "1m1s"), (3_600_000, "1h0m"), (86_400_000, "1d0h")] {
        assert_eq!(duration(millis), text);
    }
    for (bytes, text) in
        [(0.0, "0 B"), (1023.0, "1023 B"), (1024.0, "1.0 KiB"), (1.5 * 1_048_576.0, "1.5 MiB")]
    {
        assert_eq!(binary(bytes), text);
    }
}
