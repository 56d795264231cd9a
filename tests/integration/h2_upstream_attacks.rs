//! What HTTP/2 lets an origin do to a client that does not look out: the memory of the proxy stays flat, others are served, and what is
//! no response is told to be none.

use std::{io, time::Duration};

use crate::support::{
    Answer, Authority, Config, Mode, Origin, Proxy, SecureOrigin,
    h2_client::{block, frame},
    h2_frames::{HEADERS, OriginFrames, SETTINGS, h2},
    in_every_mode, process,
};

in_every_mode! {
    settings_flood,
    ping_flood,
    reset_flood,
    interim_flood,
    continuation_flood,
    empty_data_flood,
    a_window_is_not_respected,
    unlawful_responses,
    heads_are_bounded,
    who_takes_nothing_is_not_waited_for,
}

/// What an attack may cost, in bytes. A debug build with its allocator's pools, not what is held for one origin.
const FLAT: u64 = 24 << 20;

fn trusting(config: Config, authority: &Authority) -> Config {
    config.file("origin-ca.pem", &authority.pem()).set("upstream.tls.ca_path", "origin-ca.pem")
}

fn fetch(proxy: &Proxy, origin: &SecureOrigin, path: &str) -> Answer {
    let name = origin.authority("localhost");
    proxy.exchange(format!("GET https://{name}{path} HTTP/1.1\r\nHost: {name}\r\n\r\n"))
}

/// An origin that waits for a request, and then does this.
fn origin(
    authority: &Authority,
    attack: impl Fn(&mut OriginFrames<'_>, u32) -> io::Result<()> + Send + Sync + 'static,
) -> SecureOrigin {
    SecureOrigin::start(h2(&authority.server(&["localhost"])), move |conn, _| {
        let mut frames = OriginFrames::greet(conn)?;
        let stream = frames.request()?;
        attack(&mut frames, stream)
    })
}

/// Fetches from who attacks, while others are served; then the proxy is as large as before.
#[track_caller]
fn endure(
    mode: Mode,
    attack: impl Fn(&mut OriginFrames<'_>, u32) -> io::Result<()> + Send + Sync + 'static,
) -> Answer {
    let authority = Authority::new();
    let (bad, good) = (origin(&authority, attack), Origin::ok());
    let config = Config::new(mode).one_worker().set("timeouts.response_head", "2s");
    let proxy = trusting(config.set("timeouts.body_idle", "2s"), &authority).start();
    let serves =
        || proxy.exchange(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", good.url("/"))).expect_ok("ok");
    serves();
    let memory = || proxy.serving().iter().map(|&pid| process::resident(pid)).sum::<u64>();
    let before = memory();
    let answer = std::thread::scope(|scope| {
        let fetching = scope.spawn(|| fetch(&proxy, &bad, "/"));
        for _ in 0..10 {
            serves();
        }
        fetching.join().unwrap()
    });
    let grown = memory().saturating_sub(before);
    assert!(grown < FLAT, "{grown} bytes more than before");
    serves();
    answer
}

/// Writes these bytes as often as the proxy takes them, at most so often; it need not be there any more.
fn flood(frames: &mut OriginFrames<'_>, bytes: &[u8], times: usize) -> io::Result<()> {
    frames.set_patience(Duration::from_secs(2));
    for _ in 0..times {
        frames.write(bytes)?;
    }
    Ok(())
}

fn settings_flood(mode: Mode) {
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1000);
    let answer = endure(mode, move |frames, _| flood(frames, &settings, 300));
    assert!([502, 504].contains(&answer.status()), "{answer:?}");
}

fn ping_flood(mode: Mode) {
    let pings = frame(6, 0, 0, &[7; 8]).repeat(1000);
    let answer = endure(mode, move |frames, _| flood(frames, &pings, 300));
    assert!([502, 504].contains(&answer.status()), "{answer:?}");
}

fn reset_flood(mode: Mode) {
    let answer = endure(mode, |frames, stream| {
        let resets = frame(3, 0, stream, &2_u32.to_be_bytes()).repeat(1000);
        flood(frames, &resets, 300)
    });
    answer.expect_error(502, "connection_terminated");
}

fn interim_flood(mode: Mode) {
    let answer = endure(mode, |frames, stream| {
        let interim = frame(HEADERS, 4, stream, &block(&[(":status", "103"), ("link", "</a>")])).repeat(100);
        flood(frames, &interim, 3000)
    });
    answer.expect_error(502, "http_protocol_error");
}

fn continuation_flood(mode: Mode) {
    let answer = endure(mode, |frames, stream| {
        frames.send(HEADERS, 0, stream, &block(&[(":status", "200")]))?;
        let more = frame(9, 0, stream, &block(&[("x", &"y".repeat(1000))])).repeat(16);
        flood(frames, &more, 500)
    });
    answer.expect_error(502, "http_protocol_error");
}

fn empty_data_flood(mode: Mode) {
    let answer = endure(mode, |frames, stream| {
        frames.send(HEADERS, 4, stream, &block(&[(":status", "200"), ("content-length", "2")]))?;
        flood(frames, &frame(0, 0, stream, b"").repeat(1000), 300)
    });
    assert_eq!(answer.status(), 200);
    assert!(!answer.body.complete, "{answer:?}");
}

fn a_window_is_not_respected(mode: Mode) {
    let answer = endure(mode, |frames, stream| {
        frames.send(HEADERS, 4, stream, &block(&[(":status", "200")]))?;
        // Whoever reads has not taken this before more is here than was allowed.
        flood(frames, &frame(0, 0, stream, &[b'x'; 16_384]).repeat(64), 100)
    });
    assert_eq!(answer.status(), 200);
    assert!(!answer.body.complete);
}

fn unlawful_responses(mode: Mode) {
    let authority = Authority::new();
    let heads: [&[(&str, &str)]; 9] = [
        &[],
        &[(":status", "101")],
        &[(":status", "abc")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
        &[(":status", "200"), ("X-Upper", "a")],
        &[(":status", "200"), ("x", " padded")],
        &[(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        &[("x", "y"), (":status", "200")],
    ];
    let origin = SecureOrigin::start(h2(&authority.server(&["localhost"])), move |conn, seen| {
        let mut frames = OriginFrames::greet(conn)?;
        loop {
            let stream = frames.request()?;
            let at = seen.lock().unwrap().len();
            seen.lock().unwrap().push(at.to_string());
            match heads.get(at) {
                Some(head) => frames.send(HEADERS, 4, stream, &block(head))?,
                None => frames.answer(stream)?,
            }
        }
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    for index in 0..heads.len() {
        let answer = fetch(&proxy, &origin, &format!("/{index}"));
        assert_eq!(
            (answer.status(), answer.error().as_deref()),
            (502, Some("http_protocol_error")),
            "{index}"
        );
    }
    fetch(&proxy, &origin, "/").expect_ok("ok");
}

fn heads_are_bounded(mode: Mode) {
    let authority = Authority::new();
    let sizes = [7_000, 9_000, 60_000];
    let origin = SecureOrigin::start(h2(&authority.server(&["localhost"])), move |conn, seen| {
        let mut frames = OriginFrames::greet(conn)?;
        loop {
            let stream = frames.request()?;
            let at = seen.lock().unwrap().len();
            seen.lock().unwrap().push(at.to_string());
            let block = block(&[(":status", "204"), ("x", &"y".repeat(sizes[at]))]);
            let (first, rest) = block.split_at(block.len().min(16_000));
            frames.send(HEADERS, if rest.is_empty() { 5 } else { 1 }, stream, first)?;
            let mut parts = rest.chunks(16_000).peekable();
            while let Some(part) = parts.next() {
                frames.send(9, if parts.peek().is_none() { 4 } else { 0 }, stream, part)?;
            }
        }
    });
    let proxy =
        trusting(Config::new(mode).one_worker(), &authority).set("limits.max_header_bytes", 8192).start();
    assert_eq!(fetch(&proxy, &origin, "/").status(), 204);
    fetch(&proxy, &origin, "/").expect_error(502, "http_response_header_section_size");
    // This much is not even kept.
    fetch(&proxy, &origin, "/").expect_error(502, "http_protocol_error");
}

fn who_takes_nothing_is_not_waited_for(mode: Mode) {
    let authority = Authority::new();
    let origin = SecureOrigin::start(h2(&authority.server(&["localhost"])), |conn, _| {
        let mut frames = OriginFrames::greet(conn)?;
        // No stream may send anything.
        frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])?;
        loop {
            frames.next()?;
        }
    });
    let proxy = trusting(Config::new(mode).set("timeouts.body_idle", "1s"), &authority).start();
    let name = origin.authority("localhost");
    let mut client = proxy.client();
    client.send(format!("POST https://{name}/ HTTP/1.1\r\nHost: {name}\r\nContent-Length: 1000000\r\n\r\n"));
    client.send_unwanted(vec![0; 1_000_000]);
    client.answer().expect_error(504, "http_response_timeout");
}
