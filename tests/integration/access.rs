//! Who may go where (`access`).

use std::net::IpAddr;

use crate::support::{Client, Config, Mode, NameServer, Origin, Proxy, Reply, head, in_every_mode};

in_every_mode! {
    clients_on_this_host_may_do_everything,
    clients_that_are_not_listed_are_refused,
    other_clients_reach_allowed_ports_only,
    denied_names_and_suffixes_are_refused,
    allowed_destinations_are_exceptions,
    one_allowed_address_of_several_is_dialled,
    report_mode_refuses_nothing,
    report_mode_tells_of_addresses,
    addresses_are_refused_by_their_rule,
}

fn other(proxy: &Proxy) -> Client {
    Client::connect_from(IpAddr::from([127, 0, 0, 5]), proxy.addr())
}

fn clients_on_this_host_may_do_everything(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = other(&proxy);
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("ok");
    let echo = Origin::echo();
    proxy.client().tunnel(&echo.authority());
}

fn clients_that_are_not_listed_are_refused(mode: Mode) {
    let proxy =
        Config::new(mode).without_bypass().set("access.clients", vec!["127.0.0.1", "192.0.2.0/24"]).start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let mut client = other(&proxy);
    client.send(origin.get("/", &[]));
    client.answer().expect_error(403, "http_request_denied");
    let mut client = other(&proxy);
    client.send(head(&["CONNECT a.test:443 HTTP/1.1", "Host: a.test"]));
    client.answer().expect_error(403, "http_request_denied");
    client.expect_end();
    assert_eq!(origin.connections(), 1);
    let line = proxy.access_line(|line| line["status"] == 403);
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.5"), "{line}");
    assert!(line["rule"].is_string(), "{line}");
}

fn other_clients_reach_allowed_ports_only(mode: Mode) {
    let origin = Origin::echo();
    let proxy = Config::new(mode).without_bypass().set("access.connect_ports", vec![443, 8443]).start();
    let refused = head(&[format!("CONNECT {} HTTP/1.1", origin.authority()), "Host: a.test".to_owned()]);
    proxy.exchange(&refused).expect_error(403, "http_request_denied");
    // Plain requests go to any port.
    let plain = Origin::ok();
    proxy.exchange(plain.get("/", &[])).expect_ok("ok");
    let open = Config::new(mode).without_bypass().set("access.connect_ports", vec![origin.port()]).start();
    open.client().tunnel(&origin.authority());
}

fn denied_names_and_suffixes_are_refused(mode: Mode) {
    let loopback = Reply::Addresses(vec![IpAddr::from([127, 0, 0, 1])]);
    let names = NameServer::start(&[
        ("bad.test", loopback.clone()),
        ("sub.evil.test", loopback.clone()),
        ("evil.test", loopback.clone()),
        ("notevil.test", loopback),
    ]);
    let origin = Origin::ok();
    let proxy = Config::new(mode)
        .without_bypass()
        .set("dns.servers", names.servers())
        .set("access.destinations.deny", vec!["bad.test", ".evil.test"])
        .start();
    let get = |host: &str| {
        let authority = format!("{host}:{}", origin.port());
        proxy.exchange(head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")]))
    };
    for host in ["bad.test", "BAD.test", "bad.test.", "sub.evil.test", "Sub.Evil.Test."] {
        get(host).expect_error(403, "http_request_denied");
    }
    get("notevil.test").expect_ok("ok");
    assert_eq!(origin.connections(), 1);
    let asked = names.questions();
    assert!(asked.iter().all(|name| name.starts_with("notevil")), "a refused name was looked up: {asked:?}");
}

fn allowed_destinations_are_exceptions(mode: Mode) {
    let (one, origin) = (NameServer::with_loopback("intra.test"), Origin::ok());
    let get = |host: &str| {
        let authority = format!("{host}:{}", origin.port());
        head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")])
    };
    let strict =
        Config::new(mode).set("access.local_client_bypass", false).set("dns.servers", one.servers()).start();
    strict.exchange(get("intra.test")).expect_error(502, "destination_ip_prohibited");
    let lenient = Config::new(mode)
        .set("access.local_client_bypass", false)
        .set("dns.servers", one.servers())
        .set("access.destinations.allow", vec!["127.0.0.1"])
        .start();
    lenient.exchange(get("intra.test")).expect_ok("ok");
    lenient.exchange(get("127.0.0.1")).expect_ok("ok");
}

fn one_allowed_address_of_several_is_dialled(mode: Mode) {
    let addresses = ["10.0.0.1", "127.0.0.1", "169.254.169.254"].map(|text| text.parse().unwrap());
    let names = NameServer::start(&[("mixed.test", Reply::Addresses(addresses.to_vec()))]);
    let origin = Origin::ok();
    let proxy = Config::new(mode).without_bypass().set("dns.servers", names.servers()).start();
    let authority = format!("mixed.test:{}", origin.port());
    proxy
        .exchange(head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")]))
        .expect_ok("ok");
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!(line["upstream"], origin.authority(), "{line}");
}

fn report_mode_refuses_nothing(mode: Mode) {
    let proxy = Config::new(mode)
        .set("access.mode", "report")
        .set("access.local_client_bypass", false)
        .set("access.clients", vec!["192.0.2.0/24"])
        .start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let echo = Origin::echo();
    proxy.client().tunnel(&echo.authority());
    let line = proxy.access_line(|line| line["status"] == 200);
    assert!(line["rule"].is_string(), "what would have been refused is told: {line}");
}

/// A proxy for which `intra.test` is a name of this host that is not to be reached.
fn with_intra(mode: Mode, access_mode: &str, tunnels_to: u16) -> (Proxy, NameServer) {
    let names = NameServer::with_loopback("intra.test");
    let proxy = Config::new(mode)
        .set("access.mode", access_mode)
        .set("access.local_client_bypass", false)
        .set("access.connect_ports", vec![tunnels_to])
        .set("access.destinations.deny", vec!["loopback"])
        .set("dns.servers", names.servers())
        .start();
    (proxy, names)
}

fn report_mode_tells_of_addresses(mode: Mode) {
    let (origin, echo) = (Origin::ok(), Origin::echo());
    let (proxy, _names) = with_intra(mode, "report", echo.port());
    let authority = format!("intra.test:{}", origin.port());
    let mut client = proxy.client();
    // The second time on a connection that is kept.
    for count in 1..=2 {
        client.send(head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")]));
        client.answer().expect_ok("ok");
        let lines = proxy.access_lines_at_least(count);
        assert_eq!(lines[count - 1]["rule"], "access.destinations.deny[loopback]", "{lines:?}");
    }
    proxy.client().tunnel(&format!("intra.test:{}", echo.port()));
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!(line["rule"], "access.destinations.deny[loopback]", "{line}");
    assert_eq!(proxy.log_lines("would be refused").len(), 3, "{}", proxy.log());
}

fn addresses_are_refused_by_their_rule(mode: Mode) {
    let origin = Origin::ok();
    let (proxy, _names) = with_intra(mode, "enforce", 443);
    let authority = format!("intra.test:{}", origin.port());
    proxy
        .exchange(head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")]))
        .expect_error(502, "destination_ip_prohibited");
    let line = proxy.access_line(|line| line["status"] == 502);
    assert_eq!(line["rule"], "access.destinations.deny[loopback]", "{line}");
    assert_eq!(origin.connections(), 0);
}
