//! What it costs to take a kept connection out of the pool and to put it back, with one origin in the pool and with thousands.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use rust_forward_proxy::{
    net::{authority::Authority, dial::Dialled},
    shared_memory::Segment,
    upstream::{Connection, Kind, Pool, PoolLimits},
};
use tokio::{runtime::Builder, time::Instant};

/// With two ends of each in one process, most systems give us files for these.
const MANY: usize = 9_000;

/// A pool with a connection to each of `count` origins, one of them, and the other ends, which have to stay open.
fn full(listener: &TcpListener, count: usize) -> (Pool, Arc<Authority>, Vec<TcpStream>) {
    let peer = listener.local_addr().expect("it is bound");
    let pool = Pool::new(PoolLimits {
        max_idle_per_host: 50,
        max_idle: count,
        idle_timeout: Duration::from_secs(3600),
        patience: Duration::from_secs(10),
    });
    let seat = Segment::private(1).expect("memory").seat(0).expect("there is one");
    let mut others = Vec::new();
    let mut last = None;
    for index in 0..count {
        let origin =
            Arc::new(Authority::parse(&format!("host-{index}.example.com"), Some(80)).expect("an authority"));
        let Some((stream, other)) = pair(listener, peer) else { break };
        let mut connection = Connection::new(
            Dialled { stream: stream.into(), peer, dns: None, connect: Duration::ZERO },
            Arc::clone(&origin),
            seat.clone(),
        );
        connection.learn(true, None);
        connection.finish();
        pool.put(connection);
        others.push(other);
        last = Some(origin);
    }
    (pool, last.expect("there are files for one at least"), others)
}

/// None when there are no files left.
fn pair(listener: &TcpListener, peer: SocketAddr) -> Option<(tokio::net::TcpStream, TcpStream)> {
    let ours = TcpStream::connect(peer).ok()?;
    let (other, _) = listener.accept().ok()?;
    ours.set_nonblocking(true).ok()?;
    Some((tokio::net::TcpStream::from_std(ours).ok()?, other))
}

fn take_and_put(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("the system has epoll");
    let _inside = runtime.enter();
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let mut group = criterion.benchmark_group("pool/take and put");
    for count in [1, MANY] {
        let (pool, origin, others) = full(&listener, count);
        group.bench_function(format!("origins: {}", others.len()), |bench| {
            bench.iter(|| {
                let mut connection =
                    pool.take(&origin, (0, Kind::Clear), Instant::now(), |_| true).expect("it is there");
                connection.learn(true, None);
                connection.finish();
                pool.put(connection);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, take_and_put);
criterion_main!(benches);
