//! Parents: another proxy gets what goes out (`upstreams` of kind proxy). Two instances in a row, Squid where it is installed, and
//! a SOCKS5 server of a few lines.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Authority, Config, Folder, Mode, Origin, PATIENCE, Proxy, SecureOrigin, TlsOrigin, eventually,
    in_every_mode, process, secure, within,
};

in_every_mode! {
    two_in_a_row,
    two_in_a_row_with_tls,
    secrets_are_kept_from_parents,
    what_a_parent_says_of_itself_is_for_us,
    a_parent_that_says_no_to_a_tunnel,
    what_comes_right_behind_the_answer_is_not_lost,
    a_parent_that_is_slow_is_left_in_time,
    parents_of_each_other,
    by_socks,
    socks_says_no,
}

/// `ann` with `secret`, as SHA-crypt.
const ANN: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";

/// An instance with one parent, for everything.
fn child_of(mode: Mode, url: &str) -> Config {
    Config::new(mode)
        .set("upstreams", json!([{ "name": "up", "kind": "proxy", "servers": [{ "url": url }] }]))
        .set("default_route", "up")
}

/// An instance that wants to know who it is, called `parent`.
fn parent(mode: Mode) -> Proxy {
    Config::new(mode)
        .set("forwarding.via", "parent")
        .set("access.users_file", "users")
        .file("users", ANN)
        .start()
}

fn url(proxy: &Proxy, credentials: &str) -> String {
    format!("http://{credentials}{}", proxy.addr())
}

/// What every client does: requests with and without content, one after the other on a connection, and tunnels.
#[track_caller]
fn expect_service(proxy: &Proxy) {
    let origin = Origin::start(|conn| {
        loop {
            let request = conn.read_request()?;
            let body =
                if request.head.start().starts_with("POST") { request.body.bytes } else { b"hello".to_vec() };
            conn.answer(body)?;
        }
    });
    let mut client = proxy.client();
    for path in ["/", "/a/b?c=d"] {
        client.send(origin.get(path, &[]));
        client.answer().expect_ok("hello");
        let got = origin.requests().pop().unwrap();
        assert_eq!(got.head.start(), format!("GET {path} HTTP/1.1"));
        assert_eq!(got.head.list("host"), origin.authority());
        assert!(!got.head.has("proxy-authorization"), "{:?}", got.head);
    }
    client.send(origin.request("POST", "/", &["Content-Length: 5"]));
    client.send("12345");
    client.answer().expect_ok("12345");
    client.send(origin.request("POST", "/", &["Transfer-Encoding: chunked"]));
    client.send("3\r\nabc\r\n0\r\n\r\n");
    client.answer().expect_ok("abc");
    client.send(origin.request("HEAD", "/", &[]));
    assert_eq!(client.answer_to("HEAD").status(), 200);
    assert_eq!(proxy.curl(&[&origin.url("/curl")]), "hello");
    assert_eq!(proxy.curl(&["--data", "x".repeat(100_000).as_str(), &origin.url("/")]).len(), 100_000);
    let tls = TlsOrigin::start();
    let certificate = tls.certificate().display().to_string();
    let page = proxy.curl(&["--cacert", &certificate, &tls.url("/")]);
    assert!(page.contains("s_server"), "{page}");
    let echo = Origin::echo();
    let mut client = proxy.client();
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", echo.authority()));
    assert_eq!(client.answer_to("CONNECT").status(), 200);
    client.send("ping");
    assert_eq!(client.stream().peer_addr().unwrap(), proxy.addr());
    let mut got = [0; 4];
    client.stream().try_clone().unwrap().read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
}

fn two_in_a_row(mode: Mode) {
    let parent = parent(mode);
    let child = child_of(mode, &url(&parent, "ann:secret@")).start();
    expect_service(&child);
    let origin = Origin::ok();
    let answer = child.exchange(origin.get("/via", &["Proxy-Authorization: Basic bm9ib2R5Om5vdGhpbmc="]));
    answer.expect_ok("ok");
    assert_eq!(answer.head.list("via"), "1.1 parent, 1.1 px");
    assert_eq!(origin.request_at(0).head.list("via"), "1.1 px, 1.1 parent");
    // Our own name and password, and not the client's.
    let line = parent.access_line(|line| line["path"].as_str().is_some_and(|path| path.contains("/via")));
    assert_eq!(line["user"], "ann", "{line}");
    let line = parent.access_line(|line| line["method"] == "CONNECT");
    assert_eq!(line["user"], "ann", "{line}");
}

fn two_in_a_row_with_tls(mode: Mode) {
    let authority = Authority::new();
    let parent = Config::new(mode)
        .set("forwarding.via", "parent")
        .set("access.users_file", "users")
        .file("users", ANN);
    let parent = secure::listening(parent, &authority).start();
    let url = |host: &str| format!("https://ann:secret@{host}:{}", parent.tls_addr().port());
    let trusting = |host: &str| {
        child_of(mode, &url(host))
            .file("parent-ca.pem", &authority.pem())
            .set("upstream.tls.ca_path", "parent-ca.pem")
    };
    expect_service(&trusting("localhost").start());
    // Who cannot be verified gets neither the request nor the password.
    let (child, origin) = (child_of(mode, &url("localhost")).start(), Origin::ok());
    child.exchange(origin.get("/", &[])).expect_error(503, "destination_unavailable");
    assert_eq!(origin.connections(), 0);
}

/// What is to reach its origin with TLS goes through a parent unseen, whatever the parent is.
fn secrets_are_kept_from_parents(mode: Mode) {
    let authority = Authority::new();
    let origin = SecureOrigin::ok(&authority.server(&["localhost"]));
    let (parent, socks) = (parent(mode), Socks::start(0));
    for url in [url(&parent, "ann:secret@"), format!("socks5://ann:s%40cret@{}", socks.addr)] {
        let child = child_of(mode, &url).file("origin-ca.pem", &authority.pem());
        let child = child.set("upstream.tls.ca_path", "origin-ca.pem").one_worker().start();
        let name = origin.authority("localhost");
        let mut client = child.client();
        for _ in 0..2 {
            client.send(format!("GET https://{name}/secret HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            client.answer().expect_ok("ok");
        }
        let line = child.access_line(|line| line["reused"] == true);
        assert_eq!((&line["route"], &line["scheme"]), (&json!("up"), &json!("https")), "{line}");
    }
    let lines = parent.access_lines_at_least(1);
    assert!(lines.iter().all(|line| line["method"] == "CONNECT"), "{lines:?}");
}

fn what_a_parent_says_of_itself_is_for_us(mode: Mode) {
    let (parent, origin) = (parent(mode), Origin::ok());
    for credentials in ["", "ann:wrong@"] {
        let child = child_of(mode, &url(&parent, credentials)).start();
        for request in [
            String::from_utf8(origin.get("/", &[])).unwrap(),
            format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority()),
        ] {
            let answer = child.exchange(request);
            answer.expect_error(502, "proxy_configuration_error");
            assert!(!answer.head.has("proxy-authenticate"), "{:?}", answer.head);
        }
    }
    assert_eq!(origin.connections(), 0);
}

fn a_parent_that_says_no_to_a_tunnel(mode: Mode) {
    for (said, status, error) in [
        ("403 Forbidden", 502, "http_request_denied"),
        ("502 Bad Gateway", 502, "destination_unavailable"),
        ("503 Service Unavailable", 503, "destination_unavailable"),
        ("504 Gateway Timeout", 504, "connection_timeout"),
        ("407 Proxy Authentication Required", 502, "proxy_configuration_error"),
    ] {
        let parent = Origin::answering(format!("HTTP/1.1 {said}\r\nContent-Length: 6\r\n\r\nsecret"));
        let child = child_of(mode, &format!("http://{}", parent.authority())).start();
        let answer = child.exchange("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
        answer.expect_error(status, error);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
        let got = parent.request_at(0);
        assert_eq!(
            (got.head.start(), got.head.list("host").as_str()),
            ("CONNECT a.test:443 HTTP/1.1", "a.test:443")
        );
    }
    let parent = Origin::answering("SSH-2.0-nonsense\r\n\r\n");
    let child = child_of(mode, &format!("http://{}", parent.authority())).start();
    let answer = child.exchange("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    answer.expect_error(503, "destination_unavailable");
}

fn what_comes_right_behind_the_answer_is_not_lost(mode: Mode) {
    let parent = Origin::start(|conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 200 Connection established\r\n\r\nearly")?;
        conn.echo()
    });
    let child = child_of(mode, &format!("http://{}", parent.authority())).start();
    let mut client = child.client();
    client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    let answer = client.answer_to("CONNECT");
    assert_eq!((answer.status(), answer.head.list("via").as_str()), (200, "1.1 px"));
    let mut got = [0; 5];
    let buffered = client.take_buffered();
    client.stream().try_clone().unwrap().read_exact(&mut got[buffered..]).unwrap();
    assert!(buffered > 0 || &got == b"early");
}

fn a_parent_that_is_slow_is_left_in_time(mode: Mode) {
    let (slow, good) = (Origin::silent(), Origin::answering("HTTP/1.1 200 OK\r\n\r\n"));
    let servers = [&slow, &good].map(|parent| json!({ "url": format!("http://{}", parent.authority()) }));
    let groups = json!([{ "name": "up", "kind": "proxy", "servers": servers }]);
    let config =
        Config::new(mode).set("timeouts.connect", "2s").set("upstreams", groups).set("default_route", "up");
    let child = config.one_worker().start();
    for _ in 0..2 {
        let began = Instant::now();
        let mut client = child.client();
        client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
        assert_eq!(client.answer_to("CONNECT").status(), 200);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
    assert_eq!((slow.connections(), good.connections()), (1, 2));
}

/// Each is the other's parent: who notices ends it.
fn parents_of_each_other(mode: Mode) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let one = child_of(mode, &format!("http://127.0.0.1:{port}")).set("forwarding.via", "one").start();
    let other = child_of(mode, &url(&one, "")).set("listen_addr", format!("127.0.0.1:{port}")).start();
    let plain = other.exchange("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(plain.status(), 502, "{plain:?}");
    assert!(plain.head.list("proxy-status").contains("proxy_loop_detected"), "{:?}", plain.head);
    let tunnel = other.exchange("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    tunnel.expect_error(502, "destination_unavailable");
    other.access_lines_at_least(4);
}

/// A server of SOCKS5 that takes one name and password, and what it was asked for.
struct Socks {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Socks {
    /// `code` is what it answers; 0 = it connects, names being this host.
    fn start(code: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&shared);
                thread::spawn(move || serve_socks(stream, code, &asked));
            }
        });
        Self { addr, asked }
    }
}

fn serve_socks(mut stream: TcpStream, code: u8, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    let count = read(2)?[1];
    let methods = read(count.into())?;
    if !methods.contains(&2) {
        return stream.write_all(&[5, 0xff]).ok();
    }
    stream.write_all(&[5, 2]).ok()?;
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    let length = read(2)?[1];
    let user = read(length.into())?;
    let length = read(1)?[0];
    let password = read(length.into())?;
    let is_known = (user.as_slice(), password.as_slice()) == (b"ann", b"s@cret");
    stream.write_all(&[1, u8::from(!is_known)]).ok()?;
    if !is_known {
        return None;
    }
    let mut read = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    let kind = read(4)?[3];
    let host = match kind {
        1 => read(4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = read(1)?[0];
            String::from_utf8(read(length.into())?).ok()?
        }
        _ => return None,
    };
    let port = read(2)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    asked.lock().unwrap().push(format!("{host}:{port}"));
    stream.write_all(&[5, code, 0, 1, 127, 0, 0, 1, 0, 80]).ok()?;
    if code != 0 {
        return None;
    }
    let mut origin = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let (mut from, mut to) = (stream.try_clone().ok()?, origin.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut origin, &mut stream);
    stream.shutdown(std::net::Shutdown::Write).ok()
}

fn by_socks(mode: Mode) {
    let socks = Socks::start(0);
    let child = child_of(mode, &format!("socks5://ann:s%40cret@{}", socks.addr)).one_worker().start();
    expect_service(&child);
    // Names are for the parent to resolve; a connection that leads to one host is never used for another.
    let origins = [Origin::ok(), Origin::ok()];
    for _ in 0..2 {
        for (origin, name) in origins.iter().zip(["one.test", "two.test"]) {
            let host = format!("{name}:{}", origin.port());
            child.exchange(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).expect_ok("ok");
            assert_eq!(origin.requests().pop().unwrap().head.list("host"), host);
        }
    }
    assert_eq!(origins.each_ref().map(Origin::connections), [1, 1], "they are kept");
    let asked = socks.asked.lock().unwrap();
    assert!(asked.contains(&format!("one.test:{}", origins[0].port())), "{asked:?}");
    // And one of our own instances is such a parent.
    drop(asked);
    let parent = Config::new(mode).start();
    let child = child_of(mode, &format!("socks5://{}", parent.addr())).start();
    expect_service(&child);
}

fn socks_says_no(mode: Mode) {
    for (code, status, error) in [
        (1, 502, "destination_unavailable"),
        (2, 502, "http_request_denied"),
        (4, 502, "destination_ip_unroutable"),
        (5, 502, "connection_refused"),
        (6, 504, "connection_timeout"),
        (7, 502, "proxy_configuration_error"),
    ] {
        let socks = Socks::start(code);
        let child = child_of(mode, &format!("socks5://ann:s%40cret@{}", socks.addr)).start();
        child.exchange("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n").expect_error(status, error);
        child.exchange("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").expect_error(status, error);
    }
    let socks = Socks::start(0);
    for credentials in ["", "ann:wrong@"] {
        let child = child_of(mode, &format!("socks5://{credentials}{}", socks.addr)).start();
        let answer = child.exchange("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
        answer.expect_error(502, "proxy_configuration_error");
    }
}

/// Squid, which wants no password.
struct Squid {
    child: Child,
    _folder: Folder,
    port: u16,
}

impl Squid {
    /// None, and why is said, where there is none.
    fn start() -> Option<Self> {
        let program = ["/usr/sbin/squid", "/usr/local/sbin/squid"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        let Some(program) = program else {
            eprintln!("skipped: squid is not installed");
            return None;
        };
        let folder = Folder::new();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Started as root it becomes another user, who may write nowhere here.
        let text = format!(
            "http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\ncache_mem 8 MB\npid_filename none\n\
             access_log none\ncache_log /dev/null\nshutdown_lifetime 0 seconds\npinger_enable off\n\
             netdb_filename none\nvisible_hostname squid.test\n"
        );
        let file = folder.write("squid.conf", text);
        let child = Command::new(program)
            // Instances of one name share memory.
            .args(["-N", "-n", &format!("t{}p{port}", std::process::id()), "-f", &file.display().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let squid = Self { child, _folder: folder, port };
        eventually("squid listens", || TcpStream::connect(("127.0.0.1", squid.port)).ok());
        Some(squid)
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        // It has things to clean up.
        process::signal(self.child.id(), nix::sys::signal::Signal::SIGTERM);
        if !within(PATIENCE, || self.child.try_wait().is_ok_and(|status| status.is_some())) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn squid_as_a_parent() {
    let Some(squid) = Squid::start() else { return };
    let child = child_of(Mode::MultiProcess, &format!("http://127.0.0.1:{}", squid.port)).start();
    expect_service(&child);
    let origin = Origin::ok();
    let answer = child.exchange(origin.get("/", &[]));
    answer.expect_ok("ok");
    assert!(answer.head.list("via").contains("squid"), "{:?}", answer.head);
    let lines: Vec<Value> = child.access_lines();
    assert!(lines.iter().all(|line| line["route"] == "up"), "{lines:?}");
}
