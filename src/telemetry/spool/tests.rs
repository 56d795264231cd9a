//! A spool in front of sinks that hang, fail and count.

use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(10);

/// What a test sees of a sink: each write before it returns, and the way to let it return.
struct Gate {
    writes: Receiver<Vec<u8>>,
    lets: Sender<io::Result<()>>,
}

impl Gate {
    /// The next write, which then returns this result.
    fn next(&self, result: io::Result<()>) -> Vec<u8> {
        let lines = self.writes.recv_timeout(SOON).expect("there is a write");
        self.lets.send(result).unwrap();
        lines
    }
}

/// A sink that returns when it is let.
struct Gated {
    writes: Sender<Vec<u8>>,
    lets: Receiver<io::Result<()>>,
}

impl Gated {
    fn ask(&mut self, lines: &[u8]) -> io::Result<()> {
        // Once the test is over, there is nobody to ask.
        let _ = self.writes.send(lines.to_vec());
        self.lets.recv().unwrap_or(Ok(()))
    }
}

impl Sink for Gated {
    fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        self.ask(lines).map_err(|source| Unwritten {
            lines: lines.iter().filter(|byte| **byte == b'\n').count() as u64,
            source,
        })
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.ask(b"reopen")
    }
}

fn gated(gather: Duration) -> (Spool, Gate) {
    let (writes, seen) = mpsc::channel();
    let (lets, let_go) = mpsc::channel();
    let spool = Spool::start("test", gather, Gated { writes, lets: let_go }).unwrap();
    (spool, Gate { writes: seen, lets })
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Sink for Kept {
    fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        self.0.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn line(spool: &Spool, text: &str) {
    spool.push(|lines| lines.extend_from_slice(format!("{text}\n").as_bytes()));
}

fn eventually(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::yield_now();
    }
    false
}

#[test]
fn a_flush_does_not_let_lines_gather() {
    let kept = Kept::default();
    let spool = Spool::start("test", LONG, kept.clone()).unwrap();
    line(&spool, "one");
    line(&spool, "two");
    assert!(!spool.is_empty());
    assert!(spool.flush(SOON) && spool.is_empty());
    assert_eq!(kept.text(), "one\ntwo\n");
    assert!(spool.flush(Duration::ZERO), "there is nothing to wait for");
}

#[test]
fn the_last_lines_are_written_when_it_is_dropped() {
    let kept = Kept::default();
    let spool = Spool::start("test", LONG, kept.clone()).unwrap();
    line(&spool, "last");
    drop(spool);
    assert_eq!(kept.text(), "last\n");
    assert!(eventually(|| Arc::strong_count(&kept.0) == 1), "the writer is gone");
}

#[test]
fn lines_that_gather_are_one_write_and_many_of_them_do_not_wait() {
    let (spool, gate) = gated(LONG);
    let text = "x".repeat(99);
    let mut added = 0;
    while added < CROWDED {
        line(&spool, &text);
        added += 100;
    }
    assert_eq!(gate.next(Ok(())).len(), added);
    assert_eq!(spool.dropped(), 0);
}

#[test]
fn a_sink_that_hangs_costs_lines_and_no_time() {
    let (spool, gate) = gated(Duration::ZERO);
    line(&spool, "first");
    let first = gate.writes.recv_timeout(SOON).unwrap();
    assert_eq!(first, b"first\n");
    // It hangs now.
    let text = "x".repeat(999);
    for _ in 0..2000 {
        line(&spool, &text);
    }
    let kept = (MAX_PENDING / 1000) as u64;
    assert_eq!(spool.dropped(), 2000 - kept);
    assert!(!spool.flush(Duration::from_millis(1)));
    gate.lets.send(Ok(())).unwrap();
    assert_eq!(gate.next(Ok(())).len() as u64, kept * 1000);
    assert!(spool.flush(SOON));
    line(&spool, "after");
    assert_eq!(gate.next(Ok(())), b"after\n");
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let (spool, gate) = gated(LONG);
    for text in ["one", "two", "three"] {
        line(&spool, text);
    }
    thread::scope(|scope| {
        let flushed = scope.spawn(|| spool.flush(SOON));
        gate.next(Err(io::ErrorKind::StorageFull.into()));
        assert!(flushed.join().unwrap());
    });
    assert_eq!(spool.dropped(), 3);
}

#[test]
fn it_is_opened_anew_after_the_lines_before() {
    let (spool, gate) = gated(LONG);
    line(&spool, "old");
    gate.lets.send(Ok(())).unwrap();
    gate.lets.send(Ok(())).unwrap();
    spool.reopen().unwrap();
    assert_eq!(gate.writes.iter().take(2).collect::<Vec<_>>(), [b"old\n".as_slice(), b"reopen"]);
}

#[test]
fn an_outcome_of_opening_anew_is_told() {
    let spool = Spool::start("test", LONG, Kept::default()).unwrap();
    assert_eq!(spool.reopen().unwrap_err().kind(), io::ErrorKind::NotFound);
    let (spool, gate) = gated(LONG);
    assert_eq!(spool.reopen().unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(gate.next(Ok(())), b"reopen");
}

#[test]
fn no_line_of_many_threads_is_lost_or_mixed() {
    let kept = Kept::default();
    let spool = Spool::start("test", Duration::ZERO, kept.clone()).unwrap();
    thread::scope(|scope| {
        for letter in ["a", "b", "c", "d"] {
            let spool = &spool;
            scope.spawn(move || (0..1000).for_each(|_| line(spool, &letter.repeat(20))));
        }
    });
    assert!(spool.flush(SOON));
    let text = kept.text();
    assert_eq!(text.lines().count() as u64 + spool.dropped(), 4000);
    assert!(text.lines().all(|line| line.len() == 20 && line.bytes().all(|byte| byte == line.as_bytes()[0])));
}

#[test]
fn the_memory_of_a_peak_is_given_back() {
    let spool = Spool::start("test", Duration::ZERO, Kept::default()).unwrap();
    spool.push(|lines| lines.resize(MAX_PENDING, b'\n'));
    assert!(spool.flush(SOON));
    line(&spool, "the other buffer");
    assert!(spool.flush(SOON));
    assert!(eventually(|| spool.shared.state().lines.capacity() <= KEPT_CAPACITY));
}
