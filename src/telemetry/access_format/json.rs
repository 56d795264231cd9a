//! An access record as a JSON object, with every field of every record: unknown is `null`. Only `traceparent` is left out where there
//! is none, as there is in most places.

use std::time::Duration;

use super::{
    super::{
        access_record::AccessRecord,
        append::{address, decimal, host, rfc3339, thousandths},
        escape::{self, Json},
    },
    format::{self, USER, WORD},
};

/// Appends `record` and a line feed to `line`.
pub(super) fn append(record: &AccessRecord<'_>, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"ts\":\"");
    rfc3339(line, record.at);
    line.extend_from_slice(b"\",\"id\":\"");
    escape::text::<Json>(line, record.id, WORD);
    line.push(b'"');
    number(line, b",\"worker\":", record.worker.map(|worker| worker as u64));
    line.extend_from_slice(b",\"client\":\"");
    address(line, &record.client);
    line.push(b'"');
    text(line, b",\"user\":", record.user, USER);
    text(line, b",\"method\":", record.method, WORD);
    own(line, b",\"scheme\":", record.scheme);
    string(line, b",\"host\":", record.host, host::<Json>);
    number(line, b",\"port\":", record.port.map(u64::from));
    let path = Some(()).filter(|()| !record.path.is_empty());
    string(line, b",\"path\":", path, |line, ()| format::path::<Json>(line, record));
    own(line, b",\"proto\":", Some(record.proto));
    number(line, b",\"status\":", record.status.map(u64::from));
    own(line, b",\"error\":", record.error);
    text(line, b",\"rule\":", record.rule, WORD);
    text(line, b",\"route\":", record.route, WORD);
    string(line, b",\"upstream\":", record.upstream.as_ref(), address);
    line.extend_from_slice(if record.reused { b",\"reused\":true" } else { b",\"reused\":false" });
    number(line, b",\"bytes_in\":", Some(record.bytes_in));
    number(line, b",\"bytes_out\":", Some(record.bytes_out));
    milliseconds(line, b",\"dns_ms\":", record.dns);
    milliseconds(line, b",\"connect_ms\":", record.connect);
    milliseconds(line, b",\"ttfb_ms\":", record.first_byte);
    milliseconds(line, b",\"duration_ms\":", Some(record.duration));
    own(line, b",\"close\":", Some(record.close));
    if record.traceparent.is_some() {
        text(line, b",\"traceparent\":", record.traceparent, WORD);
    }
    line.extend_from_slice(b"}\n");
}

fn string<T>(line: &mut Vec<u8>, key: &[u8], value: Option<T>, append: impl FnOnce(&mut Vec<u8>, T)) {
    line.extend_from_slice(key);
    match value {
        Some(value) => {
            line.push(b'"');
            append(line, value);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
}

/// A word of ours, in which there is nothing to be escaped.
fn own(line: &mut Vec<u8>, key: &[u8], value: Option<&'static str>) {
    string(line, key, value, |line, value| line.extend_from_slice(value.as_bytes()));
}

fn text(line: &mut Vec<u8>, key: &[u8], value: Option<&str>, room: usize) {
    string(line, key, value, |line, value| {
        escape::text::<Json>(line, value.as_bytes(), room);
    });
}

fn number(line: &mut Vec<u8>, key: &[u8], value: Option<u64>) {
    line.extend_from_slice(key);
    match value {
        Some(value) => decimal(line, value),
        None => line.extend_from_slice(b"null"),
    }
}

/// Milliseconds with three decimals.
fn milliseconds(line: &mut Vec<u8>, key: &[u8], value: Option<Duration>) {
    line.extend_from_slice(key);
    let Some(value) = value else {
        line.extend_from_slice(b"null");
        return;
    };
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    thousandths(line, micros);
}
