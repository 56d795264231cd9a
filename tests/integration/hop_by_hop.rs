//! Fields that end at the proxy and fields that pass it unchanged (C16-C23).

use crate::support::{Config, Mode, Origin, Proxy, head, in_every_mode};

in_every_mode! {
    c16_nominated_fields_end_here_in_requests,
    c16_nominated_fields_end_here_in_responses,
    c16_nominated_fields_end_here_in_trailers,
    c17_hop_by_hop_fields_end_here_unlisted,
    c18_te_trailers_is_dropped_or_nominated,
    c19_end_to_end_fields_cannot_be_nominated_away,
    c20_proxy_authorization_is_consumed,
    c21_authentication_of_the_origin_passes,
    c22_unknown_fields_keep_bytes_and_order,
    c23_header_case_is_kept_when_asked,
}

fn c16_nominated_fields_end_here_in_requests(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let fields = ["Connection: close, X-Foo", "connection: x-bar", "X-Foo: 1", "X-Bar: 2", "X-Kept: 3"];
    proxy.exchange(origin.get("/", &fields)).expect_ok("ok");
    let request = origin.request_at(0).head;
    for gone in ["x-foo", "x-bar"] {
        assert!(!request.mentions(gone), "{gone} reached the origin: {request:?}");
    }
    assert_eq!(request.all("x-kept"), ["3"]);
}

fn c16_nominated_fields_end_here_in_responses(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::answering_once(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Foo\r\nX-Foo: 1\r\nKeep-Alive: timeout=9\r\n\
         Proxy-Connection: close\r\nX-Kept: 3\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = proxy.exchange(origin.get("/", &[]));
    answer.expect_ok("ok");
    for gone in ["x-foo", "timeout=9", "proxy-connection"] {
        assert!(!answer.head.mentions(gone), "{gone} reached the client: {answer:?}");
    }
    assert_eq!(answer.head.all("x-kept"), ["3"]);
}

fn c16_nominated_fields_end_here_in_trailers(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Foo\r\nTrailer: X-Foo, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nX-Foo: 1\r\nX-Sum: 2\r\n\r\n",
    );
    let answer = proxy.exchange(origin.get("/", &["TE: trailers", "Connection: TE"]));
    answer.expect_ok("ok");
    assert!(!answer.head.mentions("x-foo:"), "{answer:?}");
    assert!(!answer.body.trailers.iter().any(|line| line.to_lowercase().starts_with("x-foo")), "{answer:?}");
}

fn c17_hop_by_hop_fields_end_here_unlisted(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let fields = [
        "Proxy-Connection: keep-alive",
        "Keep-Alive: timeout=5",
        "TE: gzip",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ];
    proxy.exchange(origin.get("/", &fields)).expect_ok("ok");
    let request = origin.request_at(0).head;
    for field in fields {
        let name = field.split(':').next().unwrap();
        assert!(!request.has(name), "{name} reached the origin: {request:?}");
    }
}

fn c18_te_trailers_is_dropped_or_nominated(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    proxy.exchange(origin.get("/", &["TE: trailers", "Connection: TE"])).expect_ok("ok");
    proxy.exchange(origin.get("/", &["TE: trailers"])).expect_ok("ok");
    for request in origin.requests() {
        let nominated = request.head.lists("connection", "te");
        assert!(!request.head.has("te") || nominated, "TE without its nomination: {request:?}");
    }
}

fn c19_end_to_end_fields_cannot_be_nominated_away(mode: Mode) {
    let proxy = Config::new(mode).set("forwarding.client_address", "x_forwarded_for").start();
    let origin = Origin::ok();
    let nominate = "Connection: Host, Content-Length, Transfer-Encoding, Via, X-Forwarded-For, Authorization";
    let fields = [nominate, "Content-Length: 5", "Authorization: Bearer t", "Via: 1.1 earlier"];
    let mut request = origin.request("POST", "/", &fields);
    request.extend_from_slice(b"hello");
    proxy.exchange(request).expect_ok("ok");
    let request = origin.request_at(0);
    assert_eq!(request.body.bytes, b"hello");
    assert_eq!(request.head.all("host"), [origin.authority()]);
    assert!(request.head.list("via").ends_with("1.1 px"), "{request:?}");
    assert_eq!(request.head.list("x-forwarded-for"), "127.0.0.1");
    assert!(!request.head.has("connection") || !request.head.lists("connection", "host"), "{request:?}");

    let mut request = origin.request("POST", "/", &[nominate, "Transfer-Encoding: chunked"]);
    request.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n");
    proxy.exchange(request).expect_ok("ok");
    assert_eq!(origin.request_at(1).body.bytes, b"hello");
}

fn c20_proxy_authorization_is_consumed(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    proxy.exchange(origin.get("/", &["Proxy-Authorization: Basic dTpwYXNzd29ydA=="])).expect_ok("ok");
    let request = origin.request_at(0).head;
    assert!(!request.mentions("proxy-authorization") && !request.mentions("dTpwYXNzd29ydA"), "{request:?}");
    proxy.access_lines_at_least(1);
    assert!(!proxy.all_logs().contains("dTpwYXNzd29ydA"));
}

fn c21_authentication_of_the_origin_passes(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::answering(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\
         WWW-Authenticate: Digest realm=\"b\", nonce=\"x\"\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = proxy.exchange(origin.get("/", &["Authorization: Basic dTpw"]));
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.head.all("www-authenticate"), ["Basic realm=\"a\"", "Digest realm=\"b\", nonce=\"x\""]);
    assert_eq!(origin.request_at(0).head.all("authorization"), ["Basic dTpw"]);
}

fn c22_unknown_fields_keep_bytes_and_order(mode: Mode) {
    let proxy = Proxy::new(mode);
    let mut fields = b"X-Unknown: ".to_vec();
    fields.push(0xe9);
    fields.extend_from_slice(b"\r\nA: 1\r\nB: 2\r\nA: 3\r\n");
    let mut response =
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1, x\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n".to_vec();
    response.extend_from_slice(&fields);
    response.extend_from_slice(b"\r\nok");
    let origin = Origin::answering(response);

    let mut request =
        format!("GET {} HTTP/1.1\r\nHost: {}\r\n", origin.url("/"), origin.authority()).into_bytes();
    request.extend_from_slice(&fields);
    request.extend_from_slice(b"\r\n");
    let answer = proxy.exchange(request);
    answer.expect_ok("ok");
    for head in [origin.request_at(0).head, answer.head.clone()] {
        let unknown = head.fields().iter().find(|(name, _)| name.eq_ignore_ascii_case(b"x-unknown")).unwrap();
        assert_eq!(unknown.1, [0xe9], "{head:?}");
        assert_eq!(head.all("a"), ["1", "3"]);
        assert_eq!(head.all("b"), ["2"]);
    }
    assert_eq!(answer.head.all("set-cookie"), ["a=1, x", "b=2"]);
}

fn c23_header_case_is_kept_when_asked(mode: Mode) {
    let proxy = Config::new(mode).set("forwarding.preserve_header_case", true).start();
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nX-BaCk-CaSe: 1\r\nContent-Length: 2\r\n\r\nok");
    let answer = proxy.exchange(head(&[
        format!("GET {} HTTP/1.1", origin.url("/")),
        format!("HOST: {}", origin.authority()),
        "X-WeIrD-CaSe: 1".to_owned(),
    ]));
    answer.expect_ok("ok");
    let request = origin.request_at(0).head;
    assert!(request.fields().iter().any(|(name, _)| name == b"X-WeIrD-CaSe"), "{request:?}");
    assert!(answer.head.fields().iter().any(|(name, _)| name == b"X-BaCk-CaSe"), "{answer:?}");
}
