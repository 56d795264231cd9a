//! Upgrade: WebSocket over plain HTTP passes, everything else does not (C51-C53).

use crate::support::{Mode, Origin, Proxy, head, in_every_mode};

in_every_mode! {
    c51_websocket_is_upgraded_with_the_first_bytes,
    c51_frames_of_a_mebibyte_are_echoed,
    c51_half_close_passes,
    c51_reset_passes,
    c51_refused_upgrade_is_a_plain_response,
    c52_unasked_switching_is_a_bad_gateway,
    c53_upgrades_that_are_not_forwarded,
}

const HANDSHAKE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An origin that accepts, sends `first` in the same segment, and then echoes.
fn websocket(first: &'static str) -> Origin {
    Origin::start(move |conn| {
        conn.read_request()?;
        conn.write(format!("{ACCEPTED}{first}"))?;
        conn.echo()
    })
}

fn c51_websocket_is_upgraded_with_the_first_bytes(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = websocket("12345678901234567890");
    let mut client = proxy.client();
    let mut request = origin.get("/ws", &HANDSHAKE);
    request.extend_from_slice(b"too early by half");
    client.send(request);
    let answer = client.answer();
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert!(
        answer.head.lists("connection", "upgrade") && answer.head.lists("upgrade", "websocket"),
        "{answer:?}"
    );
    assert_eq!(answer.head.list("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(!answer.head.has("content-length") && !answer.head.has("transfer-encoding"), "{answer:?}");
    assert_eq!(client.read_exact(20), b"12345678901234567890");
    assert_eq!(client.read_exact(17), b"too early by half");
    client.send("and back");
    assert_eq!(client.read_exact(8), b"and back");
    let request = origin.request_at(0).head;
    assert!(request.lists("connection", "upgrade") && request.lists("upgrade", "websocket"), "{request:?}");
    assert_eq!(request.list("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
    drop(client);
    let line = proxy.access_line(|line| line["status"] == 101);
    assert!(line["bytes_in"].as_u64() >= Some(25) && line["bytes_out"].as_u64() >= Some(45), "{line}");
}

fn c51_frames_of_a_mebibyte_are_echoed(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = websocket("");
    let mut client = proxy.client();
    client.send(origin.get("/ws", &HANDSHAKE));
    assert_eq!(client.answer().status(), 101);
    // A masked binary frame with a length of 64 bits; the echo is byte by byte.
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(1_u64 << 20).to_be_bytes());
    frame.extend_from_slice(&[1, 2, 3, 4]);
    frame.extend((0..1_u32 << 20).map(|n| n.to_le_bytes()[0]));
    for _ in 0..3 {
        let mut sender = client.stream().try_clone().unwrap();
        let sent = frame.clone();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &sent).unwrap());
        assert!(client.read_exact(frame.len()) == frame, "the echo differs");
        sending.join().unwrap();
    }
}

fn c51_half_close_passes(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        conn.write(ACCEPTED)?;
        let (bytes, _) = conn.read_to_end()?;
        conn.write(format!("got {}", bytes.len()))?;
        conn.finish()
    });
    let mut client = proxy.client();
    client.send(origin.get("/ws", &HANDSHAKE));
    assert_eq!(client.answer().status(), 101);
    client.send("hello");
    client.finish();
    assert_eq!(client.read_exact(5), b"got 5");
    client.expect_fin();
}

fn c51_reset_passes(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = websocket("");
    let mut client = proxy.client();
    client.send(origin.get("/ws", &HANDSHAKE));
    assert_eq!(client.answer().status(), 101);
    client.send("x");
    client.read_exact(1);
    client.reset();
    origin.end_of(0);
}

fn c51_refused_upgrade_is_a_plain_response(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")?;
        conn.read_request()?;
        conn.answer("next")
    });
    let mut client = proxy.client();
    client.send(origin.get("/ws", &HANDSHAKE));
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
    client.send(origin.get("/next", &[]));
    client.answer().expect_ok("next");
}

fn c52_unasked_switching_is_a_bad_gateway(mode: Mode) {
    let proxy = Proxy::new(mode);
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nbytes";
    for (name, fields, response) in [
        ("not asked for", &[] as &[&str], ACCEPTED),
        ("another protocol", &HANDSHAKE as &[&str], other),
        ("no protocol", &HANDSHAKE as &[&str], "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ] {
        let origin = Origin::start(move |conn| {
            conn.read_request()?;
            conn.write(response)?;
            conn.read_to_end().map(drop)
        });
        let answer = proxy.exchange(origin.get("/", fields));
        assert_eq!(answer.status(), 502, "{name}: {answer:?}");
        answer.expect_error(502, "http_upgrade_failed");
        origin.end_of(0);
    }
}

fn c53_upgrades_that_are_not_forwarded(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let old = head(&[
        format!("GET {} HTTP/1.0", origin.url("/")),
        "Connection: Upgrade".to_owned(),
        "Upgrade: websocket".to_owned(),
    ]);
    let h2c =
        origin.get("/", &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]);
    let unlisted = origin.get("/", &["Upgrade: websocket"]);
    for request in [old, h2c, unlisted] {
        proxy.exchange(request).expect_ok("ok");
        let request = origin.requests().pop().unwrap().head;
        assert!(!request.has("upgrade") && !request.lists("connection", "upgrade"), "{request:?}");
        assert!(!request.has("http2-settings"), "{request:?}");
    }
}
