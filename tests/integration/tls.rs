//! Clients that encrypt what they say to the proxy (`tls.listen_addr`): what passes is what passes without TLS.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use crate::support::{
    Authority, Config, Mode, Origin, PATIENCE, Proxy, TlsOrigin, in_every_mode,
    secure::{self, SecureClient},
};

in_every_mode!(
    an_https_proxy_for_curl,
    bodies_pass_as_they_come,
    tunnels_end_one_way_at_a_time,
    what_is_cut_does_not_look_complete,
    what_is_no_tls_is_closed,
);

/// A client of a proxy that was started with TLS.
fn connect(proxy: &Proxy, authority: &Authority) -> SecureClient {
    secure::connect(&secure::client(&authority.pem(), None), proxy.tls_addr())
        .expect("the handshake succeeds")
}

/// Runs curl through the proxy with TLS to it; what it wrote, and whether it succeeded.
fn curl(proxy: &Proxy, arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new("curl")
        .env_clear()
        .args(["-sS", "--max-time", "30", "--noproxy", "", "-x"])
        .arg(format!("https://localhost:{}", proxy.tls_addr().port()))
        .arg("--proxy-cacert")
        .arg(proxy.folder().path().join("ca.pem"))
        .args(arguments)
        .output()
        .expect("curl is installed");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn an_https_proxy_for_curl(mode: Mode) {
    let proxy = secure::listening(Config::new(mode), &Authority::new()).start();
    let origin = Origin::ok();
    let (succeeded, text) = curl(&proxy, &[&origin.url("/a"), &origin.url("/b")]);
    assert!(succeeded && text == "okok", "{text}");
    let far = TlsOrigin::start();
    let certificate = far.certificate();
    let (succeeded, text) = curl(&proxy, &["--cacert", certificate.to_str().unwrap(), &far.url("/")]);
    assert!(succeeded && text.contains("Cipher"), "{text}");
    // The other listener serves as before.
    assert_eq!(proxy.curl(&[&origin.url("/c")]), "ok");
    let line = proxy.access_line(|line| line["path"] == "/a");
    assert_eq!(line["status"], 200, "{line}");
}

fn bodies_pass_as_they_come(mode: Mode) {
    const LONG: usize = 5_000_000;
    let authority = Authority::new();
    let proxy = secure::listening(Config::new(mode), &authority).start();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |conn| {
        loop {
            let request = conn.read_request()?;
            if request.head.start().starts_with("POST") {
                conn.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{}",
                    request.body.bytes.len()
                ))?;
                continue;
            }
            conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")?;
            wait.lock().unwrap().recv_timeout(PATIENCE).map_err(io::Error::other)?;
            conn.write(format!("{LONG:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(LONG)))?;
        }
    });
    let mut client = connect(&proxy, &authority);
    client.write_all(&origin.get("/", &[])).unwrap();
    secure::read_head(&mut client).unwrap().expect("there is a head");
    // The first chunk is here before the second is made.
    let mut first = [0; 8];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"3\r\none\r\n");
    go_on.send(()).unwrap();
    let (mut seen, mut room) = (Vec::new(), vec![0; 65_536]);
    while !seen.ends_with(b"\r\n0\r\n\r\n") {
        let read = client.read(&mut room).unwrap();
        assert_ne!(read, 0, "it ends early");
        seen.extend_from_slice(&room[..read]);
    }
    assert_eq!(seen.iter().filter(|byte| **byte == b'x').count(), LONG);
    // The other way, on the same connection.
    client.write_all(&origin.request("POST", "/", &[&format!("Content-Length: {LONG}")])).unwrap();
    client.write_all(&vec![b'y'; LONG]).unwrap();
    let (head, content) = secure::read_response(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && content == LONG.to_string(), "{head}{content}");
}

fn tunnels_end_one_way_at_a_time(mode: Mode) {
    const LONG: usize = 3_000_000;
    let authority = Authority::new();
    let config = Config::new(mode).set("timeouts.tunnel_idle", "500ms");
    let proxy = secure::listening(config, &authority).start();
    let origin = Origin::echo();
    let tunnel = || {
        let mut client = connect(&proxy, &authority);
        write!(client, "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority()).unwrap();
        let head = secure::read_head(&mut client).unwrap().expect("there is a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        client
    };
    let mut client = tunnel();
    let mut left = LONG;
    let mut echoed = 0;
    let mut room = vec![0; 65_536];
    while left > 0 {
        let part = left.min(50_000);
        client.write_all(&vec![7; part]).unwrap();
        left -= part;
        let mut back = 0;
        while back < part {
            back += client.read(&mut room).unwrap();
        }
        echoed += back;
    }
    client.write_all(b"last words").unwrap();
    secure::finish(&mut client).unwrap();
    let mut rest = Vec::new();
    // An end without the end of TLS would be an error.
    client.read_to_end(&mut rest).unwrap();
    assert_eq!((echoed, rest.as_slice()), (LONG, &b"last words"[..]));
    // One that is silent is closed.
    let began = Instant::now();
    let mut client = tunnel();
    let _ = client.read(&mut room);
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    let line = proxy.access_line(|line| line["close"] == "tunnel_idle");
    assert_eq!(line["method"], "CONNECT", "{line}");
}

fn what_is_cut_does_not_look_complete(mode: Mode) {
    let authority = Authority::new();
    let proxy = secure::listening(Config::new(mode), &authority).start();
    let origin = Origin::start(|conn| {
        let request = conn.read_request()?;
        let length =
            if request.head.start().contains("/until-close") { "" } else { "Content-Length: 100\r\n" };
        conn.write(format!("HTTP/1.1 200 OK\r\n{length}\r\nthe beginning"))?;
        if length.is_empty() {
            conn.reset_on_close();
        }
        Ok(())
    });
    for version in ["1.0", "1.1"] {
        for path in ["/length", "/until-close"] {
            let mut client = connect(&proxy, &authority);
            let request = String::from_utf8(origin.get(path, &[])).unwrap();
            client.write_all(request.replace("HTTP/1.1", &format!("HTTP/{version}")).as_bytes()).unwrap();
            let mut seen = Vec::new();
            let end = client.read_to_end(&mut seen);
            assert!(end.is_err() && !seen.ends_with(b"0\r\n\r\n"), "{version} {path}: {end:?}");
        }
    }
    // A client that is gone inside a body has not sent it.
    let mut client = connect(&proxy, &authority);
    client.write_all(&origin.request("POST", "/gone", &["Content-Length: 100"])).unwrap();
    client.write_all(b"half").unwrap();
    drop(client);
    let line = proxy.access_line(|line| line["path"] == "/gone");
    assert_ne!(line["status"], 200, "{line}");
}

fn what_is_no_tls_is_closed(mode: Mode) {
    let authority = Authority::new();
    let proxy = secure::listening(Config::new(mode), &authority).start();
    let origin = Origin::ok();
    let garbage: Vec<u8> = (0..20_000_u32).map(|index| (index * 7 % 251) as u8).collect();
    let record = [&[22, 3, 1, 0x40, 0][..], &[0xff; 0x4000]].concat();
    for bytes in [origin.get("/plain", &[]), garbage, record, b"\x16".to_vec(), Vec::new()] {
        let mut stream = TcpStream::connect(proxy.tls_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // At most an alert.
        assert!(answer.len() <= 7, "{answer:?}");
    }
    assert_eq!(origin.connections(), 0);
    let mut client = connect(&proxy, &authority);
    client.write_all(&origin.get("/", &[])).unwrap();
    assert_eq!(secure::read_response(&mut client).unwrap().1, "ok");
    // Who trusts somebody else goes away.
    let stranger = secure::client(&Authority::new().pem(), None);
    assert!(secure::connect(&Arc::clone(&stranger), proxy.tls_addr()).is_err());
}
