//! What a line of the access log costs whoever serves: formatting, and handing it to the writer.

mod specimen;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rust_forward_proxy::telemetry::{access_format::Format, access_log::AccessLog};

use specimen::{USUAL_PATH, record};

fn formats(criterion: &mut Criterion) {
    let nasty: Vec<u8> = (0..=255).cycle().take(2000).collect();
    let mut group = criterion.benchmark_group("access record");
    for (name, format, path) in [
        ("json", Format::Json, USUAL_PATH),
        ("json, everything escaped", Format::Json, &nasty),
        ("combined", Format::Combined, USUAL_PATH),
        ("squid", Format::Squid, USUAL_PATH),
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
