//! What a message costs before and after hyper: judging a head, stripping it, marking it, walking over chunks.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use rust_forward_proxy::message::{
    framing::{ChunkLimits, ChunkScan},
    head::{HeadLimits, check_request_head, find_end},
    hop_by_hop::strip_request,
    trace::{Pseudonym, RequestId},
};

const BROWSER: &str = "GET http://example.com/assets/app.js?v=3f2a HTTP/1.1\r\nHost: example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\nReferer: http://example.com/\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nProxy-Connection: keep-alive\r\n\
    Connection: keep-alive\r\nPriority: u=2\r\n\r\n";

fn fields() -> HeaderMap {
    let lines = BROWSER.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)))
        .map(|(name, value)| (name.expect("a name"), value.expect("a value")))
        .collect()
}

fn head(c: &mut Criterion) {
    let limits = HeadLimits { max_bytes: 65_536, max_headers: 100 };
    c.bench_function("message/find_end", |b| b.iter(|| find_end(black_box(BROWSER.as_bytes()), 0)));
    c.bench_function("message/check_request_head", |b| {
        b.iter(|| check_request_head(black_box(BROWSER.as_bytes()), limits).map(|facts| facts.header_count));
    });
}

fn headers(c: &mut Criterion) {
    let pseudonym = Pseudonym::parse("gate-8080").expect("a pseudonym");
    c.bench_function("message/strip_and_sign", |b| {
        b.iter_batched_ref(
            fields,
            |headers| {
                strip_request(headers);
                let looped = pseudonym.has_signed(headers);
                pseudonym.sign(Version::HTTP_11, headers);
                looped
            },
            BatchSize::SmallInput,
        );
    });
    let mut plain = fields();
    strip_request(&mut plain);
    c.bench_function("message/strip_nothing", |b| b.iter(|| strip_request(black_box(&mut plain))));
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

criterion_group!(benches, head, headers, chunks);
criterion_main!(benches);
