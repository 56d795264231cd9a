//! Both directions over real sockets: ends, deadlines, counts.

use std::{mem::size_of_val, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
    time::timeout,
};

use super::*;

const PATIENT: RelayOptions =
    RelayOptions { idle: Duration::from_secs(20), half_close: Duration::from_secs(20) };

impl Conduit for DuplexStream {
    fn plain(&self) -> Option<&TcpStream> {
        None
    }

    fn abort(&self) {}
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // Small, so that a slow reader is felt.
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let near = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// A relay with a client and an origin at its ends.
struct Tunnel {
    client: TcpStream,
    origin: TcpStream,
    counts: Arc<RelayCounts>,
    relay: JoinHandle<RelayOutcome>,
}

impl Tunnel {
    async fn new(options: RelayOptions) -> Self {
        Self::with_early(options, "", "").await
    }

    async fn with_early(options: RelayOptions, up: &'static str, down: &'static str) -> Self {
        let (client, client_side) = pair().await;
        let (origin, origin_side) = pair().await;
        let counts = Arc::new(RelayCounts::default());
        let counting = Arc::clone(&counts);
        let relay = tokio::spawn(async move {
            relay((client_side, up.into()), (origin_side, down.into()), options, None, counting).await
        });
        Self { client, origin, counts, relay }
    }

    async fn outcome(self) -> (RelayOutcome, u64, u64) {
        let outcome = within(self.relay).await.unwrap();
        (outcome, self.counts.up(), self.counts.down())
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("it does not take this long")
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

async fn rest(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.map(|_| bytes)
}

/// Bytes of which each says where it is.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at / 251) as u8 ^ (at % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_end_by_itself() {
    let mut tunnel = Tunnel::with_early(PATIENT, "early ", "banner ").await;
    tunnel.client.write_all(b"ping").await.unwrap();
    assert_eq!(read(&mut tunnel.origin, 10).await, b"early ping");
    assert_eq!((tunnel.counts.up(), tunnel.counts.down()), (10, 7), "counts can be read at any time");
    tunnel.client.shutdown().await.unwrap();
    assert_eq!(rest(&mut tunnel.origin).await.unwrap(), b"");
    // The other way is still open.
    tunnel.origin.write_all(b"pong").await.unwrap();
    assert_eq!(read(&mut tunnel.client, 11).await, b"banner pong");
    tunnel.origin.shutdown().await.unwrap();
    assert_eq!(rest(&mut tunnel.client).await.unwrap(), b"");
    let (outcome, up, down) = tunnel.outcome().await;
    assert!(matches!(outcome, RelayOutcome::Finished), "{outcome:?}");
    assert_eq!((up, down), (10, 11));
}

#[tokio::test]
async fn the_origin_may_finish_first() {
    let mut tunnel = Tunnel::new(PATIENT).await;
    tunnel.origin.shutdown().await.unwrap();
    assert_eq!(rest(&mut tunnel.client).await.unwrap(), b"");
    tunnel.client.write_all(b"still here").await.unwrap();
    assert_eq!(read(&mut tunnel.origin, 10).await, b"still here");
    tunnel.client.shutdown().await.unwrap();
    let (outcome, ..) = tunnel.outcome().await;
    assert!(matches!(outcome, RelayOutcome::Finished), "{outcome:?}");
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_it_and_then_the_end() {
    let sent = pattern(8 << 20);
    let mut tunnel = Tunnel::new(PATIENT).await;
    let (bytes, mut origin) = (sent.clone(), tunnel.origin);
    let sending = tokio::spawn(async move {
        origin.write_all(&bytes).await.unwrap();
        origin.shutdown().await.unwrap();
        origin
    });
    let mut received = Vec::new();
    let mut piece = [0; 40_000];
    loop {
        let count = within(tunnel.client.read(&mut piece)).await.unwrap();
        if count == 0 {
            break;
        }
        received.extend_from_slice(&piece[..count]);
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    tunnel.origin = within(sending).await.unwrap();
    tunnel.client.shutdown().await.unwrap();
    let (outcome, up, down) = tunnel.outcome().await;
    assert!(matches!(outcome, RelayOutcome::Finished), "{outcome:?}");
    assert_eq!((up, down), (0, 8 << 20));
    #[cfg(target_os = "linux")]
    assert!(crate::net::splice::pooled() > 0, "so many bytes go through the kernel");
}

#[tokio::test]
async fn a_direction_goes_to_the_kernel_and_back() {
    let mut tunnel = Tunnel::new(PATIENT).await;
    let large = pattern(2 << 20);
    let mut total = 0;
    for round in 0..6 {
        let sent = large.clone();
        let mut origin = tunnel.origin;
        let sending = tokio::spawn(async move {
            origin.write_all(&sent).await.unwrap();
            origin
        });
        assert!(read(&mut tunnel.client, large.len()).await == large, "round {round}");
        tunnel.origin = within(sending).await.unwrap();
        for at in 0..50u8 {
            tunnel.origin.write_all(&[at]).await.unwrap();
            assert_eq!(read(&mut tunnel.client, 1).await, [at]);
            tunnel.client.write_all(&[at]).await.unwrap();
            assert_eq!(read(&mut tunnel.origin, 1).await, [at]);
        }
        total += large.len() as u64 + 50;
        assert_eq!(tunnel.counts.down(), total);
    }
    drop((tunnel.client, tunnel.origin));
    within(tunnel.relay).await.unwrap();
}

#[tokio::test]
async fn both_ways_at_full_size_at_once() {
    let sent = pattern(4 << 20);
    let tunnel = Tunnel::new(PATIENT).await;
    let ends = [tunnel.client, tunnel.origin].map(|end| {
        let sent = sent.clone();
        tokio::spawn(async move {
            let (mut reading, mut writing) = end.into_split();
            let writing = tokio::spawn(async move {
                writing.write_all(&sent).await.unwrap();
                writing.shutdown().await.unwrap();
                writing
            });
            let mut received = Vec::new();
            within(reading.read_to_end(&mut received)).await.unwrap();
            within(writing).await.unwrap();
            received
        })
    });
    for end in ends {
        assert!(within(end).await.unwrap() == sent);
    }
    let outcome = within(tunnel.relay).await.unwrap();
    assert!(matches!(outcome, RelayOutcome::Finished), "{outcome:?}");
}

#[tokio::test]
async fn silence_ends_a_relay() {
    let soon = RelayOptions { idle: Duration::from_millis(300), ..PATIENT };
    let mut tunnel = Tunnel::new(soon).await;
    let started = Instant::now();
    // What moves puts it off, either way.
    for _ in 0..4 {
        sleep_until(Instant::now() + Duration::from_millis(150)).await;
        tunnel.origin.write_all(b".").await.unwrap();
        read(&mut tunnel.client, 1).await;
    }
    let (outcome, ..) = tunnel.outcome().await;
    assert!(matches!(outcome, RelayOutcome::Idle), "{outcome:?}");
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn silence_of_the_other_side_ends_it_sooner() {
    let soon = RelayOptions { half_close: Duration::from_millis(300), ..PATIENT };
    let mut tunnel = Tunnel::new(soon).await;
    tunnel.client.shutdown().await.unwrap();
    let started = Instant::now();
    for _ in 0..4 {
        sleep_until(Instant::now() + Duration::from_millis(150)).await;
        tunnel.origin.write_all(b".").await.unwrap();
        read(&mut tunnel.client, 1).await;
    }
    let (outcome, _, down) = tunnel.outcome().await;
    assert!(matches!(outcome, RelayOutcome::HalfClosed), "{outcome:?}");
    assert_eq!(down, 4);
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_reset_passes_either_way() {
    for of_client in [true, false] {
        let Tunnel { client, origin, relay, .. } = Tunnel::new(PATIENT).await;
        let (resets, mut other) = if of_client { (client, origin) } else { (origin, client) };
        resets.set_zero_linger().unwrap();
        drop(resets);
        let failed = rest(&mut other).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionReset);
        let outcome = within(relay).await.unwrap();
        match outcome {
            RelayOutcome::ClientFailed(_) => assert!(of_client),
            RelayOutcome::OriginFailed(_) => assert!(!of_client),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_origin_that_answers_and_hangs_up_is_heard() {
    let mut tunnel = Tunnel::new(PATIENT).await;
    // The upload is larger than all buffers on the way.
    let (mut reading, mut writing) = tunnel.client.into_split();
    let upload = tokio::spawn(async move {
        let piece = pattern(64 * 1024);
        for _ in 0..256 {
            if writing.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    read(&mut tunnel.origin, 1000).await;
    let answer = pattern(100_000);
    tunnel.origin.write_all(&answer).await.unwrap();
    tunnel.origin.shutdown().await.unwrap();
    // Unread bytes make this a reset.
    drop(tunnel.origin);
    let mut received = Vec::new();
    let ended = within(reading.read_to_end(&mut received)).await;
    assert!(received == answer, "{} of {} bytes, {ended:?}", received.len(), answer.len());
    within(upload).await.unwrap();
    drop(reading);
    let outcome = within(tunnel.relay).await.unwrap();
    assert!(matches!(outcome, RelayOutcome::Finished | RelayOutcome::OriginFailed(_)), "{outcome:?}");
}

#[tokio::test]
async fn dropping_it_closes_both_and_leaves_the_counts() {
    let mut tunnel = Tunnel::new(PATIENT).await;
    tunnel.client.write_all(b"some").await.unwrap();
    read(&mut tunnel.origin, 4).await;
    tunnel.relay.abort();
    assert_eq!(rest(&mut tunnel.client).await.unwrap(), b"");
    assert_eq!(rest(&mut tunnel.origin).await.unwrap(), b"");
    assert_eq!(tunnel.counts.up(), 4);
}

#[tokio::test]
async fn what_is_no_socket_is_relayed_too() {
    let (mut client, client_side) = duplex(1000);
    let (mut origin, origin_side) = duplex(1000);
    let relay = tokio::spawn(async move {
        relay((client_side, Bytes::new()), (origin_side, Bytes::new()), PATIENT, None, Arc::default()).await
    });
    let sent = pattern(1 << 20);
    let bytes = sent.clone();
    let sending = tokio::spawn(async move {
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let mut received = Vec::new();
    within(origin.read_to_end(&mut received)).await.unwrap();
    assert!(received == sent);
    origin.write_all(b"thanks").await.unwrap();
    drop(origin);
    assert_eq!(within(sending).await.unwrap(), "thanks");
    assert!(matches!(within(relay).await.unwrap(), RelayOutcome::Finished));
}

#[tokio::test]
async fn an_idle_relay_is_small() {
    fn is_send<T: Send>(_: &T) {}
    let ((_client, client_side), (_origin, origin_side)) = (pair().await, pair().await);
    let relay =
        relay((client_side, Bytes::new()), (origin_side, Bytes::new()), PATIENT, None, Arc::default());
    is_send(&relay);
    let size = size_of_val(&relay);
    println!("a relay takes {size} bytes");
    assert!(size <= 512, "a relay takes {size} bytes");
}
