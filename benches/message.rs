//! What a message costs: judging a head, writing it for the next hop, walking over chunks.

mod specimen;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rust_forward_proxy::{
    message::{
        framing::{ChunkLimits, ChunkScan},
        head::{check_request_head, find_end},
        trace::{Pseudonym, RequestId},
    },
    net::authority::Authority,
};

use specimen::{BROWSER, LIMITS, send_on};

fn head(c: &mut Criterion) {
    c.bench_function("message/find_end", |b| b.iter(|| find_end(black_box(BROWSER), 0)));
    c.bench_function("message/check_request_head", |b| {
        b.iter(|| check_request_head(black_box(BROWSER), LIMITS).map(|facts| facts.fields.len()));
    });
}

fn onward(c: &mut Criterion) {
    let pseudonym = Pseudonym::parse("gate-8080").expect("a pseudonym");
    let facts = check_request_head(BROWSER, LIMITS).expect("a request");
    let origin = Authority::parse("example.com", Some(80)).expect("an authority");
    let mut out = Vec::with_capacity(4096);
    c.bench_function("message/write_request", |b| {
        b.iter(|| {
            out.clear();
            send_on(&facts, &pseudonym, &origin, &mut out)
        });
    });
    c.bench_function("message/request_id", |b| b.iter(RequestId::next));
}

fn chunks(c: &mut Criterion) {
    let mut body = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(64);
    body.push_str("0\r\n\r\n");
    let mut group = c.benchmark_group("message/chunk_scan");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("64 chunks of 1 KiB", |b| {
        b.iter(|| ChunkScan::new(ChunkLimits::default()).feed(black_box(body.as_bytes())));
    });
}

criterion_group!(benches, head, onward, chunks);
criterion_main!(benches);
