//! An access record in Squid's native format, which the analysers of proxy logs read.
//!
//! `%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt` in Squid's own words: end of the exchange, duration in
//! milliseconds, client, what was done and status, bytes, method, URL, user, hierarchy and server, type of content.

use super::{
    super::{
        access_record::AccessRecord,
        append::{decimal, digits, epoch, ip},
        escape::{self, Word},
        names::ProxyErrorType,
    },
    format::{self, USER, WORD},
};

/// Appends `record` and a line feed to `line`.
pub(super) fn append(record: &AccessRecord<'_>, line: &mut Vec<u8>) {
    epoch(line, record.at.checked_add(record.duration).unwrap_or(record.at));
    line.push(b' ');
    let milliseconds = u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX);
    let places = milliseconds.checked_ilog10().unwrap_or(0) as usize + 1;
    line.resize(line.len() + 6_usize.saturating_sub(places), b' ');
    decimal(line, milliseconds);
    line.push(b' ');
    ip(line, &record.client.ip());
    line.push(b' ');
    line.extend_from_slice(deed(record).as_bytes());
    line.push(b'/');
    digits(line, u64::from(record.status.unwrap_or(0)), 3);
    line.push(b' ');
    decimal(line, record.bytes_out);
    line.push(b' ');
    match record.method {
        Some(method) => {
            escape::text::<Word>(line, method.as_bytes(), WORD);
            line.push(b' ');
            let start = line.len();
            format::url::<Word>(line, record);
            if line.len() == start {
                line.push(b'-');
            }
        }
        None => line.extend_from_slice(b"- error:invalid-request"),
    }
    line.push(b' ');
    match record.user {
        Some(user) if !user.is_empty() => {
            escape::text::<Word>(line, user.as_bytes(), USER);
        }
        _ => line.push(b'-'),
    }
    match &record.upstream {
        Some(upstream) => {
            line.extend_from_slice(b" HIER_DIRECT/");
            ip(line, &upstream.ip());
        }
        None => line.extend_from_slice(b" HIER_NONE/-"),
    }
    line.extend_from_slice(b" -\n");
}

/// What was done with the request, in Squid's result codes. There is no cache, so all that was forwarded missed it.
fn deed(record: &AccessRecord<'_>) -> &'static str {
    let is_denied = record.error == Some(ProxyErrorType::HttpRequestDenied.name());
    match (record.method, record.upstream, record.status) {
        (None, ..) => "NONE_NONE",
        _ if is_denied => "TCP_DENIED",
        (Some("CONNECT"), Some(_), Some(200)) => "TCP_TUNNEL",
        (_, Some(_), _) if record.close == "client" => "TCP_MISS_ABORTED",
        (_, Some(_), _) => "TCP_MISS",
        (_, None, _) => "NONE_NONE",
    }
}
