//! CONNECT and WebSockets on streams of HTTP/2, and what a drain does to them (C74, C77, C78).

use std::{sync::mpsc, time::Duration};

use bytes::Bytes;
use h2::{Reason, client::SendRequest, ext::Protocol};
use http::{Request, Version};
use nix::sys::signal::Signal;

use crate::support::{
    BlackHole, Config, End, H2Proxy, Mode, Origin, PATIENCE,
    h2_client::{Frames, ask, block, expect_end, read, send_all, take},
    in_every_mode,
};

in_every_mode! {
    c74_end_of_the_stream_is_the_end_for_the_origin,
    c74_reset_of_the_origin_is_a_connect_error,
    c74_reset_of_the_client_is_a_reset_for_the_origin,
    a_client_that_is_gone_is_a_reset_for_the_origin,
    one_connection_carries_a_hundred_tunnels,
    much_passes_through_a_tunnel,
    c77_a_websocket_is_upgraded,
    c77_what_is_no_websocket_is_no_tunnel,
    c78_a_drain_loses_no_stream_that_was_accepted,
    c78_a_stream_that_was_on_its_way_is_answered,
    an_idle_connection_ends_with_the_drain,
    the_drain_does_not_wait_for_idle_clients_to_close,
    the_drain_does_not_wait_for_idle_clients_to_answer,
    a_response_that_is_cut_is_reset,
    a_request_that_is_reset_is_given_up,
    a_connection_that_is_being_made_is_given_up,
}

fn start(mode: Mode) -> H2Proxy {
    H2Proxy::start(Config::new(mode).set("access.connect_ports", Vec::<u16>::new()))
}

fn connect(authority: &str) -> Request<()> {
    Request::connect(authority).version(Version::HTTP_2).body(()).unwrap()
}

type Streams = (h2::SendStream<Bytes>, h2::RecvStream);

/// An open tunnel.
async fn open(send: SendRequest<Bytes>, request: Request<()>) -> Streams {
    let mut send = send.ready().await.unwrap();
    let (answer, stream) = send.send_request(request, false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(!answer.headers().contains_key("content-length"), "{answer:?}");
    (stream, answer.into_body())
}

fn c74_end_of_the_stream_is_the_end_for_the_origin(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::echo());
    let client = proxy.client();
    let request = connect(&origin.authority());
    client.run(async |send| {
        let (mut stream, mut body) = open(send, request).await;
        send_all(&mut stream, Bytes::from_static(b"there and back"), false).await.unwrap();
        assert_eq!(take(&mut body, 14).await, b"there and back");
        send_all(&mut stream, Bytes::from_static(b" again"), true).await.unwrap();
        // The echo comes after the end was sent, and then its own end.
        assert_eq!(take(&mut body, 6).await, b" again");
        expect_end(&mut body).await;
    });
    assert_eq!(origin.end_of(0), End::Fin);
    let line = proxy.proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!(
        (&line["status"], &line["proto"], &line["close"]),
        (&200.into(), &"HTTP/2.0".into(), &"complete".into())
    );
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&20.into(), &20.into()), "{line}");
}

fn c74_reset_of_the_origin_is_a_connect_error(mode: Mode) {
    let proxy = start(mode);
    let origin = Origin::start(|conn| {
        conn.read_exact(4)?;
        conn.reset_on_close();
        Ok(())
    });
    let client = proxy.client();
    let request = connect(&origin.authority());
    let error = client.run(async |send| {
        let (mut stream, mut body) = open(send, request).await;
        send_all(&mut stream, Bytes::from_static(b"ping"), false).await.unwrap();
        body.data().await.expect("it does not end in order").unwrap_err()
    });
    assert_eq!(error.reason(), Some(Reason::CONNECT_ERROR), "{error}");
    // The connection is none the worse.
    let plain = Origin::ok();
    assert_eq!(client.ask(Request::get(plain.url("/")).body(()).unwrap()).status(), 200);
}

fn c74_reset_of_the_client_is_a_reset_for_the_origin(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::silent());
    let client = proxy.client();
    let request = connect(&origin.authority());
    client.run(async |send| {
        let (mut stream, _body) = open(send, request).await;
        send_all(&mut stream, Bytes::from_static(b"half a"), false).await.unwrap();
        stream.send_reset(Reason::CANCEL);
    });
    assert_eq!(origin.end_of(0), End::Reset);
    let line = proxy.proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!(line["close"], "client", "{line}");
}

fn a_client_that_is_gone_is_a_reset_for_the_origin(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::silent());
    let client = proxy.client();
    let request = connect(&origin.authority());
    let kept = client.run(async |send| open(send, request).await);
    drop(client);
    assert_eq!(origin.end_of(0), End::Reset);
    drop(kept);
}

fn one_connection_carries_a_hundred_tunnels(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::echo());
    let client = proxy.client();
    let authority = origin.authority();
    client.run(async |send| {
        let mut tunnels = Vec::new();
        for _ in 0..100 {
            tunnels.push(tokio::spawn(open(send.clone(), connect(&authority))));
        }
        let mut opened = Vec::new();
        for tunnel in tunnels {
            opened.push(tunnel.await.unwrap());
        }
        // All of them are open now, and each carries its own.
        for (index, (stream, _)) in opened.iter_mut().enumerate() {
            send_all(stream, format!("tunnel {index:03}").into(), false).await.unwrap();
        }
        for (index, (_, body)) in opened.iter_mut().enumerate() {
            assert_eq!(take(body, 10).await, format!("tunnel {index:03}").as_bytes());
        }
        for (stream, body) in &mut opened {
            send_all(stream, Bytes::new(), true).await.unwrap();
            expect_end(body).await;
        }
    });
    assert_eq!(origin.connections(), 100);
    let clients: Vec<_> =
        proxy.proxy.access_lines_at_least(100).iter().map(|line| line["client"].to_string()).collect();
    assert!(clients.iter().all(|client| *client == clients[0]), "one connection: {clients:?}");
}

fn much_passes_through_a_tunnel(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::echo());
    let client = proxy.client();
    let request = connect(&origin.authority());
    let content: Bytes = (0..8_000_000_u32).map(|n| (n >> 3).to_le_bytes()[0]).collect();
    let sent = content.clone();
    client.run(async |send| {
        let (mut stream, mut body) = open(send, request).await;
        let sending = tokio::spawn(async move { send_all(&mut stream, sent, true).await.unwrap() });
        let mut got = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        assert!(got == content, "{} bytes came back", got.len());
        sending.await.unwrap();
    });
}

fn websocket(uri: &str) -> Request<()> {
    let mut request = Request::connect(uri).version(Version::HTTP_2).header("sec-websocket-version", "13");
    request = request.header("sec-websocket-protocol", "chat").header("origin", "http://a.test");
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}

/// What an origin answers to this key: openssl knows.
fn answer_to(key: &str) -> String {
    use std::io::Write as _;
    let mut digest = std::process::Command::new("openssl")
        .args(["dgst", "-sha1", "-binary"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    digest.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let digest = digest.wait_with_output().unwrap().stdout;
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest)
}

fn c77_a_websocket_is_upgraded(mode: Mode) {
    let proxy = start(mode);
    let origin = Origin::start(|conn| {
        let request = conn.read_request()?;
        let accept = answer_to(&request.head.list("sec-websocket-key"));
        conn.write(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nfirst"
        ))?;
        conn.echo()
    });
    let client = proxy.client();
    let request = websocket(&origin.url("/chat?room=1"));
    client.run(async |send| {
        let mut send = send.ready().await.unwrap();
        // SETTINGS_ENABLE_CONNECT_PROTOCOL is on its way.
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let (answer, mut stream) = send.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        for name in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!answer.headers().contains_key(name), "{answer:?}");
        }
        let mut body = answer.into_body();
        assert_eq!(take(&mut body, 5).await, b"first");
        send_all(&mut stream, Bytes::from_static(b"\x81\x85\x01\x02\x03\x04frame"), false).await.unwrap();
        assert_eq!(take(&mut body, 11).await, b"\x81\x85\x01\x02\x03\x04frame");
        send_all(&mut stream, Bytes::new(), true).await.unwrap();
        expect_end(&mut body).await;
    });
    let request = origin.request_at(0).head;
    assert_eq!(request.start(), "GET /chat?room=1 HTTP/1.1");
    assert!(request.lists("connection", "upgrade") && request.lists("upgrade", "websocket"), "{request:?}");
    assert_eq!(
        (request.list("sec-websocket-version"), request.list("origin")),
        ("13".into(), "http://a.test".into())
    );
    assert_eq!(origin.end_of(0), End::Fin);
}

fn c77_what_is_no_websocket_is_no_tunnel(mode: Mode) {
    let proxy = start(mode);
    // A 200 from an origin that knows no WebSockets would open one to the client.
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage", Some(502)),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\npage", Some(403)),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            None,
        ),
    ] {
        let origin = Origin::answering(answer);
        let client = proxy.client();
        let request = websocket(&origin.url("/"));
        let answered = client.run(async |send| {
            let mut send = send.ready().await.unwrap();
            let (answer, _stream) = send.send_request(request, false).unwrap();
            read(answer.await?).await
        });
        match status {
            Some(status) => {
                let answered = answered.unwrap();
                assert_eq!((answered.status(), &answered.body[..]), (status, &b"page"[..]), "{answered:?}");
            }
            None => assert!(answered.is_err(), "a wrong key is no WebSocket: {answered:?}"),
        }
    }
    let origin = Origin::echo();
    let mut request = websocket(&origin.url("/"));
    request.extensions_mut().insert(Protocol::from_static("connect-udp"));
    let client = proxy.client();
    let answer = client.run(async |send| {
        let mut send = send.ready().await.unwrap();
        let (answer, _stream) = send.send_request(request, false).unwrap();
        answer.await.unwrap()
    });
    assert_eq!((answer.status().as_u16(), origin.connections()), (501, 0));
}

/// An origin that answers when the test has let it.
fn waiting_origin() -> (Origin, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |conn| {
        conn.read_request()?;
        // However long the machine takes to get there: an answer before its time is another test.
        let _ = wait.lock().unwrap().recv();
        conn.answer("late")?;
        conn.read_to_end().map(drop)
    });
    (origin, go)
}

fn c78_a_drain_loses_no_stream_that_was_accepted(mode: Mode) {
    let mut proxy = start(mode);
    let (origin, go) = waiting_origin();
    let mut client = proxy.frames();
    client.greet();
    let authority = origin.authority();
    let get = |path: &'static str| {
        [(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", path)]
            .map(|field| field)
    };
    client.request(1, &get("/1"));
    origin.request_at(0);
    proxy.proxy.signal(Signal::SIGTERM);
    let goaway = client.until(|frame| frame.kind == 7);
    assert_eq!((&goaway.payload[..4], goaway.code()), (&0x7fff_ffff_u32.to_be_bytes()[..], 0));
    // Our answer to its PING says that no stream is under way any more: the real end follows.
    let ping = client.until(|frame| frame.kind == 6 && frame.flags == 0);
    client.send(6, 1, 0, &ping.payload).unwrap();
    let goaway = client.until(|frame| frame.kind == 7);
    assert_eq!((&goaway.payload[..4], goaway.code()), (&1_u32.to_be_bytes()[..], 0));
    go.send(()).unwrap();
    assert_eq!(client.until(|frame| frame.stream == 1).kind, 1, "the answer comes");
    let body = client.until(|frame| frame.stream == 1 && !frame.payload.is_empty());
    assert_eq!(body.payload, b"late");
    while client.next().is_some() {}
    // It has some seconds to close, too; the exit is not to wait for them.
    drop(client);
    assert_eq!(proxy.proxy.wait_exit(PATIENCE).code(), Some(0), "{}", proxy.proxy.log());
    assert_eq!(proxy.proxy.access_lines().len(), 1);
}

fn an_idle_connection_ends_with_the_drain(mode: Mode) {
    let (mut proxy, origin) = (start(mode), Origin::ok());
    let mut client = proxy.client();
    assert_eq!(client.ask(Request::get(origin.url("/")).body(()).unwrap()).status(), 200);
    proxy.proxy.signal(Signal::SIGTERM);
    client.end().expect("it ends in order");
    assert_eq!(proxy.proxy.wait_exit(Duration::from_secs(8)).code(), Some(0), "{}", proxy.proxy.log());
}

/// A client that has asked once, and does nothing of itself.
fn asked(proxy: &H2Proxy, origin: &Origin) -> Frames {
    let mut client = proxy.frames();
    client.greet();
    request(&mut client, 1, origin);
    assert_eq!(client.until(|frame| frame.stream == 1).kind, 1, "it is answered");
    client
}

fn request(client: &mut Frames, stream: u32, origin: &Origin) {
    let authority = origin.authority();
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "/")];
    client.request(stream, &fields);
}

fn c78_a_stream_that_was_on_its_way_is_answered(mode: Mode) {
    let (mut proxy, origin) = (start(mode), Origin::ok());
    let mut client = asked(&proxy, &origin);
    proxy.proxy.signal(Signal::SIGTERM);
    client.until(|frame| frame.kind == 7);
    let ping = client.until(|frame| frame.kind == 6 && frame.flags == 0);
    // As if it had been sent before GOAWAY came.
    request(&mut client, 3, &origin);
    client.send(6, 1, 0, &ping.payload).unwrap();
    let goaway = client.until(|frame| frame.kind == 7);
    assert_eq!((&goaway.payload[..4], goaway.code()), (&3_u32.to_be_bytes()[..], 0));
    assert_eq!(client.until(|frame| frame.stream == 3).kind, 1, "it is answered");
    while client.next().is_some() {}
    drop(client);
    assert_eq!(proxy.proxy.wait_exit(PATIENCE).code(), Some(0), "{}", proxy.proxy.log());
    assert_eq!(proxy.proxy.access_lines().len(), 2);
}

/// The exit of a process that only an idle client is connected to, which is to come before `timeouts.client_header`.
#[track_caller]
fn expect_exit(mut proxy: H2Proxy, client: Frames) {
    assert_eq!(proxy.proxy.wait_exit(Duration::from_secs(8)).code(), Some(0), "{}", proxy.proxy.log());
    drop(client);
}

fn the_drain_does_not_wait_for_idle_clients_to_close(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::ok());
    let mut client = asked(&proxy, &origin);
    proxy.proxy.signal(Signal::SIGTERM);
    let ping = client.until(|frame| frame.kind == 6 && frame.flags == 0);
    client.send(6, 1, 0, &ping.payload).unwrap();
    client.until(|frame| frame.kind == 7 && frame.payload[..4] == 1_u32.to_be_bytes());
    expect_exit(proxy, client);
}

fn the_drain_does_not_wait_for_idle_clients_to_answer(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::ok());
    let mut client = asked(&proxy, &origin);
    proxy.proxy.signal(Signal::SIGTERM);
    client.until(|frame| frame.kind == 7);
    expect_exit(proxy, client);
}

fn a_response_that_is_cut_is_reset(mode: Mode) {
    let proxy = start(mode);
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let origin = Origin::answering_once(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello"));
        let client = proxy.client();
        let request = Request::get(origin.url("/")).body(()).unwrap();
        let answer = client.run(async |send| ask(send, request).await);
        assert_eq!(answer.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR), "{head}");
    }
}

fn a_request_that_is_reset_is_given_up(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::silent());
    let client = proxy.client();
    for (index, is_whole) in [true, false].into_iter().enumerate() {
        let request = Request::post(origin.url("/")).body(()).unwrap();
        client.run(async |send| {
            let mut send = send.ready().await.unwrap();
            let (_answer, mut stream) = send.send_request(request, is_whole).unwrap();
            let seen = || !origin.received(index).is_empty();
            while !seen() {
                tokio::task::yield_now().await;
            }
            stream.send_reset(Reason::CANCEL);
        });
        assert_eq!(origin.end_of(index), End::Reset);
    }
}

/// Who waits for an address that does not answer is told by nobody that his client is gone, unless he looks.
fn a_connection_that_is_being_made_is_given_up(mode: Mode) {
    let config =
        Config::new(mode).set("access.connect_ports", Vec::<u16>::new()).set("timeouts.connect", "60s");
    let (proxy, hole) = (H2Proxy::start(config), BlackHole::new());
    let authority = hole.authority();
    let mut client = proxy.frames();
    client.greet();
    let get = [(":method", "GET"), (":scheme", "http"), (":authority", &*authority), (":path", "/")];
    let connect = [(":method", "CONNECT"), (":authority", &*authority)];
    for (stream, fields) in [(1, &get[..]), (3, &connect)] {
        // One of CONNECT goes on.
        client.send(1, if stream == 1 { 5 } else { 4 }, stream, &block(fields)).unwrap();
        // What comes behind it is answered when it was taken.
        client.send(6, 0, 0, &[stream.to_le_bytes()[0]; 8]).unwrap();
        client.until(|frame| {
            frame.kind == 6 && frame.flags == 1 && frame.payload[0] == stream.to_le_bytes()[0]
        });
        client.send(3, 0, stream, &8_u32.to_be_bytes()).unwrap();
        let line = proxy.proxy.access_line(|line| line["method"] == fields[0].1);
        assert_eq!((&line["close"], line["status"].is_null()), (&"client".into(), true), "{line}");
    }
}
