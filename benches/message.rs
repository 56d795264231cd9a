//! What a message costs: judging a head, writing it for the next hop, walking over chunks.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rust_forward_proxy::{
    message::{
        framing::{ChunkLimits, ChunkScan},
        head::{HeadLimits, check_request_head, find_end},
        hop_by_hop::HopByHop,
        onward::{RequestOnward, write_request},
        trace::{ClientAddress, Pseudonym, RequestId},
    },
    net::authority::Authority,
};

const BROWSER: &str = "GET http://example.com/assets/app.js?v=3f2a HTTP/1.1\r\nHost: example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\nReferer: http://example.com/\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nProxy-Connection: keep-alive\r\n\
    Connection: keep-alive\r\nPriority: u=2\r\n\r\n";

fn head(c: &mut Criterion) {
    let limits = HeadLimits { max_bytes: 65_536, max_headers: 100 };
    c.bench_function("message/find_end", |b| b.iter(|| find_end(black_box(BROWSER.as_bytes()), 0)));
    c.bench_function("message/check_request_head", |b| {
        b.iter(|| check_request_head(black_box(BROWSER.as_bytes()), limits).map(|facts| facts.fields.len()));
    });
}

fn onward(c: &mut Criterion) {
    let pseudonym = Pseudonym::parse("gate-8080").expect("a pseudonym");
    let limits = HeadLimits { max_bytes: 65_536, max_headers: 100 };
    let facts = check_request_head(BROWSER.as_bytes(), limits).expect("a request");
    let origin = Authority::parse("example.com", Some(80)).expect("an authority");
    let mut out = Vec::with_capacity(4096);
    c.bench_function("message/write_request", |b| {
        b.iter(|| {
            out.clear();
            let fields = facts.fields.of(black_box(BROWSER.as_bytes()));
            let hop_by_hop = HopByHop::read(fields.clone());
            let onward = RequestOnward {
                method: b"GET",
                target: b"/assets/app.js?v=3f2a",
                origin: &origin,
                received: facts.version,
                framing: facts.framing,
                via: Some(&pseudonym),
                client_address: ClientAddress::Off,
                client: [192, 0, 2, 1].into(),
                max_forwards: None,
                keep_case: false,
            };
            let looped = pseudonym.has_signed(fields.clone());
            write_request(&mut out, &onward, &hop_by_hop, fields);
            looped
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
