//! The metrics of an instance (CONTRACT section 6), from the numbers that its workers left in shared memory.
//!
//! Asks no worker: a scrape reads memory. Counters of seats whose workers are gone are summed like the others, so a sum
//! never falls. Invariant: no label takes a value that a client chooses, so the number of series is fixed by the program
//! and its configuration.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::{
    groups::{self, BackendReport},
    names::{CODE_CLASSES, HANDSHAKES, METHODS, ProxyErrorType, metric, tally},
    process::Processes,
    prometheus::{Exposition, Kind, Page},
};
use crate::shared_memory::{Counters, LATENCY_BOUNDS_MS, Segment};

/// What whoever runs the workers knows of them, and shared memory does not.
#[derive(Clone, Debug)]
pub struct Instance<'a> {
    /// The program's version.
    pub version: &'a str,
    /// Counts the configurations that were in force.
    pub generation: u64,
    /// Whether the last reload is in force; true before the first.
    pub last_reload_successful: bool,
    /// How many workers are in each state. A state that no worker is in is told of too, with 0.
    pub workers: &'a [(&'a str, u64)],
    /// How many workers were replaced, by reason.
    pub restarts: &'a [(&'a str, u64)],
    /// How many requests each worker has answered, by its index, whichever process it was at the time.
    pub requests: &'a [(usize, u64)],
    /// The memory of the instance, where rules and limits are counted by their names.
    pub segment: &'a Segment,
    /// How the servers of groups are.
    pub backends: &'a [BackendReport],
    /// What its processes use.
    pub processes: Processes,
}

/// The page with all metrics. `counters` are those of every seat that was ever taken.
#[must_use]
pub fn page(counters: &[&Counters], instance: &Instance<'_>, exposition: Exposition) -> String {
    let mut page = Page::new(exposition);
    requests(&mut page, counters);
    refusals(&mut page, instance.segment);
    connections(&mut page, counters);
    upstream(&mut page, counters);
    groups::page(&mut page, instance.backends);
    workers(&mut page, instance);
    processes(&mut page, &instance.processes);
    page.finish()
}

fn requests(page: &mut Page, counters: &[&Counters]) {
    let mut family = page.family(metric::REQUESTS, Kind::Counter, "Requests that were answered.");
    for (row, method) in METHODS.into_iter().enumerate() {
        for (column, code) in CODE_CLASSES.into_iter().enumerate() {
            let count = total(counters, |counters| &counters.requests[row][column]);
            family.sample(&[("method", method), ("code", code)], count);
        }
    }
    let bounds = LATENCY_BOUNDS_MS.map(|milliseconds| milliseconds as f64 / 1e3);
    let buckets: [u64; LATENCY_BOUNDS_MS.len() + 1] =
        std::array::from_fn(|bucket| total(counters, |counters| &counters.durations.buckets[bucket]));
    let micros = total(counters, |counters| &counters.durations.sum_micros);
    let help = "From the first byte of a request to the last of its response; tunnels are not in it.";
    page.family(metric::REQUEST_DURATION, Kind::Histogram, help).histogram(
        &[],
        &bounds,
        &buckets,
        micros as f64 / 1e6,
    );
    let mut family = page.family(metric::ERRORS, Kind::Counter, "Failures, by the names of RFC 9209.");
    for (number, error) in ProxyErrorType::ALL.into_iter().enumerate() {
        family.sample(&[("error", error.name())], total(counters, |counters| &counters.errors[number]));
    }
}

fn refusals(page: &mut Page, segment: &Segment) {
    for (name, label, kind, help) in [
        (
            metric::DENIED,
            "rule",
            tally::DENIED,
            "What rules have refused, or would have in access.mode report.",
        ),
        (metric::RATE_LIMITED, "limit", tally::RATE_LIMITED, "What limits have refused, or would have."),
    ] {
        let mut family = page.family(name, Kind::Counter, help);
        for (text, count) in segment.tallies(kind) {
            family.sample(&[(label, &text)], count);
        }
    }
    let failures = segment.tallies(tally::STORE_FAILURES).into_iter().map(|(_, count)| count).sum::<u64>();
    let help = "Decisions of limits that were made without rate_limit.store.";
    page.family(metric::RATE_LIMIT_STORE_FAILURES, Kind::Counter, help).sample(&[], failures);
}

fn connections(page: &mut Page, counters: &[&Counters]) {
    let connections = level(counters, |counters| &counters.connections_active);
    page.family(metric::CONNECTIONS_ACTIVE, Kind::Gauge, "Client connections that are open.")
        .sample(&[], connections);
    let connections = total(counters, |counters| &counters.connections_total);
    page.family(metric::CONNECTIONS, Kind::Counter, "Client connections that were taken.")
        .sample(&[], connections);
    let help = "TLS handshakes with clients, by how they ended.";
    let mut family = page.family(metric::TLS_HANDSHAKES, Kind::Counter, help);
    for (number, result) in HANDSHAKES.into_iter().enumerate() {
        family.sample(&[("result", result)], total(counters, |counters| &counters.handshakes[number]));
    }
    let tunnels = level(counters, |counters| &counters.tunnels_active);
    page.family(metric::TUNNELS_ACTIVE, Kind::Gauge, "Tunnels that are open.").sample(&[], tunnels);
    let tunnels = total(counters, |counters| &counters.tunnels_total);
    page.family(metric::TUNNELS, Kind::Counter, "Tunnels that were opened.").sample(&[], tunnels);
    page.family(metric::BYTES, Kind::Counter, "Content that passed, from clients (in) and to them (out).")
        .sample(&[("direction", "in")], total(counters, |counters| &counters.bytes_in))
        .sample(&[("direction", "out")], total(counters, |counters| &counters.bytes_out));
    let dropped = total(counters, |counters| &counters.access_log_dropped);
    page.family(metric::ACCESS_LOG_DROPPED, Kind::Counter, "Lines of the access log that were lost.")
        .sample(&[], dropped);
}

fn upstream(page: &mut Page, counters: &[&Counters]) {
    let active = level(counters, |counters| &counters.upstream_active);
    let idle = level(counters, |counters| &counters.upstream_idle);
    let help = "Connections to origins that carry a request, and that are kept for the next; tunnels are not among them.";
    page.family(metric::UPSTREAM_CONNECTIONS, Kind::Gauge, help)
        .sample(&[("state", "active")], active)
        .sample(&[("state", "idle")], idle);
    page.family(metric::UPSTREAM_CONNECTS, Kind::Counter, "Attempts to connect to origins.")
        .sample(&[("result", "success")], total(counters, |counters| &counters.upstream_connects))
        .sample(&[("result", "failure")], total(counters, |counters| &counters.upstream_connect_failures));
    let reused = total(counters, |counters| &counters.upstream_reused);
    page.family(metric::UPSTREAM_REUSED, Kind::Counter, "Requests that went out on a kept connection.")
        .sample(&[], reused);
    let retries = total(counters, |counters| &counters.upstream_retries);
    page.family(metric::UPSTREAM_RETRIES, Kind::Counter, "Requests that went out a second time.")
        .sample(&[], retries);
    let failures = total(counters, |counters| &counters.dns_failures);
    let lookups = total(counters, |counters| &counters.dns_lookups);
    // The two are read one after the other, and the failures first: a difference cannot be negative.
    page.family(metric::DNS_LOOKUPS, Kind::Counter, "Names that were looked up.")
        .sample(&[("result", "success")], lookups.saturating_sub(failures))
        .sample(&[("result", "failure")], failures);
}

fn workers(page: &mut Page, instance: &Instance<'_>) {
    let mut family = page.family(metric::WORKERS, Kind::Gauge, "Workers, by what they do.");
    for (state, count) in instance.workers {
        family.sample(&[("state", state)], *count);
    }
    let mut family =
        page.family(metric::WORKER_RESTARTS, Kind::Counter, "Workers that were replaced, by the reason.");
    for (reason, count) in instance.restarts {
        family.sample(&[("reason", reason)], *count);
    }
    let mut family =
        page.family(metric::WORKER_REQUESTS, Kind::Counter, "Requests that were answered, by worker.");
    for (worker, count) in instance.requests {
        family.sample(&[("worker", &worker.to_string())], *count);
    }
    page.family(metric::CONFIG_LAST_RELOAD_SUCCESSFUL, Kind::Gauge, "Whether the last reload is in force.")
        .sample(&[], u64::from(instance.last_reload_successful));
    page.family(metric::GENERATION, Kind::Gauge, "Counts the configurations that were in force.")
        .sample(&[], instance.generation);
    page.family(metric::BUILD, Kind::Info, "The program that runs.")
        .sample(&[("version", instance.version)], 1_u64);
}

/// The names that all of Prometheus' clients use, over all processes of the instance.
fn processes(page: &mut Page, processes: &Processes) {
    let Processes { cpu_seconds, resident_bytes, virtual_bytes, open_fds, max_fds, threads, start_seconds } =
        *processes;
    page.family("process_cpu_seconds_total", Kind::Counter, "CPU time of the instance, in seconds.")
        .sample(&[], cpu_seconds);
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory of all processes, in bytes.", resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory of all processes, in bytes.", virtual_bytes),
        ("process_open_fds", "Open file descriptors of all processes.", open_fds),
        ("process_max_fds", "File descriptors that all processes together may open.", max_fds),
        ("process_threads", "Threads of all processes.", threads),
    ] {
        page.family(name, Kind::Gauge, help).sample(&[], value);
    }
    page.family(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the instance began, in seconds since the epoch.",
    )
    .sample(&[], start_seconds);
}

fn total(counters: &[&Counters], of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
    counters.iter().map(|counters| of(counters).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

/// A sum of what rises and falls. A worker that was killed between two writes may have left one below 0.
fn level(counters: &[&Counters], of: impl Fn(&Counters) -> &AtomicI64) -> u64 {
    let sum: i64 = counters.iter().map(|counters| of(counters).load(Ordering::Relaxed)).sum();
    u64::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(segment: &Segment) -> Instance<'_> {
        Instance {
            version: "0.1.0",
            generation: 3,
            last_reload_successful: true,
            workers: &[("ready", 2), ("starting", 0)],
            restarts: &[("died", 1)],
            requests: &[(0, 5), (1, 6)],
            segment,
            backends: &[],
            processes: Processes { cpu_seconds: 1.5, start_seconds: 1e9, ..Processes::default() },
        }
    }

    fn two_seats() -> [Counters; 2] {
        let seats: [Counters; 2] = Default::default();
        for (number, seat) in (1..).zip(&seats) {
            seat.requests[0][1].store(10 * number, Ordering::Relaxed);
            seat.errors[ProxyErrorType::DnsError as usize].store(number, Ordering::Relaxed);
            seat.durations.add(1_500 * number);
            seat.connections_active.store(-1 + 3 * (number as i64 - 1), Ordering::Relaxed);
            seat.dns_lookups.store(5, Ordering::Relaxed);
            seat.dns_failures.store(number, Ordering::Relaxed);
        }
        seats
    }

    #[test]
    fn numbers_are_summed_over_seats() {
        let (seats, segment) = (two_seats(), Segment::private(1).unwrap());
        segment.tally(tally::DENIED, "access.clients").add();
        segment.tally(tally::RATE_LIMITED, "per-client").add();
        segment.tally(tally::STORE_FAILURES, "redis").add();
        let page = page(&seats.each_ref(), &instance(&segment), Exposition::Text);
        for expected in [
            r#"forward_proxy_requests_total{method="GET",code="2xx"} 30"#,
            r#"forward_proxy_requests_total{method="other",code="5xx"} 0"#,
            r#"forward_proxy_errors_total{error="dns_error"} 3"#,
            r#"forward_proxy_request_duration_seconds_bucket{le="0.001"} 0"#,
            r#"forward_proxy_request_duration_seconds_bucket{le="0.002"} 1"#,
            r#"forward_proxy_request_duration_seconds_bucket{le="60"} 2"#,
            r#"forward_proxy_request_duration_seconds_bucket{le="+Inf"} 2"#,
            "forward_proxy_request_duration_seconds_sum 0.0045",
            "forward_proxy_request_duration_seconds_count 2",
            r#"forward_proxy_denied_total{rule="access.clients"} 1"#,
            r#"forward_proxy_rate_limited_total{limit="per-client"} 1"#,
            "forward_proxy_rate_limit_store_failures_total 1",
            "forward_proxy_connections_active 1",
            r#"forward_proxy_dns_lookups_total{result="success"} 7"#,
            r#"forward_proxy_dns_lookups_total{result="failure"} 3"#,
            r#"forward_proxy_workers{state="starting"} 0"#,
            r#"forward_proxy_worker_restarts_total{reason="died"} 1"#,
            r#"forward_proxy_worker_requests_total{worker="1"} 6"#,
            "forward_proxy_config_last_reload_successful 1",
            "forward_proxy_generation 3",
            r#"forward_proxy_build_info{version="0.1.0"} 1"#,
            "process_cpu_seconds_total 1.5",
            "process_start_time_seconds 1000000000",
        ] {
            assert!(page.lines().any(|line| line == expected), "{expected} is not in\n{page}");
        }
    }

    #[test]
    fn each_series_is_there_once_and_from_the_start() {
        let segment = Segment::private(1).unwrap();
        let none: Vec<String> =
            page(&[], &instance(&segment), Exposition::Text).lines().map(str::to_owned).collect();
        let seats = two_seats();
        let some = page(&seats.each_ref(), &instance(&segment), Exposition::Text);
        let series = |line: &str| line.rsplit_once(' ').map(|(series, _)| series.to_owned());
        let names: Vec<_> = some.lines().map(series).collect();
        assert_eq!(names, none.iter().map(|line| series(line)).collect::<Vec<_>>());
        let mut once: Vec<_> = names.iter().flatten().filter(|name| !name.starts_with('#')).collect();
        let all = once.len();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), all);
    }

    #[test]
    fn open_metrics_ends() {
        let segment = Segment::private(1).unwrap();
        assert!(page(&[], &instance(&segment), Exposition::OpenMetrics).ends_with("\n# EOF\n"));
    }
}
