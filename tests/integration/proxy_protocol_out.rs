//! `proxy_protocol` of a group: servers and parents are told whose each connection is (C82).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::support::{
    Authority, Client, Config, Conn, H2Proxy, Mode, Origin, Proxy, SecureOrigin, eventually, in_every_mode,
    secure,
};

in_every_mode! {
    c82_a_server_is_told_who_it_is,
    c82_a_parent_is_told_who_it_is,
    c82_a_parent_is_told_in_front_of_tls,
    c82_looks_are_nobodys,
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A server that wants a header, and what it has got.
struct Told {
    origin: Origin,
    headers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Told {
    fn start(then: fn(&mut Conn) -> io::Result<()>) -> Self {
        let headers = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&headers);
        let origin = Origin::start(move |conn| {
            let header = read_header(conn)?;
            shared.lock().unwrap().push(header);
            then(conn)
        });
        Self { origin, headers }
    }

    fn url(&self) -> String {
        self.origin.url("")
    }

    /// Header number `index`, waited for.
    #[track_caller]
    fn header(&self, index: usize) -> Vec<u8> {
        eventually("a header comes", || self.headers.lock().unwrap().get(index).cloned())
    }
}

fn read_header(conn: &mut Conn) -> io::Result<Vec<u8>> {
    let mut header = conn.read_exact(1)?;
    if header == b"P" {
        while !header.ends_with(b"\r\n") {
            header.extend(conn.read_exact(1)?);
        }
    } else {
        header.extend(conn.read_exact(15)?);
        let length = u16::from_be_bytes([header[14], header[15]]);
        header.extend(conn.read_exact(length.into())?);
    }
    Ok(header)
}

fn answer_all(conn: &mut Conn) -> io::Result<()> {
    loop {
        conn.read_request()?;
        conn.answer("ok")?;
    }
}

/// What a server is to be told of two addresses of one family.
fn header(version: &str, client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (family, octets) = match (client.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (4, [&from.octets()[..], &to.octets()].concat()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (6, [&from.octets()[..], &to.octets()].concat()),
        _ => panic!("{client} {destination}"),
    };
    let (from, to) = (client.port(), destination.port());
    if version == "v1" {
        let line = format!("PROXY TCP{family} {} {} {from} {to}\r\n", client.ip(), destination.ip());
        return line.into();
    }
    let kind = if family == 4 { 0x11 } else { 0x21 };
    let fixed = [0x21, kind, 0, octets.len() as u8 + 4];
    [SIGNATURE, &fixed, &octets, &from.to_be_bytes(), &to.to_be_bytes()].concat()
}

/// What it is to be told of nobody.
fn nobodys(version: &str) -> Vec<u8> {
    if version == "v1" { b"PROXY UNKNOWN\r\n".to_vec() } else { [SIGNATURE, b"\x20\0\0\0"].concat() }
}

/// Everything goes to this group.
fn to_group(config: Config, mut group: Value) -> Config {
    group["name"] = "up".into();
    config.set("upstreams", json!([group])).set("default_route", "up")
}

fn get(host: &str) -> String {
    format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn c82_a_server_is_told_who_it_is(mode: Mode) {
    for version in ["v1", "v2"] {
        let server = Told::start(answer_all);
        let group =
            json!({ "kind": "origin", "servers": [{ "url": server.url() }], "proxy_protocol": version });
        let proxy = to_group(Config::new(mode).one_worker(), group).start();
        // Two of one client and one of another: each has a connection to itself.
        let mut client = proxy.client();
        for index in 0..2 {
            client.send(get("a.test"));
            client.answer().expect_ok("ok");
            assert_eq!(server.header(index), header(version, client.local_addr(), proxy.addr()));
        }
        let mut other = Client::connect_from([127, 0, 0, 7].into(), proxy.addr());
        other.send(get("a.test"));
        other.answer().expect_ok("ok");
        assert_eq!(server.header(2), header(version, other.local_addr(), proxy.addr()));
        assert_eq!(server.origin.connections(), 3);
        let lines = proxy.access_lines_at_least(3);
        assert!(lines.iter().all(|line| line["reused"] == false), "{lines:?}");

        let server = Told::start(Conn::echo);
        let group =
            json!({ "kind": "origin", "servers": [{ "url": server.url() }], "proxy_protocol": version });
        let proxy = to_group(Config::new(mode), group).start();
        let mut client = proxy.client();
        client.tunnel("a.test:443");
        client.send("ping");
        assert_eq!(client.read_exact(4), b"ping");
        assert_eq!(server.header(0), header(version, client.local_addr(), proxy.addr()));
    }
}

/// An instance that trusts those on this host to say whose their connections are.
fn parent(mode: Mode, tunnels_to: &[&str]) -> Config {
    let ports = tunnels_to.iter().map(|it| it.rsplit(':').next().unwrap().parse::<u16>().unwrap());
    Config::new(mode)
        .set("forwarding.via", "parent")
        .set("listen.proxy_protocol", vec!["loopback"])
        .set("access.clients", vec!["127.0.0.0/8", "192.0.2.0/24"])
        .set("access.destinations.allow", vec!["127.0.0.0/8"])
        .set("access.connect_ports", ports.collect::<Vec<_>>())
}

/// One request and one tunnel of a client at this address, of which the parent has to know.
#[track_caller]
fn expect_known(parent: &Proxy, child: &Proxy, echo: &Origin) {
    let plain = Origin::ok();
    let mut client = Client::connect_from([127, 0, 0, 7].into(), child.addr());
    let known = client.local_addr().to_string();
    for path in ["/one", "/two"] {
        client.send(plain.get(path, &[]));
        client.answer().expect_ok("ok");
    }
    assert_eq!(plain.connections(), 1, "the parent keeps its own");
    client.tunnel(&echo.authority());
    client.send("ping");
    assert_eq!(client.read_exact(4), b"ping");
    client.finish();
    let of_it = |line: &Value| line["client"] == known.as_str();
    for wanted in [&|line: &Value| line["path"] == "/two", &|line: &Value| line["method"] == "CONNECT"]
        as [&dyn Fn(&Value) -> bool; 2]
    {
        parent.access_line(|line| of_it(line) && wanted(line));
    }
    assert!(parent.access_lines().iter().all(of_it), "{:?}", parent.access_lines());
}

fn c82_a_parent_is_told_who_it_is(mode: Mode) {
    let authority = Authority::new();
    let (far, echo) = (SecureOrigin::ok(&authority.server(&["localhost"])), Origin::echo());
    for version in ["v1", "v2"] {
        let parent = parent(mode, &[&far.authority(""), &echo.authority()]).one_worker().start();
        let url = format!("http://{}", parent.addr());
        let group = json!({ "kind": "proxy", "servers": [{ "url": url }], "proxy_protocol": version });
        let config = Config::new(mode)
            .set("listen.proxy_protocol", vec!["127.0.0.2"])
            .set("access.clients", vec!["127.0.0.0/8", "192.0.2.0/24"])
            .set("access.destinations.allow", vec!["127.0.0.0/8"])
            .set("upstream.tls.ca_path", "far.pem")
            .file("far.pem", &authority.pem());
        let child = to_group(config, group).start();
        expect_known(&parent, &child, &echo);
        // Whom a balancer has brought is handed on, and who asks for https:// in a tunnel that is our own.
        let mut brought = Client::connect_from([127, 0, 0, 2].into(), child.addr());
        brought.send("PROXY TCP4 192.0.2.7 127.0.0.1 1025 443\r\n");
        let name = far.authority("localhost");
        brought.send(format!("GET https://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        brought.answer().expect_ok("ok");
        drop((brought, child));
        parent.access_line(|line| line["client"] == "192.0.2.7:1025" && line["method"] == "CONNECT");
    }
}

fn c82_a_parent_is_told_in_front_of_tls(mode: Mode) {
    let (authority, echo) = (Authority::new(), Origin::echo());
    let parent = secure::listening(parent(mode, &[&echo.authority()]).one_worker(), &authority).start();
    let url = format!("https://localhost:{}", parent.tls_addr().port());
    let group = json!({ "kind": "proxy", "servers": [{ "url": url }], "proxy_protocol": "v2" });
    let config = Config::new(mode)
        .set("upstream.tls.ca_path", "parent-ca.pem")
        .file("parent-ca.pem", &authority.pem());
    expect_known(&parent, &to_group(config, group).start(), &echo);
}

fn c82_looks_are_nobodys(mode: Mode) {
    for version in ["v1", "v2"] {
        for path in [None, Some("/up")] {
            let server = Told::start(answer_all);
            let check =
                json!({ "interval": "100ms", "timeout": "100ms", "path": path, "unhealthy_after": 50 });
            let group = json!({
                "kind": "origin", "servers": [{ "url": server.url() }], "proxy_protocol": version,
                "health_check": check,
            });
            let proxy = to_group(Config::new(mode), group).start();
            assert_eq!(server.header(1), nobodys(version));
            if path.is_some() {
                assert_eq!(server.origin.request_at(0).head.start(), "GET /up HTTP/1.1");
            }
            proxy.exchange(get("a.test")).expect_ok("ok");
            let looks = |headers: &Vec<Vec<u8>>| headers.iter().filter(|it| **it == nobodys(version)).count();
            let others = || {
                let headers = server.headers.lock().unwrap();
                headers.len() - looks(&headers)
            };
            assert_eq!(others(), 1);
        }
    }
    // One of our own takes them for what they are.
    let parent = parent(mode, &[]).start();
    let check = json!({
        "interval": "100ms", "timeout": "100ms", "path": "/up", "expected_status": ["100-599"], "unhealthy_after": 50,
    });
    let url = format!("http://{}", parent.addr());
    let group = json!({
        "kind": "proxy", "servers": [{ "url": url }], "proxy_protocol": "v2", "health_check": check,
    });
    let child = to_group(Config::new(mode), group).start();
    let look = parent.access_line(|line| line["path"] == "/up");
    assert!(look["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{look}");
    let origin = Origin::ok();
    let mut client = Client::connect_from([127, 0, 0, 7].into(), child.addr());
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("ok");
    assert!(parent.log_lines("demands a PROXY header").is_empty(), "{}", parent.log());
}

#[test]
fn c82_clients_by_ipv6() {
    for version in ["v1", "v2"] {
        let server = Told::start(answer_all);
        let group =
            || json!({ "kind": "origin", "servers": [{ "url": server.url() }], "proxy_protocol": version });
        let config = Config::new(Mode::MultiThreaded).set("listen_addr", "[::1]:0");
        let proxy = to_group(config, group()).start();
        let mut client = proxy.client();
        client.send(get("a.test"));
        client.answer().expect_ok("ok");
        assert_eq!(server.header(0), header(version, client.local_addr(), proxy.addr()));
        // What the balancer says that its client has connected to is handed on, in another family than that of the balancer, too.
        let config = Config::new(Mode::MultiThreaded)
            .set("listen.proxy_protocol", vec!["loopback"])
            .set("access.clients", vec!["2001:db8::/32"]);
        let proxy = to_group(config, group()).start();
        let mut client = proxy.client();
        client.send("PROXY TCP6 2001:db8::7 2001:db8::1 1025 443\r\n");
        client.send(get("a.test"));
        client.answer().expect_ok("ok");
        let (known, reached) = ("[2001:db8::7]:1025".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap());
        assert_eq!(server.header(1), header(version, known, reached));
    }
}

/// Streams of one connection are requests of one client, and each has a connection to itself.
#[test]
fn c82_clients_by_http2() {
    let server = Told::start(answer_all);
    let group = json!({ "kind": "origin", "servers": [{ "url": server.url() }], "proxy_protocol": "v1" });
    let proxy = H2Proxy::start(to_group(Config::new(Mode::MultiThreaded), group));
    let client = proxy.client();
    for _ in 0..2 {
        let answer = client.ask(http::Request::get("http://a.test/").body(()).unwrap());
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    let known = proxy.proxy.access_lines_at_least(2)[0]["client"].as_str().unwrap().parse().unwrap();
    for index in 0..2 {
        assert_eq!(server.header(index), header("v1", known, proxy.proxy.tls_addr()));
    }
}

/// A server that closes what it does not expect is not there for requests, and that is said in time.
#[test]
fn a_server_that_closes_at_once() {
    let server = Origin::start(|conn| {
        conn.reset_on_close();
        Ok(())
    });
    let group = json!({ "kind": "proxy", "servers": [{ "url": server.url("") }], "proxy_protocol": "v1" });
    let proxy = to_group(Config::new(Mode::SingleThreaded), group).start();
    let answer = proxy.exchange("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    answer.expect_error(503, "destination_unavailable");
}

#[test]
fn groups_that_cannot_be_told() {
    for (group, expected) in [
        (
            json!({ "kind": "proxy", "servers": [{ "url": "http://h" }, { "url": "socks5://h" }], "proxy_protocol": "v1" }),
            "upstreams[0].proxy_protocol: is set in a group with socks5 servers",
        ),
        (
            json!({ "kind": "origin", "servers": [{ "url": "http://h" }], "proxy_protocol": "v3" }),
            "upstreams[0].proxy_protocol: found \"v3\"; v1, v2 or null is accepted",
        ),
        (
            json!({ "kind": "origin", "servers": [{ "url": "http://h" }], "proxy_protocol": true }),
            "upstreams[0].proxy_protocol: found true; v1, v2 or null is accepted",
        ),
    ] {
        let refused = to_group(Config::new(Mode::SingleThreaded), group).arg("check").run();
        assert_eq!(refused.code(), 78, "{refused:?}");
        assert!(refused.output().contains(expected), "{expected} is not in {}", refused.output());
    }
}
