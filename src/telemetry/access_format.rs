//! An access record as one line of JSON, appended to a buffer.
//!
//! Whatever bytes a client sent, the line is valid JSON on one line, of bounded length. Must not allocate: it
//! runs once for every request.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::access_record::AccessRecord;

/// The longest text of one field, in bytes; what is longer is cut and marked with `…`.
const MAX_TEXT: usize = 2048;

/// What stands in place of a query.
const REDACTED: &[u8] = b"?redacted";

/// Appends `record` and a line feed to `line`.
pub fn json(record: &AccessRecord<'_>, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"ts\":\"");
    timestamp(record.at, line);
    line.extend_from_slice(b"\",\"id\":\"");
    display(line, record.id);
    line.push(b'"');
    number(line, "worker", record.worker.map(|worker| worker as u64));
    line.extend_from_slice(b",\"client\":\"");
    display(line, &record.client);
    line.push(b'"');
    text(line, "user", record.user);
    text(line, "method", record.method);
    text(line, "scheme", record.scheme);
    key(line, "host");
    match record.host {
        Some(host) => {
            line.push(b'"');
            display(line, host);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
    number(line, "port", record.port.map(u64::from));
    key(line, "path");
    if record.path.is_empty() {
        line.extend_from_slice(b"null");
    } else {
        path(line, record.path, record.keep_query);
    }
    text(line, "proto", Some(record.proto));
    number(line, "status", record.status.map(u64::from));
    text(line, "error", record.error);
    text(line, "rule", record.rule);
    text(line, "route", record.route);
    key(line, "upstream");
    match &record.upstream {
        Some(upstream) => {
            line.push(b'"');
            display(line, upstream);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
    key(line, "reused");
    line.extend_from_slice(if record.reused { b"true" } else { b"false" });
    number(line, "bytes_in", Some(record.bytes_in));
    number(line, "bytes_out", Some(record.bytes_out));
    milliseconds(line, "dns_ms", record.dns);
    milliseconds(line, "connect_ms", record.connect);
    milliseconds(line, "ttfb_ms", record.first_byte);
    milliseconds(line, "duration_ms", Some(record.duration));
    text(line, "close", Some(record.close));
    line.extend_from_slice(b"}\n");
}

fn key(line: &mut Vec<u8>, name: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

fn text(line: &mut Vec<u8>, name: &str, value: Option<&str>) {
    key(line, name);
    match value {
        Some(value) => quoted(line, value.as_bytes()),
        None => line.extend_from_slice(b"null"),
    }
}

fn number(line: &mut Vec<u8>, name: &str, value: Option<u64>) {
    key(line, name);
    match value {
        Some(value) => decimal(line, value),
        None => line.extend_from_slice(b"null"),
    }
}

/// Milliseconds with three decimals.
fn milliseconds(line: &mut Vec<u8>, name: &str, value: Option<Duration>) {
    key(line, name);
    let Some(value) = value else {
        line.extend_from_slice(b"null");
        return;
    };
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    decimal(line, micros / 1000);
    line.push(b'.');
    digits(line, micros % 1000, 3);
}

fn path(line: &mut Vec<u8>, path: &[u8], keep_query: bool) {
    line.push(b'"');
    let query = path.iter().position(|byte| *byte == b'?').filter(|_| !keep_query);
    escaped(line, &path[..query.unwrap_or(path.len())]);
    if query.is_some() {
        line.extend_from_slice(REDACTED);
    }
    line.push(b'"');
}

fn quoted(line: &mut Vec<u8>, value: &[u8]) {
    line.push(b'"');
    escaped(line, value);
    line.push(b'"');
}

/// The inside of a JSON string. What is no UTF-8 becomes U+FFFD.
fn escaped(line: &mut Vec<u8>, value: &[u8]) {
    let cut = value.len() > MAX_TEXT;
    let value = if cut { &value[..MAX_TEXT] } else { value };
    for chunk in value.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
                // DEL is valid in JSON, but nothing for a terminal.
                0..=0x1f | 0x7f => {
                    line.extend_from_slice(b"\\u00");
                    line.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
                _ => line.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            line.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if cut {
        line.extend_from_slice("…".as_bytes());
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// For types whose `Display` needs no escape: addresses, host names, ids.
fn display(line: &mut Vec<u8>, value: &dyn fmt::Display) {
    struct Appender<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Appender<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            escaped(self.0, text.as_bytes());
            Ok(())
        }
    }
    // Writing to memory cannot fail.
    let _ = write!(Appender(line), "{value}");
}

fn decimal(line: &mut Vec<u8>, mut value: u64) {
    let mut places = [0; 20];
    let mut at = places.len();
    loop {
        at -= 1;
        places[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(&places[at..]);
}

fn digits(line: &mut Vec<u8>, mut value: u64, places: usize) {
    let start = line.len();
    line.resize(start + places, b'0');
    for place in line[start..].iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// RFC 3339 in UTC with milliseconds. The text of the second is kept: most records share it with the one before.
fn timestamp(at: SystemTime, line: &mut Vec<u8>) {
    thread_local! {
        static LAST: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
    }
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut written) = LAST.get();
    if second != since.as_secs() {
        second = since.as_secs();
        written = date_and_time(second);
        LAST.set((second, written));
    }
    line.extend_from_slice(&written);
    line.push(b'.');
    digits(line, u64::from(since.subsec_millis()), 3);
    line.push(b'Z');
}

/// The time, as it stands in front of a line.
pub(super) fn now() -> String {
    let mut text = Vec::with_capacity(24);
    timestamp(SystemTime::now(), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn date_and_time(seconds: u64) -> [u8; 19] {
    let (year, month, day) = civil(seconds / 86_400);
    let time = seconds % 86_400;
    let mut text = Vec::with_capacity(19);
    digits(&mut text, year, 4);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', time / 3600), (b':', time / 60 % 60), (b':', time % 60)]
    {
        text.push(mark);
        digits(&mut text, value, 2);
    }
    text.try_into().expect("19 places were written")
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &[u8]) -> AccessRecord<'_> {
        AccessRecord {
            at: UNIX_EPOCH + Duration::from_millis(1_709_210_096_007),
            id: &"0abc",
            worker: Some(3),
            client: "127.0.0.1:5000".parse().unwrap(),
            user: None,
            method: Some("GET"),
            scheme: Some("http"),
            host: Some(&"a.test"),
            port: Some(80),
            path,
            keep_query: false,
            proto: "HTTP/1.1",
            status: Some(200),
            error: None,
            rule: Some("access.clients"),
            route: Some("direct"),
            upstream: Some("[::1]:80".parse().unwrap()),
            reused: true,
            bytes_in: 0,
            bytes_out: u64::MAX,
            dns: None,
            connect: Some(Duration::from_micros(1_234)),
            first_byte: Some(Duration::from_millis(20)),
            duration: Duration::from_secs(1),
            close: "complete",
        }
    }

    fn written(record: &AccessRecord<'_>) -> serde_json::Value {
        let mut line = Vec::new();
        json(record, &mut line);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&line)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&line)))
    }

    #[test]
    fn a_record_has_every_field() {
        let value = written(&record(b"/a?token=secret"));
        let expected = serde_json::json!({
            "ts": "2024-02-29T12:34:56.007Z", "id": "0abc", "worker": 3, "client": "127.0.0.1:5000", "user": null,
            "method": "GET", "scheme": "http", "host": "a.test", "port": 80, "path": "/a?redacted",
            "proto": "HTTP/1.1", "status": 200, "error": null, "rule": "access.clients", "route": "direct",
            "upstream": "[::1]:80", "reused": true, "bytes_in": 0, "bytes_out": u64::MAX, "dns_ms": null,
            "connect_ms": 1.234, "ttfb_ms": 20.0, "duration_ms": 1000.0, "close": "complete",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn the_query_is_shown_when_asked_for() {
        let mut shown = record(b"/a?b=c");
        shown.keep_query = true;
        assert_eq!(written(&shown)["path"], "/a?b=c");
    }

    #[test]
    fn any_bytes_make_a_valid_line() {
        let all: Vec<u8> = (0..=255).collect();
        assert!(written(&record(&all))["path"].is_string());
        // A small generator with a fixed seed: the same bytes each time.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for length in 0..500_usize {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 32) as u8
                })
                .collect();
            written(&record(&bytes));
        }
        let long = written(&record(&vec![b'a'; 100_000]));
        assert!(long["path"].as_str().unwrap().len() < MAX_TEXT + 8);
    }

    #[test]
    fn dates_are_right() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_827_696, "2000-02-29T12:34:56"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(std::str::from_utf8(&date_and_time(seconds)).unwrap(), expected);
        }
    }
}
