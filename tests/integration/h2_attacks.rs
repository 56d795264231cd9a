//! What HTTP/2 lets a client do to a server that does not look out: the memory of the proxy stays flat, others are served, and
//! who goes too far is closed with ENHANCE_YOUR_CALM.

use std::{thread, time::Duration};

use http::Request;

use crate::support::{
    Config, H2Proxy, Mode, Origin,
    h2_client::{Frames, block, frame},
    in_every_mode, process, within,
};

in_every_mode! {
    rapid_reset_in_one_go,
    rapid_reset_of_streams_that_were_taken,
    settings_flood,
    ping_flood,
    continuation_flood,
    empty_data_flood,
    more_streams_than_allowed_are_refused,
    a_window_that_stays_shut_is_cut,
    who_reads_nothing_holds_little,
    header_lists_are_bounded,
    a_client_without_a_preface_is_closed,
    a_client_without_streams_is_closed,
}

const CALM: u32 = 11;
const GOAWAY: u8 = 7;

/// What an attack may cost, in bytes. A debug build with its allocator's pools, not what is held for one client.
const FLAT: u64 = 24 << 20;

fn memory(proxy: &H2Proxy) -> u64 {
    proxy.proxy.serving().iter().map(|&pid| process::resident(pid)).sum()
}

/// A proxy that has served, so that what it needs once it has.
fn warm(config: Config, origin: &Origin) -> H2Proxy {
    let proxy = H2Proxy::start(config.without_bypass());
    serves(&proxy, origin);
    proxy
}

#[track_caller]
fn serves(proxy: &H2Proxy, origin: &Origin) {
    let answer = proxy.client().ask(Request::get(origin.url("/good")).body(()).unwrap());
    assert_eq!(answer.status(), 200, "{answer:?}");
}

fn get(authority: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", "/")])
}

fn greeted(proxy: &H2Proxy) -> Frames {
    let mut client = proxy.frames();
    client.greet();
    client
}

/// Runs `attack` while others are served; then the proxy is as large as before.
#[track_caller]
fn endure(proxy: &H2Proxy, origin: &Origin, attack: impl FnOnce(Frames) -> Option<Frames> + Send) {
    let before = memory(proxy);
    let client = greeted(proxy);
    thread::scope(|scope| {
        let attacking = scope.spawn(move || attack(client));
        for _ in 0..5 {
            serves(proxy, origin);
        }
        let client = attacking.join().unwrap();
        let grown = memory(proxy).saturating_sub(before);
        assert!(grown < FLAT, "{grown} bytes more than before");
        serves(proxy, origin);
        drop(client);
    });
}

/// Writes `bytes` as often as the proxy takes them, at most so often. Whether it has taken all of them.
fn flood(client: &mut Frames, bytes: &[u8], times: usize) -> bool {
    client.set_patience(Duration::from_secs(2));
    (0..times).all(|_| client.write(bytes).is_ok())
}

/// The code of the GOAWAY that is to come.
#[track_caller]
fn goaway(client: &mut Frames) -> u32 {
    client.until(|frame| frame.kind == GOAWAY && frame.code() != 0).code()
}

fn rapid_reset_in_one_go(mode: Mode) {
    let origin = Origin::ok();
    let proxy = warm(Config::new(mode), &origin);
    let connections = origin.connections();
    let fields = get(&origin.authority());
    endure(&proxy, &origin, move |mut client| {
        for round in 0..100_u32 {
            let mut burst = Vec::new();
            for index in 0..100 {
                let stream = (round * 100 + index) * 2 + 1;
                burst.extend(frame(1, 5, stream, &fields));
                burst.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
            }
            if client.write(&burst).is_err() {
                break;
            }
        }
        assert_eq!(goaway(&mut client), CALM);
        Some(client)
    });
    assert!(origin.connections() < connections + 500, "{}", origin.connections());
}

fn rapid_reset_of_streams_that_were_taken(mode: Mode) {
    let origin = Origin::ok();
    let silent = Origin::silent();
    let proxy = warm(Config::new(mode), &origin);
    let fields = get(&silent.authority());
    endure(&proxy, &origin, move |mut client| {
        for index in 0..3000 {
            let stream = index * 2 + 1;
            // The PING is answered after the stream was taken.
            let taken = [frame(1, 5, stream, &fields), frame(6, 0, 0, &[1; 8])].concat();
            if client.write(&taken).is_err() {
                break;
            }
            let next = client.until(|frame| frame.kind == GOAWAY || (frame.kind == 6 && frame.flags == 1));
            if next.kind == GOAWAY {
                assert_eq!(next.code(), CALM);
                assert!((1000..2500).contains(&index), "{index} were let pass");
                return Some(client);
            }
            if client.send(3, 0, stream, &8_u32.to_be_bytes()).is_err() {
                break;
            }
        }
        assert_eq!(goaway(&mut client), CALM);
        Some(client)
    });
}

fn settings_flood(mode: Mode) {
    let origin = Origin::ok();
    let proxy = warm(Config::new(mode), &origin);
    // Each wants to be acknowledged, and nobody reads that: what was kept of it would be more than `FLAT`.
    let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1000);
    endure(&proxy, &origin, move |mut client| {
        client.read_little();
        assert!(!flood(&mut client, &settings, 4000), "who reads no answers is read from without end");
        Some(client)
    });
}

fn ping_flood(mode: Mode) {
    let origin = Origin::ok();
    let proxy = warm(Config::new(mode), &origin);
    let pings = frame(6, 0, 0, &[7; 8]).repeat(1000);
    endure(&proxy, &origin, move |mut client| {
        client.read_little();
        assert!(!flood(&mut client, &pings, 4000), "who reads no answers is read from without end");
        Some(client)
    });
    // Answers to what was never asked are nothing to write into the log.
    let pongs = frame(6, 1, 0, &[7; 8]).repeat(1000);
    endure(&proxy, &origin, move |mut client| {
        flood(&mut client, &pongs, 20);
        Some(client)
    });
    assert!(proxy.proxy.log_lines("PING").is_empty(), "{}", proxy.proxy.log());
}

fn continuation_flood(mode: Mode) {
    let origin = Origin::ok();
    let proxy = warm(Config::new(mode), &origin);
    let more = frame(9, 0, 1, &block(&[("x", &"y".repeat(1000))])).repeat(16);
    let fields = get(&origin.authority());
    endure(&proxy, &origin, move |mut client| {
        // HEADERS that never end.
        client.send(1, 1, 1, &fields).unwrap();
        flood(&mut client, &more, 500);
        assert_eq!(goaway(&mut client), CALM);
        Some(client)
    });
}

fn empty_data_flood(mode: Mode) {
    let (origin, silent) = (Origin::ok(), Origin::silent());
    let proxy = warm(Config::new(mode), &origin);
    let fields = [get(&silent.authority()), block(&[("content-type", "x")])].concat();
    let empty = frame(0, 0, 1, b"").repeat(1000);
    endure(&proxy, &origin, move |mut client| {
        client.send(1, 4, 1, &fields).unwrap();
        flood(&mut client, &empty, 200);
        Some(client)
    });
}

fn more_streams_than_allowed_are_refused(mode: Mode) {
    let (origin, silent) = (Origin::ok(), Origin::silent());
    let proxy = warm(Config::new(mode), &origin);
    let mut client = greeted(&proxy);
    let settings = client.until(|frame| frame.kind == 4 && frame.flags == 0).payload;
    let allowed = settings.chunks(6).find(|setting| setting[1] == 3).expect("MAX_CONCURRENT_STREAMS is told");
    let allowed = u32::from_be_bytes(allowed[2..].try_into().unwrap());
    assert!(allowed >= 100, "{allowed}");
    let fields = get(&silent.authority());
    for index in 0..allowed + 5 {
        client.send(1, 5, index * 2 + 1, &fields).unwrap();
    }
    for index in allowed..allowed + 5 {
        let refused = client.until(|frame| frame.kind == 3);
        assert_eq!((refused.stream, refused.code()), (index * 2 + 1, 7), "REFUSED_STREAM");
    }
    let count = usize::try_from(allowed).unwrap();
    assert!(within(Duration::from_secs(10), || silent.connections() == count), "{}", silent.connections());
}

/// An origin that answers with much.
fn large() -> Origin {
    Origin::start(|conn| {
        loop {
            let request = conn.read_request()?;
            let size = if request.head.target() == "/good" { 1 } else { 4 << 20 };
            conn.answer(vec![b'x'; size])?;
        }
    })
}

fn a_window_that_stays_shut_is_cut(mode: Mode) {
    let origin = large();
    let proxy = warm(Config::new(mode).set("timeouts.body_idle", "1s"), &origin);
    let fields = get(&origin.authority());
    endure(&proxy, &origin, move |mut client| {
        // No stream may send anything.
        client.send(4, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
        for index in 0..100 {
            client.send(1, 5, index * 2 + 1, &fields).unwrap();
        }
        for _ in 0..100 {
            let reset = client.until(|frame| frame.kind == 3);
            assert_ne!(reset.code(), 0, "it is not complete");
        }
        Some(client)
    });
}

fn who_reads_nothing_holds_little(mode: Mode) {
    let origin = large();
    let proxy = warm(Config::new(mode).set("timeouts.body_idle", "2s"), &origin);
    let before = memory(&proxy);
    let mut client = greeted(&proxy);
    // Windows as large as they can be, and 400 MiB asked for.
    client.send(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).unwrap();
    client.send(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()).unwrap();
    let fields = get(&origin.authority());
    for index in 0..100 {
        client.send(1, 5, index * 2 + 1, &fields).unwrap();
    }
    within(Duration::from_secs(10), || origin.connections() >= 100);
    let mut most = 0;
    within(Duration::from_secs(1), || {
        most = most.max(memory(&proxy).saturating_sub(before));
        false
    });
    // For each of 100 streams what is kept for it, and what was read of its answer.
    assert!(most < 60 << 20, "{most} bytes more than before");
    serves(&proxy, &origin);
    let lines = proxy.proxy.access_lines_at_least(100);
    assert!(lines.len() >= 100);
}

fn header_lists_are_bounded(mode: Mode) {
    let origin = Origin::ok();
    let proxy = warm(Config::new(mode).set("limits.max_header_bytes", 8192), &origin);
    let mut client = greeted(&proxy);
    let settings = client.until(|frame| frame.kind == 4 && frame.flags == 0).payload;
    assert!(settings.chunks(6).any(|setting| setting == [0, 6, 0, 0, 0x20, 0]), "{settings:?}");
    let fields = [get(&origin.authority()), block(&[("x", &"y".repeat(9000))])].concat();
    client.send(1, 5, 1, &fields).unwrap();
    let answer = client.until(|frame| frame.stream == 1);
    assert_eq!(answer.kind, 1, "it is answered: {answer:?}");
    client.send(1, 5, 3, &get(&origin.authority())).unwrap();
    assert_eq!(client.until(|frame| frame.stream == 3).kind, 1, "and the connection goes on");
    assert_eq!(origin.requests().len(), 2);
}

fn a_client_without_a_preface_is_closed(mode: Mode) {
    let proxy = H2Proxy::start(Config::new(mode).set("timeouts.client_header", "500ms"));
    let mut client = proxy.frames();
    client.write(b"PRI * HT").unwrap();
    while client.next().is_some() {}
}

fn a_client_without_streams_is_closed(mode: Mode) {
    let origin = Origin::ok();
    let config = Config::new(mode).set("timeouts.client_idle", "500ms").set("timeouts.client_header", "1s");
    let proxy = H2Proxy::start(config);
    let mut client = proxy.client();
    assert_eq!(client.ask(Request::get(origin.url("/")).body(()).unwrap()).status(), 200);
    client.end().expect("it ends in order");
    // One that does not answer is closed all the same.
    let mut client = greeted(&proxy);
    assert_eq!(client.until(|frame| frame.kind == GOAWAY).code(), 0);
    while client.next().is_some() {}
}
