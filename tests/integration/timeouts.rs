//! Every key of `timeouts`: what ends, when, and what is said of it (C71, C72).

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::support::{BlackHole, Config, End, Mode, Origin, Proxy, head, in_every_mode, pause};

in_every_mode! {
    c71_slow_head_ends_at_the_header_deadline,
    c71_silent_new_connection_ends,
    c71_idle_connection_ends_quietly,
    c71_slow_request_body_ends_at_the_body_deadline,
    c71_slow_response_body_ends_at_the_body_deadline,
    c71_bodies_that_move_are_not_cut,
    c71_client_that_does_not_read_ends,
    c72_origins_head_over_the_limit,
    c72_origin_that_never_answers,
    c72_origin_that_never_answers_has_not_the_time_of_the_body,
    connect_deadline_holds_for_all_addresses_together,
    idle_tunnel_ends,
    half_closed_tunnel_ends,
    tunnel_that_moves_one_way_is_not_idle,
}

/// Panics unless `what` took about as long as `configured`: never less, and not much more on a loaded machine.
#[track_caller]
fn expect_about(configured: Duration, start: Instant) {
    let took = start.elapsed();
    assert!(took >= configured * 8 / 10, "too early: {took:?}, {configured:?} is configured");
    assert!(took < configured + Duration::from_secs(5), "too late: {took:?}, {configured:?} is configured");
}

const SHORT: Duration = Duration::from_millis(400);

fn with(mode: Mode, key: &str) -> Proxy {
    Config::new(mode).set(key, "400ms").start()
}

fn c71_slow_head_ends_at_the_header_deadline(mode: Mode) {
    let proxy = with(mode, "timeouts.client_header");
    let mut client = proxy.client();
    let start = Instant::now();
    // A byte now and then does not move the deadline.
    let mut bytes = "GET http://a.test/ HTTP/1.1\r\n".bytes().cycle();
    while client.is_silent_for(Duration::from_millis(50)) {
        client.send_unwanted([bytes.next().unwrap()]);
        assert!(start.elapsed() < Duration::from_secs(10), "a slow head goes on and on");
    }
    expect_about(SHORT, start);
    client.answer().expect_own(&[408]);
    client.expect_end();
    assert_eq!(proxy.access_line(|line| line["status"] == 408)["status"], 408);
}

fn c71_silent_new_connection_ends(mode: Mode) {
    let proxy =
        Config::new(mode).set("timeouts.client_header", "400ms").set("timeouts.client_idle", "400ms").start();
    let mut client = proxy.client();
    let start = Instant::now();
    client.read_to_end();
    expect_about(SHORT, start);
}

fn c71_idle_connection_ends_quietly(mode: Mode) {
    let proxy = with(mode, "timeouts.client_idle");
    let origin = Origin::ok();
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(origin.get("/", &[]));
        client.answer().expect_ok("ok");
    }
    let start = Instant::now();
    client.expect_fin();
    expect_about(SHORT, start);
    assert_eq!(proxy.access_lines_at_least(2).len(), 2, "a connection that just ends is no request");
}

fn c71_slow_request_body_ends_at_the_body_deadline(mode: Mode) {
    let proxy = with(mode, "timeouts.body_idle");
    let origin = Origin::ok();
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 10"]));
    client.send("hello");
    let start = Instant::now();
    client.answer().expect_own(&[408]);
    expect_about(SHORT, start);
    client.expect_end();
    origin.end_of(0);
    assert!(!origin.requests().iter().any(|request| request.body.complete));
    assert_eq!(proxy.access_lines_at_least(1)[0]["status"], 408);
}

fn c71_slow_response_body_ends_at_the_body_deadline(mode: Mode) {
    let proxy = with(mode, "timeouts.body_idle");
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        conn.read_to_end().map(drop)
    });
    let start = Instant::now();
    let answer = proxy.exchange(origin.get("/", &[]));
    expect_about(SHORT, start);
    assert!(!answer.body.complete, "{answer:?}");
    origin.end_of(0);
    let line = &proxy.access_lines_at_least(1)[0];
    assert!(line["error"].is_string(), "{line}");
}

fn c71_bodies_that_move_are_not_cut(mode: Mode) {
    let proxy = Config::new(mode).set("timeouts.body_idle", "1s").set("timeouts.response_head", "1s").start();
    let origin = Origin::start(|conn| {
        let request = conn.read_request()?;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")?;
        for byte in &request.body.bytes {
            pause(Duration::from_millis(250));
            conn.write([*byte])?;
        }
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 8"]));
    for byte in b"stepwise" {
        pause(Duration::from_millis(250));
        client.send([*byte]);
    }
    client.answer().expect_ok("stepwise");
}

fn c71_client_that_does_not_read_ends(mode: Mode) {
    let proxy = with(mode, "timeouts.body_idle");
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        let part = vec![b'x'; 1 << 16];
        // Ends with an error when the proxy has had enough.
        while conn.stream().write_all(&part).is_ok() {}
        Ok(())
    });
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    let line = proxy.access_line(|line| line["method"] == "GET");
    assert!(line["bytes_out"].as_u64() < Some(100_000_000), "{line}");
    // What it has not taken by then is not kept for it.
    assert_eq!(client.read_to_end().1, End::Reset);
}

fn c72_origins_head_over_the_limit(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_header_bytes", "16KiB").start();
    let endless = Origin::start(|conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 200 OK\r\n")?;
        let line = format!("X-Part: {}\r\n", "y".repeat(1000));
        while conn.write(&line).is_ok() {}
        Ok(())
    });
    proxy.exchange(endless.get("/", &[])).expect_error(502, "http_response_header_section_size");
    let fields = "X-A: 1\r\n".repeat(101);
    let many = Origin::answering(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"));
    let answer = proxy.exchange(many.get("/", &[]));
    answer.expect_error(502, "http_response_header_section_size");
    many.end_of(0);
    let lines = proxy.access_lines_at_least(2);
    assert!(lines.iter().all(|line| line["error"] == "http_response_header_section_size"), "{lines:?}");
}

fn c72_origin_that_never_answers(mode: Mode) {
    let (proxy, origin) = (with(mode, "timeouts.response_head"), Origin::silent());
    let start = Instant::now();
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    client.answer().expect_error(504, "http_response_timeout");
    expect_about(SHORT, start);
    origin.end_of(0);
    let line = proxy.access_line(|line| line["status"] == 504);
    assert_eq!(line["error"], "http_response_timeout");
    // A head that comes byte by byte does not move the deadline.
    let slow = Origin::start(|conn| {
        conn.read_request()?;
        for byte in "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Slow: yes, very\r\n\r\n".bytes() {
            pause(Duration::from_millis(40));
            conn.write([byte])?;
        }
        Ok(())
    });
    proxy.exchange(slow.get("/", &[])).expect_error(504, "http_response_timeout");
}

/// The wait for the head begins when the request has been sent, not while its body is under way.
fn c72_origin_that_never_answers_has_not_the_time_of_the_body(mode: Mode) {
    let (proxy, origin) = (with(mode, "timeouts.response_head"), Origin::ok());
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 4"]));
    for _ in 0..4 {
        pause(Duration::from_millis(200));
        client.send("x");
    }
    client.answer().expect_ok("ok");
}

fn connect_deadline_holds_for_all_addresses_together(mode: Mode) {
    let hole = BlackHole::new();
    let proxy = with(mode, "timeouts.connect");
    let start = Instant::now();
    let answer = proxy.exchange(head(&[
        format!("CONNECT {} HTTP/1.1", hole.authority()),
        format!("Host: {}", hole.authority()),
    ]));
    answer.expect_error(504, "connection_timeout");
    expect_about(SHORT, start);
}

fn idle_tunnel_ends(mode: Mode) {
    let (proxy, origin) = (with(mode, "timeouts.tunnel_idle"), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    // What moves is not idle.
    for _ in 0..4 {
        pause(Duration::from_millis(200));
        client.send("x");
        client.read_exact(1);
    }
    let start = Instant::now();
    client.expect_end();
    expect_about(SHORT, start);
    origin.end_of(0);
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&4.into(), &4.into()), "{line}");
}

fn half_closed_tunnel_ends(mode: Mode) {
    let (proxy, origin) = (
        with(mode, "timeouts.half_close"),
        Origin::start(|conn| {
            conn.read_to_end()?;
            // The client has finished; this side never says anything.
            conn.set_deadline(Duration::from_secs(10));
            while conn.fill()? > 0 {}
            pause(Duration::from_secs(5));
            Ok(())
        }),
    );
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    client.send("x");
    client.finish();
    let start = Instant::now();
    client.expect_end();
    expect_about(SHORT, start);
}

fn tunnel_that_moves_one_way_is_not_idle(mode: Mode) {
    let proxy = Config::new(mode).set("timeouts.tunnel_idle", "1s").start();
    let origin = Origin::start(|conn| {
        for _ in 0..8 {
            pause(Duration::from_millis(250));
            conn.write("x")?;
        }
        conn.finish()?;
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    assert_eq!(client.read_exact(8), b"xxxxxxxx");
    client.finish();
    client.expect_fin();
    assert_eq!(origin.end_of(0), End::Fin);
}
