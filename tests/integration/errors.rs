//! Every failure has its status and its name (C64, C69), in the answer and in the log.

use std::{
    net::{IpAddr, TcpListener},
    time::{Duration, Instant},
};

use crate::support::{
    Answer, BlackHole, Config, Mode, NameServer, Origin, Proxy, Reply, head, in_every_mode,
};

in_every_mode! {
    c64_refused_connection,
    c64_black_hole,
    c64_names_that_do_not_resolve,
    c64_silent_name_server,
    c64_denied_addresses,
    c64_unroutable_address,
    c69_proxy_status_is_a_list_with_ours_last,
    c69_answers_have_problem_details_when_asked,
    failures_of_plain_requests_have_the_same_names,
    malformed_requests_are_answered_and_logged,
    tls_on_the_plain_port_is_closed,
}

/// CONNECT to `authority`, refused: the answer, after which nothing comes.
#[track_caller]
fn refused(proxy: &Proxy, authority: &str) -> Answer {
    let mut client = proxy.client();
    client.send(head(&[format!("CONNECT {authority} HTTP/1.1"), format!("Host: {authority}")]));
    let answer = client.answer_to("CONNECT");
    assert_ne!(answer.status(), 200, "{authority}: a tunnel to nowhere");
    client.expect_end();
    answer
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn c64_refused_connection(mode: Mode) {
    let proxy = Proxy::new(mode);
    refused(&proxy, &format!("127.0.0.1:{}", closed_port())).expect_error(502, "connection_refused");
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!((&line["status"], &line["error"]), (&502.into(), &"connection_refused".into()), "{line}");
}

fn c64_black_hole(mode: Mode) {
    let hole = BlackHole::new();
    let proxy = Config::new(mode).set("timeouts.connect", "400ms").start();
    let start = Instant::now();
    refused(&proxy, &hole.authority()).expect_error(504, "connection_timeout");
    assert!(start.elapsed() >= Duration::from_millis(350), "it did not wait");
    let answer = proxy.exchange(head(&[
        format!("GET http://{}/ HTTP/1.1", hole.authority()),
        format!("Host: {}", hole.authority()),
    ]));
    answer.expect_error(504, "connection_timeout");
}

fn c64_names_that_do_not_resolve(mode: Mode) {
    let names =
        NameServer::start(&[("broken.test", Reply::Code(2)), ("empty.test", Reply::Addresses(Vec::new()))]);
    let proxy = Config::new(mode).set("dns.servers", names.servers()).start();
    let answer = refused(&proxy, "missing.test:443");
    answer.expect_error(502, "dns_error");
    let status = answer.proxy_status().pop().unwrap();
    assert_eq!(status.parameters.get("rcode").map(String::as_str), Some("NXDOMAIN"), "{answer:?}");
    refused(&proxy, "broken.test:443").expect_error(502, "dns_error");
    refused(&proxy, "empty.test:443").expect_error(502, "dns_error");
}

fn c64_silent_name_server(mode: Mode) {
    let names = NameServer::start(&[("silent.test", Reply::Silence)]);
    let proxy =
        Config::new(mode).set("dns.servers", names.servers()).set("timeouts.connect", "500ms").start();
    refused(&proxy, "silent.test:443").expect_error(504, "dns_timeout");
}

fn c64_denied_addresses(mode: Mode) {
    let names = NameServer::start(&[
        ("inside.test", Reply::Addresses(vec![IpAddr::from([127, 0, 0, 1])])),
        ("private.test", Reply::Addresses(vec![IpAddr::from([10, 1, 2, 3])])),
        ("metadata.test", Reply::Addresses(vec![IpAddr::from([169, 254, 169, 254])])),
        ("mapped.test", Reply::Addresses(vec!["::ffff:10.0.0.1".parse().unwrap()])),
        ("nat64.test", Reply::Addresses(vec!["64:ff9b::7f00:1".parse().unwrap()])),
    ]);
    let proxy = Config::new(mode)
        .set("access.local_client_bypass", false)
        .set("dns.servers", names.servers())
        .start();
    for name in ["inside", "private", "metadata", "mapped", "nat64"] {
        let answer = refused(&proxy, &format!("{name}.test:443"));
        assert_eq!(answer.error().as_deref(), Some("destination_ip_prohibited"), "{name}: {answer:?}");
        answer.expect_error(502, "destination_ip_prohibited");
    }
    // An address in the target is known before anything is resolved: either name will do, but refused it is.
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
    ] {
        let answer = refused(&proxy, &format!("{address}:443"));
        match answer.status() {
            403 => answer.expect_error(403, "http_request_denied"),
            _ => answer.expect_error(502, "destination_ip_prohibited"),
        }
    }
}

fn c64_unroutable_address(mode: Mode) {
    let proxy = Config::new(mode).set("timeouts.connect", "1s").start();
    // A documentation address that nothing routes; with a default route it is a black hole instead.
    let answer = refused(&proxy, "[2001:db8::1]:443");
    match answer.status() {
        502 => answer.expect_error(502, "destination_ip_unroutable"),
        _ => answer.expect_error(504, "connection_timeout"),
    }
}

fn c69_proxy_status_is_a_list_with_ours_last(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::answering(
        "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: cdn; error=dns_error\r\nContent-Length: 2\r\n\r\nno",
    );
    let answer = proxy.exchange(origin.get("/", &[]));
    assert_eq!((answer.status(), answer.text().as_str()), (502, "no"));
    let members = answer.proxy_status();
    assert_eq!(members[0].name, "cdn");
    assert_eq!(members[0].parameters.get("error").map(String::as_str), Some("dns_error"));
    assert!(members[1..].iter().all(|member| member.name == "px"), "{answer:?}");

    let answer = refused(&proxy, &format!("127.0.0.1:{}", closed_port()));
    assert_eq!(answer.proxy_status().len(), 1);
    // The name is the deployment's, whatever it is called.
    let named = Config::new(mode).set("forwarding.via", "edge-7.example").start();
    let answer = named.exchange(head(&["CONNECT x HTTP/1.1", "Host: x"]));
    assert_eq!(answer.proxy_status()[0].name, "edge-7.example");
    assert!(!answer.head.mentions("rust-forward-proxy"), "{answer:?}");
}

fn c69_answers_have_problem_details_when_asked(mode: Mode) {
    let proxy = Proxy::new(mode);
    let answer = proxy.exchange(head(&[
        format!("GET http://127.0.0.1:{}/ HTTP/1.1", closed_port()),
        "Host: a.test".to_owned(),
        "Accept: application/problem+json".to_owned(),
    ]));
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.head.one("content-type").as_deref(), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(&answer.body.bytes).unwrap();
    assert_eq!(problem["status"], 502);
}

fn failures_of_plain_requests_have_the_same_names(mode: Mode) {
    let names = NameServer::start(&[]);
    let proxy = Config::new(mode).set("dns.servers", names.servers()).start();
    let mut client = proxy.client();
    client.send(head(&[format!("GET http://127.0.0.1:{}/ HTTP/1.1", closed_port()), "Host: a".to_owned()]));
    client.answer().expect_error(502, "connection_refused");
    // A failure of the origin's does not end the client's connection.
    client.send(head(&["GET http://missing.test/ HTTP/1.1", "Host: missing.test"]));
    client.answer().expect_error(502, "dns_error");
    client.send(head(&["HEAD http://missing.test/ HTTP/1.1", "Host: missing.test"]));
    assert_eq!(client.answer_to("HEAD").error().as_deref(), Some("dns_error"));
    let origin = Origin::ok();
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("ok");
}

fn malformed_requests_are_answered_and_logged(mode: Mode) {
    let proxy = Proxy::new(mode);
    let cases: [&[u8]; 8] = [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET  http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1 \r\nHost: a.test\r\n\r\n",
        b"GET http://a.test/ HTTP/2.0\r\nHost: a.test\r\n\r\n",
        b"G@T http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nno colon\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n: empty\r\n\r\n",
    ];
    for (number, bytes) in cases.into_iter().enumerate() {
        let mut client = proxy.client();
        client.send_unwanted(bytes);
        let answer = client.answer();
        let text = String::from_utf8_lossy(bytes);
        assert!(matches!(answer.status(), 400 | 501 | 505), "{text:?}: {answer:?}");
        answer.expect_own(&[400, 501, 505]);
        client.expect_end();
        let lines = proxy.access_lines_at_least(number + 1);
        assert_eq!(lines[number]["status"], answer.status(), "{text:?}: {lines:?}");
        assert!(lines[number]["error"].is_string(), "{text:?}: {lines:?}");
    }
}

fn tls_on_the_plain_port_is_closed(mode: Mode) {
    let proxy = Proxy::new(mode);
    let mut client = proxy.client();
    // The beginning of a ClientHello.
    client.send_unwanted([
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x0d, 0x0a, 0x0d, 0x0a,
    ]);
    let (_, _) = client.read_to_end();
    proxy.access_lines_at_least(1);
    // HTTP/2 with prior knowledge.
    let mut client = proxy.client();
    client.send_unwanted("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.read_to_end();
    proxy.access_lines_at_least(2);
}
