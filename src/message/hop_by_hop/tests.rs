//! Rows of the protocol checklist that are decisions about hop-by-hop fields.

use super::*;

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    headers
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    lines.sort();
    lines
}

#[track_caller]
fn assert_fields(row: &str, headers: &HeaderMap, expected: &[(&str, &str)]) {
    assert_eq!(lines(headers), lines(&fields(expected)), "{row}");
}

type Lines = &'static [(&'static str, &'static str)];

/// Row, what is received, what is left.
const BOTH_WAYS: &[(&str, Lines, Lines)] = &[
    (
        "C16 nominated fields",
        &[
            ("Connection", "close, X-Foo"),
            ("connection", "x-bar"),
            ("X-Foo", "1"),
            ("X-Bar", "2"),
            ("A", "3"),
        ],
        &[("A", "3")],
    ),
    (
        "C16 nominated twice, empty members",
        &[("Connection", " ,x-foo,, X-FOO ,"), ("X-Foo", "1"), ("X-Foo", "2")],
        &[],
    ),
    (
        "C16 an option that is no field name",
        &[("Connection", "a b, \u{e9}, close"), ("A", "1")],
        &[("A", "1")],
    ),
    (
        "C17 without being listed",
        &[
            ("Proxy-Connection", "keep-alive"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "gzip"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("Host", "a.test"),
        ],
        &[("Host", "a.test")],
    ),
    (
        "C19 end-to-end fields stay",
        &[
            (
                "Connection",
                "Host, Content-Length, Via, X-Forwarded-For, Authorization, Cache-Control, Cookie, Forwarded",
            ),
            ("Host", "a.test"),
            ("Content-Length", "5"),
            ("Via", "1.1 a"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("Authorization", "Basic x"),
            ("Cache-Control", "no-store"),
            ("Cookie", "a=b"),
            ("Forwarded", "for=x"),
        ],
        &[
            ("Host", "a.test"),
            ("Content-Length", "5"),
            ("Via", "1.1 a"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("Authorization", "Basic x"),
            ("Cache-Control", "no-store"),
            ("Cookie", "a=b"),
            ("Forwarded", "for=x"),
        ],
    ),
    (
        "C19 framing stays",
        &[("Connection", "Transfer-Encoding"), ("Transfer-Encoding", "chunked")],
        &[("Transfer-Encoding", "chunked")],
    ),
    (
        "C20 credentials for the proxy",
        &[("Proxy-Authorization", "Basic x"), ("Authorization", "Basic y")],
        &[("Authorization", "Basic y")],
    ),
    (
        "C21 challenges of the origin",
        &[
            ("WWW-Authenticate", "Basic realm=a"),
            ("WWW-Authenticate", "Digest realm=b"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "x"),
        ],
        &[("WWW-Authenticate", "Basic realm=a"), ("WWW-Authenticate", "Digest realm=b")],
    ),
    (
        "C22 unknown fields, repeated ones, bytes",
        &[
            ("X-Unknown", "\u{e9}"),
            ("A", "1"),
            ("B", "2"),
            ("A", "3"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
        ],
        &[
            ("X-Unknown", "\u{e9}"),
            ("A", "1"),
            ("B", "2"),
            ("A", "3"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
        ],
    ),
    (
        "C31 never both lengths",
        &[("Content-Length", "5"), ("Transfer-Encoding", "Chunked")],
        &[("Transfer-Encoding", "chunked")],
    ),
    ("C34 one length", &[("Content-Length", "5, 5"), ("Content-Length", "5")], &[("Content-Length", "5")]),
    (
        "C69 status of other proxies",
        &[("Proxy-Status", "cdn"), ("Connection", "Proxy-Status")],
        &[("Proxy-Status", "cdn")],
    ),
];

#[test]
fn both_ways() {
    for (row, received, left) in BOTH_WAYS {
        let mut request = fields(received);
        strip_request(&mut request);
        assert_fields(row, &request, left);
        let mut response = fields(received);
        strip_response(&mut response);
        assert_fields(row, &response, left);
    }
}

#[test]
fn repeated_fields_keep_their_order_c22() {
    let mut headers = fields(&[("A", "1"), ("Connection", "x"), ("B", "2"), ("A", "3"), ("X", "1")]);
    strip_request(&mut headers);
    let found: Vec<_> = headers.get_all("a").iter().collect();
    assert_eq!(found, ["1", "3"]);
}

#[test]
fn te_trailers_travels_with_its_option_c18() {
    for te in ["trailers", "gzip, Trailers", "deflate;q=0.5,trailers"] {
        let mut headers = fields(&[("TE", te), ("Connection", "TE, close")]);
        strip_request(&mut headers);
        assert_fields("C18", &headers, &[("TE", "trailers"), ("Connection", "TE")]);
    }
    let mut response = fields(&[("TE", "trailers")]);
    strip_response(&mut response);
    assert_fields("C18 only in requests", &response, &[]);
}

#[test]
fn trailers_lose_what_may_not_be_there_c44() {
    let mut trailers = fields(&[
        ("X-Sum", "1"),
        ("Content-Length", "3"),
        ("Via", "z"),
        ("X-Foo", "2"),
        ("X-Forwarded-For", "1"),
        ("Host", "h"),
    ]);
    let nominated = strip_response(&mut fields(&[("Connection", "x-foo")]));
    strip_trailers(&mut trailers, &nominated);
    assert_fields("C44, C16", &trailers, &[("X-Sum", "1")]);
}

#[test]
fn too_many_nominations_distrust_all_trailers() {
    let options: Vec<_> = (0..100).map(|i| format!("x-{i}")).collect();
    let nominated = strip_request(&mut fields(&[("Connection", &options.join(","))]));
    assert!(nominated.names(&HeaderName::from_static("x-99")));
    assert!(!Nominated::default().names(&HeaderName::from_static("x-99")));
}

#[test]
fn upgrade_is_seen_and_restored_c51_c53() {
    let cases: &[(&str, Version, Lines, Option<&str>)] = &[
        ("C51", Version::HTTP_11, &[("Connection", "Upgrade"), ("Upgrade", "websocket")], Some("websocket")),
        (
            "C51 among others",
            Version::HTTP_11,
            &[("Connection", "keep-alive"), ("Connection", "x, UPGRADE"), ("Upgrade", "WebSocket")],
            Some("WebSocket"),
        ),
        ("C53 in 1.0", Version::HTTP_10, &[("Connection", "Upgrade"), ("Upgrade", "websocket")], None),
        ("C53 h2c", Version::HTTP_11, &[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")], None),
        (
            "C53 h2c in a list",
            Version::HTTP_11,
            &[("Connection", "upgrade"), ("Upgrade", "h2c, websocket")],
            Some("websocket"),
        ),
        (
            "C53 h2c on a second line",
            Version::HTTP_11,
            &[("Connection", "upgrade"), ("Upgrade", "websocket"), ("Upgrade", "H2C")],
            Some("websocket"),
        ),
        ("C53 by version", Version::HTTP_11, &[("Connection", "upgrade"), ("Upgrade", "http/2.0")], None),
        ("not nominated", Version::HTTP_11, &[("Upgrade", "websocket")], None),
        ("empty", Version::HTTP_11, &[("Connection", "upgrade"), ("Upgrade", " , ")], None),
    ];
    for (row, version, received, expected) in cases {
        let mut headers = fields(received);
        let upgrade = upgrade_of(*version, &headers);
        assert_eq!(upgrade.as_ref().map(|upgrade| upgrade.value().to_str().unwrap()), *expected, "{row}");
        strip_request(&mut headers);
        if let (Some(upgrade), Some(expected)) = (upgrade, expected) {
            restore_upgrade(&mut headers, upgrade);
            assert_fields(row, &headers, &[("Connection", "upgrade"), ("Upgrade", expected)]);
        }
    }
}

#[test]
fn an_answer_must_be_what_was_asked_for_c52() {
    let headers = fields(&[("Connection", "Upgrade"), ("Upgrade", "foo/2, websocket")]);
    let upgrade = upgrade_of(Version::HTTP_11, &headers).unwrap();
    assert!(upgrade.offers(&HeaderValue::from_static("WebSocket")));
    for other in ["h2c", "", "foo", "websocket, foo/2"] {
        assert!(!upgrade.offers(&HeaderValue::from_str(other).unwrap()), "C52 {other}");
    }
}
