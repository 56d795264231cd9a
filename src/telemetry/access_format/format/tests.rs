//! Lines of every form: what they say, and that they are lines whatever a client sends.

use std::{
    net::Ipv6Addr,
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use super::*;
use crate::net::authority::Host;

static HOST: LazyLock<Host> = LazyLock::new(|| Host::Name("a.test".into()));
const ADDRESS: Host = Host::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

const FORMATS: [Format; 4] = [Format::Json, Format::Common, Format::Combined, Format::Squid];

fn record(path: &[u8]) -> AccessRecord<'_> {
    AccessRecord {
        at: UNIX_EPOCH + Duration::from_millis(1_709_210_096_007),
        id: b"0abc",
        worker: Some(3),
        client: "127.0.0.1:5000".parse().unwrap(),
        user: None,
        method: Some("GET"),
        scheme: Some("http"),
        host: Some(&HOST),
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
        bytes_out: 512,
        dns: None,
        connect: Some(Duration::from_micros(1_234)),
        first_byte: Some(Duration::from_millis(20)),
        duration: Duration::from_secs(1),
        traceparent: None,
        close: "complete",
    }
}

/// A tunnel of a known user.
fn tunnel() -> AccessRecord<'static> {
    AccessRecord {
        user: Some("ann lee"),
        method: Some("CONNECT"),
        scheme: None,
        host: Some(&ADDRESS),
        port: Some(443),
        upstream: Some("192.0.2.1:443".parse().unwrap()),
        duration: Duration::from_millis(1_234_567),
        ..record(b"")
    }
}

fn garbled(line: &[u8]) -> AccessRecord<'_> {
    AccessRecord {
        method: None,
        scheme: None,
        host: None,
        port: None,
        status: Some(400),
        error: Some("http_request_error"),
        upstream: None,
        bytes_out: 0,
        ..record(line)
    }
}

fn line(format: Format, record: &AccessRecord<'_>) -> String {
    let mut line = Vec::new();
    format.append(record, &mut line);
    assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
    assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
    line.pop();
    let line = String::from_utf8(line).expect("a line is text");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    line
}

fn json(record: &AccessRecord<'_>) -> serde_json::Value {
    let line = line(Format::Json, record);
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_record_has_every_field() {
    let expected = serde_json::json!({
        "ts": "2024-02-29T12:34:56.007Z", "id": "0abc", "worker": 3, "client": "127.0.0.1:5000", "user": null,
        "method": "GET", "scheme": "http", "host": "a.test", "port": 80, "path": "/a?redacted",
        "proto": "HTTP/1.1", "status": 200, "error": null, "rule": "access.clients", "route": "direct",
        "upstream": "[::1]:80", "reused": true, "bytes_in": 0, "bytes_out": u64::MAX, "dns_ms": null,
        "connect_ms": 1.234, "ttfb_ms": 20.0, "duration_ms": 1000.0, "close": "complete",
    });
    assert_eq!(json(&AccessRecord { bytes_out: u64::MAX, ..record(b"/a?token=secret") }), expected);
    let nothing = json(&AccessRecord { worker: None, status: None, close: "client", ..garbled(b"") });
    for unknown in
        ["worker", "user", "method", "scheme", "host", "port", "path", "status", "upstream", "dns_ms"]
    {
        assert!(nothing[unknown].is_null(), "{unknown}");
    }
    assert_eq!(nothing.as_object().map(serde_json::Map::len), expected.as_object().map(serde_json::Map::len));
}

#[test]
fn a_query_is_shown_when_the_record_says_so() {
    for (format, hidden, shown) in [
        (Format::Json, r#""path":"/a?redacted""#, r#""path":"/a?b=c""#),
        (Format::Common, "http://a.test/a?redacted HTTP", "http://a.test/a?b=c HTTP"),
        (Format::Squid, "http://a.test/a?redacted -", "http://a.test/a?b=c -"),
    ] {
        assert!(line(format, &record(b"/a?b=c")).contains(hidden));
        assert!(line(format, &AccessRecord { keep_query: true, ..record(b"/a?b=c") }).contains(shown));
    }
}

#[test]
fn common_and_combined() {
    for (record, expected) in [
        (
            record(b"/a"),
            r#"127.0.0.1 - - [29/Feb/2024:12:34:56 +0000] "GET http://a.test/a HTTP/1.1" 200 512"#,
        ),
        (
            tunnel(),
            r#"127.0.0.1 - ann%20lee [29/Feb/2024:12:34:56 +0000] "CONNECT [2001:db8::1]:443 HTTP/1.1" 200 512"#,
        ),
        (garbled(b"\x16\x03\" x"), r#"127.0.0.1 - - [29/Feb/2024:12:34:56 +0000] "\x16\x03\" x" 400 -"#),
        (
            AccessRecord { status: None, ..garbled(b"") },
            r#"127.0.0.1 - - [29/Feb/2024:12:34:56 +0000] "-" - -"#,
        ),
    ] {
        assert_eq!(line(Format::Common, &record), expected);
        assert_eq!(line(Format::Combined, &record), format!(r#"{expected} "-" "-""#));
    }
}

#[test]
fn squid() {
    let denied = AccessRecord {
        status: Some(403),
        error: Some("http_request_denied"),
        upstream: None,
        bytes_out: 9,
        ..record(b"/a b")
    };
    let aborted = AccessRecord { close: "client", status: None, port: Some(81), ..record(b"/") };
    for (record, expected) in [
        (
            record(b"/a"),
            "1709210097.007   1000 127.0.0.1 TCP_MISS/200 512 GET http://a.test/a - HIER_DIRECT/::1 -",
        ),
        (
            tunnel(),
            "1709211330.574 1234567 127.0.0.1 TCP_TUNNEL/200 512 CONNECT [2001:db8::1]:443 ann%20lee HIER_DIRECT/192.0.2.1 -",
        ),
        (denied, "1709210097.007   1000 127.0.0.1 TCP_DENIED/403 9 GET http://a.test/a%20b - HIER_NONE/- -"),
        (
            garbled(b"x"),
            "1709210097.007   1000 127.0.0.1 NONE_NONE/400 0 - error:invalid-request - HIER_NONE/- -",
        ),
        (
            aborted,
            "1709210097.007   1000 127.0.0.1 TCP_MISS_ABORTED/000 512 GET http://a.test:81/ - HIER_DIRECT/::1 -",
        ),
    ] {
        assert_eq!(line(Format::Squid, &record), expected);
    }
}

#[test]
fn any_bytes_make_a_line_of_every_form() {
    let all: Vec<u8> = (0..=255).collect();
    let mut paths =
        vec![all, vec![b'a'; 100_000], vec![0; 100_000], vec![0xff; 100_000], "é".repeat(9_999).into()];
    // A small generator with a fixed seed: the same bytes each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for length in 0..500_usize {
        let bytes = (0..length).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        paths.push(bytes.collect());
    }
    for path in &paths {
        for keep_query in [true, false] {
            let told = String::from_utf8_lossy(path);
            let host = Host::Name((&*told).into());
            // Everything that somebody else chooses at once, and at its longest.
            let worst = AccessRecord {
                id: told.as_bytes(),
                worker: Some(usize::MAX),
                client: "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535".parse().unwrap(),
                user: Some(&told),
                method: Some(&told),
                scheme: Some("http"),
                host: Some(&host),
                keep_query,
                proto: "HTTP/1.1",
                error: Some("http_response_header_section_size"),
                rule: Some(&told),
                route: Some(&told),
                bytes_in: u64::MAX,
                bytes_out: u64::MAX,
                dns: Some(Duration::MAX),
                connect: Some(Duration::MAX),
                first_byte: Some(Duration::MAX),
                duration: Duration::MAX,
                close: "tunnel_idle",
                ..record(path)
            };
            for format in FORMATS {
                line(format, &worst);
                line(format, &garbled(path));
            }
            assert!(json(&worst)["host"].is_string());
            assert_eq!(json(&garbled(path))["path"].is_string(), !path.is_empty());
        }
    }
}
