//! Bodies where they may not be, trailers, and requests cut short (C43-C46).

use std::time::Duration;

use crate::support::{Mode, Origin, Proxy, in_every_mode};

in_every_mode! {
    c43_head_has_no_body_and_the_connection_goes_on,
    c43_204_and_304_have_no_body_and_the_connection_goes_on,
    c44_response_trailers_stay_trailers,
    c45_request_trailers_stay_trailers,
    c46_short_requests_are_not_completed,
    bodies_pass_in_every_framing,
    large_bodies_pass_whole_and_the_connections_go_on,
    a_large_body_that_ends_early_is_not_completed,
    bodies_are_streamed_as_they_come,
    an_answer_before_the_whole_request_reaches_the_client,
}

fn c43_head_has_no_body_and_the_connection_goes_on(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        loop {
            let request = conn.read_request()?;
            match request.head.start().split(' ').next() {
                Some("HEAD") => conn.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")?,
                _ => conn.answer("next")?,
            }
        }
    });
    let mut client = proxy.client();
    client.send(origin.request("HEAD", "/", &[]));
    let answer = client.answer_to("HEAD");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.head.all("content-length"), ["9"], "{answer:?}");
    client.send(origin.get("/next", &[]));
    client.answer().expect_ok("next");
}

fn c43_204_and_304_have_no_body_and_the_connection_goes_on(mode: Mode) {
    let proxy = Proxy::new(mode);
    for status in ["204 No Content", "304 Not Modified"] {
        for field in ["Transfer-Encoding: chunked", "Content-Length: 5", "ETag: \"x\""] {
            let response = format!("HTTP/1.1 {status}\r\n{field}\r\n\r\n");
            let origin = Origin::start(move |conn| {
                loop {
                    let request = conn.read_request()?;
                    if request.head.target() == "/next" {
                        conn.answer("next")?
                    } else {
                        conn.write(&response)?
                    }
                }
            });
            let mut client = proxy.client();
            client.send(origin.get("/", &[]));
            let answer = client.answer();
            assert!(
                answer.head.start().starts_with(&format!("HTTP/1.1 {}", &status[..3])),
                "{field}: {answer:?}"
            );
            if status.starts_with("204") {
                assert!(!answer.head.has("transfer-encoding"), "{answer:?}");
                assert!(!answer.head.has("content-length"), "{answer:?}");
            }
            client.send(origin.get("/next", &[]));
            client.answer().expect_ok("next");
        }
    }
}

fn c44_response_trailers_stay_trailers(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Content-Length, Via\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nVia: z\r\n\r\n",
    );
    let asked = proxy.exchange(origin.get("/", &["TE: trailers", "Connection: TE"]));
    asked.expect_ok("hello");
    assert!(!asked.head.has("x-sum") && !asked.head.list("via").contains('z'), "{asked:?}");
    let names: Vec<_> =
        asked.body.trailers.iter().map(|line| line.split(':').next().unwrap().to_lowercase()).collect();
    assert_eq!(names, ["x-sum"], "{asked:?}");
    assert!(asked.body.trailers[0].ends_with(": 1"), "{asked:?}");

    let not_asked = proxy.exchange(origin.get("/", &[]));
    not_asked.expect_ok("hello");
    assert!(!not_asked.head.has("x-sum"), "{not_asked:?}");
    assert!(!not_asked.body.trailers.iter().any(|line| line.to_lowercase().contains("content-length")));
}

fn c45_request_trailers_stay_trailers(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    let mut request = origin.request("POST", "/", &["Trailer: X-Sum", "Transfer-Encoding: chunked"]);
    request.extend_from_slice(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nHost: evil.test\r\n\r\n");
    client.send(request);
    client.answer().expect_ok("ok");
    let request = origin.request_at(0);
    assert_eq!(request.body.bytes, b"hello");
    assert!(!request.head.has("x-sum"), "{request:?}");
    for trailer in &request.body.trailers {
        assert!(trailer.to_lowercase().starts_with("x-sum"), "a forbidden trailer went on: {request:?}");
    }
    // The connection is in step.
    client.send(origin.get("/next", &[]));
    client.answer().expect_ok("ok");
}

fn c46_short_requests_are_not_completed(mode: Mode) {
    let proxy = Proxy::new(mode);
    let cases = [
        ("Content-Length: 10", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n5\r\nwo"),
    ];
    for (field, body) in cases {
        let origin = Origin::ok();
        let mut client = proxy.client();
        let mut request = origin.request("POST", "/", &[field]);
        request.extend_from_slice(body.as_bytes());
        client.send(request);
        client.finish();
        client.read_to_end();
        if origin.connections() > 0 {
            origin.end_of(0);
            assert!(!origin.requests().iter().any(|request| request.body.complete), "{field}: completed");
        }
        assert!(origin.connections() <= 1, "a request that was cut short was sent again");
    }
    proxy.access_lines_at_least(cases.len());
}

fn bodies_pass_in_every_framing(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        loop {
            let request = conn.read_request()?;
            let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for part in request.body.bytes.chunks(1000) {
                response.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                response.extend_from_slice(part);
                response.extend_from_slice(b"\r\n");
            }
            response.extend_from_slice(b"0\r\n\r\n");
            conn.write(response)?;
        }
    });
    let body: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let mut client = proxy.client();
    let mut request = origin.request("POST", "/", &[&format!("Content-Length: {}", body.len())]);
    request.extend_from_slice(&body);
    client.send(request);
    assert_eq!(client.answer().body.bytes, body);
    let mut request = origin.request("PUT", "/", &["Transfer-Encoding: chunked"]);
    for part in body.chunks(777) {
        request.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    client.send(request);
    assert_eq!(client.answer().body.bytes, body);
    // No body at all, told and untold.
    client.send(origin.request("POST", "/", &["Content-Length: 0"]));
    assert_eq!(client.answer().text(), "");
    assert_eq!(origin.request_at(2).head.all("content-length"), ["0"]);
    client.send(origin.get("/", &[]));
    assert_eq!(client.answer().text(), "");
    let request = origin.request_at(3);
    assert!(!request.head.has("content-length") && !request.head.has("transfer-encoding"), "{request:?}");
}

/// Neither repeats within what is moved at a time.
fn large_body(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn large_bodies_pass_whole_and_the_connections_go_on(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        loop {
            let request = conn.read_request()?;
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.bytes.len()))?;
            conn.write(&request.body.bytes)?;
        }
    });
    let mut client = proxy.client();
    // An odd length, so that neither end falls on the end of a piece.
    for length in [7_000_001, 3, 2_500_003] {
        let body = large_body(length);
        let mut request = origin.request("POST", "/", &[&format!("Content-Length: {length}")]);
        request.extend_from_slice(&body);
        client.send(request);
        let answer = client.answer();
        assert!(answer.body.bytes == body, "{length} bytes came back as {}", answer.body.bytes.len());
    }
    assert_eq!(origin.connections(), 1);
    for line in proxy.access_lines_at_least(3) {
        assert!(line["bytes_in"] == line["bytes_out"], "{line}");
    }
}

fn a_large_body_that_ends_early_is_not_completed(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")?;
        conn.write(large_body(6_000_000))
    });
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    let answer = client.answer();
    assert!(!answer.body.complete);
    assert!(answer.body.bytes == large_body(6_000_000), "what came is passed on");
    assert_eq!(proxy.access_lines_at_least(1)[0]["error"], "http_response_incomplete");
}

/// Server-sent events: each part must be at the client before the origin goes on.
fn bodies_are_streamed_as_they_come(mode: Mode) {
    let proxy = Proxy::new(mode);
    let (told, heard) = std::sync::mpsc::channel();
    let heard = std::sync::Mutex::new(heard);
    let origin = Origin::start(move |conn| {
        conn.read_request()?;
        conn.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        for number in 0..5 {
            let event = format!("data: {number}\n\n");
            conn.write(format!("{:x}\r\n{event}\r\n", event.len()))?;
            // The client has it, or the deadline passes and the test with it.
            if heard.lock().unwrap().recv_timeout(Duration::from_secs(10)).is_err() {
                return Ok(());
            }
        }
        conn.write("0\r\n\r\n")
    });
    let mut client = proxy.client();
    client.send(origin.get("/events", &["Accept: text/event-stream"]));
    assert_eq!(client.head().status(), 200);
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        let chunk = format!("{:X}\r\n{event}\r\n", event.len());
        let got = client.read_exact(chunk.len());
        assert_eq!(String::from_utf8_lossy(&got).to_uppercase(), chunk.to_uppercase());
        told.send(()).unwrap();
    }
    assert_eq!(client.read_exact(5), b"0\r\n\r\n");
}

fn an_answer_before_the_whole_request_reaches_the_client(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        conn.read_head()?;
        conn.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        conn.finish()?;
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Content-Length: 1000000"]));
    client.send("a first part of the body");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"), "{answer:?}");
}
