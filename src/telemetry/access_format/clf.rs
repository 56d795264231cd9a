//! An access record in the Common Log Format, which every analyser of web logs reads.
//!
//! `client ident user [time] "request" status bytes`, as Apache's `mod_log_config` writes it, with its escapes; the
//! request names the whole URL, as it does in a proxy's log.

use super::{
    super::{
        access_record::AccessRecord,
        append::{clf_time, decimal, ip},
        escape::{self, Quoted, Word},
    },
    format::{self, USER, WORD},
};

/// Appends `record`, `tail` and a line feed to `line`.
pub(super) fn append(record: &AccessRecord<'_>, line: &mut Vec<u8>, tail: &[u8]) {
    ip(line, &record.client.ip());
    line.extend_from_slice(b" - ");
    match record.user {
        // A name with a space in it would shift the fields behind it.
        Some(user) if !user.is_empty() => {
            escape::text::<Word>(line, user.as_bytes(), USER);
        }
        _ => line.push(b'-'),
    }
    line.extend_from_slice(b" [");
    clf_time(line, record.at);
    line.extend_from_slice(b"] \"");
    match record.method {
        Some(method) => {
            escape::text::<Quoted>(line, method.as_bytes(), WORD);
            line.push(b' ');
            format::url::<Quoted>(line, record);
            line.push(b' ');
            escape::text::<Quoted>(line, record.proto.as_bytes(), WORD);
        }
        // What was no request is shown as it came.
        None if !record.path.is_empty() => format::path::<Quoted>(line, record),
        None => line.push(b'-'),
    }
    line.extend_from_slice(b"\" ");
    match record.status {
        Some(status) => decimal(line, u64::from(status)),
        None => line.push(b'-'),
    }
    line.push(b' ');
    match record.bytes_out {
        0 => line.push(b'-'),
        bytes => decimal(line, bytes),
    }
    line.extend_from_slice(tail);
    line.push(b'\n');
}
