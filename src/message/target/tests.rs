//! Rows of the protocol checklist that are decisions about the request-target.

use super::*;

fn parse<'a>(method: &str, raw: &'a str) -> Result<Target<'a>, TargetError> {
    Target::parse(&Method::from_bytes(method.as_bytes()).unwrap(), raw.as_bytes())
}

/// The authority and what the next hop gets.
#[track_caller]
fn absolute(method: &str, raw: &str) -> (Scheme, String, String) {
    match parse(method, raw) {
        Ok(Target::Absolute { scheme, authority, path_and_query }) => {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            (scheme, authority.to_string(), {
                let path = Bytes::copy_from_slice(path_and_query.as_bytes());
                String::from_utf8(origin_form(&method, path).to_vec()).unwrap()
            })
        }
        other => panic!("{method} {raw}: {other:?}"),
    }
}

#[test]
fn absolute_forms() {
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        ("C1", "GET", "http://a.test:8081/x?y", "a.test:8081", "/x?y"),
        ("C2", "GET", "http://a.test?q=1", "a.test:80", "/?q=1"),
        ("C2", "GET", "http://a.test", "a.test:80", "/"),
        ("C3", "OPTIONS", "http://a.test", "a.test:80", "*"),
        ("C3", "OPTIONS", "http://a.test/", "a.test:80", "/"),
        ("C3", "OPTIONS", "http://a.test?q", "a.test:80", "/?q"),
        (
            "C7",
            "GET",
            "http://a.test/%7Ea/../b//c;d?x=%2F+%20&y=a|b^c{}",
            "a.test:80",
            "/%7Ea/../b//c;d?x=%2F+%20&y=a|b^c{}",
        ),
        ("C7", "GET", "http://a.test//b?://@:/", "a.test:80", "//b?://@:/"),
        ("C9", "GET", "http://a.test:/", "a.test:80", "/"),
        ("C10", "GET", "http://a.test./", "a.test.:80", "/"),
        ("C15", "FOO", "http://a.test/", "a.test:80", "/"),
        ("C15", "get", "http://a.test/", "a.test:80", "/"),
        ("C15 connect in lower case is another method", "connect", "http://a.test/", "a.test:80", "/"),
        ("scheme's case", "GET", "HTTP://A.Test/X", "a.test:80", "/X"),
        ("IPv6", "GET", "http://[2001:DB8::1]:8080/", "[2001:db8::1]:8080", "/"),
    ];
    for (row, method, raw, authority, target) in cases {
        assert_eq!(
            absolute(method, raw),
            (Scheme::Http, (*authority).to_owned(), (*target).to_owned()),
            "{row}"
        );
    }
    let https = absolute("GET", "https://a.test/");
    assert_eq!(https, (Scheme::Https, "a.test:443".to_owned(), "/".to_owned()), "C13");
}

#[test]
fn other_forms() {
    assert_eq!(parse("GET", "/x?y"), Ok(Target::Origin("/x?y")), "C12");
    assert_eq!(parse("GET", "//a.test/x"), Ok(Target::Origin("//a.test/x")), "C12");
    assert_eq!(parse("OPTIONS", "*"), Ok(Target::Asterisk), "C3");
    for (raw, expected) in
        [("a.test:443", "a.test:443"), ("[::1]:443", "[::1]:443"), ("192.0.2.1:8443", "192.0.2.1:8443")]
    {
        let Ok(Target::Authority(authority)) = parse("CONNECT", raw) else { panic!("C60 {raw}") };
        assert_eq!(authority.to_string(), expected, "C60");
    }
}

#[test]
fn refused() {
    let cases: &[(&str, &str, &str)] = &[
        ("C5", "GET", "http:///x"),
        ("C5", "GET", "http://:80/x"),
        ("C5", "GET", "http://"),
        ("C5", "GET", "http://?x"),
        ("C5", "CONNECT", ":443"),
        ("C6", "GET", "http://user:pw@a.test/"),
        ("C6", "GET", "http://@a.test/"),
        ("C9", "GET", "http://a.test:99999/"),
        ("C9", "GET", "http://a.test:x/"),
        ("C9", "GET", "http://a.test:0/"),
        ("C9", "GET", "http://a.test:+80/"),
        ("C9", "GET", "http://a.test:80:80/"),
        ("C9", "GET", "http://::1/"),
        ("C13", "GET", "ftp://a.test/"),
        ("C13", "GET", "file:///etc/passwd"),
        ("C59", "CONNECT", "a.test"),
        ("C59", "CONNECT", "a.test:"),
        ("C59", "CONNECT", "a.test:0"),
        ("C59", "CONNECT", "a.test:99999"),
        ("C59", "CONNECT", "a.test:x"),
        ("C59", "CONNECT", "http://a.test:443"),
        ("C59", "CONNECT", "/"),
        ("C59", "CONNECT", "*"),
        ("C59", "CONNECT", "u@a.test:443"),
        ("C59", "CONNECT", "a.test:443/x"),
        ("C59", "CONNECT", "a.test:443?x"),
        ("C59", "CONNECT", "::1:443"),
        ("asterisk", "GET", "*"),
        ("asterisk", "OPTIONS", "**"),
        ("empty", "GET", ""),
        ("fragment", "GET", "http://a.test/#x"),
        ("fragment", "GET", "/x#y"),
        ("authority-form", "GET", "a.test:80"),
        ("no form", "GET", "a.test/x"),
        ("no form", "GET", "mailto:a"),
        ("no form", "GET", "://a.test/"),
        ("no form", "GET", "1http://a.test/"),
        ("backslash", "GET", "http://a.test\\@b.test/"),
    ];
    for (row, method, raw) in cases {
        let error = parse(method, raw).expect_err(&format!("{row} {method} {raw}"));
        let expected = if matches!(error, TargetError::Scheme(_)) { 501 } else { 400 };
        assert_eq!(error.status().as_u16(), expected, "{row} {raw}");
        assert!(!error.to_string().contains("pw"), "C6: credentials are not repeated");
    }
    assert_eq!(parse("GET", "ftp://a.test/"), Err(TargetError::Scheme("ftp".to_owned())), "C13");
    assert_eq!(parse("GET", "http://user:pw@a.test/"), Err(TargetError::UserInformation), "C6");
}

#[test]
fn bytes_that_are_no_uri_bytes_are_refused_c8() {
    let refused = (0..=b' ').chain([b'"', b'<', b'>', b'`', 0x7f]).chain(0x80..=0xff);
    for byte in refused {
        for around in [["/a", "b"], ["http://a.test/a", "b"], ["http://a.test/?", ""], ["http://a", "b/"]] {
            let raw = [around[0].as_bytes(), &[byte], around[1].as_bytes()].concat();
            assert_eq!(Target::parse(&Method::GET, &raw), Err(TargetError::BadByte(byte)), "C8");
        }
    }
}

#[test]
fn what_passes_here_is_a_uri_to_others() {
    for byte in 0..=u8::MAX {
        for around in
            [["/a", "b"], ["/?", "b"], ["http://a.test/", ""], ["http://a.test?", ""], ["http://a", "b/"]]
        {
            let raw = [around[0].as_bytes(), &[byte], around[1].as_bytes()].concat();
            if Target::parse(&Method::GET, &raw).is_ok() {
                let uri = http::Uri::try_from(raw.as_slice());
                assert!(uri.is_ok(), "{:?}: {uri:?}", String::from_utf8_lossy(&raw));
            }
        }
    }
    for raw in ["http://a.test:/", "http://a.test.", "http://[::1]?x", "http://a_b/", "HTTPS://a"] {
        assert!(parse("GET", raw).is_ok() && raw.parse::<http::Uri>().is_ok(), "{raw}");
    }
}
