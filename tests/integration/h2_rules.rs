//! HTTP/2 that breaks its rules: the stream is reset, the others live on, nothing is forwarded (C73, C75).

use std::collections::HashMap;

use http::Request;

use crate::support::{Config, H2Proxy, Mode, Origin, h2_client::Frames, in_every_mode};

in_every_mode! {
    c73_connect_is_host_and_port_and_nothing_else,
    c75_malformed_requests_are_reset,
    what_is_refused_without_a_head_is_told_of,
    bodies_that_are_not_as_long_as_they_say_are_reset,
    what_is_wrong_in_any_version_is_answered,
    what_is_for_the_proxy_is_answered_by_it,
}

/// RST_STREAM and its code.
const RESET: u8 = 3;
const PROTOCOL_ERROR: u32 = 1;

fn greeted(proxy: &H2Proxy) -> Frames {
    let mut client = proxy.frames();
    client.greet();
    client
}

/// How each of these requests ends, by the code of its reset; and a good one on the same connection is answered.
#[track_caller]
fn expect_resets(proxy: &H2Proxy, origin: &Origin, requests: &[Vec<(&str, &str)>]) {
    let mut client = greeted(proxy);
    let mut stream = 1;
    for fields in requests {
        client.request(stream, fields);
        let frame = client.until(|frame| frame.stream == stream);
        assert_eq!((frame.kind, frame.code()), (RESET, PROTOCOL_ERROR), "{fields:?}");
        stream += 2;
    }
    let authority = origin.authority();
    client.request(
        stream,
        &[(":method", "GET"), (":scheme", "http"), (":authority", &authority), (":path", "/good")],
    );
    let frame = client.until(|frame| frame.stream == stream);
    assert_eq!(frame.kind, 1, "a good request is answered: {frame:?}");
    let targets: Vec<_> = origin.requests().iter().map(|request| request.head.target().to_owned()).collect();
    assert_eq!(targets, ["/good"]);
    assert_eq!(origin.connections(), 1);
}

fn c73_connect_is_host_and_port_and_nothing_else(mode: Mode) {
    let (proxy, origin) = (H2Proxy::start(Config::new(mode)), Origin::ok());
    let authority = origin.authority();
    let requests = [
        vec![(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", &*authority)],
        vec![(":method", "CONNECT"), (":scheme", "http"), (":authority", &*authority)],
        vec![(":method", "CONNECT"), (":path", "/"), (":authority", &*authority)],
        vec![(":method", "CONNECT")],
        vec![(":method", "CONNECT"), ("host", &*authority)],
    ];
    expect_resets(&proxy, &origin, &requests);
}

fn c75_malformed_requests_are_reset(mode: Mode) {
    let (proxy, origin) = (H2Proxy::start(Config::new(mode)), Origin::ok());
    let authority = origin.authority();
    let with = |field: (&'static str, &'static str)| {
        vec![(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "/"), field]
    };
    let requests = [
        with(("connection", "x")),
        with(("connection", "close")),
        with(("proxy-connection", "keep-alive")),
        with(("keep-alive", "timeout=5")),
        with(("transfer-encoding", "chunked")),
        with(("upgrade", "websocket")),
        with(("te", "gzip")),
        with(("te", "trailers, gzip")),
        with(("host", "other.test")),
        with(("x", " padded")),
        with(("x", "padded\t")),
        with((":path", "/twice")),
        vec![(":method", "GET"), (":scheme", "http"), (":authority", &*authority)],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "no/slash")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "*")],
        vec![(":method", "GET"), (":authority", &*authority), (":path", "/")],
        vec![(":scheme", "http"), (":authority", &*authority), (":path", "/")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        vec![
            (":method", "GET"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", &*authority),
            (":path", "/"),
        ],
    ];
    expect_resets(&proxy, &origin, &requests);
    for field in
        [("X-Upper", "1"), (":late", "1"), ("x y", "1"), ("", "1"), ("x", "a\r\nb: c"), ("x", "a\0b")]
    {
        // These are no fields at all; how much of the connection they take down is the reader's choice.
        let mut client = greeted(&proxy);
        client.request(1, &with(field));
        let frame = client.until(|frame| frame.stream == 1 || frame.kind == 7);
        assert!(matches!(frame.kind, RESET | 7) && frame.code() != 0, "{field:?}: {frame:?}");
    }
    assert_eq!(origin.connections(), 1, "nothing was forwarded");
}

fn what_is_refused_without_a_head_is_told_of(mode: Mode) {
    let (proxy, origin) = (H2Proxy::start(Config::new(mode)), Origin::ok());
    let authority = origin.authority();
    let good = [(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "/")];
    let bad = [&good[..], &[("connection", "close")]].concat();
    let mut client = greeted(&proxy);
    for (stream, fields) in [(1, &bad[..]), (3, &good), (5, &bad), (7, &bad)] {
        client.request(stream, fields);
        let first = client.until(|frame| frame.stream == stream);
        assert_eq!(first.kind == RESET, fields.len() > 4, "{first:?}");
    }
    drop(client);
    // One line for all of them, when the connection has ended.
    let line = proxy.proxy.access_line(|line| line["path"] == "3 streams that were not taken");
    assert_eq!(
        (&line["proto"], &line["status"], &line["error"], &line["close"]),
        (&"HTTP/2.0".into(), &400.into(), &"http_request_error".into(), &"client".into()),
        "{line}"
    );
    assert_eq!(proxy.proxy.access_lines_at_least(2).len(), 2);
    // Nothing is told of a connection on which everything was as it should be.
    let client = proxy.client();
    assert_eq!(client.ask(Request::get(origin.url("/last")).body(()).unwrap()).status(), 200);
    drop(client);
    proxy.proxy.access_line(|line| line["path"] == "/last");
    assert_eq!(proxy.proxy.access_lines_at_least(3).len(), 3);
}

fn bodies_that_are_not_as_long_as_they_say_are_reset(mode: Mode) {
    let (proxy, origin) = (H2Proxy::start(Config::new(mode)), Origin::ok());
    let authority = origin.authority();
    for (body, is_last) in [(&b"abc"[..], true), (b"abcdefgh", true), (b"abcdefgh", false)] {
        let mut client = greeted(&proxy);
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", &*authority),
            (":path", "/"),
            ("content-length", "5"),
        ];
        client.send(1, 4, 1, &crate::support::h2_client::block(&fields)).unwrap();
        client.send(0, u8::from(is_last), 1, body).unwrap();
        let frame = client.until(|frame| frame.stream == 1);
        assert_eq!((frame.kind, frame.code()), (RESET, PROTOCOL_ERROR), "{body:?}");
    }
    assert!(origin.requests().iter().all(|request| !request.body.complete), "{:?}", origin.requests());
}

fn what_is_wrong_in_any_version_is_answered(mode: Mode) {
    let config =
        Config::new(mode).set("limits.max_headers", 20).set("access.destinations.deny", vec!["denied.test"]);
    let (proxy, origin) = (H2Proxy::start(config), Origin::ok());
    let client = proxy.client();
    let many: HashMap<_, _> = (0..40).map(|index| (format!("x-{index}"), "1")).collect();
    for (method, uri, status) in [
        ("GET", "http://denied.test/", 403),
        ("CONNECT", "denied.test:443", 403),
        ("CONNECT", "a.test", 400),
        ("CONNECT", "u:p@a.test:443", 400),
        ("GET", "http://u:p@a.test/", 400),
        ("GET", "ftp://a.test/", 501),
        ("GET", "http://a.test/\"", 400),
    ] {
        let answer = client.ask(Request::builder().method(method).uri(uri).body(()).unwrap());
        assert_eq!(answer.status(), status, "{method} {uri}: {answer:?}");
        assert!(answer.field("proxy-status").starts_with("px; error="), "{method} {uri}: {answer:?}");
    }
    let mut request = Request::get(origin.url("/"));
    for (name, value) in many {
        request = request.header(name, value);
    }
    assert_eq!(client.ask(request.body(()).unwrap()).status(), 431);
    let lines = proxy.proxy.access_lines_at_least(8);
    assert!(lines.iter().all(|line| line["status"].as_u64() >= Some(400)), "{lines:?}");
    assert_eq!(origin.connections(), 0);
}

fn what_is_for_the_proxy_is_answered_by_it(mode: Mode) {
    let (proxy, origin) = (H2Proxy::start(Config::new(mode)), Origin::ok());
    let client = proxy.client();
    for (method, hops, status) in [("OPTIONS", "0", 200), ("TRACE", "0", 200), ("OPTIONS", "7", 200)] {
        let request = Request::builder().method(method).uri(origin.url("/")).header("max-forwards", hops);
        let answer = client.ask(request.body(()).unwrap());
        assert_eq!(answer.status(), status, "{method} {hops}: {answer:?}");
        if method == "TRACE" {
            assert_eq!(answer.field("content-type"), "message/http");
            assert!(answer.body.starts_with(b"TRACE http://"), "{answer:?}");
        }
    }
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(origin.request_at(0).head.list("max-forwards"), "6");
    // Without an origin it is addressed to the proxy.
    let mut frames = greeted(&proxy);
    frames.request(1, &[(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "proxy.test")]);
    assert_eq!(frames.until(|frame| frame.stream == 1).kind, 1);
    let page = frames.until(|frame| frame.stream == 1 && frame.kind == 0).payload;
    assert!(String::from_utf8_lossy(&page).contains("forward proxy"));
}
