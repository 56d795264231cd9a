//! The access log: records become lines in memory, and a thread of its own writes them.
//!
//! Who writes a record never waits for a disk (see `spool`). Whole lines of at most 4 KiB are appended,
//! so that several processes can share a file or a pipe. What does not fit into memory, or cannot be written, is dropped
//! and counted; the diagnostics say so once when it begins, and once when it is over.

use std::{
    io::{self, Stdout},
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    access_format::Format,
    access_record::AccessRecord,
    log_file::{LogFile, Unwritten, WholeLines},
    sample::Sample,
    spool::{Sink, Spool},
};
use crate::{
    config::settings::{AccessLogFormat, AccessLogSettings, AccessLogTarget, QueryLogging},
    shared_memory::Seat,
};

/// How long lines are let gather.
const GATHER: Duration = Duration::from_millis(50);

/// The longest wait of [`AccessLog::flush`].
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// What POSIX promises to keep together when several processes write to a pipe is 512 bytes; Linux keeps this.
const PIPE_BUF: usize = 4096;

/// The access log of this process. Clones are the same log; one that is off costs nothing.
#[derive(Clone, Debug)]
pub struct AccessLog {
    spool: Option<Arc<Spool>>,
    format: Format,
    sample: Sample,
    /// Where lost lines are counted.
    seat: Option<Seat>,
}

impl AccessLog {
    /// Opens the log and starts its writer. Lines that are lost are counted in `seat`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or the thread cannot be started.
    pub fn open(settings: &AccessLogSettings, seat: Option<Seat>) -> io::Result<Self> {
        let output = match &settings.file {
            AccessLogTarget::Off => return Ok(Self::off()),
            AccessLogTarget::Stdout => Output::Stdout(WholeLines::new(io::stdout(), PIPE_BUF)),
            AccessLogTarget::File(path) => Output::File(LogFile::open(path)?),
        };
        let watched = Watched { output, is_failing: false, seat: seat.clone() };
        let spool = Arc::new(Spool::start("access-log", GATHER, watched)?);
        Ok(Self {
            spool: Some(spool),
            format: settings.format.into(),
            sample: Sample::new(settings.sample),
            seat,
        })
    }

    /// A log that is not written.
    #[must_use]
    pub fn off() -> Self {
        Self { spool: None, format: Format::Json, sample: Sample::All, seat: None }
    }

    /// A log of JSON in a file, every record of it.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let settings = AccessLogSettings {
            file: AccessLogTarget::File(path.to_owned()),
            format: AccessLogFormat::Json,
            tunnel_interval: None,
            sample: 1.0,
            query: QueryLogging::Redact,
        };
        Self::open(&settings, None)
    }

    /// Adds a record. Never waits for the disk.
    pub fn write(&self, record: &AccessRecord<'_>) {
        let Some(spool) = &self.spool else { return };
        if record.is_success() && !self.sample.takes() {
            return;
        }
        if !spool.push(|lines| self.format.append(record, lines)) {
            count(self.seat.as_ref(), 1);
        }
    }

    /// Lines that were lost: because memory was full of them, or because they could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.spool.as_ref().map_or(0, |spool| spool.dropped())
    }

    /// Waits until what was added is written; two seconds at most. Blocks the thread: not for a runtime that serves.
    pub fn flush(&self) {
        if let Some(spool) = &self.spool {
            spool.flush(FLUSH_PATIENCE);
        }
    }

    /// Opens the file again, after it was moved away: what was added before goes to the old one. Waits a second at most.
    ///
    /// # Errors
    ///
    /// When it cannot be opened; then the old one is still written to.
    pub fn reopen(&self) -> io::Result<()> {
        self.spool.as_ref().map_or(Ok(()), |spool| spool.reopen())
    }
}

/// Where the lines go.
enum Output {
    File(LogFile),
    Stdout(WholeLines<Stdout>),
}

/// An output that says when it begins to fail, and when it is well again, and counts what it loses.
struct Watched {
    output: Output,
    is_failing: bool,
    seat: Option<Seat>,
}

fn count(seat: Option<&Seat>, lost: u64) {
    if let Some(seat) = seat {
        seat.counters().access_log_dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

impl From<AccessLogFormat> for Format {
    fn from(format: AccessLogFormat) -> Self {
        match format {
            AccessLogFormat::Combined => Self::Combined,
            AccessLogFormat::Common => Self::Common,
            AccessLogFormat::Json => Self::Json,
            AccessLogFormat::Squid => Self::Squid,
        }
    }
}

impl Sink for Watched {
    fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        let result = match &mut self.output {
            Output::File(file) => file.append(lines),
            Output::Stdout(stdout) => stdout.append(lines),
        };
        if let Err(lost) = &result {
            count(self.seat.as_ref(), lost.lines);
        }
        match &result {
            Ok(()) if self.is_failing => tracing::info!("access log is written again"),
            Err(error) if !self.is_failing => {
                tracing::warn!(%error, "access log cannot be written: lines are dropped and counted");
            }
            _ => {}
        }
        self.is_failing = result.is_err();
        result
    }

    fn reopen(&mut self) -> io::Result<()> {
        match &mut self.output {
            Output::File(file) => file.reopen(),
            Output::Stdout(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use super::*;

    fn record(id: &str) -> AccessRecord<'_> {
        AccessRecord {
            at: SystemTime::now(),
            id: id.as_bytes(),
            worker: None,
            client: "127.0.0.1:5000".parse().unwrap(),
            user: None,
            method: Some("GET"),
            scheme: Some("http"),
            host: None,
            port: None,
            path: b"/",
            keep_query: false,
            proto: "HTTP/1.1",
            status: Some(200),
            error: None,
            rule: None,
            route: None,
            upstream: None,
            reused: false,
            bytes_in: 0,
            bytes_out: 0,
            dns: None,
            connect: None,
            first_byte: None,
            duration: Duration::ZERO,
            traceparent: None,
            close: "complete",
        }
    }

    fn ids(path: &Path) -> Vec<usize> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).expect(line);
                value["id"].as_str().unwrap().parse().unwrap()
            })
            .collect()
    }

    #[test]
    fn what_is_off_costs_nothing() {
        let log = AccessLog::off();
        log.write(&record("1"));
        log.flush();
        log.reopen().unwrap();
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn several_logs_share_a_file_and_the_last_lines_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/access.log");
        std::thread::scope(|scope| {
            for part in 0..4 {
                let log = AccessLog::to_file(&path).unwrap();
                scope.spawn(move || {
                    (part * 1000..part * 1000 + 1000).for_each(|id| log.write(&record(&id.to_string())))
                });
            }
        });
        let mut ids = ids(&path);
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..4000));
    }

    #[test]
    fn rotation_under_load_loses_and_tears_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::to_file(&path).unwrap();
        let mut written = 0;
        for rotation in 0..5 {
            for _ in 0..500 {
                log.write(&record(&written.to_string()));
                written += 1;
            }
            fs::rename(&path, folder.path().join(rotation.to_string())).unwrap();
            log.reopen().unwrap();
        }
        log.write(&record(&written.to_string()));
        log.flush();
        let mut all: Vec<usize> =
            (0..5).flat_map(|rotation| ids(&folder.path().join(rotation.to_string()))).collect();
        all.extend(ids(&path));
        assert!(all.into_iter().eq(0..=written), "in order, each once");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_counted() {
        let seat = crate::shared_memory::Segment::private(1).unwrap().seat(0).unwrap();
        let settings = AccessLogSettings {
            file: AccessLogTarget::File("/dev/full".into()),
            format: AccessLogFormat::Squid,
            tunnel_interval: None,
            sample: 1.0,
            query: QueryLogging::Keep,
        };
        let log = AccessLog::open(&settings, Some(seat.clone())).unwrap();
        for id in 0..100 {
            log.write(&record(&id.to_string()));
        }
        log.flush();
        assert_eq!(log.dropped(), 100);
        assert_eq!(seat.counters().access_log_dropped.load(Ordering::Relaxed), 100, "whoever asks, at once");
    }
}
