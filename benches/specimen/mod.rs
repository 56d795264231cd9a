//! What the benches measure on: the head that a browser sends, the record of such a request, and short and long lists of rules.

#![allow(dead_code, reason = "each bench takes what it needs")]

use std::{
    hint::black_box,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use rust_forward_proxy::{
    config::{
        self, Sources,
        settings::{
            AccessSettings, Conditions, DestinationPattern, FieldSettings, RouteSettings, RouteTimeouts,
            RouteVia,
        },
    },
    message::{
        head::{HeadFacts, HeadLimits},
        hop_by_hop::HopByHop,
        onward::{RequestOnward, write_request},
        trace::{ClientAddress, Pseudonym},
    },
    net::{
        authority::{Authority, Host},
        filter::{NetPattern, NetSet},
    },
    policy::Routes,
    telemetry::access_record::AccessRecord,
};

pub(crate) const BROWSER: &[u8] =
    b"GET http://example.com/assets/app.js?v=3f2a HTTP/1.1\r\nHost: example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\nReferer: http://example.com/\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nProxy-Connection: keep-alive\r\n\
    Connection: keep-alive\r\nPriority: u=2\r\n\r\n";

pub(crate) const LIMITS: HeadLimits = HeadLimits { max_bytes: 65_536, max_headers: 100 };

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
    let mut access = config::load(&Sources::default()).expect("the defaults are right").settings.access;
    access.clients = vec![NetPattern::Set(NetSet::Private)];
    access.deny = names.chain(prefixes).chain([NetSet::Special.into()]).collect::<Vec<_>>().into();
    access.allow = vec![DestinationPattern::Suffix("good.test".to_owned())].into();
    access
}

/// No routes: everything goes to its host.
pub(crate) fn routes() -> Routes {
    Routes::new(&config::load(&Sources::default()).expect("the defaults are right").settings)
}

/// So many routes, each for a host of its own, and one for all of a port in every thousand.
pub(crate) fn routes_by_host(count: usize) -> Routes {
    let mut settings = config::load(&Sources::default()).expect("the defaults are right").settings;
    let route = |index: usize| {
        let name = format!("host-{index}.example-{}.com", index % 977);
        let (hosts, ports) = match index % 1_000 {
            999 => (vec![], vec![1]),
            index if index % 2 == 0 => (vec![DestinationPattern::Host(name)], vec![]),
            _ => (vec![DestinationPattern::Suffix(name)], vec![]),
        };
        RouteSettings {
            name: None,
            conditions: Conditions { hosts, ports, ..Conditions::default() },
            via: RouteVia::Direct,
            reports_only: false,
            headers: FieldSettings::default(),
            max_body_size: None,
            timeouts: RouteTimeouts::default(),
        }
    };
    settings.routes = (0..count).map(route).collect();
    Routes::new(&settings)
}

/// Writes the head of [`BROWSER`] for the next hop, as a request is forwarded; whether it has been here already.
pub(crate) fn send_on(
    facts: &HeadFacts<'_>,
    pseudonym: &Pseudonym,
    origin: &Authority,
    out: &mut Vec<u8>,
) -> bool {
    let fields = facts.fields.of(black_box(BROWSER));
    let hop_by_hop = HopByHop::read(fields.clone());
    let onward = RequestOnward {
        method: b"GET",
        target: b"/assets/app.js?v=3f2a",
        origin,
        default_port: 80,
        received: facts.version,
        framing: facts.framing,
        via: Some(pseudonym),
        client_address: ClientAddress::Off,
        client: [192, 0, 2, 1].into(),
        request_id: None,
        edits: None,
        max_forwards: None,
        keep_case: false,
    };
    let is_looped = pseudonym.has_signed(fields.clone());
    write_request(out, &onward, &hop_by_hop, fields);
    is_looped
}

static HOST: LazyLock<Host> = LazyLock::new(|| Host::Name("www.example.com".into()));

/// A request of a browser that was answered.
pub(crate) fn record(path: &[u8]) -> AccessRecord<'_> {
    AccessRecord {
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_750_000_000_123),
        id: b"0123456789abcdef",
        worker: Some(3),
        client: "192.0.2.77:51234".parse().expect("it is an address"),
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
        traceparent: None,
        close: "complete",
    }
}
