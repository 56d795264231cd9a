//! What a decision costs with long lists: 100,000 names, 1,000 prefixes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use rust_forward_proxy::{
    config::{
        self, Sources,
        settings::{AccessMode, AccessSettings, DestinationPattern},
    },
    net::{
        authority::Authority,
        filter::{NetPattern, NetSet},
        own::OwnListeners,
    },
    policy::{Facts, Policy},
};

fn settings(names: u32, prefixes: u32) -> AccessSettings {
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
        deny: names.chain(prefixes).chain([NetSet::Special.into()]).collect::<Vec<_>>().into(),
        allow: vec![DestinationPattern::Suffix("good.test".to_owned())].into(),
        connect_ports: vec![443],
        users_file: None,
        realm: String::new(),
        local_client_bypass: true,
    }
}

fn decide(c: &mut Criterion) {
    let own = OwnListeners::new(vec![]);
    let cases = [
        ("passes", "www.some-other-host.example.org:443"),
        ("refused by suffix", "a.b.host-99999.example-345.com:443"),
        ("literal", "203.0.114.9:443"),
    ];
    for (size, names, prefixes) in [("1 name", 1, 1), ("100,000 names, 1,000 prefixes", 100_000, 1_000)] {
        let policy = Policy::new(&settings(names, prefixes), &own);
        let mut group = c.benchmark_group(format!("policy/decide/{size}"));
        for (what, target) in cases {
            let authority = Authority::parse(target, None).expect("an authority");
            let facts = Facts {
                client: [10, 0, 0, 7].into(),
                client_is_local: false,
                method: &Method::CONNECT,
                connect: true,
                authority: &authority,
                user: None,
                path: None,
            };
            group.bench_function(what, |b| b.iter(|| policy.decide(black_box(&facts)).is_ok()));
        }
    }
}

fn load(c: &mut Criterion) {
    let settings = settings(100_000, 1_000);
    let own = OwnListeners::new(vec![]);
    let mut group = c.benchmark_group("policy");
    group.sample_size(10);
    group.bench_function("load 100,000 names", |b| b.iter(|| Policy::new(black_box(&settings), &own)));
    // From the text of a file to the rules.
    let list: String =
        (0..100_000).map(|number| format!("host-{number}.example-{}.com\n", number % 977)).collect();
    let text = "access: { destinations: { deny: [special, \"@names\"] } }\n";
    let sources = Sources {
        text: Some(("config.yml".into(), text.to_owned())),
        files: Some(vec![("names".into(), list)]),
        ..Sources::default()
    };
    let read = || Policy::new(&config::load(&sources).expect("it is right").settings.access, &own);
    let fastest = (0..10).map(|_| {
        let begun = Instant::now();
        black_box(read());
        begun.elapsed()
    });
    let fastest = fastest.min().expect("ten of them");
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    group.bench_function("read a file of 100,000 names and load it", |b| b.iter(read));
}

criterion_group!(benches, decide, load);
criterion_main!(benches);
