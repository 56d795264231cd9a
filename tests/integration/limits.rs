//! Every key of `limits`: the answer, the line, and that memory stays flat (C71).

use std::time::Duration;

use crate::support::{Config, Mode, Origin, Proxy, in_every_mode, process};

in_every_mode! {
    c71_101_fields_are_too_many,
    c71_max_headers_is_kept,
    c71_max_header_bytes_is_kept,
    c71_two_thousand_connections_keep_memory_flat,
    c71_endless_heads_keep_memory_flat,
    c71_endless_trailers_are_cut,
    max_body_size_is_kept_with_a_length,
    max_body_size_is_kept_in_chunks,
}

const MEBIBYTE: u64 = 1 << 20;

fn c71_101_fields_are_too_many(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let names: Vec<_> = (0..100).map(|number| format!("X-{number}: 1")).collect();
    let fields: Vec<_> = names.iter().map(String::as_str).collect();
    // With Host it is 100 fields, and then 101.
    proxy.exchange(origin.get("/", &fields[..99])).expect_ok("ok");
    proxy.exchange(origin.get("/", &fields)).expect_own(&[431]);
    assert_eq!(origin.requests().len(), 1);
    proxy.access_line(|line| line["status"] == 431);
}

fn c71_max_headers_is_kept(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_headers", 3).start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &["A: 1", "B: 2"])).expect_ok("ok");
    proxy.exchange(origin.get("/", &["A: 1", "B: 2", "C: 3"])).expect_own(&[431]);
}

fn c71_max_header_bytes_is_kept(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_header_bytes", "8KiB").start();
    let origin = Origin::ok();
    let (fits, does_not) = (format!("A: {}", "x".repeat(7000)), format!("A: {}", "x".repeat(9000)));
    proxy.exchange(origin.get("/", &[&fits])).expect_ok("ok");
    proxy.exchange(origin.get("/", &[&does_not])).expect_own(&[431]);
    let long = format!("/{}", "x".repeat(9000));
    proxy.exchange(origin.get(&long, &[])).expect_own(&[414]);
}

fn c71_two_thousand_connections_keep_memory_flat(mode: Mode) {
    let _turn = process::many_files();
    let proxy = Config::new(mode).one_worker().start();
    let origin = Origin::ok();
    let get = origin.get("/", &[]);
    let worker = proxy.serving_all(1)[0];
    proxy.exchange(&get).expect_ok("ok");
    let before = process::resident(worker);
    let mut clients = Vec::new();
    for _ in 0..2000 {
        clients.push(proxy.client());
    }
    for client in clients.iter_mut().step_by(100) {
        client.send(&get);
        client.answer().expect_ok("ok");
    }
    // A build that is not optimised has larger futures.
    let allowed = if cfg!(debug_assertions) { 32 * 1024 } else { 16 * 1024 };
    let each = process::resident(worker).saturating_sub(before) / 2000;
    assert!(each < allowed, "an idle connection takes {each} bytes");
}

fn c71_endless_heads_keep_memory_flat(mode: Mode) {
    let (proxy, origin) = (Config::new(mode).one_worker().start(), Origin::ok());
    let worker = proxy.serving_all(1)[0];
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let before = process::resident(worker);
    let line = format!("X-Part: {}\r\n", "y".repeat(1000));
    for _ in 0..20 {
        let mut client = proxy.client();
        client.send(format!("GET {} HTTP/1.1\r\n", origin.url("/")));
        for _ in 0..200 {
            client.send_unwanted(&line);
        }
        client.answer().expect_own(&[431]);
        client.expect_end();
    }
    let after = process::resident(worker);
    assert!(after < before + 16 * MEBIBYTE, "{before} -> {after}");
    assert_eq!(origin.requests().len(), 1);
}

fn c71_endless_trailers_are_cut(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Transfer-Encoding: chunked"]));
    client.send("5\r\nhello\r\n0\r\n");
    let line = format!("X-Part: {}\r\n", "y".repeat(1000));
    for _ in 0..300 {
        client.send_unwanted(&line);
    }
    client.send_unwanted("\r\n");
    let answer = client.answer();
    assert!((400..500).contains(&answer.status()), "{answer:?}");
    client.expect_end();

    let endless = Origin::start(move |conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")?;
        let line = format!("X-Part: {}\r\n", "y".repeat(1000));
        if (0..300).all(|_| conn.write(&line).is_ok()) {
            conn.write("\r\n")?;
        }
        conn.read_to_end().map(drop)
    });
    let answer = proxy.exchange(endless.get("/", &[]));
    assert!(answer.status() == 502 || !answer.body.complete, "{answer:?}");
    endless.end_of(0);
}

fn max_body_size_is_kept_with_a_length(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_body_size", 1000).start();
    let origin = Origin::ok();
    let mut fits = origin.request("POST", "/", &["Content-Length: 1000"]);
    fits.extend_from_slice(&[b'x'; 1000]);
    proxy.exchange(fits).expect_ok("ok");
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 1001"]));
    // The length says it: no byte of the body is waited for.
    client.answer().expect_own(&[413]);
    client.send_unwanted([b'x'; 1001]);
    client.read_to_end();
    assert_eq!(origin.requests().len(), 1);
    proxy.access_line(|line| line["status"] == 413);
}

fn max_body_size_is_kept_in_chunks(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_body_size", 1000).start();
    let origin = Origin::ok();
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Transfer-Encoding: chunked"]));
    for _ in 0..11 {
        client.send_unwanted(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    client.send_unwanted("0\r\n\r\n");
    client.set_deadline(Duration::from_secs(10));
    client.answer().expect_own(&[413]);
    client.expect_end();
    assert!(!origin.requests().iter().any(|request| request.body.complete), "it went on to the origin whole");
}
