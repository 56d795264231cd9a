//! `https://` in a request target (C13): TLS to the origin, whose name is verified (`upstream.tls`).

use std::{
    io::{self, Write},
    net::Shutdown,
    time::Duration,
};

use crate::support::{
    Answer, Authority, Config, End, Mode, Origin, Proxy, SecureOrigin, TlsOrigin, eventually, in_every_mode,
    secure,
};

in_every_mode!(
    c13_an_https_target_is_fetched_with_tls,
    c13_who_cannot_be_verified_is_refused,
    c13_what_is_no_tls_is_refused,
    a_client_certificate_is_shown,
    a_body_that_tls_does_not_end_is_not_complete,
    long_and_chunked_bodies,
);

fn trusting(config: Config, authority: &Authority) -> Config {
    config.file("origin-ca.pem", &authority.pem()).set("upstream.tls.ca_path", "origin-ca.pem")
}

fn get(proxy: &Proxy, authority: &str, path: &str) -> Answer {
    proxy.exchange(format!("GET https://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n"))
}

fn c13_an_https_target_is_fetched_with_tls(mode: Mode) {
    let authority = Authority::new();
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let origin = SecureOrigin::ok(&authority.server(&["localhost", "127.0.0.1"]));
    let name = origin.authority("localhost");
    let mut client = proxy.client();
    for path in ["/a?b", "/c"] {
        client.send(format!("GET https://{name}{path} HTTP/1.1\r\nHost: other\r\n\r\n"));
        client.answer().expect_ok("ok");
    }
    get(&proxy, &origin.authority("127.0.0.1"), "/ip").expect_ok("ok");
    let heads = origin.heads();
    assert!(heads[0].starts_with("GET /a?b HTTP/1.1\r\nhost: localhost:"), "{heads:?}");
    let line = proxy.access_line(|line| line["path"] == "/c");
    assert_eq!((&line["scheme"], &line["reused"]), (&"https".into(), &true.into()), "{line}");
    // The same authority in clear text is another place.
    let clear = proxy.exchange(format!("GET http://{name}/clear HTTP/1.1\r\nHost: {name}\r\n\r\n"));
    assert_ne!(clear.status(), 200, "{clear:?}");
    // What signs others is no server.
    let origin = TlsOrigin::start();
    let text = std::fs::read_to_string(origin.certificate()).unwrap();
    let proxy = Config::new(mode).file("own.pem", &text).set("upstream.tls.ca_path", "own.pem").start();
    let answer = get(&proxy, &format!("localhost:{}", origin.port()), "/");
    answer.expect_error(502, "tls_certificate_error");
    assert!(answer.text().contains("CA:TRUE"), "{answer:?}");
}

fn c13_who_cannot_be_verified_is_refused(mode: Mode) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let proxy = trusting(Config::new(mode), &authority).start();
    for (signed, host, said) in [
        (authority.expired(&["localhost"]), "localhost", "has expired"),
        (authority.server(&["other.test"]), "localhost", "is for another name"),
        (authority.server(&["localhost"]), "127.0.0.1", "is for another name"),
        (stranger.server(&["localhost"]), "localhost", "is signed by nobody who is trusted"),
    ] {
        let origin = SecureOrigin::ok(&signed);
        let answer = get(&proxy, &origin.authority(host), "/");
        answer.expect_error(502, "tls_certificate_error");
        assert!(answer.text().contains(said), "{answer:?}");
        assert!(origin.heads().is_empty());
    }
    let line = proxy.access_line(|line| line["error"] == "tls_certificate_error");
    assert_eq!(line["status"], 502, "{line}");
}

fn c13_what_is_no_tls_is_refused(mode: Mode) {
    let proxy = Config::new(mode).set("timeouts.connect", "1s").start();
    let origin = Origin::start(|conn| {
        conn.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
        conn.read_to_end().map(drop)
    });
    get(&proxy, &origin.authority(), "/secret").expect_error(502, "tls_protocol_error");
    let closing = Origin::start(|_| Ok(()));
    get(&proxy, &closing.authority(), "/secret").expect_error(502, "tls_protocol_error");
    let silent = Origin::silent();
    get(&proxy, &silent.authority(), "/secret").expect_error(504, "connection_timeout");
    for origin in [&origin, &silent] {
        eventually("the connection has ended", || origin.end_so_far(0));
        let received = origin.received(0);
        assert!(!received.windows(6).any(|part| part == b"secret"), "clear text went to an https origin");
    }
}

fn a_client_certificate_is_shown(mode: Mode) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let config = secure::server(&authority.server(&["localhost"]), Some(&clients.pem()));
    let origin = SecureOrigin::start(config, |conn, _| {
        while secure::read_head(conn)?.is_some() {
            conn.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        }
        Ok(())
    });
    let name = origin.authority("localhost");
    let proxy = trusting(Config::new(mode), &authority).start();
    let answer = get(&proxy, &name, "/");
    answer.expect_error(502, "tls_alert_received");
    let status = format!("{:?}", answer.proxy_status());
    assert!(status.contains("alert-id") && status.contains("certificate_required"), "{status}");
    let signed = clients.client("proxy");
    let proxy = trusting(Config::new(mode), &authority)
        .file("client.pem", &signed.cert)
        .file("client-key.pem", &signed.key)
        .set("upstream.tls.client_cert_path", "client.pem")
        .set("upstream.tls.client_key_path", "client-key.pem")
        .start();
    assert_eq!(get(&proxy, &name, "/").status(), 204);
}

fn a_body_that_tls_does_not_end_is_not_complete(mode: Mode) {
    let authority = Authority::new();
    let proxy = trusting(Config::new(mode), &authority).start();
    let config = secure::server(&authority.server(&["localhost"]), None);
    let origin = SecureOrigin::start(config, |conn, _| {
        let head = secure::read_head(conn)?.unwrap_or_default();
        conn.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")?;
        conn.flush()?;
        if head.starts_with("GET /whole") {
            return secure::close(conn);
        }
        // Anybody on the way could have ended it here.
        conn.sock.shutdown(Shutdown::Write)
    });
    let name = origin.authority("localhost");
    let request = |path: &str, version: &str| {
        format!("GET https://{name}{path} HTTP/{version}\r\nHost: {name}\r\nConnection: close\r\n\r\n")
    };
    proxy.exchange(request("/whole", "1.1")).expect_ok("until the end");
    let mut client = proxy.client();
    client.send(request("/cut", "1.1"));
    let (bytes, _) = client.read_to_end();
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "what was cut looks complete");
    let mut client = proxy.client();
    client.send(request("/cut", "1.0"));
    let (_, end) = client.read_to_end();
    assert_eq!(end, End::Reset, "what was cut looks complete");
    let line = proxy.access_line(|line| line["path"] == "/cut");
    assert_eq!(line["error"], "http_response_incomplete", "{line}");
}

fn long_and_chunked_bodies(mode: Mode) {
    const LONG: usize = 5_000_000;
    let authority = Authority::new();
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let config = secure::server(&authority.server(&["localhost"]), None);
    let origin = SecureOrigin::start(config, |conn, _| {
        while let Some(head) = secure::read_head(conn)? {
            if head.starts_with("POST") {
                let mut content = vec![0; LONG];
                io::Read::read_exact(conn, &mut content)?;
                let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
                let sum = sum.to_string();
                write!(conn, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sum}", sum.len())?;
                conn.flush()?;
                continue;
            }
            conn.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            // Each chunk has to come through before the next is made.
            for part in ["one", "two"] {
                write!(conn, "3\r\n{part}\r\n")?;
                conn.flush()?;
            }
            let long = "x".repeat(LONG);
            write!(conn, "{LONG:x}\r\n{long}\r\n0\r\n\r\n")?;
            conn.flush()?;
        }
        Ok(())
    });
    let name = origin.authority("localhost");
    let answer = get(&proxy, &name, "/chunked");
    assert_eq!(answer.text().len(), LONG + 6);
    let mut client = proxy.client();
    client.set_deadline(Duration::from_secs(30));
    client
        .send(format!("POST https://{name}/long HTTP/1.1\r\nHost: {name}\r\nContent-Length: {LONG}\r\n\r\n"));
    client.send(vec![1; LONG]);
    client.answer().expect_ok(&LONG.to_string());
}
