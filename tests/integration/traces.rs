//! What a message carries of its way: Via, loops, Max-Forwards, the client's address (C24-C29).

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use crate::support::{Config, Mode, Origin, Proxy, head, in_every_mode};

in_every_mode! {
    c24_via_is_appended_to_requests,
    c24_via_off_adds_nothing,
    c25_via_is_appended_to_responses,
    c26_own_via_is_a_loop,
    c27_max_forwards_counts_down,
    c28_trace_reflects_no_credentials,
    c29_forwarded_is_appended_when_asked,
    c29_client_address_is_off_by_default,
    c29_client_address_can_be_deleted,
    c29_x_forwarded_for_is_appended_when_asked,
}

fn c24_via_is_appended_to_requests(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    proxy.exchange(origin.get("/", &["Via: 1.0 fred"])).expect_ok("ok");
    assert_eq!(origin.request_at(0).head.list("via"), "1.0 fred, 1.1 px");
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    assert_eq!(origin.request_at(1).head.list("via"), "1.1 px");
    let old = head(&[format!("GET {} HTTP/1.0", origin.url("/")), "Via: 1.1 a, 1.1 b".to_owned()]);
    proxy.exchange(old).expect_ok("ok");
    assert_eq!(origin.request_at(2).head.list("via"), "1.1 a, 1.1 b, 1.0 px");
}

fn c24_via_off_adds_nothing(mode: Mode) {
    let proxy = Config::new(mode).set("forwarding.via", "off").start();
    let origin = Origin::ok();
    let answer = proxy.exchange(origin.get("/", &["Via: 1.0 fred"]));
    answer.expect_ok("ok");
    assert_eq!(origin.request_at(0).head.list("via"), "1.0 fred");
    assert!(!answer.head.has("via"), "{answer:?}");
}

fn c25_via_is_appended_to_responses(mode: Mode) {
    let proxy = Proxy::new(mode);
    let old = Origin::answering_once("HTTP/1.0 200 Fine\r\nVia: 1.1 cdn\r\nContent-Length: 2\r\n\r\nok");
    let answer = proxy.exchange(old.get("/", &[]));
    assert!(answer.head.start().starts_with("HTTP/1.1 200"), "{answer:?}");
    assert_eq!(answer.head.list("via"), "1.1 cdn, 1.0 px");
    let new = Origin::ok();
    assert_eq!(proxy.exchange(new.get("/", &[])).head.list("via"), "1.1 px");
}

fn c26_own_via_is_a_loop(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for via in ["Via: 1.1 px", "Via: 1.0 a, 1.1 px (comment, 1.1 b), 1.1 c", "Via: HTTP/1.1 px"] {
        proxy.exchange(origin.get("/", &[via])).expect_error(502, "proxy_loop_detected");
    }
    assert_eq!(origin.connections(), 0);
    // Another's name, or ours in a comment, is no loop.
    for via in ["Via: 1.1 pxx", "Via: 1.1 other (px)"] {
        proxy.exchange(origin.get("/", &[via])).expect_ok("ok");
    }
    let line = proxy.access_line(|line| line["status"] == 502);
    assert_eq!(line["error"], "proxy_loop_detected");
}

fn c27_max_forwards_counts_down(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for method in ["TRACE", "OPTIONS"] {
        let answer = proxy.exchange(origin.request(method, "/", &["Max-Forwards: 0"]));
        assert!(matches!(answer.status(), 200 | 204 | 405), "{method}: {answer:?}");
        if method == "TRACE" && answer.status() == 200 {
            assert_eq!(answer.head.one("content-type").as_deref(), Some("message/http"));
        }
    }
    assert_eq!(origin.connections(), 0);

    let sent = |method: &str, fields: &[&str]| {
        let answer = proxy.exchange(origin.request(method, "/", fields));
        answer.expect_ok("ok");
        origin.requests().pop().unwrap().head.one("max-forwards")
    };
    assert_eq!(sent("OPTIONS", &["Max-Forwards: 3"]).as_deref(), Some("2"));
    let capped: u64 = sent("OPTIONS", &["Max-Forwards: 99999999999"]).unwrap().parse().unwrap();
    assert!(capped < 99_999_999_999, "{capped}");
    assert_eq!(sent("GET", &["Max-Forwards: 3"]).as_deref(), Some("3"));
    assert_eq!(sent("GET", &["Max-Forwards: 0"]).as_deref(), Some("0"));
    assert_eq!(sent("OPTIONS", &[]), None);
}

fn c28_trace_reflects_no_credentials(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let fields = [
        "Max-Forwards: 0",
        "Cookie: id=geheim",
        "Authorization: Bearer geheim",
        "Proxy-Authorization: Basic geheim",
    ];
    let answer = proxy.exchange(origin.request("TRACE", "/", &fields));
    assert!(matches!(answer.status(), 200 | 405), "{answer:?}");
    assert!(!answer.text().contains("geheim"), "{answer:?}");
    proxy.access_lines_at_least(1);
    assert!(!proxy.all_logs().contains("geheim"));
}

fn c29_forwarded_is_appended_when_asked(mode: Mode) {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this host has no IPv6");
        return;
    }
    let proxy =
        Config::new(mode).set("listen_addr", "[::1]:0").set("forwarding.client_address", "forwarded").start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &["Forwarded: for=1.2.3.4"])).expect_ok("ok");
    let forwarded = origin.request_at(0).head.list("forwarded");
    let (theirs, ours) = forwarded.split_once(", ").unwrap();
    assert_eq!(theirs, "for=1.2.3.4");
    let parameters: Vec<_> = ours.split(';').collect();
    assert!(parameters.contains(&"for=\"[::1]\""), "{forwarded}");

    let proxy = Config::new(mode).set("forwarding.client_address", "forwarded").start();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let forwarded = origin.request_at(1).head.list("forwarded");
    assert!(forwarded.split(';').any(|parameter| parameter == "for=127.0.0.1"), "{forwarded}");
}

fn c29_client_address_is_off_by_default(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    proxy.exchange(origin.get("/", &["Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4"])).expect_ok("ok");
    let request = origin.request_at(0).head;
    assert_eq!(request.list("forwarded"), "for=1.2.3.4");
    assert_eq!(request.list("x-forwarded-for"), "1.2.3.4");
}

fn c29_client_address_can_be_deleted(mode: Mode) {
    let proxy = Config::new(mode).set("forwarding.client_address", "delete").start();
    let origin = Origin::ok();
    let fields = [
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Host: h",
        "X-Forwarded-Proto: http",
    ];
    proxy.exchange(origin.get("/", &fields)).expect_ok("ok");
    assert!(!origin.request_at(0).head.mentions("forwarded"), "{:?}", origin.request_at(0));
}

fn c29_x_forwarded_for_is_appended_when_asked(mode: Mode) {
    let proxy = Config::new(mode).set("forwarding.client_address", "x_forwarded_for").start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &["X-Forwarded-For: 1.2.3.4"])).expect_ok("ok");
    assert_eq!(origin.request_at(0).head.list("x-forwarded-for"), "1.2.3.4, 127.0.0.1");
    let other = SocketAddr::from(([127, 0, 0, 9], 0)).ip();
    let mut client = crate::support::Client::connect_from(other, proxy.addr());
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("ok");
    assert_eq!(origin.request_at(1).head.list("x-forwarded-for"), "127.0.0.9");
}
