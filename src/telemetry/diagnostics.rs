//! What the process tells its operator: one event a line, to stderr and a file, as text or JSON.
//!
//! Every line has the `pid` and, in a worker, the `worker`'s index, so that the lines of several processes in one file
//! can be told apart. What a peer sent cannot begin a line of its own: control characters are escaped.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use arc_swap::ArcSwap;
use thiserror::Error;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use super::{access_format, log_file::LogFile};
use crate::config::settings::{LogFormat, LoggingSettings};

/// What libraries say is of interest only when something is wrong, unless it is asked for.
const LIBRARIES: &str = "hickory_proto=error,hickory_resolver=error,hickory_net=error,hyper=warn,hyper_util=warn,mio=warn,tokio=warn";

/// Why the log cannot be written as configured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiagnosticsError {
    /// The file cannot be opened.
    #[error("logging.file cannot be opened: {0}")]
    File(#[source] io::Error),
    /// The level is none.
    #[error(
        "log_level {level:?} is no level (error, warn, info, debug, trace) and no tracing filter: {source}"
    )]
    Level {
        /// What was given.
        level: String,
        /// Why not.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else has set a subscriber.
    #[error("the log was already set up")]
    Twice,
}

/// The diagnostics of this process.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    level: reload::Handle<EnvFilter, Registry>,
    target: Arc<ArcSwap<Target>>,
}

/// Where lines go, and in which form.
#[derive(Debug)]
struct Target {
    console: bool,
    coloured: bool,
    file: Option<LogFile>,
    format: LogFormat,
}

/// Whether `level` is one that [`init`] takes.
///
/// # Errors
///
/// [`DiagnosticsError::Level`].
pub fn check_level(level: &str) -> Result<(), DiagnosticsError> {
    filter(level).map(drop)
}

/// Starts to write diagnostics. Once in a process.
///
/// # Errors
///
/// See [`DiagnosticsError`].
pub fn init(
    settings: &LoggingSettings,
    level: &str,
    worker: Option<usize>,
) -> Result<Diagnostics, DiagnosticsError> {
    let target = Arc::new(ArcSwap::from_pointee(Target::new(settings)?));
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = Lines { target: Arc::clone(&target), pid: std::process::id(), worker };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|_| DiagnosticsError::Twice)?;
    Ok(Diagnostics { level: handle, target })
}

impl Diagnostics {
    /// Changes what is written, where to and in which form, at once.
    ///
    /// # Errors
    ///
    /// See [`DiagnosticsError`]; then nothing is changed.
    pub fn replace(&self, settings: &LoggingSettings, level: &str) -> Result<(), DiagnosticsError> {
        let (target, filter) = (Target::new(settings)?, filter(level)?);
        self.target.store(Arc::new(target));
        // It fails only when the subscriber is gone, and then nothing is written anyway.
        let _ = self.level.reload(filter);
        Ok(())
    }

    /// Opens the file again, after it was moved away.
    ///
    /// # Errors
    ///
    /// The operating system's; then the old file is still written to.
    pub fn reopen(&self) -> io::Result<()> {
        self.target.load().file.as_ref().map_or(Ok(()), LogFile::reopen)
    }
}

impl Target {
    fn new(settings: &LoggingSettings) -> Result<Self, DiagnosticsError> {
        let file = settings.file.as_deref().map(LogFile::open).transpose().map_err(DiagnosticsError::File)?;
        let coloured = settings.console && io::stderr().is_terminal();
        Ok(Self { console: settings.console, coloured, file, format: settings.format })
    }
}

fn filter(level: &str) -> Result<EnvFilter, DiagnosticsError> {
    let is_plain = level.parse::<Level>().is_ok() && !level.bytes().any(|byte| byte.is_ascii_digit());
    let directives = if is_plain { format!("{level},{LIBRARIES}") } else { level.to_owned() };
    EnvFilter::builder()
        .parse(directives)
        .map_err(|source| DiagnosticsError::Level { level: level.to_owned(), source })
}

/// The layer that writes lines.
struct Lines {
    target: Arc<ArcSwap<Target>>,
    pid: u32,
    worker: Option<usize>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = self.target.load();
        let mut fields = Fields { json: target.format == LogFormat::Json, ..Fields::default() };
        event.record(&mut fields);
        let level = *event.metadata().level();
        // A log that cannot be written is no reason to fail.
        if target.console {
            let line = self.line(target.format, level, &fields, target.coloured);
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
        if let Some(file) = &target.file {
            let _ = file.append(self.line(target.format, level, &fields, false).as_bytes());
        }
    }
}

impl Lines {
    fn line(&self, format: LogFormat, level: Level, fields: &Fields, coloured: bool) -> String {
        let mut line = access_format::now();
        match format {
            LogFormat::Text => {
                let (start, end) = if coloured { (colour(level), "\x1b[0m") } else { ("", "") };
                let _ = write!(line, " {start}{level:<5}{end} {}{}", fields.message, fields.rest);
                let _ = write!(line, " pid={}", self.pid);
                if let Some(worker) = self.worker {
                    let _ = write!(line, " worker={worker}");
                }
            }
            LogFormat::Json => {
                let level = level.as_str().to_ascii_lowercase();
                let message = serde_json::Value::from(fields.message.as_str());
                let head = format!("{{\"ts\":\"{line}\",\"level\":\"{level}\",\"message\":{message}");
                line = head;
                let _ = write!(line, "{},\"pid\":{}", fields.rest, self.pid);
                if let Some(worker) = self.worker {
                    let _ = write!(line, ",\"worker\":{worker}");
                }
                line.push('}');
            }
        }
        line.push('\n');
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
#[derive(Default)]
struct Fields {
    json: bool,
    message: String,
    rest: String,
}

impl Fields {
    fn push(&mut self, field: &Field, text: &str, is_string: bool) {
        if field.name() == "message" {
            self.message = if self.json { text.to_owned() } else { escaped(text) };
        } else if self.json {
            let value = if is_string { serde_json::Value::from(text).to_string() } else { text.to_owned() };
            let _ = write!(self.rest, ",\"{}\":{value}", field.name());
        } else if is_string && (text.is_empty() || text.contains([' ', '"', '='])) {
            let _ = write!(self.rest, " {}={:?}", field.name(), text);
        } else {
            let _ = write!(self.rest, " {}={}", field.name(), escaped(text));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value, true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, &value.to_string(), false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, &value.to_string(), false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, &value.to_string(), false);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, &format!("{value:?}"), true);
    }
}

/// Control characters would end the line, or speak to a terminal.
fn escaped(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|char| {
                let escape = char.is_control().then(|| char.escape_default());
                let plain = escape.is_none().then_some(char);
                escape.into_iter().flatten().chain(plain)
            })
            .collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_checked() {
        for level in ["error", "warn", "info", "debug", "trace", "info,rust_forward_proxy::net=debug"] {
            assert!(check_level(level).is_ok(), "{level}");
        }
        for level in ["verbose=x=y", "info,=debug=="] {
            assert!(check_level(level).is_err(), "{level}");
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(escaped("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(escaped("plain"), "plain");
    }
}
