//! What the process tells its operator: one event a line, to stderr and a file, as text or JSON.
//!
//! Every line has the `pid` and, in a worker, the `worker`'s index, so that the lines of several processes in one file can
//! be told apart. An event waits until its line is in the file, so that what a dying process said is there; but a file
//! system that hangs or a stderr that nobody reads is waited for once, a tenth of a second, and then costs lines.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use thiserror::Error;
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    layer::{Context, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use super::{
    console::Console,
    event_lines::{EventFile, EventLines},
    log_file::{LogFile, Unwritten},
    spool::{Sink, Spool},
};
use crate::config::settings::LoggingSettings;

/// What libraries say is of interest only when something is wrong, unless it is asked for. hickory and h2 warn of what any
/// client can make happen: a name that does not resolve, a frame that nobody has asked for.
const LIBRARIES: &str = "h2=error,hickory_proto=error,hickory_resolver=error,hickory_net=error,hyper=warn,hyper_util=warn,mio=warn,tokio=warn";

/// Why the log cannot be written as configured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiagnosticsError {
    /// The file cannot be opened.
    #[error("logging.file cannot be opened: {0}")]
    File(#[source] io::Error),
    /// The level is none.
    #[error(
        "log_level {level:?} is no level (error, warn, info, debug, trace, off) and no filter such as info,hyper=debug"
    )]
    Level {
        /// What was given.
        level: String,
        /// Why it is no filter, where it looks like one.
        source: Option<ParseError>,
    },
    /// Somebody else has set a subscriber.
    #[error("the log was already set up")]
    Twice,
}

/// The diagnostics of this process. Dropping it changes nothing: they are written until the process ends.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    filter: reload::Handle<EnvFilter, Registry>,
    levels: Arc<Mutex<Levels>>,
    target: Arc<ArcSwap<Target>>,
    worker: Option<usize>,
}

/// What is asked for.
#[derive(Debug)]
struct Levels {
    /// By the configuration.
    configured: String,
    /// By an operator, until something else is.
    wished: Option<String>,
}

/// Where lines go, and in which form.
#[derive(Debug)]
struct Target {
    lines: EventLines,
    file: Option<Arc<Spool>>,
}

/// The layer of the target that is in force.
struct InForce(Arc<ArcSwap<Target>>);

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
    let levels = Arc::new(Mutex::new(Levels { configured: level.to_owned(), wished: None }));
    let filter = filter(level)?;
    let target = Arc::new(ArcSwap::from_pointee(Target::new(settings, worker)?));
    let (layer, filter) = reload::Layer::new(filter);
    tracing_subscriber::registry()
        .with(layer)
        .with(InForce(Arc::clone(&target)))
        .try_init()
        .map_err(|_| DiagnosticsError::Twice)?;
    Ok(Diagnostics { filter, levels, target, worker })
}

impl Diagnostics {
    /// Changes what is written, where to and in which form, at once. What an operator has wished ends with a configuration of
    /// another level.
    ///
    /// # Errors
    ///
    /// See [`DiagnosticsError`]; then nothing is changed.
    pub fn replace(&self, settings: &LoggingSettings, level: &str) -> Result<(), DiagnosticsError> {
        let (target, filter) = (Target::new(settings, self.worker)?, filter(level)?);
        self.target.store(Arc::new(target));
        let mut levels = self.levels();
        if levels.configured != level {
            *levels = Levels { configured: level.to_owned(), wished: None };
            drop(levels);
            self.use_filter(filter);
        }
        Ok(())
    }

    /// Changes what is written, until the next start or a configuration of another level; none = what the configuration says.
    ///
    /// # Errors
    ///
    /// [`DiagnosticsError::Level`]; then nothing is changed.
    pub fn wish_level(&self, level: Option<&str>) -> Result<(), DiagnosticsError> {
        let filter = filter(level.unwrap_or(&self.levels().configured))?;
        self.levels().wished = level.map(str::to_owned);
        self.use_filter(filter);
        Ok(())
    }

    /// What an operator has wished.
    #[must_use]
    pub fn wished_level(&self) -> Option<String> {
        self.levels().wished.clone()
    }

    /// What is in force, in words.
    #[must_use]
    pub fn level(&self) -> String {
        let Levels { configured, wished } = &*self.levels();
        match wished {
            Some(wished) => format!("{wished} (the configuration says {configured})"),
            None => configured.clone(),
        }
    }

    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn use_filter(&self, filter: EnvFilter) {
        // It fails only when the subscriber is gone, and then nothing is written anyway.
        let _ = self.filter.reload(filter);
    }

    /// Opens the file again, after it was moved away. Waits a second at most.
    ///
    /// # Errors
    ///
    /// The operating system's; then the old file is still written to.
    pub fn reopen(&self) -> io::Result<()> {
        self.target.load().file.as_ref().map_or(Ok(()), |file| file.reopen())
    }
}

impl Target {
    fn new(settings: &LoggingSettings, worker: Option<usize>) -> Result<Self, DiagnosticsError> {
        let file = settings.file.as_deref().map(|path| {
            let file = LogFile::open(path)?;
            Spool::start("log", Duration::ZERO, file).map(Arc::new)
        });
        let file = file.transpose().map_err(DiagnosticsError::File)?;
        let lines = EventLines {
            console: settings.console.then(Console::default),
            is_coloured: settings.console && Console::is_terminal(),
            file: file.clone().map(EventFile::new),
            format: settings.format,
            pid: std::process::id(),
            worker,
        };
        Ok(Self { lines, file })
    }
}

impl<S: Subscriber> Layer<S> for InForce {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.0.load().lines.on_event(event, context);
    }
}

impl Sink for LogFile {
    fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        self.append(lines)
    }

    fn reopen(&mut self) -> io::Result<()> {
        Self::reopen(self)
    }
}

fn filter(level: &str) -> Result<EnvFilter, DiagnosticsError> {
    let refused = |source| DiagnosticsError::Level { level: level.to_owned(), source };
    // A word that is no level would be taken for the name of a module, and all others fall silent.
    let is_word = !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_level = is_word && level.parse::<LevelFilter>().is_ok();
    if !is_level && !level.contains(['=', ',']) {
        return Err(refused(None));
    }
    // What is said of a library later is in force.
    EnvFilter::builder().parse(format!("{LIBRARIES},{level}")).map_err(|source| refused(Some(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_checked() {
        for level in ["error", "warn", "info", "debug", "trace", "off", "info,rust_forward_proxy::net=debug"]
        {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["", "inof", "3", "verbose=x=y", "info,=debug=="] {
            assert!(filter(level).is_err(), "{level}");
        }
    }

    #[test]
    fn libraries_are_quiet_unless_asked() {
        for (level, shown) in [
            ("debug", vec!["ours debug"]),
            ("trace,hyper=debug", vec!["ours debug", "hyper debug"]),
            ("hyper=off", vec![]),
            ("warn", vec!["hyper warn"]),
        ] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let keep = Arc::clone(&seen);
            let keeper = tracing_subscriber::fmt::layer()
                .without_time()
                .with_level(false)
                .with_target(false)
                .with_ansi(false)
                .with_writer(move || Keep(Arc::clone(&keep)));
            let subscriber = tracing_subscriber::registry().with(keeper.with_filter(filter(level).unwrap()));
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!("ours debug");
                tracing::debug!(target: "hyper", "hyper debug");
                tracing::warn!(target: "hyper", "hyper warn");
                tracing::warn!(target: "hickory_resolver", "hickory warn");
            });
            let seen = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
            let expected: Vec<_> = seen.lines().map(str::trim).collect();
            let shown: Vec<_> = if level == "warn" || level == "hyper=off" {
                shown
            } else {
                shown.into_iter().chain(["hyper warn"]).collect()
            };
            assert_eq!(expected, shown, "{level}");
        }
    }

    struct Keep(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Keep {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
