//! Versions, persistence, pipelining and interim responses (C47-C50, C55-C57, C70).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::support::{Config, Mode, Origin, Proxy, head, in_every_mode, pause};

in_every_mode! {
    c47_http_1_0_client_gets_our_version_and_a_close,
    c48_early_hints_come_before_the_response,
    c48_many_interim_responses_are_bounded,
    c49_expectation_is_the_origins_to_answer,
    c49_continue_comes_from_the_origin,
    c49_silent_origin_does_not_block_forever,
    c50_expectation_of_http_1_0_is_ignored,
    c50_unsolicited_continue_does_no_harm,
    c55_early_refusal_is_readable_by_a_client_that_still_sends,
    c56_pipelined_requests_are_answered_in_order,
    c57_close_is_kept_and_what_follows_is_ignored,
    c70_missing_date_is_added,
}

fn c47_http_1_0_client_gets_our_version_and_a_close(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for fields in [&[] as &[&str], &["Connection: keep-alive"], &["Proxy-Connection: keep-alive"]] {
        let mut lines = vec![format!("GET {} HTTP/1.0", origin.url("/"))];
        lines.extend(fields.iter().map(|&field| field.to_owned()));
        let mut client = proxy.client();
        client.send(head(&lines));
        let answer = client.answer();
        answer.expect_ok("ok");
        assert!(answer.head.start().starts_with("HTTP/1.1 200"), "{answer:?}");
        assert!(!answer.head.lists("connection", "keep-alive"), "{answer:?}");
        client.expect_end();
    }
}

fn c48_early_hints_come_before_the_response(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(origin.get("/", &[]));
        let answer = client.answer();
        answer.expect_ok("ok");
        let links: Vec<_> = answer.interim.iter().map(|hint| (hint.status(), hint.list("link"))).collect();
        let expected = ["</a.css>; rel=preload", "</b.css>; rel=preload"].map(|link| (103, link.to_owned()));
        assert_eq!(links, expected, "{answer:?}");
    }
    let old = proxy.exchange(head(&[format!("GET {} HTTP/1.0", origin.url("/"))]));
    old.expect_ok("ok");
    assert!(old.interim.is_empty(), "{old:?}");
}

fn c48_many_interim_responses_are_bounded(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        let hint = "HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n";
        if (0..100_000).all(|_| conn.write(hint).is_ok()) {
            conn.answer("ok")?;
        }
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    let answer = client.answer();
    assert!(answer.interim.len() < 100_000, "all of them came");
    assert_eq!(answer.status(), 502, "{:?}", answer.head);
    origin.end_of(0);
}

fn c49_expectation_is_the_origins_to_answer(mode: Mode) {
    let proxy = Proxy::new(mode);
    for status in ["417 Expectation Failed", "401 Unauthorized"] {
        let origin = Origin::start(move |conn| {
            let head = conn.read_head()?;
            let early = !conn.buffered().is_empty();
            let expects = head.lists("expect", "100-continue");
            conn.write(format!(
                "HTTP/1.1 {status}\r\nX-Early: {early}\r\nX-Expects: {expects}\r\nContent-Length: 0\r\n\r\n"
            ))?;
            conn.read_to_end().map(drop)
        });
        let mut client = proxy.client();
        client.send(origin.request("POST", "/", &["Content-Length: 5", "Expect: 100-continue"]));
        let answer = client.answer();
        assert!(answer.head.start().contains(&status[..3]), "{answer:?}");
        assert!(answer.interim.is_empty(), "a 100 that the origin never sent: {answer:?}");
        assert_eq!(answer.head.list("x-early"), "false");
        assert_eq!(answer.head.list("x-expects"), "true");
    }
}

fn c49_continue_comes_from_the_origin(mode: Mode) {
    let proxy = Proxy::new(mode);
    let sent = Arc::new(AtomicBool::new(false));
    let (go, wait) = mpsc::channel::<()>();
    let (flag, wait) = (Arc::clone(&sent), std::sync::Mutex::new(wait));
    let origin = Origin::start(move |conn| {
        let head = conn.read_head()?;
        // The test lets it go on after it has seen that no 100 came too early.
        let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(10));
        flag.store(true, Ordering::SeqCst);
        conn.write("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = conn.read_body(&head, false)?;
        conn.answer(body.bytes)?;
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 5", "Expect: 100-continue"]));
    assert!(client.is_silent_for(Duration::from_millis(300)), "a 100 before the origin's");
    go.send(()).unwrap();
    assert_eq!(client.head().status(), 100);
    assert!(sent.load(Ordering::SeqCst));
    client.send("hello");
    client.answer().expect_ok("hello");
}

/// An origin that knows no expectations waits for the body: the proxy, after a while, asks for it.
fn c49_silent_origin_does_not_block_forever(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 5", "Expect: 100-continue"]));
    assert_eq!(client.head().status(), 100);
    client.send("hello");
    client.answer().expect_ok("ok");
    assert_eq!(origin.request_at(0).body.bytes, b"hello");
}

fn c50_expectation_of_http_1_0_is_ignored(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut request = head(&[
        format!("POST {} HTTP/1.0", origin.url("/")),
        "Content-Length: 5".to_owned(),
        "Expect: 100-continue".to_owned(),
    ]);
    request.extend_from_slice(b"hello");
    let answer = proxy.exchange(request);
    answer.expect_ok("ok");
    assert!(answer.interim.is_empty(), "{answer:?}");
    assert_eq!(origin.request_at(0).body.bytes, b"hello");
}

fn c50_unsolicited_continue_does_no_harm(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin =
        Origin::answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send(origin.get("/", &[]));
        let answer = client.answer();
        answer.expect_ok("ok");
        assert!(answer.interim.len() <= 1, "{answer:?}");
    }
}

fn c55_early_refusal_is_readable_by_a_client_that_still_sends(mode: Mode) {
    let proxy = Config::new(mode)
        .set("limits.max_body_size", "1MiB")
        .set("access.destinations.deny", vec!["denied.test"])
        .set("access.local_client_bypass", false)
        .start();
    let origin = Origin::ok();
    let size = 10 * 1024 * 1024;
    let denied = head(&[
        "POST http://denied.test/ HTTP/1.1".to_owned(),
        "Host: denied.test".to_owned(),
        format!("Content-Length: {size}"),
    ]);
    let too_large = origin.request("POST", "/", &[&format!("Content-Length: {size}")]);
    for (request, status) in [(denied, 403), (too_large, 413)] {
        let mut client = proxy.client();
        client.send(request);
        let mut sender = client.stream().try_clone().unwrap();
        let sending = thread::spawn(move || {
            // The proxy may stop reading; that is no failure of the test.
            let _ = std::io::Write::write_all(&mut sender, &vec![b'x'; size]);
        });
        let answer = client.answer();
        answer.expect_own(&[status]);
        assert!(answer.head.lists("connection", "close"), "{answer:?}");
        client.expect_end();
        sending.join().unwrap();
    }
}

fn c56_pipelined_requests_are_answered_in_order(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        loop {
            let request = conn.read_request()?;
            if request.head.target() == "/2" {
                pause(Duration::from_millis(300));
            }
            conn.answer(request.head.target())?;
        }
    });
    let mut requests = Vec::new();
    for path in ["/1", "/2", "/3"] {
        requests.extend_from_slice(&origin.get(path, &[]));
    }
    let mut client = proxy.client();
    client.send(requests);
    for path in ["/1", "/2", "/3"] {
        client.answer().expect_ok(path);
    }
}

fn c57_close_is_kept_and_what_follows_is_ignored(mode: Mode) {
    let proxy = Config::new(mode).one_worker().start();
    let origin = Origin::ok();
    for field in ["Connection: close", "Proxy-Connection: close\r\nConnection: close"] {
        let mut requests = origin.get("/first", &[field]);
        requests.extend_from_slice(&origin.get("/second", &[]));
        let mut client = proxy.client();
        client.send(requests);
        let answer = client.answer();
        answer.expect_ok("ok");
        assert!(answer.head.lists("connection", "close"), "{answer:?}");
        client.expect_end();
    }
    assert!(origin.requests().iter().all(|request| request.head.target() == "/first"));
    assert_eq!(origin.connections(), 1, "the origin's connection does not end with the client's");
}

fn c70_missing_date_is_added(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let answer = proxy.exchange(origin.get("/", &[]));
    assert!(answer.head.one("date").is_some_and(|date| date.ends_with("GMT")), "{answer:?}");
    let dated = Origin::answering(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = proxy.exchange(dated.get("/", &[]));
    assert_eq!(answer.head.all("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
}
