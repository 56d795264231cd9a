//! Rows of the protocol checklist that are decisions about the heads that travel on.

use std::mem::MaybeUninit;

use http::Method;

use super::*;
use crate::message::{
    framing::ResponseBody,
    head::{HeadLimits, check_request_head},
};

const LIMITS: HeadLimits = HeadLimits { max_bytes: 65_536, max_headers: 200 };

fn date() -> [u8; 29] {
    *b"Thu, 01 Jan 1970 00:00:00 GMT"
}

/// The lines of what the origin gets for a request with these lines, without the one that is always there.
fn request(version: &str, lines: &[&str]) -> (Vec<String>, Option<Upgrade>) {
    let raw = format!("GET http://a.test/ HTTP/{version}\r\nHost: a.test\r\n{}\r\n", block(lines));
    let facts = check_request_head(raw.as_bytes(), LIMITS).expect("a request");
    let fields = facts.fields.of(raw.as_bytes());
    let hop_by_hop = HopByHop::read(fields.clone());
    let origin = Authority::parse("a.test", Some(80)).unwrap();
    let onward = RequestOnward {
        method: b"GET",
        target: b"/",
        origin: &origin,
        default_port: 80,
        received: facts.version,
        framing: facts.framing,
        via: None,
        client_address: ClientAddress::Off,
        client: [192, 0, 2, 1].into(),
        request_id: None,
        edits: None,
        max_forwards: None,
        keep_case: true,
    };
    let mut out = Vec::new();
    let upgrade = write_request(&mut out, &onward, &hop_by_hop, fields);
    let out = split(&out);
    assert_eq!(out[..2], ["GET / HTTP/1.1", "host: a.test"]);
    (out[2..].to_vec(), upgrade)
}

/// The lines of what the client gets for a response with these lines.
fn response(lines: &[&str]) -> Vec<String> {
    let raw = format!("HTTP/1.1 200 OK\r\nDate: x\r\n{}\r\n", block(lines));
    let mut room = [const { MaybeUninit::uninit() }; 150];
    let head = ResponseHead::read(raw.as_bytes(), &Method::GET, &mut room).expect("a response");
    let body = ResponseCoding::of(head.framing.body, Version::HTTP_11);
    let onward = ResponseOnward { body, via: None, closes: false, date, keep_case: true };
    let mut out = Vec::new();
    write_response(&mut out, &onward, &head);
    let out = split(&out);
    assert_eq!(out[..2], ["HTTP/1.1 200 OK", "Date: x"]);
    out[2..].to_vec()
}

fn block(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

fn split(head: &[u8]) -> Vec<String> {
    let head = String::from_utf8_lossy(head.strip_suffix(b"\r\n\r\n").expect("a whole head")).into_owned();
    head.split("\r\n").map(str::to_owned).collect()
}

/// Row, what is received, what is left: both ways, with a body of no bytes.
const BOTH_WAYS: &[(&str, &[&str], &[&str])] = &[
    (
        "C16 nominated fields",
        &["Connection: close, X-Foo", "connection: x-bar", "X-Foo: 1", "X-Bar: 2", "A: 3"],
        &["A: 3"],
    ),
    ("C16 nominated twice, empty members", &["Connection:  ,x-foo,, X-FOO ,", "X-Foo: 1", "X-Foo: 2"], &[]),
    ("C16 an option that is no field name", &["Connection: a b, close", "A: 1"], &["A: 1"]),
    (
        "C17 without being listed",
        &[
            "Proxy-Connection: keep-alive",
            "Keep-Alive: timeout=5",
            "TE: gzip",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
            "A: 1",
        ],
        &["A: 1"],
    ),
    (
        "C19 end-to-end fields stay",
        &[
            "Connection: Via, X-Forwarded-For, Authorization, Cache-Control, Cookie, Forwarded, X-Real-IP",
            "Via: 1.1 a",
            "X-Forwarded-For: 192.0.2.1",
            "Authorization: Basic x",
            "Cache-Control: no-store",
            "Cookie: a=b",
            "Forwarded: for=x",
            "X-Real-IP: 1",
        ],
        &[
            "Via: 1.1 a",
            "X-Forwarded-For: 192.0.2.1",
            "Authorization: Basic x",
            "Cache-Control: no-store",
            "Cookie: a=b",
            "Forwarded: for=x",
            "X-Real-IP: 1",
        ],
    ),
    (
        "C20 credentials for the proxy",
        &["Proxy-Authorization: Basic x", "Authorization: Basic y"],
        &["Authorization: Basic y"],
    ),
    (
        "C21 challenges of the origin",
        &[
            "WWW-Authenticate: Basic realm=a",
            "WWW-Authenticate: Digest realm=b",
            "Proxy-Authenticate: Basic",
            "Proxy-Authentication-Info: x",
        ],
        &["WWW-Authenticate: Basic realm=a", "WWW-Authenticate: Digest realm=b"],
    ),
    (
        "C22 unknown fields, repeated ones",
        &["A: 1", "B: 2", "A: 3", "Set-Cookie: a=1", "Set-Cookie: b=2"],
        &["A: 1", "B: 2", "A: 3", "Set-Cookie: a=1", "Set-Cookie: b=2"],
    ),
    (
        "C69 status of other proxies",
        &["Proxy-Status: cdn", "Connection: Proxy-Status"],
        &["Proxy-Status: cdn"],
    ),
];

#[test]
fn both_ways() {
    for (row, received, left) in BOTH_WAYS {
        let mut lines = received.to_vec();
        assert_eq!(request("1.1", &lines).0, *left, "{row}");
        lines.push("Content-Length: 0");
        assert_eq!(response(&lines), [left, &["content-length: 0"][..]].concat(), "{row}");
    }
}

#[test]
fn lengths_are_written_by_what_is_known_c19_c31_c34() {
    for (received, left) in [
        (&["Connection: Content-Length", "Content-Length: 5"][..], "content-length: 5"),
        (&["Transfer-Encoding: Chunked"], "transfer-encoding: chunked"),
        (&["Connection: Transfer-Encoding", "Transfer-Encoding: chunked"], "transfer-encoding: chunked"),
    ] {
        assert_eq!(request("1.1", received).0, [left], "{received:?}");
        assert_eq!(response(received), [left], "{received:?}");
    }
    for repeated in [&["Content-Length: 5, 5"][..], &["Content-Length: 5", "Content-Length: 5"]] {
        assert_eq!(response(repeated), ["content-length: 5"], "{repeated:?}");
    }
    let both = response(&["Content-Length: 5", "Transfer-Encoding: chunked"]);
    assert_eq!(both, ["transfer-encoding: chunked"], "C31 never both");
}

#[test]
fn te_trailers_travels_with_its_option_c18() {
    for te in ["TE: trailers", "TE: gzip, Trailers", "TE: deflate;q=0.5,trailers"] {
        assert_eq!(request("1.1", &[te, "Connection: TE, close"]).0, ["te: trailers", "connection: te"]);
    }
    assert_eq!(
        response(&["TE: trailers", "Content-Length: 0"]),
        ["content-length: 0"],
        "C18 only in requests"
    );
}

#[test]
fn trailers_lose_what_may_not_be_there_c44_c16() {
    let trailers =
        b"X-Sum: 1\r\nContent-Length: 3\r\nVia: z\r\nX-Foo: 2\r\nX-Forwarded-For: 1\r\nHost: h\r\n\r\n";
    let connection = Field { name: b"Connection", value: b"x-foo", known: Name::Connection };
    let mut out = Vec::new();
    write_last_chunk(&mut out, trailers, &HopByHop::read([connection].into_iter()).nominated, false);
    assert_eq!(out, b"0\r\nx-sum: 1\r\n\r\n");
}

#[test]
fn too_many_nominations_distrust_what_is_not_known() {
    let options = (0..100).map(|i| format!("x-{i}")).collect::<Vec<_>>().join(",");
    let connection = format!("Connection: {options}");
    assert_eq!(request("1.1", &[&connection, "X-99: 1", "Cookie: a"]).0, ["Cookie: a"]);
}

#[test]
fn upgrade_is_asked_for_on_our_own_c51_c53() {
    for (row, version, received, expected) in [
        ("C51", "1.1", &["Connection: Upgrade", "Upgrade: websocket"][..], Some("websocket")),
        (
            "C51 among others",
            "1.1",
            &["Connection: keep-alive", "Connection: x, UPGRADE", "Upgrade: WebSocket"],
            Some("WebSocket"),
        ),
        ("C53 in 1.0", "1.0", &["Connection: Upgrade", "Upgrade: websocket"], None),
        ("C53 h2c", "1.1", &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"], None),
        ("C53 h2c in a list", "1.1", &["Connection: upgrade", "Upgrade: h2c, websocket"], Some("websocket")),
        (
            "C53 h2c on a second line",
            "1.1",
            &["Connection: upgrade", "Upgrade: websocket", "Upgrade: H2C"],
            Some("websocket"),
        ),
        ("C53 by version", "1.1", &["Connection: upgrade", "Upgrade: http/2.0"], None),
        ("not nominated", "1.1", &["Upgrade: websocket"], None),
        ("empty", "1.1", &["Connection: upgrade", "Upgrade:  , "], None),
        ("with a body", "1.1", &["Connection: upgrade", "Upgrade: websocket", "Content-Length: 0"], None),
    ] {
        let (left, upgrade) = request(version, received);
        assert_eq!(upgrade.as_ref().map(Upgrade::value), expected.map(str::as_bytes), "{row}");
        if let Some(expected) = expected {
            assert_eq!(left, ["connection: upgrade".to_owned(), format!("upgrade: {expected}")], "{row}");
        }
    }
}

#[test]
fn an_answer_must_be_what_was_asked_for_c52() {
    let (_, upgrade) = request("1.1", &["Connection: Upgrade", "Upgrade: foo/2, websocket"]);
    let upgrade = upgrade.unwrap();
    let agreed = |value: &'static str| {
        let field = Field { name: b"Upgrade", value: value.as_bytes(), known: Name::Upgrade };
        upgrade.agreed([field].into_iter())
    };
    assert_eq!(agreed("WebSocket"), Some(&b"WebSocket"[..]));
    for other in ["h2c", "", "foo", "websocket, foo/2"] {
        assert_eq!(agreed(other), None, "C52 {other}");
    }
}

#[test]
fn heads_are_whole_c1_c24_c25_c38_c70() {
    let raw = b"POST http://a.test:81 HTTP/1.0\r\nHost: evil\r\nX-A:  1 \r\nVia: 1.0 fred\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    let facts = check_request_head(raw, LIMITS).unwrap();
    let px = Pseudonym::parse("px").unwrap();
    let origin = Authority::parse("a.test:81", None).unwrap();
    let onward = RequestOnward {
        method: b"POST",
        target: b"/",
        origin: &origin,
        default_port: 80,
        received: facts.version,
        framing: facts.framing,
        via: Some(&px),
        client_address: ClientAddress::XForwardedFor,
        client: [192, 0, 2, 1].into(),
        request_id: None,
        edits: None,
        max_forwards: Some(2),
        keep_case: false,
    };
    let mut out = Vec::new();
    let fields = facts.fields.of(raw);
    write_request(&mut out, &onward, &HopByHop::read(fields.clone()), fields);
    assert_eq!(
        split(&out),
        [
            "POST / HTTP/1.1",
            "host: a.test:81",
            "x-a: 1",
            "max-forwards: 2",
            "x-forwarded-for: 192.0.2.1",
            "via: 1.0 fred, 1.0 px",
            "content-length: 1",
        ]
    );
    let raw = b"HTTP/1.0 201 Made It\r\nX-A : 1\r\nVia: 1.1 cdn\r\n\r\n";
    let mut room = [const { MaybeUninit::uninit() }; 8];
    let head = ResponseHead::read(raw, &Method::GET, &mut room).unwrap();
    for (client, body, last) in [
        (Version::HTTP_11, ResponseCoding::Chunked, "transfer-encoding: chunked"),
        (Version::HTTP_10, ResponseCoding::UntilClose, "connection: close"),
    ] {
        assert_eq!(ResponseCoding::of(ResponseBody::UntilClose, client), body);
        let closes = body == ResponseCoding::UntilClose;
        let onward = ResponseOnward { body, via: Some(&px), closes, date, keep_case: false };
        let mut out = Vec::new();
        write_response(&mut out, &onward, &head);
        assert_eq!(
            split(&out),
            [
                "HTTP/1.1 201 Made It",
                "x-a: 1",
                "date: Thu, 01 Jan 1970 00:00:00 GMT",
                "via: 1.1 cdn, 1.0 px",
                last
            ]
        );
    }
}

#[test]
fn what_has_no_body_tells_the_length_it_may_c43() {
    for (method, status, received, left) in [
        (Method::HEAD, 200, "Content-Length: 9", &["content-length: 9"][..]),
        (Method::HEAD, 200, "Transfer-Encoding: chunked", &[]),
        (Method::GET, 304, "Content-Length: 9", &["content-length: 9"]),
        (Method::GET, 204, "Content-Length: 9", &[]),
        (Method::GET, 204, "Transfer-Encoding: chunked", &[]),
    ] {
        let raw = format!("HTTP/1.1 {status} X\r\nDate: x\r\n{received}\r\n\r\n");
        let mut room = [const { MaybeUninit::uninit() }; 8];
        let head = ResponseHead::read(raw.as_bytes(), &method, &mut room).unwrap();
        let body = ResponseCoding::of(head.framing.body, Version::HTTP_11);
        let onward = ResponseOnward { body, via: None, closes: false, date, keep_case: false };
        let mut out = Vec::new();
        write_response(&mut out, &onward, &head);
        assert_eq!(split(&out)[2..], *left, "{method} {status} {received}");
    }
}
