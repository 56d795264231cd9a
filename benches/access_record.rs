//! What a line of the access log costs whoever serves: formatting, and handing it to the writer.

use std::{
    hint::black_box,
    time::{Duration, SystemTime},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rust_forward_proxy::telemetry::{
    access_format::Format, access_log::AccessLog, access_record::AccessRecord,
};

fn record(path: &[u8]) -> AccessRecord<'_> {
    AccessRecord {
        at: SystemTime::now(),
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
        traceparent: None,
        close: "complete",
    }
}

fn formats(criterion: &mut Criterion) {
    let usual = b"/images/2024/06/a-photograph-of-a-lighthouse.jpeg?width=640";
    let nasty: Vec<u8> = (0..=255).cycle().take(2000).collect();
    let mut group = criterion.benchmark_group("access record");
    for (name, format, path) in [
        ("json", Format::Json, usual.as_slice()),
        ("json, everything escaped", Format::Json, &nasty),
        ("combined", Format::Combined, usual),
        ("squid", Format::Squid, usual),
    ] {
        let record = record(path);
        let mut line = Vec::new();
        format.append(&record, &mut line);
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                line.clear();
                format.append(black_box(&record), &mut line);
                black_box(line.len())
            });
        });
    }
    group.finish();
}

/// What the request pays. What the writer can do is not measured here: lines that it does not manage are dropped.
fn handing_over(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is a place for files");
    let log = AccessLog::to_file(&folder.path().join("access.log")).expect("it can be opened");
    let record = record(b"/index.html");
    criterion
        .bench_function("access log, one record", |bencher| bencher.iter(|| log.write(black_box(&record))));
}

criterion_group!(benches, formats, handing_over);
criterion_main!(benches);
