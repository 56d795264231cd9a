//! SOCKS5 on the port of HTTP: `CONNECT` in other words (C79, C80, `listen.socks5`).

use std::{net::TcpListener, time::Duration};

use crate::support::{Client, Config, End, Mode, Origin, Proxy, in_every_mode};

in_every_mode! {
    a_tunnel_by_address_and_by_name,
    a_login_by_name_and_password,
    c79_no_acceptable_method,
    c79_a_failing_connect_is_told_by_cause,
    c79_other_commands_and_address_types,
    c80_wrong_password,
    the_greeting_has_to_come_in_time,
    it_can_be_turned_off,
}

/// `ann` with `secret`, as SHA-crypt.
const ANN: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";

const AS_ANN: &[u8] = b"\x01\x03ann\x06secret";

fn with_users(mode: Mode) -> Config {
    Config::new(mode).set("access.users_file", "users").file("users", ANN)
}

fn to_name(name: &str, port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [b"\x05\x01\0\x03", &[length][..], name.as_bytes(), &port.to_be_bytes()].concat()
}

fn to_loopback(command: u8, port: u16) -> Vec<u8> {
    [&[5, command, 0, 1, 127, 0, 0, 1], &port.to_be_bytes()[..]].concat()
}

/// Greets without a login, asks, and returns the reply's code.
#[track_caller]
fn ask(proxy: &Proxy, request: &[u8]) -> (Client, u8) {
    let mut client = proxy.client();
    client.send(b"\x05\x01\x00");
    assert_eq!(client.read_exact(2), b"\x05\x00");
    client.send_unwanted(request);
    let reply = client.read_exact(10);
    assert_eq!((reply[0], reply[2], reply[3]), (5, 0, 1), "{reply:?}");
    (client, reply[1])
}

#[track_caller]
fn expect_closed(mut client: Client) {
    client.set_deadline(Duration::from_secs(10));
    let (bytes, end) = client.read_to_end();
    assert_eq!((bytes, end), (Vec::new(), End::Fin));
}

fn a_tunnel_by_address_and_by_name(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let at = proxy.addr().to_string();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new("curl")
            .args(["-sS", "--max-time", "20"])
            .args(arguments)
            .env_clear()
            .output()
            .expect("there is curl");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["--socks5", &at, &origin.url("/")]), "ok");
    assert_eq!(run(&["--socks5-hostname", &at, &origin.url("/")]), "ok");
    let named = format!("http://localhost:{}/", origin.port());
    assert_eq!(run(&["-4", "--socks5-hostname", &at, &named]), "ok");
    // Where nobody has to log in, nobody is turned away for having a password.
    assert_eq!(run(&["--socks5", &at, "--proxy-user", "who:ever", &origin.url("/")]), "ok");
    // The same port goes on speaking HTTP.
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let line = proxy.access_line(|line| line["host"] == "localhost");
    assert_eq!(
        (&line["method"], &line["proto"], &line["status"], &line["port"]),
        (&"CONNECT".into(), &"SOCKS5".into(), &200.into(), &origin.port().into()),
        "{line}"
    );
    assert_eq!(line["close"], "complete", "{line}");
    assert!(line["bytes_out"].as_u64().unwrap() > 0, "{line}");

    // Whatever stands behind the request is the tunnel's, and every message may come byte by byte.
    let echo = Origin::echo();
    let mut client = proxy.client();
    client.send([b"\x05\x02\x00\x01", &to_loopback(1, echo.port())[..], b"early"].concat());
    assert_eq!(client.read_exact(2), b"\x05\x00");
    let reply = client.read_exact(10);
    assert_eq!(reply[..8], [5, 0, 0, 1, 127, 0, 0, 1], "{reply:?}");
    assert_eq!(client.read_exact(5), b"early");
    let mut slow = proxy.client();
    for byte in [b"\x05\x01\x00", &to_loopback(1, echo.port())[..], b"late"].concat() {
        slow.send([byte]);
    }
    assert_eq!(slow.read_exact(12)[..4], *b"\x05\x00\x05\x00");
    assert_eq!(slow.read_exact(4), b"late");
}

fn a_login_by_name_and_password(mode: Mode) {
    let (proxy, origin) = (with_users(mode).start(), Origin::ok());
    let proxied = format!("socks5h://ann:secret@{}", proxy.addr());
    let output = std::process::Command::new("curl")
        .args(["-sS", "--max-time", "20", "-x", &proxied, &origin.url("/")])
        .env_clear()
        .output()
        .expect("there is curl");
    assert_eq!(output.stdout, b"ok", "{output:?}");
    assert_eq!(proxy.access_line(|line| line["status"] == 200)["user"], "ann");
    let mut client = proxy.client();
    client.send([b"\x05\x02\x00\x02", AS_ANN, &to_loopback(1, origin.port())].concat());
    assert_eq!(client.read_exact(4), b"\x05\x02\x01\x00");
    assert_eq!(client.read_exact(10)[1], 0);
    let log = proxy.all_logs();
    assert!(!log.contains("secret"), "{log}");
}

fn c79_no_acceptable_method(mode: Mode) {
    let open = Proxy::new(mode);
    let closed = with_users(mode).start();
    for (proxy, greeting) in [
        (&open, &b"\x05\x01\x01"[..]),
        (&open, b"\x05\x00"),
        (&open, b"\x05\x02\x80\x03"),
        (&closed, b"\x05\x01\x00"),
        (&closed, b"\x05\x02\x00\x01"),
    ] {
        let mut client = proxy.client();
        client.send(greeting);
        assert_eq!(client.read_exact(2), b"\x05\xff", "{}", greeting.escape_ascii());
        expect_closed(client);
    }
    let line = closed.access_line(|line| line["status"] == 407);
    assert_eq!(line["rule"], "access.users_file", "{line}");
}

fn c79_a_failing_connect_is_told_by_cause(mode: Mode) {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let proxy = Config::new(mode)
        .set("access.destinations.deny", vec!["192.0.2.0/24", "denied.test"])
        .set("access.local_client_bypass", false)
        .set("access.connect_ports", vec![443, port])
        .start();
    for (request, code, status) in [
        (to_loopback(1, port), 5, 502),
        (to_name("no-such-host.invalid", 443), 4, 502),
        (to_name("denied.test", 443), 2, 403),
        (b"\x05\x01\0\x01\xc0\0\x02\x07\x01\xbb".to_vec(), 2, 502),
        (to_loopback(1, proxy.addr().port()), 2, 403),
        // There is no way for a connection to everybody.
        (b"\x05\x01\0\x01\xff\xff\xff\xff\x01\xbb".to_vec(), 3, 502),
        (to_name("a b", 443), 1, 400),
        (to_name("127.1", 443), 1, 400),
        (to_name("denied.test", 0), 1, 400),
    ] {
        let (client, found) = ask(&proxy, &request);
        assert_eq!(found, code, "{}", request.escape_ascii());
        expect_closed(client);
        proxy.access_line(|line| line["status"] == status);
    }
    assert_eq!(proxy.access_lines_at_least(9).len(), 9);
}

fn c79_other_commands_and_address_types(mode: Mode) {
    let proxy = Proxy::new(mode);
    for (request, code) in [
        (to_loopback(2, 80), 7),
        (to_loopback(3, 80), 7),
        (to_loopback(0, 80), 7),
        (b"\x05\x01\0\x09".to_vec(), 8),
        (b"\x05\x01\0\x00whatever".to_vec(), 8),
        (b"\x05\x01\x01\x01\x7f\0\0\x01\0\x50".to_vec(), 1),
        (b"\x04\x01\0\x01\x7f\0\0\x01\0\x50".to_vec(), 1),
    ] {
        let (client, found) = ask(&proxy, &request);
        assert_eq!(found, code, "{}", request.escape_ascii());
        expect_closed(client);
    }
}

fn c80_wrong_password(mode: Mode) {
    let (proxy, origin) = (with_users(mode).start(), Origin::ok());
    for login in
        [&b"\x01\x03ann\x05wrong"[..], b"\x01\x03bob\x06secret", b"\x01\x00\x00", b"\x01\x0aann:secret\x01x"]
    {
        let mut client = proxy.client();
        client.send(b"\x05\x01\x02");
        assert_eq!(client.read_exact(2), b"\x05\x02");
        client.send_unwanted([login, &to_loopback(1, origin.port())].concat());
        let verdict = client.read_exact(2);
        assert!(verdict[0] == 1 && verdict[1] != 0, "{verdict:?}");
        expect_closed(client);
    }
    let lines = proxy.access_lines_at_least(4);
    assert!(lines.iter().all(|line| line["status"] == 407 && line["proto"] == "SOCKS5"), "{lines:?}");
    assert_eq!(origin.connections(), 0);
    // What was malformed gets no verdict.
    let mut client = proxy.client();
    client.send(b"\x05\x01\x02\x05\x03ann");
    assert_eq!(client.read_exact(2), b"\x05\x02");
    expect_closed(client);
}

fn the_greeting_has_to_come_in_time(mode: Mode) {
    let proxy = Config::new(mode).set("timeouts.client_header", "300ms").start();
    for begun in [&b"\x05"[..], b"\x05\x02\x00", b"\x05\x01\x00", b"\x05\x01\x00\x05\x01\0\x03\x09a.te"] {
        let mut client = proxy.client();
        client.send(begun);
        let (bytes, _) = client.read_to_end();
        assert!(matches!(&bytes[..], b"" | b"\x05\x00"), "{}", bytes.escape_ascii());
    }
    let lines = proxy.access_lines_at_least(4);
    assert!(lines.iter().all(|line| line["status"] == 408), "{lines:?}");
}

fn it_can_be_turned_off(mode: Mode) {
    let proxy = Config::new(mode).set("listen.socks5", false).start();
    let mut client = proxy.client();
    client.send(b"\x05\x01\x00");
    let (bytes, _) = client.read_to_end();
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
}

/// A client that a balancer brings may speak it too; one that has spoken HTTP may not.
#[test]
fn it_is_what_a_connection_begins_with() {
    let echo = Origin::echo();
    let proxy = Config::new(Mode::MultiThreaded)
        .set("listen.proxy_protocol", vec!["127.0.0.2"])
        .set("access.clients", vec!["192.0.2.7"])
        .set("access.destinations.allow", vec!["127.0.0.0/8"])
        .set("access.connect_ports", vec![echo.port()])
        .start();
    let mut client = Client::connect_from([127, 0, 0, 2].into(), proxy.addr());
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 1025 443\r\n";
    client.send([header, &b"\x05\x01\x00"[..], &to_loopback(1, echo.port()), b"hello"].concat());
    assert_eq!(client.read_exact(12)[..4], *b"\x05\x00\x05\x00");
    assert_eq!(client.read_exact(5), b"hello");
    client.finish();
    client.read_to_end();
    assert_eq!(proxy.access_line(|line| line["proto"] == "SOCKS5")["client"], "192.0.2.7:1025");

    let proxy = Proxy::new(Mode::SingleThreaded);
    let mut client = proxy.client();
    client.send(Origin::ok().get("/", &[]));
    client.answer();
    client.send_unwanted(b"\x05\x01\x00");
    let (bytes, _) = client.read_to_end();
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
}

/// Who guesses by SOCKS5 is slowed down as everybody is, and one who is not served is not asked.
#[test]
fn guesses_are_counted_and_strangers_are_not_asked() {
    let proxy = with_users(Mode::MultiThreaded).set("access.clients", vec!["127.0.0.1"]).start();
    let guess = |password: &str| {
        let mut client = proxy.client();
        let length = u8::try_from(password.len()).unwrap();
        let login = [b"\x05\x01\x02\x01\x03ann", &[length][..], password.as_bytes()].concat();
        client.send_unwanted(login);
        client.read_to_end();
    };
    for at in 0..30 {
        guess(&format!("wrong{at}"));
    }
    assert_eq!(proxy.access_line(|line| line["status"] == 429)["proto"], "SOCKS5");
    let mut stranger = Client::connect_from([127, 0, 0, 3].into(), proxy.addr());
    stranger.send(b"\x05\x01\x02");
    assert_eq!(stranger.read_exact(2), b"\x05\xff");
    assert_eq!(proxy.access_line(|line| line["status"] == 403)["rule"], "access.clients");
}
