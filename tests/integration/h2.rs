//! HTTP/2 to clients: requests, bodies, and what the log says of them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};

use crate::support::{
    Config, H2Proxy, Mode, Origin,
    h2_client::{ask, read, send_all},
    in_every_mode,
};

in_every_mode! {
    a_request_is_forwarded,
    bodies_and_trailers_pass_both_ways,
    streams_are_served_at_once,
    interim_answers_pass,
    c76_cookies_are_one_line,
    answers_without_content_say_what_they_say,
    an_answer_may_come_before_the_body,
    a_password_is_asked_for,
    a_certificate_names_the_user,
}

fn start(mode: Mode) -> H2Proxy {
    H2Proxy::start(Config::new(mode))
}

fn get(url: &str) -> Request<()> {
    Request::get(url).body(()).unwrap()
}

fn a_request_is_forwarded(mode: Mode) {
    let (proxy, origin) = (
        start(mode),
        Origin::answering(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x\r\nX: 1\r\nKeep-Alive: timeout=5\r\n\r\nhello",
        ),
    );
    let client = proxy.client();
    for _ in 0..3 {
        let answer = client.ask(get(&origin.url("/a?b=c")));
        assert_eq!((answer.status(), &answer.body[..]), (200, &b"hello"[..]), "{answer:?}");
        assert_eq!((answer.field("content-length"), answer.field("via")), ("5", "1.1 px"), "{answer:?}");
        for name in ["connection", "keep-alive", "transfer-encoding", "x"] {
            assert_eq!(answer.field(name), "", "{answer:?}");
        }
    }
    let request = origin.request_at(0).head;
    assert_eq!(request.start(), "GET /a?b=c HTTP/1.1", "{request:?}");
    assert_eq!(
        (request.list("host"), request.list("via")),
        (origin.authority(), "2 px".to_owned()),
        "{request:?}"
    );
    let line = proxy.proxy.access_line(|line| line["path"] == "/a?[redacted]" || line["status"] == 200);
    assert_eq!((&line["proto"], &line["bytes_out"]), (&"HTTP/2.0".into(), &5.into()), "{line}");
    assert!(line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1")), "{line}");
}

fn bodies_and_trailers_pass_both_ways(mode: Mode) {
    let proxy = start(mode);
    let origin = Origin::start(|conn| {
        loop {
            let request = conn.read_request()?;
            conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")?;
            for part in request.body.bytes.chunks(50_000) {
                conn.write([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat())?;
            }
            conn.write("0\r\nX-Sum: 7\r\n\r\n")?;
        }
    });
    let client = proxy.client();
    let content: Bytes = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    for has_length in [false, true] {
        let mut request = Request::post(origin.url("/up")).header("te", "trailers");
        if has_length {
            request = request.header("content-length", content.len());
        }
        let request = request.body(()).unwrap();
        let content = content.clone();
        let sent = content.clone();
        let answer = client.run(async |send| {
            let mut send = send.ready().await.unwrap();
            let (answer, mut stream) = send.send_request(request, false).unwrap();
            send_all(&mut stream, sent, has_length).await.unwrap();
            if !has_length {
                let trailers = HeaderMap::from_iter([("x-up".parse().unwrap(), HeaderValue::from(9))]);
                stream.send_trailers(trailers).unwrap();
            }
            read(answer.await.unwrap()).await.unwrap()
        });
        assert!(answer.body == content, "{} bytes came back", answer.body.len());
        assert_eq!(answer.trailers.unwrap()["x-sum"], "7");
    }
    let (chunked, plain) = (origin.request_at(0), origin.request_at(1));
    assert_eq!(chunked.head.list("transfer-encoding"), "chunked");
    assert!(chunked.body.bytes == content && plain.body.bytes == content);
    assert_eq!(plain.head.list("content-length"), "1000000");
    assert!(String::from_utf8_lossy(&origin.received(0)).contains("\r\n0\r\nx-up: 9\r\n\r\n"));
}

fn streams_are_served_at_once(mode: Mode) {
    let proxy = start(mode);
    // Nobody is answered before all are there.
    let together = std::sync::Arc::new(std::sync::Barrier::new(20));
    let origin = Origin::start(move |conn| {
        conn.read_request()?;
        together.wait();
        conn.answer("met")?;
        conn.read_to_end().map(drop)
    });
    let client = proxy.client();
    let url = origin.url("/");
    client.run(async |send| {
        let asked: Vec<_> = (0..20).map(|_| tokio::spawn(ask(send.clone(), get(&url)))).collect();
        for asked in asked {
            assert_eq!(&asked.await.unwrap().unwrap().body[..], b"met");
        }
    });
}

fn interim_answers_pass(mode: Mode) {
    let proxy = start(mode);
    let origin = Origin::start(|conn| {
        loop {
            conn.read_head()?;
            conn.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")?;
            let body = conn.read_exact(4)?;
            conn.answer(body)?;
        }
    });
    let client = proxy.client();
    let request = Request::post(origin.url("/")).header("expect", "100-continue").header("content-length", 4);
    let request = request.body(()).unwrap();
    let (interim, answer) = client.run(async |send| {
        let mut send = send.ready().await.unwrap();
        let (mut answer, mut stream) = send.send_request(request, false).unwrap();
        let mut interim = Vec::new();
        while interim.len() < 2 {
            let next = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
            interim.push(next.unwrap().unwrap().status().as_u16());
        }
        send_all(&mut stream, Bytes::from_static(b"body"), true).await.unwrap();
        (interim, read(answer.await.unwrap()).await.unwrap())
    });
    assert_eq!((interim, &answer.body[..]), (vec![103, 100], &b"body"[..]));
}

fn c76_cookies_are_one_line(mode: Mode) {
    let (proxy, origin) = (start(mode), Origin::ok());
    let request =
        Request::get(origin.url("/")).header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
    assert_eq!(proxy.client().ask(request.body(()).unwrap()).status(), 200);
    let received = String::from_utf8_lossy(&origin.received(0)).into_owned();
    assert!(received.contains("\r\ncookie: a=1; b=2; c=3\r\n"), "{received}");
    assert_eq!(received.matches("cookie").count(), 1, "{received}");
}

fn answers_without_content_say_what_they_say(mode: Mode) {
    let proxy = start(mode);
    let client = proxy.client();
    for (method, head, status, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5", 200, "5"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5", 304, "5"),
        ("GET", "HTTP/1.1 204 No Content", 204, ""),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0", 200, "0"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", 200, ""),
    ] {
        let origin = Origin::answering(format!("{head}\r\n\r\n"));
        let answer = client.ask(Request::builder().method(method).uri(origin.url("/")).body(()).unwrap());
        assert_eq!((answer.status(), answer.field("content-length")), (status, length), "{method} {head}");
        assert!(answer.body.is_empty(), "{answer:?}");
    }
    // What ends with its connection ends in order.
    let origin = Origin::answering_once("HTTP/1.0 200 OK\r\n\r\nold");
    assert_eq!(&client.ask(get(&origin.url("/"))).body[..], b"old");
}

fn an_answer_may_come_before_the_body(mode: Mode) {
    let proxy = H2Proxy::start(Config::new(mode).set("limits.max_body_size", 1000));
    let origin = Origin::ok();
    let client = proxy.client();
    let request = Request::post(origin.url("/")).header("content-length", 100_000).body(()).unwrap();
    let (answer, reset) = client.run(async |send| {
        let mut send = send.ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request, false).unwrap();
        let answer = read(answer.await.unwrap()).await.unwrap();
        (answer, std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap())
    });
    assert_eq!((answer.status(), reset), (413, h2::Reason::NO_ERROR), "{answer:?}");
    assert_eq!(client.ask(get(&origin.url("/"))).status(), 200);
}

fn a_password_is_asked_for(mode: Mode) {
    let users = "ann:$2y$12$551yxbM41DFBG0TUVWvZkuszhMUP.zk922EbdSYb2usaRGPPmptyi\n";
    let config = Config::new(mode).set("access.users_file", "users").file("users", users);
    let (proxy, origin) = (H2Proxy::start(config), Origin::ok());
    let client = proxy.client();
    let answer = client.ask(get(&origin.url("/")));
    assert_eq!(answer.status(), 407, "{answer:?}");
    assert!(answer.field("proxy-authenticate").starts_with("Basic realm="), "{answer:?}");
    assert_eq!(client.ask(Request::connect("a.test:443").body(()).unwrap()).status(), 407);
    assert_eq!(origin.connections(), 0);
}

fn a_certificate_names_the_user(mode: Mode) {
    let (proxy, origin) = (H2Proxy::start_mutual(Config::new(mode)), Origin::ok());
    let client = proxy.client_called("ann");
    for _ in 0..2 {
        assert_eq!(client.ask(get(&origin.url("/"))).status(), 200);
    }
    let lines = proxy.proxy.access_lines_at_least(2);
    assert!(lines.iter().all(|line| line["user"] == "ann"), "{lines:?}");
}
