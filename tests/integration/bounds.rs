//! What ends everything that a peer could do without end, in both directions: all bounds at a glance.
//!
//! | key, or what the peer does | answer | error | test |
//! | --- | --- | --- | --- |
//! | `limits.max_connections` | 503, close | `connection_limit_reached` | `connection_limits::c71_max_connections_is_kept` |
//! | `limits.max_connections_per_client` | 503, close | `connection_limit_reached` | `connection_limits::c71_max_connections_per_client_is_kept` |
//! | 2,000 connections from one client | 503, close | `connection_limit_reached` | `connection_limits::c71_two_thousand_connections_from_one_client` |
//! | 2,000 idle connections | none | none | `limits::c71_two_thousand_connections_keep_memory_flat` |
//! | 2,000 heads that never end | 408, close | `http_request_error` | `bounds::c71_two_thousand_slow_heads_are_answered` |
//! | `limits.max_header_bytes`, requests | 431, 414, close | `http_request_error` | `limits::c71_max_header_bytes_is_kept` |
//! | `limits.max_header_bytes`, responses | 502 | `http_response_header_section_size` | `bounds::c72_max_header_bytes_is_kept_in_responses` |
//! | `limits.max_headers`, requests | 431, close | `http_request_error` | `limits::c71_max_headers_is_kept` |
//! | `limits.max_headers`, responses | 502 | `http_response_header_section_size` | `timeouts::c72_origins_head_over_the_limit` |
//! | `limits.max_body_size`, with a length | 413, close | `http_request_error` | `limits::max_body_size_is_kept_with_a_length` |
//! | `limits.max_body_size`, in chunks | 413, close | `http_request_error` | `limits::max_body_size_is_kept_in_chunks` |
//! | `timeouts.client_header` | 408, close | `http_request_error` | `timeouts::c71_slow_head_ends_at_the_header_deadline` |
//! | `timeouts.client_header`, after an early answer | close | as answered | `bounds::c71_what_is_sent_after_an_early_answer_is_read_for_a_while` |
//! | `timeouts.client_idle` | close | none | `timeouts::c71_idle_connection_ends_quietly` |
//! | `timeouts.client_idle`, no request yet | close | none | `timeouts::c71_silent_new_connection_ends` |
//! | `timeouts.body_idle`, requests | 408, close | `http_request_error` | `timeouts::c71_slow_request_body_ends_at_the_body_deadline` |
//! | `timeouts.body_idle`, responses | cut | `http_response_timeout` | `timeouts::c71_slow_response_body_ends_at_the_body_deadline` |
//! | `timeouts.body_idle`, a client that takes nothing | cut | none | `timeouts::c71_client_that_does_not_read_ends` |
//! | `timeouts.body_idle`, an origin that takes nothing | 504 | `http_response_timeout` | `bounds::c71_origin_that_takes_nothing_ends` |
//! | `timeouts.body_idle`, the same after its answer has begun | cut | `http_response_timeout` | `bounds::c71_origin_that_answers_and_takes_nothing_ends` |
//! | `timeouts.connect` | 504 | `connection_timeout` | `timeouts::connect_deadline_holds_for_all_addresses_together` |
//! | `timeouts.connect`, a silent name server | 504 | `dns_timeout` | `errors::c64_silent_name_server` |
//! | `timeouts.response_head` | 504 | `http_response_timeout` | `timeouts::c72_origin_that_never_answers` |
//! | `timeouts.response_head`, 1xx now and then | 504 | `http_response_timeout` | `bounds::c72_interim_responses_do_not_move_the_deadline` |
//! | `timeouts.tunnel_idle` | close | none | `timeouts::idle_tunnel_ends` |
//! | `timeouts.tunnel_idle`, a client that takes nothing | cut | none | `bounds::c71_tunnel_whose_client_takes_nothing_ends` |
//! | `timeouts.half_close` | close | none | `timeouts::half_closed_tunnel_ends` |
//! | endless: fields, one field, request line, method, empty lines | 431, 414, 400, close | `http_request_error` | `bounds::c71_endless_requests_end` |
//! | endless: trailers, chunk extension, chunk size | 400, close | `http_request_error` | `bounds::c71_endless_requests_end` |
//! | TLS on the plain port | close | `http_request_error` | `bounds::c71_endless_requests_end` |
//! | origin, endless: fields, one field, reason phrase, empty lines | 502 | `http_response_header_section_size` | `bounds::c71_endless_responses_end` |
//! | origin, endless: 1xx | 502 | `http_protocol_error` | `bounds::c71_endless_responses_end` |
//! | origin, endless: fields of a 1xx | 502 | `http_response_header_section_size` | `bounds::c71_endless_responses_end` |
//! | origin, endless: trailers, chunk extension | cut | `http_response_incomplete` | `bounds::c71_endless_responses_end` |
//! | origin, endless: zeros of a chunk size, within `timeouts.body_idle` | cut | `http_response_timeout` | `bounds::c71_endless_responses_end` |
//! | origin, endless: bytes behind the response | as the origin answered | none | `bounds::c71_endless_responses_end` |
//!
//! Cut: the client sees a message that is not complete. Memory that stays flat is seen in the tests of what is endless or
//! comes in thousands, and for bodies in `big`.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Config, End, Mode, Origin, Proxy, eventually, in_every_mode, pause, process};

in_every_mode! {
    c71_endless_requests_end,
    c71_endless_responses_end,
    c71_origin_that_takes_nothing_ends,
    c71_origin_that_answers_and_takes_nothing_ends,
    c71_tunnel_whose_client_takes_nothing_ends,
    c71_two_thousand_slow_heads_are_answered,
    c71_what_is_sent_after_an_early_answer_is_read_for_a_while,
    c72_interim_responses_do_not_move_the_deadline,
    c72_max_header_bytes_is_kept_in_responses,
}

const MEBIBYTE: u64 = 1 << 20;

/// What "endless" is at most in a test whose subject fails.
const ENDLESS: usize = 8 << 20;

const SHORT: Duration = Duration::from_millis(400);

/// The one worker, and how large it is after a first request.
#[track_caller]
fn warm(proxy: &Proxy) -> (u32, u64) {
    let worker = proxy.serving_all(1)[0];
    proxy.exchange(Origin::ok().get("/", &[])).expect_ok("ok");
    (worker, process::resident(worker))
}

#[track_caller]
fn expect_flat((worker, before): (u32, u64)) {
    let now = process::resident(worker);
    assert!(now < before + 16 * MEBIBYTE, "{} KiB became {} KiB", before >> 10, now >> 10);
}

/// `part` again and again, about 64 KiB of it.
fn many(part: &str) -> String {
    part.repeat((1 << 16) / part.len())
}

fn c71_endless_requests_end(mode: Mode) {
    let origin = Origin::ok();
    let proxy = Config::new(mode).one_worker().start();
    let size = warm(&proxy);
    let field = format!("X-Part: {}\r\n", "y".repeat(1000));
    let get = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", origin.url("/"), origin.authority());
    let post = String::from_utf8(origin.request("POST", "/", &["Transfer-Encoding: chunked"])).unwrap();
    let chunk = format!("{post}5\r\nhello\r\n");
    let hello = "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}";
    let cases = [
        ("fields", get.clone(), &*field, Some(431)),
        ("one field", format!("{get}X-Part: "), "y", Some(431)),
        ("request line", "GET http://a.test/".into(), "y", Some(414)),
        ("method", String::new(), "Y", Some(414)),
        ("empty lines", String::new(), "\r\n", Some(400)),
        ("trailers", format!("{chunk}0\r\n"), &*field, Some(400)),
        ("one trailer", format!("{chunk}0\r\nX-Part: "), "y", Some(400)),
        ("chunk extension", format!("{chunk}5;a="), "y", Some(400)),
        ("chunk size", chunk, "0", Some(400)),
        ("TLS", hello.into(), hello, None),
    ];
    let (first, count) = (origin.requests().len(), cases.len());
    for (name, beginning, part, status) in cases {
        let mut client = proxy.client();
        client.send(beginning);
        let mut sender = client.stream().try_clone().unwrap();
        let part = many(part);
        // The client goes on and on, whatever it is answered.
        let sending = thread::spawn(move || {
            (0..ENDLESS / part.len()).take_while(|_| sender.write_all(part.as_bytes()).is_ok()).count()
        });
        match status {
            Some(status) => {
                let answer = client.answer();
                assert_eq!(answer.status(), status, "{name}: {answer:?}");
                answer.expect_own(&[status]);
                assert!(answer.head.lists("connection", "close"), "{name}: {answer:?}");
            }
            None => assert!(client.next_byte().is_none(), "{name}: an answer"),
        }
        drop(client);
        sending.join().unwrap();
        expect_flat(size);
    }
    let lines = proxy.access_lines_at_least(1 + count);
    for line in &lines[1..] {
        assert_eq!(line["error"], "http_request_error", "{line}");
    }
    assert!(
        origin.requests()[first..].iter().all(|request| !request.body.complete),
        "half a request was completed"
    );
}

fn c71_endless_responses_end(mode: Mode) {
    let proxy = Config::new(mode).one_worker().set("timeouts.body_idle", "1s").start();
    let size = warm(&proxy);
    let field = format!("X-Part: {}\r\n", "y".repeat(1000));
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunk = format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let too_large = Some((502, "http_response_header_section_size"));
    let cases = [
        ("fields", ok.to_owned(), &*field, too_large),
        ("one field", format!("{ok}X-Part: "), "y", too_large),
        ("reason phrase", "HTTP/1.1 200 O".into(), "K", too_large),
        ("empty lines", String::new(), "\r\n", too_large),
        ("1xx", String::new(), "HTTP/1.1 103 Early Hints\r\n\r\n", Some((502, "http_protocol_error"))),
        ("fields of a 1xx", "HTTP/1.1 103 Early Hints\r\n".into(), &*field, too_large),
        ("not HTTP", String::new(), "y", Some((502, "http_protocol_error"))),
        ("trailers", format!("{chunk}0\r\n"), &*field, None),
        ("one trailer", format!("{chunk}0\r\nX-Part: "), "y", None),
        ("chunk extension", format!("{chunk}5;a="), "y", None),
        ("chunk size", chunk, "0", None),
    ];
    for (number, (name, beginning, part, answered)) in cases.into_iter().enumerate() {
        let part = many(part);
        let origin = Origin::start(move |conn| {
            conn.read_request()?;
            conn.write(&beginning)?;
            // Ends when the proxy has had enough.
            while conn.write(&part).is_ok() {}
            Ok(())
        });
        let answer = proxy.exchange(origin.get("/", &[]));
        let error = match answered {
            Some((status, error)) => {
                assert_eq!(answer.status(), status, "{name}: {answer:?}");
                answer.expect_error(status, error);
                error
            }
            None => {
                assert!(!answer.body.complete, "{name}: {answer:?}");
                "http_response_incomplete"
            }
        };
        eventually(&format!("{name}: the origin is let go"), || origin.end_so_far(0));
        let lines = proxy.access_lines_at_least(number + 2);
        assert_eq!(lines[number + 1]["error"], error, "{name}: {}", lines[number + 1]);
        expect_flat(size);
    }
    // What stands behind a response is nobody's.
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        conn.answer("ok")?;
        let part = many("y");
        while conn.write(&part).is_ok() {}
        Ok(())
    });
    for index in 0..3 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
        eventually("the origin is let go", || origin.end_so_far(index));
    }
    expect_flat(size);
}

fn c71_origin_that_takes_nothing_ends(mode: Mode) {
    let proxy = Config::new(mode).one_worker().set("timeouts.body_idle", "400ms").start();
    let size = warm(&proxy);
    let origin = Origin::start(|conn| {
        conn.read_head()?;
        pause(Duration::from_secs(10));
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 100000000"]));
    let sending = pour(&client);
    client.answer().expect_error(504, "http_response_timeout");
    client.expect_end();
    sending.join().unwrap();
    let line = proxy.access_line(|line| line["status"] == 504);
    assert!(line["bytes_in"].as_u64() < Some(100_000_000), "{line}");
    expect_flat(size);
}

/// Sends 100 MB, or as much as is taken.
fn pour(client: &crate::support::Client) -> thread::JoinHandle<()> {
    let mut sender = client.stream().try_clone().unwrap();
    thread::spawn(move || {
        let part = [b'x'; 1 << 16];
        for _ in 0..100_000_000 / part.len() {
            if sender.write_all(&part).is_err() {
                return;
            }
        }
    })
}

fn c71_origin_that_answers_and_takes_nothing_ends(mode: Mode) {
    let proxy = Config::new(mode).one_worker().set("timeouts.body_idle", "400ms").start();
    let (worker, before) = warm(&proxy);
    let origin = Origin::start(|conn| {
        conn.read_head()?;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        pause(Duration::from_secs(30));
        Ok(())
    });
    let sockets = process::open_sockets(worker);
    for count in 1..=5 {
        let mut client = proxy.client();
        client.send(origin.request("POST", "/", &["Content-Length: 100000000"]));
        let sending = pour(&client);
        let answer = client.answer();
        assert!(answer.status() == 200 && !answer.body.complete, "{answer:?}");
        let lines = proxy.access_lines_at_least(1 + count);
        assert_eq!(lines[count]["error"], "http_response_timeout");
        drop(client);
        sending.join().unwrap();
    }
    eventually("all connections are closed", || (process::open_sockets(worker) <= sockets).then_some(()));
    expect_flat((worker, before));
}

fn c71_tunnel_whose_client_takes_nothing_ends(mode: Mode) {
    let proxy = Config::new(mode).one_worker().set("timeouts.tunnel_idle", "400ms").start();
    let size = warm(&proxy);
    let origin = Origin::start(|conn| {
        let part = many("y");
        while conn.write(&part).is_ok() {}
        Ok(())
    });
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!(line["close"], "tunnel_idle", "{line}");
    expect_flat(size);
    // What it has not taken by then is not kept for it.
    assert_eq!(client.read_to_end().1, End::Reset);
    eventually("the origin is let go", || origin.end_so_far(0));
}

fn c71_two_thousand_slow_heads_are_answered(mode: Mode) {
    const COUNT: usize = 2000;
    let _turn = process::many_files();
    let proxy = Config::new(mode).one_worker().set("timeouts.client_header", "2s").start();
    let origin = Origin::ok();
    let (worker, before) = warm(&proxy);
    let mut clients: Vec<_> = (0..COUNT)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET http://a.test/ HTTP/1.1\r\nHost: a");
            client
        })
        .collect();
    // Whoever is not slow is served.
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    for client in &mut clients {
        client.answer().expect_own(&[408]);
    }
    expect_flat((worker, before + 20 * MEBIBYTE));
    let lines = proxy.access_lines_at_least(2 + COUNT);
    assert_eq!(lines.iter().filter(|line| line["status"] == 408).count(), COUNT);
    drop(clients);
    eventually("all are closed", || (process::open_files(worker) < 100).then_some(()));
}

fn c71_what_is_sent_after_an_early_answer_is_read_for_a_while(mode: Mode) {
    let proxy =
        Config::new(mode).set("limits.max_body_size", 1000).set("timeouts.client_header", "400ms").start();
    let origin = Origin::ok();
    let request = origin.request("POST", "/", &["Content-Length: 100000000"]);
    // One that sends and sends: what it sent in the meantime does not eat the answer.
    let mut client = proxy.client();
    client.send(&request);
    let start = Instant::now();
    while client.is_silent_for(Duration::from_millis(1)) {
        client.send_unwanted([b'x'; 1000]);
    }
    for _ in 0..5 {
        client.send_unwanted([b'x'; 1000]);
        pause(Duration::from_millis(20));
    }
    client.answer().expect_own(&[413]);
    // It is not read for ever.
    eventually("sending fails", || {
        client.send_unwanted([b'x'; 1000]);
        client.has_failed().then_some(())
    });
    let took = start.elapsed();
    assert!(took >= SHORT * 8 / 10 && took < Duration::from_secs(6), "{took:?}");
    // One that stands still: it is not waited for, either.
    let mut client = proxy.client();
    client.send(&request);
    client.answer().expect_own(&[413]);
    eventually("the connection is closed on both sides", || {
        client.send_unwanted("x");
        client.has_failed().then_some(())
    });
}

fn c72_interim_responses_do_not_move_the_deadline(mode: Mode) {
    let proxy = Config::new(mode).set("timeouts.response_head", "400ms").start();
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        while conn.write("HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {
            pause(Duration::from_millis(100));
        }
        Ok(())
    });
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    let start = Instant::now();
    let answer = client.answer();
    answer.expect_error(504, "http_response_timeout");
    let took = start.elapsed();
    assert!(took >= SHORT * 8 / 10 && took < Duration::from_secs(6), "{took:?}");
    assert!(!answer.interim.is_empty(), "{answer:?}");
}

fn c72_max_header_bytes_is_kept_in_responses(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_header_bytes", "8KiB").start();
    for (size, is_taken) in [(7000, true), (9000, false), (60_000, false)] {
        let origin = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 2\r\n\r\nok",
            "x".repeat(size)
        ));
        let answer = proxy.exchange(origin.get("/", &[]));
        assert_eq!(answer.status(), if is_taken { 200 } else { 502 }, "{size}");
        if !is_taken {
            answer.expect_error(502, "http_response_header_section_size");
            origin.end_of(0);
        }
    }
    proxy.access_line(|line| line["error"] == "http_response_header_section_size");
}

/// The table above names tests that exist, and every key.
#[test]
fn the_table_is_complete() {
    let sources = [
        ("bounds", include_str!("bounds.rs")),
        ("connection_limits", include_str!("connection_limits.rs")),
        ("errors", include_str!("errors.rs")),
        ("limits", include_str!("limits.rs")),
        ("timeouts", include_str!("timeouts.rs")),
    ];
    let table: Vec<_> = sources[0].1.lines().filter(|line| line.starts_with("//! |")).skip(2).collect();
    for line in &table {
        let test = line.rsplit('`').nth(1).unwrap();
        let (file, name) = test.split_once("::").unwrap();
        let source = sources.iter().find(|(known, _)| *known == file).unwrap_or_else(|| panic!("{line}")).1;
        assert!(source.contains(&format!("\nfn {name}(")), "there is no {test}");
    }
    let manual = include_str!("../../config.yml");
    for section in ["limits", "timeouts"] {
        let text = manual.split(&format!("\n{section}:\n")).nth(1).unwrap();
        let keys = text.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
        for key in
            keys.filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| line.split_once(':'))
        {
            let key = format!("`{section}.{}`", key.0.trim());
            assert!(table.iter().any(|line| line.contains(&key)), "{key} is not in the table");
        }
    }
}
