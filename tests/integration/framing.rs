//! Where a message ends: what is refused, what is repaired, and that nothing broken looks whole (C30-C42).

use crate::support::{Answer, Mode, Origin, Proxy, in_every_mode};

in_every_mode! {
    c30_length_and_chunked_together_in_requests,
    c31_length_and_chunked_together_in_responses,
    c32_other_transfer_codings_are_refused,
    c33_chunked_in_http_1_0_is_refused,
    c34_bad_lengths_in_requests_are_refused,
    c35_bad_lengths_in_responses_are_bad_gateways,
    c36_short_responses_do_not_look_whole,
    c37_response_without_length_ends_with_the_connection,
    c38_http_1_0_client_gets_no_chunks,
    c39_bad_chunks_in_requests_are_refused,
    c39_bad_chunks_in_responses_do_not_look_whole,
    c39_endless_chunk_extension_is_cut,
    c40_control_bytes_and_folds_in_requests,
    c40_control_bytes_and_folds_in_responses,
    c41_space_before_the_colon,
    c42_space_before_the_first_field,
}

fn c30_length_and_chunked_together_in_requests(mode: Mode) {
    let proxy = Proxy::new(mode);
    for (name, fields) in [
        ("length first", ["Content-Length: 3", "Transfer-Encoding: chunked"]),
        ("chunked first", ["Transfer-Encoding: chunked", "Content-Length: 3"]),
    ] {
        let origin = Origin::ok();
        let mut request = origin.request("POST", "/first", &fields);
        request.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n");
        request.extend_from_slice(&origin.get("/second", &[]));
        let mut client = proxy.client();
        client.send_unwanted(request);
        let answer = client.answer();
        if answer.status() == 200 {
            let request = origin.request_at(0);
            assert!(!request.head.has("content-length"), "{name}: both reached the origin: {request:?}");
            assert_eq!(request.body.bytes, b"hello", "{name}");
        } else {
            answer.expect_own(&[400]);
        }
        client.expect_end();
        assert!(
            !origin.requests().iter().any(|request| request.head.target() == "/second"),
            "{name}: smuggled"
        );
    }
}

fn c31_length_and_chunked_together_in_responses(mode: Mode) {
    let proxy = Proxy::new(mode);
    for fields in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
        let answer = proxy.exchange(origin.get("/", &[]));
        if answer.status() == 200 {
            assert_eq!(answer.text(), "hello");
            let both = answer.head.has("content-length") && answer.head.has("transfer-encoding");
            assert!(!both, "{answer:?}");
            assert_ne!(answer.head.one("content-length").as_deref(), Some("3"), "{answer:?}");
        } else {
            answer.expect_error(502, "http_protocol_error");
        }
        origin.end_of(0);
    }
}

fn c32_other_transfer_codings_are_refused(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let cases: [&[&str]; 9] = [
        &["Transfer-Encoding: chunked, identity"],
        &["Transfer-Encoding: gzip"],
        &["Transfer-Encoding: gzip, chunked"],
        &["Transfer-Encoding: xchunked"],
        &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: chunked, chunked"],
        &["Transfer-Encoding: \u{b}chunked"],
        &["Transfer-Encoding: identity"],
        &["Transfer-Encoding:"],
    ];
    for fields in cases {
        let mut request = origin.request("POST", "/", fields);
        request.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n");
        let mut client = proxy.client();
        client.send_unwanted(request);
        let answer = client.answer();
        assert!(matches!(answer.status(), 400 | 501), "{fields:?}: {answer:?}");
        answer.expect_own(&[400, 501]);
        client.expect_end();
    }
    assert!(origin.requests().is_empty());
    proxy.access_lines_at_least(cases.len());
}

fn c33_chunked_in_http_1_0_is_refused(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut request = format!(
        "POST {} HTTP/1.0\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        origin.url("/first"),
        origin.authority()
    )
    .into_bytes();
    request.extend_from_slice(&origin.get("/second", &[]));
    let mut client = proxy.client();
    client.send_unwanted(request);
    client.answer().expect_own(&[400]);
    client.expect_end();
    assert!(origin.requests().is_empty());
}

fn c34_bad_lengths_in_requests_are_refused(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let digits = format!("Content-Length: {}", "9".repeat(30));
    let cases: [&[&str]; 10] = [
        &["Content-Length: +5"],
        &["Content-Length: -1"],
        &["Content-Length: 0x5"],
        &["Content-Length: 5 5"],
        &["Content-Length: 5, 6"],
        &[&digits],
        &["Content-Length: 5", "Content-Length: 6"],
        &["Content-Length: "],
        &["Content-Length: 5,"],
        &["Content-Length: 18446744073709551616"],
    ];
    for fields in cases {
        let mut request = origin.request("POST", "/", fields);
        request.extend_from_slice(b"hello");
        let mut client = proxy.client();
        client.send_unwanted(request);
        let answer = client.answer();
        assert_eq!(answer.status(), 400, "{fields:?}: {answer:?}");
        answer.expect_own(&[400]);
        client.expect_end();
    }
    assert!(origin.requests().is_empty());
    for fields in [&["Content-Length: 5, 5"] as &[&str], &["Content-Length: 5", "Content-Length: 5"]] {
        let mut request = origin.request("POST", "/", fields);
        request.extend_from_slice(b"hello");
        let answer = proxy.exchange(request);
        if answer.status() == 200 {
            let request = origin.requests().pop().unwrap();
            assert_eq!(request.body.bytes, b"hello");
            assert_eq!(request.head.all("content-length"), ["5"], "{request:?}");
        } else {
            answer.expect_own(&[400]);
        }
    }
}

fn c35_bad_lengths_in_responses_are_bad_gateways(mode: Mode) {
    let proxy = Proxy::new(mode);
    let digits = "9".repeat(30);
    let cases = ["+5", "-1", "0x5", "5 5", "5, 6", &digits, "5\r\nContent-Length: 6"];
    for (number, value) in cases.iter().enumerate() {
        let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nhello"));
        let answer = proxy.exchange(origin.get("/", &[]));
        assert_eq!(answer.status(), 502, "{value:?}: {answer:?}");
        answer.expect_error(502, "http_protocol_error");
        origin.end_of(0);
        let lines = proxy.access_lines_at_least(number + 1);
        assert_eq!(lines[number]["error"], "http_protocol_error");
    }
    // So are codings that would be passed on undone, or that an HTTP/1.0 origin cannot mean.
    let codings = ["1.1 gzip, chunked", "1.1 chunked, chunked", "1.1 xchunked", "1.1 gzip", "1.0 chunked"];
    for coding in codings {
        let (version, coding) = coding.split_once(' ').unwrap();
        let origin = Origin::answering(format!(
            "HTTP/{version} 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ));
        let answer = proxy.exchange(origin.get("/", &[]));
        assert_eq!(answer.status(), 502, "{version} {coding:?}: {answer:?}");
        answer.expect_error(502, "http_protocol_error");
        origin.end_of(0);
    }
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello");
    let answer = proxy.exchange(origin.get("/", &[]));
    if answer.status() == 200 {
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.head.all("content-length"), ["5"]);
    } else {
        answer.expect_error(502, "http_protocol_error");
    }
}

/// Either the head was held back and this is the proxy's 502, or what came can be told from a whole message.
#[track_caller]
fn expect_broken(answer: &Answer) {
    if answer.status() == 502 {
        answer.expect_own(&[502]);
    } else {
        assert_eq!(answer.status(), 200);
        assert!(!answer.body.complete, "a broken response looks whole: {answer:?}");
    }
}

fn c36_short_responses_do_not_look_whole(mode: Mode) {
    let proxy = Proxy::new(mode);
    let cases = [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
        ("chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo"),
        ("between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        ("last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
    ];
    for (number, (name, response)) in cases.into_iter().enumerate() {
        let origin = Origin::answering_once(response);
        let mut client = proxy.client();
        client.send(origin.get("/", &[]));
        let answer = client.answer();
        expect_broken(&answer);
        if answer.status() == 200 {
            client.expect_end();
        }
        let lines = proxy.access_lines_at_least(number + 1);
        assert_eq!(lines[number]["error"], "http_response_incomplete", "{name}: {lines:?}");
    }
}

fn c37_response_without_length_ends_with_the_connection(mode: Mode) {
    let proxy = Proxy::new(mode);
    for version in ["1.0", "1.1"] {
        let origin = Origin::answering_once(format!("HTTP/{version} 200 OK\r\n\r\nabc"));
        proxy.exchange(origin.get("/", &[])).expect_ok("abc");
    }
}

fn c38_http_1_0_client_gets_no_chunks(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    );
    let mut client = proxy.client();
    client.send(format!("GET {} HTTP/1.0\r\n\r\n", origin.url("/")));
    let answer = client.answer();
    answer.expect_ok("abcdef");
    assert!(!answer.head.has("transfer-encoding"), "{answer:?}");
    client.expect_end();
}

fn c39_bad_chunks_in_requests_are_refused(mode: Mode) {
    let proxy = Proxy::new(mode);
    let cases = [
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "z\r\nhello\r\n0\r\n\r\n",
    ];
    for body in cases {
        let origin = Origin::ok();
        let mut request = origin.request("POST", "/", &["Transfer-Encoding: chunked"]);
        request.extend_from_slice(body.as_bytes());
        request.extend_from_slice(&origin.get("/second", &[]));
        let mut client = proxy.client();
        client.send_unwanted(request);
        let answer = client.answer();
        assert!(matches!(answer.status(), 400 | 502), "{body:?}: {answer:?}");
        client.expect_end();
        let whole = origin.requests().iter().any(|request| request.body.complete);
        assert!(!whole, "{body:?}: the origin saw a whole request: {:?}", origin.requests());
        if origin.connections() > 0 {
            origin.end_of(0);
        }
    }
    // These are none of the proxy's business, or may be.
    for body in ["5;a=b\r\nhello\r\n0;c\r\n\r\n", "005\r\nhello\r\n000\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n"] {
        let origin = Origin::ok();
        let mut request = origin.request("POST", "/", &["Transfer-Encoding: chunked"]);
        request.extend_from_slice(body.as_bytes());
        let answer = proxy.exchange(request);
        if body.contains(' ') && answer.status() == 400 {
            continue;
        }
        answer.expect_ok("ok");
        assert_eq!(origin.request_at(0).body.bytes, b"hello");
        assert!(!String::from_utf8_lossy(&origin.received(0)).contains(";a=b"), "an extension went on");
    }
}

fn c39_bad_chunks_in_responses_do_not_look_whole(mode: Mode) {
    let proxy = Proxy::new(mode);
    for body in [
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "z\r\nhello\r\n0\r\n\r\n",
    ] {
        let origin = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{body}"
        ));
        let answer = proxy.exchange(origin.get("/", &[]));
        expect_broken(&answer);
        origin.end_of(0);
    }
}

fn c39_endless_chunk_extension_is_cut(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &["Transfer-Encoding: chunked"]));
    client.send_unwanted("5;");
    for _ in 0..64 {
        client.send_unwanted([b'x'; 16 * 1024]);
    }
    client.send_unwanted("\r\nhello\r\n0\r\n\r\n");
    let answer = client.answer();
    assert!((400..500).contains(&answer.status()) || answer.status() == 502, "{answer:?}");
    client.expect_end();
    assert!(!origin.requests().iter().any(|request| request.body.complete));
}

fn c40_control_bytes_and_folds_in_requests(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for field in ["X-A: a\rb", "X-A: a\0b", "X-A: a\r\n b", "X-A: a\r\n\tb", "X-A: a\r\n Host: b"] {
        let answer = proxy.exchange(origin.get("/", &[field]));
        if answer.status() == 200 {
            let got = origin.requests().pop().unwrap().head.one("x-a").unwrap_or_default();
            assert!(got.starts_with("a ") && !got.contains(['\r', '\n', '\0']), "{field:?} became {got:?}");
        } else {
            answer.expect_own(&[400]);
        }
    }
}

fn c40_control_bytes_and_folds_in_responses(mode: Mode) {
    let proxy = Proxy::new(mode);
    for field in ["X-A: a\rb", "X-A: a\0b", "X-A: a\r\n b", "X-A: a\r\n\tb"] {
        let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 2\r\n\r\nok"));
        let answer = proxy.exchange(origin.get("/", &[]));
        if answer.status() == 200 {
            let got = answer.head.one("x-a").unwrap_or_default();
            assert!(got.starts_with("a ") && !got.contains(['\r', '\n', '\0']), "{field:?} became {got:?}");
        } else {
            answer.expect_error(502, "http_protocol_error");
        }
    }
}

fn c41_space_before_the_colon(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for field in ["X-A : 1", "Host : a.test", "Content-Length : 5", "Transfer-Encoding\t: chunked"] {
        proxy.exchange(origin.get("/", &[field])).expect_own(&[400]);
    }
    assert!(origin.requests().is_empty());
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\nok");
    let answer = proxy.exchange(origin.get("/", &[]));
    answer.expect_ok("ok");
    assert_eq!(answer.head.all("x-a"), ["1"], "{answer:?}");
}

fn c42_space_before_the_first_field(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let request =
        format!("GET {} HTTP/1.1\r\n X-Hidden: 1\r\nHost: {}\r\n\r\n", origin.url("/"), origin.authority());
    let answer = proxy.exchange(request);
    if answer.status() == 200 {
        assert!(!origin.request_at(0).head.mentions("x-hidden"));
    } else {
        answer.expect_own(&[400]);
    }
    let mut request = b"\r\n".to_vec();
    request.extend_from_slice(&origin.get("/blank", &[]));
    proxy.exchange(request).expect_ok("ok");
    assert!(origin.requests().iter().any(|request| request.head.target() == "/blank"));
}
