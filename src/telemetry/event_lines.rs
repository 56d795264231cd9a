//! Events of the diagnostics as lines, as text or JSON, to the console and a file.
//!
//! What a peer sent cannot begin a line of its own or speak to a terminal: control characters are escaped, and a long
//! value is cut. Writing never fails; lines that are lost are counted, and told of as soon as lines are taken again.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::{
    append,
    console::Console,
    escape::{self, Json},
    spool::Spool,
};
use crate::config::settings::LogFormat;

/// What is shown of one value, in bytes.
const MAX_VALUE: usize = 8 << 10;

/// How long an event waits for its line to be in the file. It waits so that a process that dies has said why.
const FILE_PATIENCE: Duration = Duration::from_millis(100);

/// The layer that writes lines.
#[derive(Debug)]
pub(super) struct EventLines {
    pub(super) console: Option<Console>,
    pub(super) is_coloured: bool,
    pub(super) file: Option<EventFile>,
    pub(super) format: LogFormat,
    pub(super) pid: u32,
    pub(super) worker: Option<usize>,
}

/// A file of lines, and whether it takes them.
#[derive(Debug)]
pub(super) struct EventFile {
    spool: Arc<Spool>,
    /// The last line is not in the file as far as is known.
    is_failing: AtomicBool,
    /// Lost lines that were told of.
    told: AtomicU64,
}

impl EventFile {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self { spool, is_failing: AtomicBool::new(false), told: AtomicU64::new(0) }
    }

    /// Writes a line; whether this is the first that fails.
    fn write(&self, line: &str) -> bool {
        // A file system that hangs has been waited for once.
        let waits = !self.is_failing.load(Ordering::Relaxed) || self.spool.is_empty();
        let dropped = self.spool.dropped();
        self.spool.push(|lines| lines.extend_from_slice(line.as_bytes()));
        let is_written = waits && self.spool.flush(FILE_PATIENCE) && self.spool.dropped() == dropped;
        !self.is_failing.swap(!is_written, Ordering::Relaxed) && !is_written
    }

    /// Lines that were lost since this was last asked; none is told of while none would be written.
    fn losses(&self) -> u64 {
        if self.is_failing.load(Ordering::Relaxed) {
            return 0;
        }
        let dropped = self.spool.dropped();
        dropped - self.told.fetch_max(dropped, Ordering::Relaxed).min(dropped)
    }
}

impl<S: Subscriber> Layer<S> for EventLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::new(self.format);
        event.record(&mut fields);
        let level = *event.metadata().level();
        let plain = self.line(level, &fields, false);
        let mut begins_to_fail = false;
        if let Some(file) = &self.file {
            if let Some(notice) = self.losses(file.losses(), false) {
                file.write(&notice);
            }
            begins_to_fail = file.write(&plain);
        }
        if let Some(console) = &self.console {
            if let Some(notice) = self.losses(console.losses(), self.is_coloured) {
                console.write(notice.as_bytes());
            }
            let line = if self.is_coloured { self.line(level, &fields, true) } else { plain };
            console.write(line.as_bytes());
            if begins_to_fail {
                let notice = self.notice("logging.file cannot be written: lines are lost", self.is_coloured);
                console.write(notice.as_bytes());
            }
        }
    }
}

impl EventLines {
    /// A line that says how many are missing, where some are.
    fn losses(&self, losses: u64, is_coloured: bool) -> Option<String> {
        (losses > 0).then(|| self.notice(&format!("{losses} log lines were lost here"), is_coloured))
    }

    fn notice(&self, message: &str, is_coloured: bool) -> String {
        let mut fields = Fields::new(self.format);
        fields.push("message", message, Kind::Text);
        self.line(Level::WARN, &fields, is_coloured)
    }

    fn line(&self, level: Level, fields: &Fields, is_coloured: bool) -> String {
        let mut time = Vec::with_capacity(24);
        append::rfc3339(&mut time, SystemTime::now());
        let time = String::from_utf8_lossy(&time);
        let Fields { message, rest, .. } = fields;
        let mut line = match self.format {
            LogFormat::Text => {
                let (start, end) = if is_coloured { (colour(level), "\x1b[0m") } else { ("", "") };
                format!("{time} {start}{level:<5}{end} {message}{rest} pid={}", self.pid)
            }
            LogFormat::Json => {
                let level = level.as_str().to_ascii_lowercase();
                format!(r#"{{"ts":"{time}","level":"{level}","message":"{message}"{rest},"pid":{}"#, self.pid)
            }
        };
        if let Some(worker) = self.worker {
            let _ = match self.format {
                LogFormat::Text => write!(line, " worker={worker}"),
                LogFormat::Json => write!(line, r#","worker":{worker}"#),
            };
        }
        line.push_str(if self.format == LogFormat::Json { "}\n" } else { "\n" });
        line
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG | Level::TRACE => "\x1b[2m",
    }
}

/// The fields of an event, already in the form of the line.
struct Fields {
    format: LogFormat,
    message: String,
    rest: String,
}

/// How a value is written in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
}

impl Fields {
    fn new(format: LogFormat) -> Self {
        Self { format, message: String::new(), rest: String::new() }
    }

    fn push(&mut self, name: &str, value: &str, kind: Kind) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let value = bounded(value);
        match self.format {
            _ if name == "message" => self.message = self.escaped(value),
            LogFormat::Json if kind == Kind::Number => {
                let _ = write!(self.rest, r#","{name}":{value}"#);
            }
            LogFormat::Json => {
                let _ = write!(self.rest, r#","{name}":"{}""#, self.escaped(value));
            }
            LogFormat::Text if kind == Kind::Text && needs_quotes(value) => {
                let _ = write!(self.rest, " {name}={value:?}");
            }
            LogFormat::Text => {
                let _ = write!(self.rest, " {name}={}", self.escaped(value));
            }
        }
    }

    fn escaped(&self, value: &str) -> String {
        match self.format {
            LogFormat::Json => {
                let mut text = Vec::with_capacity(value.len());
                escape::text::<Json>(&mut text, value.as_bytes(), usize::MAX);
                String::from_utf8_lossy(&text).into_owned()
            }
            LogFormat::Text => without_controls(value),
        }
    }
}

fn needs_quotes(value: &str) -> bool {
    value.is_empty() || value.contains([' ', '"', '=', '\\'])
}

fn bounded(value: &str) -> &str {
    let end = (0..=MAX_VALUE.min(value.len())).rev().find(|end| value.is_char_boundary(*end));
    &value[..end.unwrap_or(0)]
}

/// Control characters would end the line, or speak to a terminal.
fn without_controls(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for char in value.chars() {
        if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), value, Kind::Text);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), &value.to_string(), Kind::Number);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), &value.to_string(), Kind::Number);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let kind = if value.is_finite() { Kind::Number } else { Kind::Text };
        self.push(field.name(), &value.to_string(), kind);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), &value.to_string(), Kind::Number);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field.name(), &format!("{value:?}"), Kind::Text);
    }
}

#[cfg(test)]
mod tests;
