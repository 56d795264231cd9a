//! The forms of a line, and what they share: how much of each text is shown.

use super::{
    super::{
        access_record::AccessRecord,
        append,
        escape::{self, Escape},
    },
    clf, json, squid,
};

/// No line is longer, its line feed included.
pub const MAX_LINE: usize = 4096;

/// What is shown of a path at most, in bytes as they are written.
pub(super) const PATH: usize = 2048;

/// Names of users.
pub(super) const USER: usize = 256;

/// Words that are ours or should be short: a method, an id, a rule.
pub(super) const WORD: usize = 128;

/// What stands in place of a query.
const REDACTED: &[u8] = b"?redacted";

/// The form of a line (`access_log.format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object with all fields.
    #[default]
    Json,
    /// The Common Log Format of Apache.
    Common,
    /// The same with referrer and user agent. They are not recorded: they tell where a person has been, so both are `-`.
    Combined,
    /// The native format of Squid.
    Squid,
}

impl Format {
    /// Appends `record` and a line feed to `line`.
    pub fn append(self, record: &AccessRecord<'_>, line: &mut Vec<u8>) {
        match self {
            Self::Json => json::append(record, line),
            Self::Common => clf::append(record, line, b""),
            Self::Combined => clf::append(record, line, br#" "-" "-""#),
            Self::Squid => squid::append(record, line),
        }
    }
}

/// The path, with what is shown of its query.
pub(super) fn path<E: Escape>(line: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let query = memchr::memchr(b'?', record.path).filter(|_| !record.keep_query);
    escape::text::<E>(line, &record.path[..query.unwrap_or(record.path.len())], PATH);
    if query.is_some() {
        line.extend_from_slice(REDACTED);
    }
}

/// What was asked for, as a URL; `host:port` for a tunnel. Nothing is appended where nothing is known.
pub(super) fn url<E: Escape>(line: &mut Vec<u8>, record: &AccessRecord<'_>) {
    if let Some(scheme) = record.scheme {
        escape::text::<E>(line, scheme.as_bytes(), WORD);
        line.extend_from_slice(b"://");
    }
    if let Some(host) = record.host {
        append::host::<E>(line, host);
        let usual = match record.scheme {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        };
        if let Some(port) = record.port.filter(|port| Some(*port) != usual) {
            line.push(b':');
            append::decimal(line, u64::from(port));
        }
    }
    path::<E>(line, record);
}

#[cfg(test)]
mod tests;
