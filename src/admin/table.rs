//! A status for a person: what passes, and one line a worker with the sums below, aligned.

use std::{fmt::Write as _, time::SystemTime};

use super::{
    status::{Status, WorkerState, WorkerStatus},
    traffic::{Latency, Traffic},
};

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

const SERVER_HEADS: [&str; 7] = ["GROUP", "SERVER", "STATE", "ACTIVE", "REQUESTS", "FAILURES", "LATENCY"];

/// The last column of them that is aligned to the left.
const SERVER_STATE: usize = 2;

/// Errors that are told of, the most frequent first.
const MAX_ERRORS: usize = 4;

/// How a status is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// Whether there is somebody who sees colours.
    pub colours: bool,
    /// What was shown before: then numbers are those of the time between. Else they are those since the instance began.
    pub before: Option<&'a Status>,
}

/// The text of `status`.
#[must_use]
pub fn table(status: &Status, view: View<'_>) -> String {
    let mut text = head(status, view);
    text.push('\n');
    text.push_str(&passed(status, view));
    text.push('\n');
    text.push_str(&workers(status, view));
    text.push_str(&groups(status, view));
    text
}

fn head(status: &Status, view: View<'_>) -> String {
    let (state, colour) = match (status.stopping, status.ready) {
        (true, _) => ("stopping", Colour::Yellow),
        (false, true) => ("ready", Colour::Green),
        (false, false) => ("not ready", Colour::Red),
    };
    let listeners: Vec<_> = status.listeners.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "rust-forward-proxy {}  pid {}  {}  {}  up {}  generation {}  on {}\n",
        status.version,
        status.pid,
        status.mode,
        view.paint(colour, state),
        duration(status.uptime_ms),
        status.generation,
        listeners.join(", ")
    );
    if let Some(reload) = &status.last_reload {
        let (outcome, colour) =
            if reload.successful { ("applied", Colour::Green) } else { ("refused", Colour::Red) };
        let line = reload.text.lines().next().unwrap_or_default();
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let ago = duration(now.saturating_sub(reload.time) * 1000);
        let _ = writeln!(text, "last reload {} {ago} ago: {line}", view.paint(colour, outcome));
    }
    text
}

/// What passed: since the status that was shown before, or since the beginning.
fn passed(status: &Status, view: View<'_>) -> String {
    let nothing = Traffic::default();
    // Another instance has counted from 0 again.
    let before = view.before.filter(|before| before.uptime_ms <= status.uptime_ms);
    let (now, then) = (&status.traffic, before.map_or(&nothing, |before| &before.traffic));
    let millis = status.uptime_ms - before.map_or(0, |before| before.uptime_ms);
    let seconds = (millis as f64 / 1e3).max(f64::MIN_POSITIVE);
    let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
    let since = if before.is_some() { "since the last look" } else { "since the instance began" };
    let mut text = format!("{}\n", view.paint(Colour::Dim, since));
    let mut line = |name: &str, rest: &str| {
        let _ = writeln!(text, "{} {rest}", view.paint(Colour::Dim, &format!("{name:<9}")));
    };
    let class = |name: &str| {
        let of = |traffic: &Traffic| traffic.requests.get(name).copied().unwrap_or(0);
        of(now).saturating_sub(of(then))
    };
    let failed = now.failed().saturating_sub(then.failed());
    line(
        "requests",
        &format!(
            "{:.1}/s  2xx {}  3xx {}  4xx {}  5xx {}  {}",
            per_second(now.answered(), then.answered()),
            class("2xx"),
            class("3xx"),
            class("4xx"),
            class("5xx"),
            view.paint_if(failed > 0, Colour::Red, &format!("failed {failed}")),
        ),
    );
    let latency = now.latency.since(&then.latency);
    let quantile = |share| latency_text(&latency, share);
    line("latency", &format!("p50 {}  p95 {}  p99 {}", quantile(0.5), quantile(0.95), quantile(0.99)));
    let bytes = |now, then| binary(per_second(now, then));
    line(
        "bytes",
        &format!(
            "in {}/s  out {}/s",
            bytes(now.bytes_in, then.bytes_in),
            bytes(now.bytes_out, then.bytes_out)
        ),
    );
    let (made, reused) =
        (now.upstream.connects - then.upstream.connects, now.upstream.reused - then.upstream.reused);
    let share = if made + reused > 0 {
        format!("{:.0} %", 100.0 * reused as f64 / (made + reused) as f64)
    } else {
        "-".into()
    };
    line(
        "upstream",
        &format!(
            "{} in use  {} kept  {share} reused  {} retries  {} connects failed",
            now.upstream.active,
            now.upstream.idle,
            now.upstream.retries.saturating_sub(then.upstream.retries),
            now.upstream.connect_failures.saturating_sub(then.upstream.connect_failures),
        ),
    );
    let mut errors: Vec<_> = now
        .errors
        .iter()
        .map(|(name, count)| (count.saturating_sub(then.errors.get(name).copied().unwrap_or(0)), name))
        .filter(|(count, _)| *count > 0)
        .collect();
    errors.sort_by_key(|(count, name)| (u64::MAX - count, *name));
    errors.truncate(MAX_ERRORS);
    if !errors.is_empty() {
        let errors: Vec<_> = errors.iter().map(|(count, name)| format!("{name} {count}")).collect();
        line("errors", &errors.join("  "));
    }
    let dropped = now.access_log_dropped;
    if dropped > 0 {
        line("log", &view.paint(Colour::Red, &format!("{dropped} lines of the access log are lost")));
    }
    text
}

fn latency_text(latency: &Latency, share: f64) -> String {
    match latency.quantile(share) {
        None => "-".into(),
        Some(ms) if ms < 10.0 => format!("{ms:.1}ms"),
        Some(ms) if ms < 1000.0 => format!("{ms:.0}ms"),
        Some(ms) => format!("{:.1}s", ms / 1e3),
    }
}

fn workers(status: &Status, view: View<'_>) -> String {
    let mut rows = vec![(HEADS.map(str::to_owned), Colour::Dim)];
    rows.extend(status.workers.iter().map(|one| (worker(one), colour(one.state))));
    rows.push((totals(status), Colour::None));
    let widths: [usize; HEADS.len()] =
        std::array::from_fn(|column| rows.iter().map(|(row, _)| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for (number, (row, colour)) in rows.iter().enumerate() {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            let padded = if column == STATE { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            view.paint_if(number == 0 || column == STATE, *colour, &padded)
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The servers of groups; nothing where there are none.
fn groups(status: &Status, view: View<'_>) -> String {
    let mut rows = vec![SERVER_HEADS.map(str::to_owned)];
    for group in &status.groups {
        rows.extend(group.servers.iter().map(|server| {
            [
                group.name.clone(),
                server.url.clone(),
                server.state.clone(),
                server.active.to_string(),
                server.requests_total.to_string(),
                server.failures_total.to_string(),
                server.latency_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.1}ms")),
            ]
        }));
    }
    let mut text = String::new();
    if rows.len() == 1 {
        return text;
    }
    let widths: [usize; SERVER_HEADS.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    text.push('\n');
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let padded =
                if column <= SERVER_STATE { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            let colour = match (number, cell.as_str()) {
                (0, _) => Colour::Dim,
                (_, "up") => Colour::Green,
                (_, "probing") => Colour::Yellow,
                _ => Colour::Red,
            };
            view.paint_if(number == 0 || column == SERVER_STATE, colour, &padded)
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn colour(state: WorkerState) -> Colour {
    match state {
        WorkerState::Draining | WorkerState::Starting => Colour::Yellow,
        WorkerState::GivenUp | WorkerState::Waiting => Colour::Red,
        WorkerState::Ready => Colour::Green,
    }
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

/// A number of bytes in the unit that suits it.
fn binary(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = units.iter().scan(bytes, |left, unit| {
        let now = *left;
        *left /= 1024.0;
        Some((now, *unit))
    });
    let (value, unit) = step.take_while(|(value, _)| *value >= 1.0).last().unwrap_or((bytes, "B"));
    if unit == "B" { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
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

/// What a terminal understands (ECMA-48).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Dim,
    Green,
    None,
    Red,
    Yellow,
}

impl View<'_> {
    fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            _ if !self.colours => return text.to_owned(),
            Colour::None => return text.to_owned(),
            Colour::Dim => 2,
            Colour::Green => 32,
            Colour::Red => 31,
            Colour::Yellow => 33,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    fn paint_if(self, condition: bool, colour: Colour, text: &str) -> String {
        self.paint(if condition { colour } else { Colour::None }, text)
    }
}

#[cfg(test)]
mod tests;
