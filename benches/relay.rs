//! What a relay costs: a small exchange there and back, and many bytes one way, by real sockets in one thread, beside the same
//! without a relay.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rust_forward_proxy::net::relay::{RelayOptions, relay};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

/// What goes one way in one turn.
const MANY: usize = 4 << 20;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (ours, (theirs, _)) = (ours.expect("somebody listens"), theirs.expect("somebody connects"));
    for stream in [&ours, &theirs] {
        stream.set_nodelay(true).expect("TCP knows nodelay");
    }
    (ours, theirs)
}

/// A client and an origin with nothing between them, or a relay.
async fn ends(is_relayed: bool) -> (TcpStream, TcpStream) {
    let (client, front) = pair().await;
    if !is_relayed {
        return (client, front);
    }
    let (back, origin) = pair().await;
    tokio::spawn(async move {
        let patience = Duration::from_secs(60);
        let options = RelayOptions { idle: patience, half_close: patience };
        relay((front, Bytes::new()), (back, Bytes::new()), options, None, Arc::default()).await
    });
    (client, origin)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system has epoll")
}

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay/exchange of 64 bytes");
    for (name, is_relayed) in [("direct", false), ("relayed", true)] {
        let runtime = runtime();
        let (mut client, mut origin) = runtime.block_on(ends(is_relayed));
        let mut message = [7; 64];
        group.bench_function(name, |bench| {
            bench.iter(|| {
                runtime.block_on(async {
                    client.write_all(&message).await.expect("it is taken");
                    origin.read_exact(&mut message).await.expect("it comes");
                    origin.write_all(&message).await.expect("it is taken");
                    client.read_exact(&mut message).await.expect("it comes");
                });
            });
        });
    }
    group.finish();
}

fn bulk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay/4 MiB");
    group.throughput(Throughput::Bytes(MANY as u64)).sample_size(20);
    for (name, is_relayed) in [("direct", false), ("relayed", true)] {
        let runtime = runtime();
        let (mut client, mut origin) = runtime.block_on(ends(is_relayed));
        let (bytes, mut taken) = (vec![7; MANY], vec![0; MANY]);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                runtime.block_on(async {
                    let (sent, received) =
                        tokio::join!(origin.write_all(&bytes), client.read_exact(&mut taken));
                    sent.expect("it is taken");
                    received.expect("it comes");
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, exchanges, bulk);
criterion_main!(benches);
