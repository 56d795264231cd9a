//! `listen.proxy_protocol`: whose connection it is that a balancer brings (C82).

use std::{io::Write, thread, time::Duration};

use crate::support::{Authority, Client, Config, Mode, Origin, Proxy, in_every_mode, pause, secure};

in_every_mode! {
    c82_the_address_in_the_header_is_the_clients,
    c82_who_is_no_balancer_may_not_send_a_header,
    c82_a_balancer_must_send_a_header,
    c82_a_header_that_names_nobody,
    c82_a_header_in_front_of_tls,
    connections_are_counted_for_the_client,
}

const BALANCER: [u8; 4] = [127, 0, 0, 2];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// From 192.0.2.7:1025 to 127.0.0.1:443, with an extension.
const V2: &[u8] = b"\x21\x11\0\x12\xc0\0\x02\x07\x7f\0\0\x01\x04\x01\x01\xbb\x04\0\x03abc";

fn config(mode: Mode) -> Config {
    Config::new(mode)
        .set("listen.proxy_protocol", vec!["127.0.0.2/32"])
        .set("access.clients", vec!["127.0.0.0/8", "192.0.2.0/24"])
        .set("access.destinations.allow", vec!["127.0.0.0/8"])
        .set("forwarding.client_address", "forwarded")
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 127.0.0.1 1025 443\r\n").into()
}

fn v2() -> Vec<u8> {
    [SIGNATURE, V2].concat()
}

#[track_caller]
fn brought(proxy: &Proxy) -> Client {
    Client::connect_from(BALANCER.into(), proxy.addr())
}

fn c82_the_address_in_the_header_is_the_clients(mode: Mode) {
    let proxy = config(mode).start();
    let origin = Origin::ok();
    for header in [v1("192.0.2.7"), v2()] {
        // In one segment with the request, and byte by byte.
        let mut client = brought(&proxy);
        client.send([&header[..], &origin.get("/whole", &[])].concat());
        client.answer().expect_ok("ok");
        client.send(origin.get("/again", &[]));
        client.answer().expect_ok("ok");
        let mut client = brought(&proxy);
        for byte in &header {
            client.send([*byte]);
            thread::yield_now();
        }
        pause(Duration::from_millis(20));
        client.send(origin.get("/split", &[]));
        client.answer().expect_ok("ok");
    }
    for line in proxy.access_lines_at_least(6) {
        assert_eq!(line["client"], "192.0.2.7:1025", "{line}");
    }
    let forwarded = origin.request_at(0).head.all("forwarded").concat();
    assert!(forwarded.contains("192.0.2.7"), "{forwarded}");
    let mut stranger = brought(&proxy);
    stranger.send([v1("198.51.100.1"), origin.get("/", &[])].concat());
    stranger.answer().expect_error(403, "http_request_denied");
    let line = proxy.access_line(|line| line["status"] == 403);
    assert_eq!(
        (&line["client"], &line["rule"]),
        (&"198.51.100.1:1025".into(), &"access.clients".into()),
        "{line}"
    );
}

fn c82_who_is_no_balancer_may_not_send_a_header(mode: Mode) {
    let proxy = config(mode).start();
    let origin = Origin::ok();
    for header in [v1("192.0.2.7"), v2(), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = proxy.client();
        client.send_unwanted([&header[..], &origin.get("/", &[])].concat());
        let (bytes, _) = client.read_to_end();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
    }
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    assert_eq!(origin.requests().len(), 1);
    assert!(proxy.access_lines_at_least(4).iter().all(|line| {
        let client = line["client"].as_str().unwrap();
        client.starts_with("127.0.0.1:")
    }));
}

fn c82_a_balancer_must_send_a_header(mode: Mode) {
    let proxy = config(mode).set("timeouts.client_header", "500ms").start();
    let origin = Origin::ok();
    let cut = v1("192.0.2.7").strip_suffix(b"\r\n").unwrap().to_vec();
    for begins in [
        origin.get("/", &[]),
        v1("192.0.2.700"),
        [SIGNATURE, b"\x21\x12\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x04\x01\x01\xbb"].concat(),
        b"\x05\x01\0".to_vec(),
        // Neither of these ever ends.
        cut,
        Vec::new(),
    ] {
        let mut client = brought(&proxy);
        client.send_unwanted(&begins);
        let (bytes, _) = client.read_to_end();
        assert!(bytes.is_empty(), "{} {}", begins.escape_ascii(), bytes.escape_ascii());
    }
    assert_eq!(origin.requests().len(), 0);
    assert!(proxy.log_line("demands a PROXY header").contains("127.0.0.2"));
    // And that is no trouble to anybody.
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}

fn c82_a_header_that_names_nobody(mode: Mode) {
    let proxy = config(mode).start();
    let origin = Origin::ok();
    let local = [SIGNATURE, b"\x20\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x04\x01\x01\xbb"].concat();
    for header in [local, [SIGNATURE, b"\x21\0\0\0"].concat(), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = brought(&proxy);
        client.send([&header[..], &origin.get("/", &[])].concat());
        client.answer().expect_ok("ok");
    }
    for line in proxy.access_lines_at_least(3) {
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.2:"), "{line}");
    }
}

fn c82_a_header_in_front_of_tls(mode: Mode) {
    let authority = Authority::new();
    let proxy = secure::listening(config(mode), &authority).start();
    let (origin, tls) = (Origin::ok(), secure::client(&authority.pem(), None));
    for header in [v1("192.0.2.7"), v2()] {
        let mut client = Client::connect_from(BALANCER.into(), proxy.tls_addr());
        client.send(&header);
        let mut client = secure::over(&tls, client.stream().try_clone().unwrap()).unwrap();
        client.write_all(&origin.get("/", &[])).unwrap();
        let (head, content) = secure::read_response(&mut client).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && content == "ok", "{head}");
    }
    for line in proxy.access_lines_at_least(2) {
        assert_eq!(line["client"], "192.0.2.7:1025", "{line}");
    }
    // TLS without a header is none, and a header inside of it is none either.
    let client = Client::connect_from(BALANCER.into(), proxy.tls_addr());
    secure::over(&tls, client.stream().try_clone().unwrap()).unwrap_err();
    assert!(proxy.log_line("demands a PROXY header").contains("127.0.0.2"));
    let mut client = secure::connect(&tls, proxy.tls_addr()).unwrap();
    client.write_all(&[v1("192.0.2.7"), origin.get("/", &[])].concat()).unwrap();
    let (head, _) = secure::read_response(&mut client).unwrap_or_default();
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(origin.requests().len(), 2);
}

fn connections_are_counted_for_the_client(mode: Mode) {
    let proxy = config(mode).set("limits.max_connections_per_client", 1).start();
    let origin = Origin::ok();
    let mut open: Vec<_> = (1..=3)
        .map(|host| {
            let mut client = brought(&proxy);
            client.send([v1(&format!("192.0.2.{host}")), origin.get("/", &[])].concat());
            client.answer().expect_ok("ok");
            client
        })
        .collect();
    let mut second = brought(&proxy);
    second.send_unwanted([v1("192.0.2.1"), origin.get("/", &[])].concat());
    let (bytes, _) = second.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 503 "), "{text}");
    let line = proxy.access_line(|line| line["status"] == 503);
    assert_eq!(line["client"], "192.0.2.1:1025");
    // Its balancer is not in the way of the others, and the place is free again.
    open.remove(0);
    let again = || {
        let mut client = brought(&proxy);
        client.send_unwanted([v1("192.0.2.1"), origin.get("/", &[])].concat());
        client.next_byte().and_then(|_| (client.answer().status() == 200).then_some(()))
    };
    crate::support::eventually("the place is free", again);
}

/// Nobody is on this host because a header says so, nor because his balancer is.
#[test]
fn who_is_brought_is_not_on_this_host() {
    let proxy = Config::new(Mode::MultiThreaded).set("listen.proxy_protocol", vec!["loopback"]).start();
    let origin = Origin::ok();
    for header in [&b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"[..], b"PROXY UNKNOWN\r\n"] {
        let mut client = proxy.client();
        client.send([header, &origin.get("/", &[])].concat());
        client.answer().expect_error(502, "destination_ip_prohibited");
    }
}

#[test]
fn c82_curl_sends_a_header() {
    let proxy = config(Mode::SingleThreaded).set("listen.proxy_protocol", vec!["127.0.0.1"]).start();
    let origin = Origin::ok();
    assert_eq!(proxy.curl(&["--haproxy-protocol", &origin.url("/")]), "ok");
}
