//! What the benches measure on: the head that a browser sends, the record of such a request, and short and long lists of rules.

#![allow(dead_code, reason = "each bench takes what it needs")]

use std::time::{Duration, SystemTime};

use rust_forward_proxy::{
    config::settings::{AccessMode, AccessSettings, DestinationPattern},
    net::filter::{NetPattern, NetSet},
    telemetry::access_record::AccessRecord,
};

pub(crate) const BROWSER: &[u8] =
    b"GET http://example.com/assets/app.js?v=3f2a HTTP/1.1\r\nHost: example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\nReferer: http://example.com/\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nProxy-Connection: keep-alive\r\n\
    Connection: keep-alive\r\nPriority: u=2\r\n\r\n";

pub(crate) const USUAL_PATH: &[u8] = b"/images/2024/06/a-photograph-of-a-lighthouse.jpeg?width=640";

/// Destinations that the decision is asked about, and what becomes of them with [`rules`].
pub(crate) const DESTINATIONS: [(&str, &str); 3] = [
    ("passes", "www.some-other-host.example.org:443"),
    ("refused by suffix", "a.b.host-99999.example-345.com:443"),
    ("literal", "203.0.114.9:443"),
];

/// A list of so many names and prefixes.
pub(crate) fn rules(names: u32, prefixes: u32) -> AccessSettings {
    let names = (0..names).map(|index| {
        let name = format!("host-{index}.example-{}.com", index % 977);
        if index % 2 == 0 { DestinationPattern::Host(name) } else { DestinationPattern::Suffix(name) }
    });
    let prefixes = (0..prefixes).map(|index| {
        let prefix = format!("{}.{}.{}.0/24", 20 + index % 100, index / 256, index % 256);
        DestinationPattern::Net(NetPattern::Prefix(prefix.parse().expect("a prefix")))
    });
    AccessSettings {
        mode: AccessMode::Enforce,
        clients: vec![NetPattern::Set(NetSet::Private)],
        deny: names.chain(prefixes).chain([NetSet::Special.into()]).collect(),
        allow: vec![DestinationPattern::Suffix("good.test".to_owned())],
        connect_ports: vec![443],
        local_client_bypass: true,
    }
}

/// A request of a browser that was answered.
pub(crate) fn record(path: &[u8]) -> AccessRecord<'_> {
    AccessRecord {
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_750_000_000_123),
        id: &"0123456789abcdef",
        worker: Some(3),
        client: "192.0.2.77:51234".parse().expect("it is an address"),
        user: None,
        method: Some("GET"),
        scheme: Some("http"),
        host: Some(&"www.example.com"),
        port: Some(80),
        path,
        keep_query: false,
        proto: "HTTP/1.1",
        status: Some(200),
        error: None,
        rule: Some("access.clients[0]"),
        route: Some("direct"),
        upstream: Some("198.51.100.23:80".parse().expect("it is an address")),
        reused: true,
        bytes_in: 0,
        bytes_out: 16_384,
        dns: None,
        connect: None,
        first_byte: Some(Duration::from_micros(12_345)),
        duration: Duration::from_micros(23_456),
        close: "complete",
    }
}
