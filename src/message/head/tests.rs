//! Rows of the protocol checklist that are decisions about a request head as a whole.

use super::*;

const LIMITS: HeadLimits = HeadLimits { max_bytes: 65_536, max_headers: 100 };

fn check(head: &str) -> Result<HeadFacts<'_>, HeadError> {
    check_bytes(head.as_bytes())
}

fn check_bytes(head: &[u8]) -> Result<HeadFacts<'_>, HeadError> {
    let end = find_end(head, 0).expect("the head has an end");
    assert_eq!(end, head.len(), "the end is where it should be");
    check_request_head(head, LIMITS)
}

/// With a good `Host`.
fn check_lines(lines: &str) -> Result<(), HeadError> {
    check(&format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n")).map(|_| ())
}

#[test]
fn a_good_head_is_understood() {
    let head = "POST http://a.test:8081/x?y HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 5\r\n\
        Expect: 100-Continue\r\nConnection: x, Keep-Alive\r\n\r\n";
    let facts = check(head).unwrap();
    assert_eq!(facts.method, Method::POST);
    assert_eq!(&head[facts.raw_target.clone()], "http://a.test:8081/x?y");
    assert!(matches!(facts.target, Target::Absolute { path_and_query: "/x?y", .. }), "C1");
    assert_eq!((facts.version, facts.framing), (Version::HTTP_11, Framing::Length(5)));
    assert!(facts.keep_alive && facts.expects_continue && facts.fields.len() == 4);
}

#[test]
fn keep_alive_and_expect() {
    let keeps = |head: &str| check(head).unwrap().keep_alive;
    assert!(
        !keeps(
            "GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\nProxy-Connection: keep-alive\r\n\r\n"
        ),
        "C47"
    );
    assert!(
        !keeps("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: y, CLOSE\r\n\r\n"),
        "C57"
    );
    assert!(keeps("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nConnection: disclose\r\n\r\n"));
    let expects = |head: &str| check(head).unwrap().expects_continue;
    assert!(
        !expects("POST http://a.test/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
        "C50"
    );
    assert!(!expects("POST http://a.test/ HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"), "C49");
}

#[test]
fn an_empty_line_in_front_is_passed_over_c42() {
    let head = "\r\nGET http://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(&head[check(head).unwrap().raw_target], "http://a.test/", "C42");
    let many = "\r\n".repeat(3) + head;
    assert_eq!(check(&many), Err(HeadError::BlankLines), "C42");
    assert_eq!(check_partial_head(b"\r\n\r\n\r\n", LIMITS), Err(HeadError::BlankLines));
    for good in ["", "\r", "\r\n", "\r\n\r", "\r\nG"] {
        assert_eq!(
            (check_partial_head(good.as_bytes(), LIMITS), find_end(good.as_bytes(), 0)),
            (Ok(()), None)
        );
    }
}

#[test]
fn the_end_is_found_however_the_bytes_come() {
    let heads = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ];
    for head in heads {
        let bytes = [head.as_bytes(), b"body\r\n\r\n"].concat();
        for step in 1..bytes.len() {
            let (mut scanned, mut found) = (0, None);
            while found.is_none() {
                let arrived = (scanned + step).min(bytes.len());
                found = find_end(&bytes[..arrived], scanned);
                scanned = arrived;
            }
            assert_eq!(found, Some(head.len()), "{head:?} in pieces of {step}");
        }
    }
}

#[test]
fn refused_with_their_status() {
    use FramingError::{
        BadCoding, BadHost, BadLength, CodingInOldVersion, LengthAndCoding, NoHost, RepeatedHost,
        RepeatedLength, UnknownCoding,
    };
    let host = "\r\nHost: a.test\r\n";
    let get = "GET http://a.test/ HTTP/1.1\r\n";
    let post = &format!("POST http://a.test/ HTTP/1.1{host}");
    let cases: &[(&str, String, HeadError)] = &[
        ("C4 no Host", format!("{get}\r\n"), NoHost.into()),
        ("C4 two Hosts", format!("{get}Host: a.test\r\nHost: a.test\r\n\r\n"), RepeatedHost.into()),
        ("C4 bad Host", format!("{get}Host: a b\r\n\r\n"), BadHost.into()),
        ("C4 list", format!("{get}Host: a.test, b.test\r\n\r\n"), BadHost.into()),
        ("C6", format!("GET http://u:p@a.test/ HTTP/1.1{host}\r\n"), TargetError::UserInformation.into()),
        ("C8 quote", format!("GET http://a.test/\" HTTP/1.1{host}\r\n"), TargetError::BadByte(b'"').into()),
        ("C8 UTF-8", format!("GET http://a.test/é HTTP/1.1{host}\r\n"), TargetError::BadByte(0xc3).into()),
        ("C8 space", format!("GET http://a.test/a b HTTP/1.1{host}\r\n"), TargetError::BadByte(b' ').into()),
        ("C8 tab", format!("GET http://a.test/a\tb HTTP/1.1{host}\r\n"), TargetError::BadByte(b'\t').into()),
        (
            "C13",
            format!("GET ftp://a.test/ HTTP/1.1{host}\r\n"),
            TargetError::Scheme("ftp".to_owned()).into(),
        ),
        (
            "C30",
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            LengthAndCoding.into(),
        ),
        (
            "C30",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
            LengthAndCoding.into(),
        ),
        ("C32", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n"), BadCoding.into()),
        ("C32", format!("{post}Transfer-Encoding: gzip\r\n\r\n"), UnknownCoding.into()),
        (
            "C32",
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            BadCoding.into(),
        ),
        ("C32", format!("{post}Transfer-Encoding: \u{b}chunked\r\n\r\n"), HeadError::FieldValue),
        (
            "C33",
            "POST http://a.test/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            CodingInOldVersion.into(),
        ),
        ("C34", format!("{post}Content-Length: +5\r\n\r\n"), BadLength.into()),
        ("C34", format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), RepeatedLength.into()),
        ("C40 CR", format!("{post}A: b\rc\r\n\r\n"), HeadError::FieldValue),
        ("C40 NUL", format!("{post}A: b\0c\r\n\r\n"), HeadError::FieldValue),
        ("C40 obs-fold", format!("{post}A: b\r\n c\r\n\r\n"), HeadError::FieldName),
        ("C41", format!("{get}Host : a.test\r\n\r\n"), HeadError::FieldName),
        ("C42 whitespace line", format!("{get} \r\nHost: a.test\r\n\r\n"), HeadError::FieldName),
        ("C59", format!("CONNECT a.test:443/ HTTP/1.1{host}\r\n"), TargetError::Connect.into()),
        (
            "C65",
            format!("CONNECT a.test:443 HTTP/1.1{host}Content-Length: 5\r\n\r\n"),
            HeadError::ConnectBody,
        ),
        (
            "C65",
            format!("CONNECT a.test:443 HTTP/1.1{host}Transfer-Encoding: chunked\r\n\r\n"),
            HeadError::ConnectBody,
        ),
        ("LF", "GET http://a.test/ HTTP/1.1\nHost: a.test\n\n".to_owned(), HeadError::LineEnd),
        ("LF", format!("{get}Host: a.test\nA: b\r\n\r\n"), HeadError::LineEnd),
        ("LF at the end", format!("{get}Host: a.test\r\n\n"), HeadError::LineEnd),
        ("LF in front", format!("\n{get}Host: a.test\r\n\r\n"), HeadError::LineEnd),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n".to_owned(), HeadError::Version),
        ("HTTP/1.2", format!("GET http://a.test/ HTTP/1.2{host}\r\n"), HeadError::Version),
        ("HTTP/0.9", format!("GET http://a.test/ HTTP/0.9{host}\r\n"), HeadError::Version),
        ("no version", "GET http://a.test/\r\n\r\n".to_owned(), HeadError::RequestLine),
        ("no version's number", format!("GET http://a.test/ HTTP/1{host}\r\n"), HeadError::RequestLine),
        ("space behind", format!("GET http://a.test/ HTTP/1.1 {host}\r\n"), HeadError::LineEnd),
        ("lower case", format!("GET http://a.test/ http/1.1{host}\r\n"), HeadError::RequestLine),
        ("no target", format!("GET  HTTP/1.1{host}\r\n"), HeadError::RequestLine),
        ("one word", "GET\r\n\r\n".to_owned(), HeadError::RequestLine),
        ("method", format!("G(T http://a.test/ HTTP/1.1{host}\r\n"), HeadError::Method),
        ("space in front", format!(" {get}Host: a.test\r\n\r\n"), HeadError::RequestLine),
    ];
    for (row, head, error) in cases {
        assert_eq!(check(head), Err(error.clone()), "{row}");
        let expected = match error {
            HeadError::Version => 505,
            HeadError::Target(TargetError::Scheme(_)) | HeadError::Framing(UnknownCoding) => 501,
            _ => 400,
        };
        assert_eq!(error.status().as_u16(), expected, "{row}");
    }
}

#[test]
fn other_protocols_are_told_so() {
    let early = |bytes: &[u8]| check_partial_head(bytes, LIMITS);
    assert_eq!(early(b"\x16\x03\x01\x02\x00"), Err(HeadError::Tls));
    assert_eq!(early(b"\x05\x01\x00"), Err(HeadError::Socks));
    assert_eq!(early(b"\x04\x01\x00\x50"), Err(HeadError::Socks));
    assert_eq!(early(b"\x00\x00"), Err(HeadError::NotHttp));
    assert_eq!(early(b"\xff"), Err(HeadError::NotHttp));
    assert!(!HeadError::Tls.speaks_http() && HeadError::NotHttp.speaks_http());
}

#[test]
fn limits_c14() {
    let target = "a".repeat(70_000);
    let head = format!("GET http://a.test/{target} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(check(&head).unwrap_err().status(), 414, "C14");
    assert_eq!(check_partial_head(&head.as_bytes()[..65_537], LIMITS), Err(HeadError::TargetTooLong), "C14");
    let wide = HeadLimits { max_bytes: 1 << 20, max_headers: 1000 };
    assert_eq!(
        check_request_head(head.as_bytes(), wide),
        Err(HeadError::TargetTooLong),
        "C14: the longest that most software takes"
    );
    let filler = "b".repeat(70_000);
    let head = format!("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nA: {filler}\r\n\r\n");
    assert_eq!(check(&head).unwrap_err().status(), 431, "C14");
    assert_eq!(check_partial_head(&head.as_bytes()[..65_537], LIMITS), Err(HeadError::TooLarge), "C14");
    assert_eq!(check_partial_head(&head.as_bytes()[..65_536], LIMITS), Ok(()));
    let lines = |count: usize| "A: b\r\n".repeat(count);
    assert_eq!(check_lines(&lines(99)), Ok(()));
    assert_eq!(check_lines(&lines(100)), Err(HeadError::TooManyHeaders), "C71: 101 headers");
    assert_eq!(HeadError::TooManyHeaders.status(), 431, "C71");
    let head = format!("GET http://a.test/ HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(500));
    assert_eq!(check_request_head(head.as_bytes(), wide).map(|facts| facts.fields.len()), Ok(501));
    let narrow = HeadLimits { max_bytes: 1 << 20, max_headers: 500 };
    assert_eq!(check_request_head(head.as_bytes(), narrow), Err(HeadError::TooManyHeaders));
    let few = HeadLimits { max_bytes: 1 << 20, max_headers: 2 };
    let head = format!("GET http://a.test/ HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(2));
    assert_eq!(check_request_head(head.as_bytes(), few), Err(HeadError::TooManyHeaders));
}

#[test]
fn what_is_not_ours_to_judge_passes() {
    assert_eq!(
        check_lines("X-Unknown: \u{e9}\r\nA: 1\r\nB: 2\r\nA: 3\r\nEmpty:\r\nTabs:\t x\t \r\n"),
        Ok(()),
        "C22"
    );
    let facts = check("FOO http://a.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n").unwrap();
    assert_eq!(facts.method.as_str(), "FOO", "C15");
    assert_eq!(
        check("get http://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().method.as_str(),
        "get",
        "C15"
    );
    let facts = check("CONNECT [::1]:443 HTTP/1.1\r\nHost: other\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(facts.framing, Framing::None, "C60");
    assert!(check_bytes(b"GET http://a.test/ HTTP/1.1\r\nHost: a\r\nX: \xe9\xff\r\n\r\n").is_ok(), "C22");
}

#[test]
fn no_bytes_make_it_panic() {
    // Every byte in every place of a head, and every cut of it: an answer, whatever it is.
    let head = b"\r\nPOST http://a:8/?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    for at in 0..head.len() {
        let _ = check_partial_head(&head[..at], LIMITS);
        for byte in 0..=u8::MAX {
            let mut changed = head.to_vec();
            changed[at] = byte;
            let _ = check_partial_head(&changed, LIMITS);
            if let Some(end) = find_end(&changed, 0) {
                let _ = check_request_head(&changed[..end], HeadLimits { max_bytes: 40, max_headers: 1 });
                if let Ok(facts) = check_request_head(&changed[..end], LIMITS) {
                    assert!(http::Uri::try_from(&changed[facts.raw_target]).is_ok());
                }
            }
        }
    }
}
