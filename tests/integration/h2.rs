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
