//! What a decision costs with long lists: 100,000 names, 1,000 prefixes, 10,000 routes.

mod specimen;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use rust_forward_proxy::{
    config::{self, Sources, settings::AskedBy},
    net::{authority::Authority, own::OwnListeners},
    policy::{Facts, Policy},
};

use specimen::{DESTINATIONS, routes, routes_by_host, rules};

fn decide(c: &mut Criterion) {
    let own = OwnListeners::new(vec![]);
    for (size, names, prefixes) in [("1 name", 1, 1), ("100,000 names, 1,000 prefixes", 100_000, 1_000)] {
        let policy = Policy::new(&rules(names, prefixes), routes(), &own);
        let mut group = c.benchmark_group(format!("policy/decide/{size}"));
        for (what, target) in DESTINATIONS {
            let authority = Authority::parse(target, None).expect("an authority");
            let facts = Facts {
                client: [10, 0, 0, 7].into(),
                client_is_local: false,
                method: &Method::CONNECT,
                asked_by: AskedBy::Connect,
                authority: &authority,
                user: None,
                path: None,
            };
            group.bench_function(what, |b| b.iter(|| policy.decide(black_box(&facts)).is_ok()));
        }
    }
}

/// Routes by host: ten thousand of them are to cost no more than a microsecond.
fn route(c: &mut Criterion) {
    for count in [10, 10_000] {
        let routes = routes_by_host(count);
        let mut group = c.benchmark_group(format!("policy/route/{count} routes by host"));
        for (what, target) in [
            ("the first", "host-0.example-0.com:80"),
            ("the last suffix", "a.b.host-9997.example-227.com:80"),
            ("none", "www.some-other-host.example.org:80"),
        ] {
            let authority = Authority::parse(target, None).expect("an authority");
            let facts = Facts {
                client: [10, 0, 0, 7].into(),
                client_is_local: false,
                method: &Method::GET,
                asked_by: AskedBy::Http,
                authority: &authority,
                user: None,
                path: Some(b"/"),
            };
            group
                .bench_function(what, |b| b.iter(|| routes.find(black_box(&facts), true).reported.is_none()));
        }
    }
}

fn load(c: &mut Criterion) {
    let settings = rules(100_000, 1_000);
    let own = OwnListeners::new(vec![]);
    let mut group = c.benchmark_group("policy");
    group.sample_size(10);
    group.bench_function("load 100,000 names", |b| {
        b.iter(|| Policy::new(black_box(&settings), routes(), &own))
    });
    // From the text of a file to the rules.
    let list: String =
        (0..100_000).map(|number| format!("host-{number}.example-{}.com\n", number % 977)).collect();
    let text = "access: { destinations: { deny: [special, \"@names\"] } }\n";
    let sources = Sources {
        text: Some(("config.yml".into(), text.to_owned())),
        files: Some(vec![("names".into(), list)]),
        ..Sources::default()
    };
    let read = || Policy::new(&config::load(&sources).expect("it is right").settings.access, routes(), &own);
    let fastest = (0..10).map(|_| {
        let begun = Instant::now();
        black_box(read());
        begun.elapsed()
    });
    let fastest = fastest.min().expect("ten of them");
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    group.bench_function("read a file of 100,000 names and load it", |b| b.iter(read));
}

criterion_group!(benches, decide, route, load);
criterion_main!(benches);
