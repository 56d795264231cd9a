//! Names: the hosts file, name servers, caching, several addresses.

use std::net::{IpAddr, TcpListener};

use crate::support::{Config, Mode, NameServer, Origin, Proxy, Reply, head, in_every_mode};

in_every_mode! {
    names_of_the_hosts_file_are_known,
    names_that_do_not_resolve_are_bad_gateways,
    answers_are_cached,
    failures_are_cached_for_a_while,
    one_look_up_serves_many_at_once,
    dead_addresses_are_passed_over,
    names_are_case_blind,
}

/// A GET for the origin under another name.
fn named(origin: &Origin, host: &str) -> Vec<u8> {
    let authority = format!("{host}:{}", origin.port());
    head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")])
}

fn names_of_the_hosts_file_are_known(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    proxy.exchange(named(&origin, "localhost")).expect_ok("ok");
    let names = NameServer::start(&[]);
    let proxy = Config::new(mode).set("dns.servers", names.servers()).start();
    proxy.exchange(named(&origin, "localhost")).expect_ok("ok");
    assert_eq!(names.questions(), [""; 0], "the hosts file comes before name servers");
}

fn names_that_do_not_resolve_are_bad_gateways(mode: Mode) {
    let names = NameServer::start(&[]);
    let proxy = Config::new(mode).set("dns.servers", names.servers()).start();
    proxy.exchange(head(&["GET http://missing.test/ HTTP/1.1", "Host: a"])).expect_error(502, "dns_error");
    let line = proxy.access_line(|line| line["status"] == 502);
    assert_eq!((&line["error"], &line["host"]), (&"dns_error".into(), &"missing.test".into()), "{line}");
}

fn answers_are_cached(mode: Mode) {
    let (names, origin) = (
        NameServer::with_loopback("a.test"),
        Origin::answering("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    );
    let proxy = Config::new(mode).one_worker().set("dns.servers", names.servers()).start();
    proxy.exchange(named(&origin, "a.test")).expect_ok("ok");
    let asked = names.questions().len();
    for _ in 0..5 {
        proxy.exchange(named(&origin, "a.test")).expect_ok("ok");
    }
    assert_eq!(names.questions().len(), asked);
}

fn failures_are_cached_for_a_while(mode: Mode) {
    let names = NameServer::start(&[]);
    let proxy = Config::new(mode).one_worker().set("dns.servers", names.servers()).start();
    let get = head(&["GET http://missing.test/ HTTP/1.1", "Host: a"]);
    proxy.exchange(&get).expect_error(502, "dns_error");
    let asked = names.questions().len();
    for _ in 0..5 {
        proxy.exchange(&get).expect_error(502, "dns_error");
    }
    assert_eq!(names.questions().len(), asked);
}

fn one_look_up_serves_many_at_once(mode: Mode) {
    let names = NameServer::start(&[("slow.test", Reply::Silence)]);
    let proxy = Config::new(mode)
        .one_worker()
        .set("dns.servers", names.servers())
        .set("timeouts.connect", "500ms")
        .start();
    let get = head(&["GET http://slow.test/ HTTP/1.1", "Host: a"]);
    let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(&get);
    }
    for client in &mut clients {
        client.answer().expect_error(504, "dns_timeout");
    }
    // Two families and a repetition or two, but not twenty times.
    assert!(names.questions().len() <= 10, "{:?}", names.questions());
}

fn dead_addresses_are_passed_over(mode: Mode) {
    // The same port on another loopback address, where nobody listens.
    let origin = Origin::ok();
    let dead: IpAddr = "127.0.0.43".parse().unwrap();
    drop(TcpListener::bind((dead, origin.port())).expect("nobody listens there"));
    let six: IpAddr = "::1".parse().unwrap();
    let addresses = vec![dead, six, "127.0.0.44".parse().unwrap(), IpAddr::from([127, 0, 0, 1])];
    let names = NameServer::start(&[("many.test", Reply::Addresses(addresses))]);
    let proxy = Config::new(mode).set("dns.servers", names.servers()).start();
    for _ in 0..4 {
        proxy.exchange(named(&origin, "many.test")).expect_ok("ok");
    }
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!(line["upstream"], origin.authority(), "{line}");
}

fn names_are_case_blind(mode: Mode) {
    let (names, origin) = (NameServer::with_loopback("a.test"), Origin::ok());
    let proxy = Config::new(mode).set("dns.servers", names.servers()).start();
    proxy.exchange(named(&origin, "A.TEST")).expect_ok("ok");
    let host = origin.request_at(0).head.list("host");
    assert!(host.eq_ignore_ascii_case(&format!("a.test:{}", origin.port())), "{host}");
}
