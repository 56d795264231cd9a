//! The instructions that the pure parts of a request take, counted by valgrind: the same on a busy machine as on a quiet one, so
//! that a few per cent more are seen. `scripts/check_instructions.sh` compares them with `benches/instructions.json`.

#![allow(missing_docs, unused_qualifications, reason = "the macros write public modules, and whole paths")]
#![allow(clippy::exit, clippy::disallowed_methods, reason = "so they end the process")]

mod specimen;

use std::hint::black_box;

use gungraun::{Callgrind, prelude::*};
use http::Method;
use rust_forward_proxy::{
    config::settings::AskedBy,
    message::{
        framing::{ChunkLimits, ChunkScan},
        head::{HeadFacts, check_request_head, find_end},
        target::Target,
        trace::Pseudonym,
    },
    net::{authority::Authority, own::OwnListeners},
    policy::{Facts, Policy},
    shared_memory::Histogram,
    telemetry::{access_format::Format, access_record::AccessRecord},
};

use specimen::{BROWSER, DESTINATIONS, LIMITS, USUAL_PATH, record, routes, rules, send_on};

#[library_benchmark]
fn head_end() -> Option<usize> {
    find_end(black_box(BROWSER), 0)
}

#[library_benchmark]
fn head_check() -> Option<usize> {
    check_request_head(black_box(BROWSER), LIMITS).map(|facts| facts.fields.len()).ok()
}

fn checked() -> (HeadFacts<'static>, Pseudonym, Authority, Vec<u8>) {
    let facts = check_request_head(BROWSER, LIMITS).expect("a request");
    let origin = Authority::parse("example.com", Some(80)).expect("an authority");
    (facts, Pseudonym::parse("gate-8080").expect("a pseudonym"), origin, Vec::with_capacity(4096))
}

#[library_benchmark]
#[bench::of_a_browser(setup = checked)]
fn head_sent_on(
    (facts, pseudonym, origin, mut out): (HeadFacts<'static>, Pseudonym, Authority, Vec<u8>),
) -> (usize, HeadFacts<'static>, Pseudonym, Authority, Vec<u8>) {
    send_on(&facts, &pseudonym, &origin, &mut out);
    (out.len(), facts, pseudonym, origin, out)
}

#[library_benchmark]
#[bench::absolute(Method::GET, b"http://www.example.com:8080/assets/app.js?v=3f2a")]
#[bench::authority(Method::CONNECT, b"www.example.com:443")]
fn target(method: Method, raw: &[u8]) -> bool {
    Target::parse(black_box(&method), black_box(raw)).is_ok()
}

fn chunked() -> Vec<u8> {
    let mut body = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(64);
    body.push_str("0\r\n\r\n");
    body.into_bytes()
}

#[library_benchmark]
#[bench::of_1_kib(setup = chunked)]
fn chunks(body: Vec<u8>) -> bool {
    ChunkScan::new(ChunkLimits::default()).feed(black_box(&body)).is_ok()
}

/// The policy has been asked once: what is built at the first question is not counted.
fn policy(names: u32, prefixes: u32, destination: usize) -> (Policy, Authority) {
    let policy = Policy::new(&rules(names, prefixes), routes(), &OwnListeners::new(vec![]));
    let authority = Authority::parse(DESTINATIONS[destination].1, None).expect("an authority");
    black_box(decided(&policy, &authority));
    (policy, authority)
}

fn decided(policy: &Policy, authority: &Authority) -> bool {
    let facts = Facts {
        client: [10, 0, 0, 7].into(),
        client_is_local: false,
        method: &Method::CONNECT,
        asked_by: AskedBy::Connect,
        authority,
        user: None,
        path: None,
    };
    policy.decide(black_box(&facts)).is_ok()
}

// `few_` and `many_` of the same name are a pair: a long list is not to be dearer than a short one.
#[library_benchmark]
#[bench::few_passes(args = (1, 1, 0), setup = policy)]
#[bench::many_passes(args = (100_000, 1_000, 0), setup = policy)]
#[bench::many_suffix(args = (100_000, 1_000, 1), setup = policy)]
#[bench::few_literal(args = (1, 1, 2), setup = policy)]
#[bench::many_literal(args = (100_000, 1_000, 2), setup = policy)]
fn decide((policy, authority): (Policy, Authority)) -> (bool, Policy, Authority) {
    // They are given back, for what it takes to throw a long list away is no part of a decision.
    (decided(&policy, &authority), policy, authority)
}

fn nasty() -> Vec<u8> {
    (0..=255).cycle().take(2000).collect()
}

fn formatted(format: Format, record: &AccessRecord<'_>, line: &mut Vec<u8>) -> usize {
    format.append(black_box(record), line);
    line.len()
}

#[library_benchmark]
#[bench::json(Format::Json, USUAL_PATH.to_vec())]
#[bench::json_escaped(Format::Json, nasty())]
#[bench::combined(Format::Combined, USUAL_PATH.to_vec())]
#[bench::squid(Format::Squid, USUAL_PATH.to_vec())]
fn access_record(format: Format, path: Vec<u8>) -> (usize, Vec<u8>) {
    let mut line = Vec::with_capacity(8192);
    (formatted(format, &record(&path), &mut line), path)
}

#[library_benchmark]
fn duration_counted() -> Histogram {
    let histogram = Histogram::default();
    histogram.add(black_box(12_345));
    histogram
}

library_benchmark_group!(
    name = request,
    benchmarks =
        [head_end, head_check, head_sent_on, target, chunks, decide, access_record, duration_counted]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = request
);
