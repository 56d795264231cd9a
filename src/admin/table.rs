//! A status as a table for a person: aligned, one line a worker, the sums below.

use std::fmt::Write as _;

use super::status::{Status, WorkerStatus};

const HEADS: [&str; 10] = [
    "WORKER",
    "PID",
    "GENERATION",
    "STATE",
    "UPTIME",
    "RESTARTS",
    "CONNECTIONS",
    "REQUESTS/S",
    "TUNNELS",
    "MEMORY",
];

/// The column that is aligned to the left.
const STATE: usize = 3;

/// The text of `status`.
#[must_use]
pub fn table(status: &Status) -> String {
    let state = match (status.stopping, status.ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let listeners: Vec<_> = status.listeners.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "rust-forward-proxy {}  pid {}  {}  {state}  up {}  generation {}  on {}\n",
        status.version,
        status.pid,
        status.mode,
        duration(status.uptime_ms),
        status.generation,
        listeners.join(", ")
    );
    if let Some(reload) = &status.last_reload {
        let outcome = if reload.successful { "applied" } else { "refused" };
        let line = reload.text.lines().next().unwrap_or_default();
        let _ = writeln!(text, "last reload {outcome}: {line}");
    }
    text.push('\n');
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(status.workers.iter().map(worker));
    rows.push(totals(status));
    let widths: [usize; HEADS.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column == STATE {
                write!(line, "  {cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end().strip_prefix("  ").unwrap_or(&line));
    }
    text
}

fn worker(worker: &WorkerStatus) -> [String; HEADS.len()] {
    let running = worker.pid.is_some();
    let or_dash = |text: String| if running { text } else { "-".into() };
    [
        worker.index.to_string(),
        worker.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
        or_dash(worker.generation.to_string()),
        worker.state.name().into(),
        or_dash(duration(worker.uptime_ms)),
        worker.restarts.to_string(),
        worker.connections_active.to_string(),
        format!("{:.1}", worker.requests_per_second),
        worker.tunnels_active.to_string(),
        or_dash(mebibytes(worker.memory_bytes)),
    ]
}

fn totals(status: &Status) -> [String; HEADS.len()] {
    let totals = &status.totals;
    let memory = status.memory_bytes + status.workers.iter().map(|worker| worker.memory_bytes).sum::<u64>();
    [
        "all".into(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        totals.restarts.to_string(),
        totals.connections_active.to_string(),
        format!("{:.1}", totals.requests_per_second),
        totals.tunnels_active.to_string(),
        mebibytes(memory),
    ]
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}M", bytes as f64 / f64::from(1 << 20))
}

/// The two largest units.
fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{LastReload, Totals, Traffic, WorkerState};

    #[test]
    fn columns_are_aligned() {
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
        let empty =
            WorkerStatus { index: 11, pid: None, state: WorkerState::GivenUp, memory_bytes: 0, ..worker };
        let status = Status {
            version: "0.1.0".into(),
            pid: 4710,
            mode: "multi_process".into(),
            uptime_ms: 90_061_000,
            generation: 2,
            listeners: vec!["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()],
            ready: true,
            stopping: false,
            reloads: 1,
            last_reload: Some(LastReload { successful: false, time: 0, text: "one\ntwo".into() }),
            memory_bytes: 5 << 20,
            workers: vec![worker, empty],
            totals: Totals { restarts: 2, connections_active: 24, ..Totals::default() },
            traffic: Traffic::default(),
        };
        let expected = "\
rust-forward-proxy 0.1.0  pid 4710  multi_process  ready  up 1d1h  generation 2  on 127.0.0.1:8080, [::1]:8080
last reload refused: one

WORKER   PID  GENERATION  STATE     UPTIME  RESTARTS  CONNECTIONS  REQUESTS/S  TUNNELS  MEMORY
     0  4711           2  ready       1h2m         1           12        12.3        3   10.0M
    11     -           -  given_up       -         1           12        12.3        3       -
   all                                             2           24         0.0        0   15.0M
";
        assert_eq!(table(&status), expected);
    }

    #[test]
    fn durations_have_two_units() {
        for (millis, text) in [(999, "0s"), (61_000, "1m1s"), (3_600_000, "1h0m"), (86_400_000, "1d0h")] {
            assert_eq!(duration(millis), text);
        }
    }
}
