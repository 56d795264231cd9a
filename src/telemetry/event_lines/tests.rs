//! Lines of both formats, and a file that does not take them.

use std::{
    io,
    sync::{
        Mutex,
        mpsc::{self, Receiver},
    },
    time::Instant,
};

use tracing_subscriber::layer::SubscriberExt;

use super::{super::log_file::Unwritten, *};
use crate::telemetry::spool::Sink;

const SOON: Duration = Duration::from_secs(10);

/// Keeps what is written; each write waits for a word where there is somebody to say it.
#[derive(Clone, Default)]
struct Kept {
    lines: Arc<Mutex<Vec<u8>>>,
    word: Option<Arc<Mutex<Receiver<()>>>>,
}

impl Sink for Kept {
    fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        if let Some(word) = &self.word {
            let _ = word.lock().unwrap().recv();
        }
        self.lines.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.lines.lock().unwrap().clone()).unwrap()
    }
}

/// What is written while `events` happens.
fn written(format: LogFormat, worker: Option<usize>, kept: &Kept, events: impl FnOnce()) -> Arc<Spool> {
    let spool = Arc::new(Spool::start("test", Duration::ZERO, kept.clone()).unwrap());
    let lines = EventLines {
        console: None,
        is_coloured: false,
        file: Some(EventFile::new(Arc::clone(&spool))),
        format,
        pid: 42,
        worker,
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), events);
    spool
}

fn lines(format: LogFormat, worker: Option<usize>, events: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    written(format, worker, &kept, events);
    // Without a flush: an event has waited until its line was there.
    kept.text().lines().map(str::to_owned).collect()
}

fn events() {
    tracing::info!(addr = %"127.0.0.1:8080", "listening");
    tracing::warn!(
        status = "exit status: 1",
        restarts = 3,
        delta = -1,
        share = 0.5,
        is_first = false,
        "worker exited"
    );
    tracing::error!(r#type = ?Some("x"), nothing = "", "bad\n\u{1b}[31m\"news\"");
}

#[test]
fn text_is_for_people() {
    let lines = lines(LogFormat::Text, Some(3), events);
    let told: Vec<_> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    let expected = [
        "INFO  listening addr=127.0.0.1:8080 pid=42 worker=3",
        r#"WARN  worker exited status="exit status: 1" restarts=3 delta=-1 share=0.5 is_first=false pid=42 worker=3"#,
        r#"ERROR bad\n\u{1b}[31m"news" type="Some(\"x\")" nothing="" pid=42 worker=3"#,
    ];
    assert_eq!(told, expected);
    assert!(lines.iter().all(|line| line.as_bytes()[23] == b'Z'), "{lines:?}");
}

#[test]
fn json_is_for_programs() {
    let lines = lines(LogFormat::Json, None, events);
    let told: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).expect(line);
            assert!(value.as_object_mut().unwrap().remove("ts").unwrap().as_str().unwrap().ends_with('Z'));
            value
        })
        .collect();
    let expected = [
        serde_json::json!({"level": "info", "message": "listening", "addr": "127.0.0.1:8080", "pid": 42}),
        serde_json::json!({
            "level": "warn", "message": "worker exited", "status": "exit status: 1", "restarts": 3, "delta": -1,
            "share": 0.5, "is_first": false, "pid": 42,
        }),
        serde_json::json!({
            "level": "error", "message": "bad\n\u{1b}[31m\"news\"", "type": "Some(\"x\")", "nothing": "", "pid": 42,
        }),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_value_of_any_length_and_kind_makes_one_line() {
    let nasty: String =
        (0..0x300_u32).filter_map(char::from_u32).chain("\u{2028}".repeat(20_000).chars()).collect();
    for format in [LogFormat::Text, LogFormat::Json] {
        let told = lines(format, None, || {
            tracing::info!(value = nasty, not_a_number = f64::NAN, "{nasty}");
        });
        assert_eq!(told.len(), 1);
        assert!(told[0].len() < 20 * MAX_VALUE && !told[0].chars().any(char::is_control));
        if format == LogFormat::Json {
            let value: serde_json::Value = serde_json::from_str(&told[0]).unwrap();
            assert_eq!(value["not_a_number"], "NaN");
        }
    }
}

#[test]
fn a_file_that_hangs_is_waited_for_once_and_losses_are_told_of() {
    const EVENTS: u32 = 500;
    let (say, word) = mpsc::channel();
    let kept = Kept { word: Some(Arc::new(Mutex::new(word))), ..Kept::default() };
    let start = Instant::now();
    let events = || {
        let value = "x".repeat(8000);
        for _ in 0..EVENTS {
            tracing::info!(value, "many");
        }
        // If each were waited for, it would be twice as long.
        assert!(start.elapsed() < FILE_PATIENCE * EVENTS / 2, "{:?}", start.elapsed());
        // It goes on.
        drop(say);
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline && !kept.text().contains("were lost here") {
            tracing::info!("again");
        }
    };
    let spool = written(LogFormat::Text, None, &kept, events);
    assert!(spool.flush(SOON));
    let text = kept.text();
    let told = text.lines().find(|line| line.contains("were lost here")).expect("losses are told of");
    let many = text.lines().filter(|line| line.contains(" many ")).count() as u32;
    assert!(many < EVENTS);
    let lost: u32 = told.split_once("WARN  ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    assert!(lost >= EVENTS - many, "{told}, {many} of {EVENTS} were written");
}
