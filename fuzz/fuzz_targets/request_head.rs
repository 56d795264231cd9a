//! Request heads: the end is found however the bytes come, and what is accepted keeps every rule of RFC 9112 that says where
//! a message ends and whom it is for.
#![cfg_attr(fuzzing, no_main)]

use http::{Method, Version};
use rust_forward_proxy::message::{
    framing::Framing,
    head::{HeadFacts, HeadLimits, check_partial_head, check_request_head, find_end},
    target::Target,
};

/// First byte = how the bytes are cut, and whether the limits are tight; the rest = what a client sends.
pub fn run(bytes: &[u8]) {
    let [first, bytes @ ..] = bytes else { return };
    let limits = if first & 0x80 == 0 {
        HeadLimits { max_bytes: 65_536, max_headers: 100 }
    } else {
        HeadLimits { max_bytes: 96, max_headers: 3 }
    };
    let end = find_end(bytes, 0);
    for step in [1, 2, 3, usize::from(first & 0x7f).max(1)] {
        assert_eq!(arrive(bytes, step), end, "in pieces of {step}");
    }
    let Some(end) = end else {
        if let Err(error) = check_partial_head(bytes, limits) {
            assert!(matches!(error.status().as_u16(), 400 | 414 | 431), "{error}");
        }
        return;
    };
    let raw = &bytes[..end];
    assert!(raw.ends_with(b"\n\n") || raw.ends_with(b"\n\r\n"));
    match check_request_head(raw, limits) {
        Ok(facts) => {
            for arrived in 0..end {
                assert_eq!(
                    check_partial_head(&raw[..arrived], limits),
                    Ok(()),
                    "refused after {arrived} bytes"
                );
            }
            check_accepted(raw, &facts, limits);
        }
        Err(error) => {
            assert!(matches!(error.status().as_u16(), 400 | 414 | 431 | 501 | 505), "{error}");
            assert!(error.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{error}");
        }
    }
}

/// The end as it is found when `step` bytes more are there each time.
fn arrive(bytes: &[u8], step: usize) -> Option<usize> {
    let (mut arrived, mut scanned) = (0, 0);
    while arrived < bytes.len() {
        arrived = (arrived + step).min(bytes.len());
        let found = find_end(&bytes[..arrived], scanned);
        if found.is_some() {
            return found;
        }
        scanned = arrived;
    }
    None
}

fn check_accepted(raw: &[u8], facts: &HeadFacts<'_>, limits: HeadLimits) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // RFC 9112 section 2.2: lines end in CRLF, and CR stands nowhere else; RFC 9110 section 5.5: no control byte.
    let mut before = 0;
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(before, b'\r', "a bare LF"),
            b'\r' => assert_eq!(raw.get(at + 1), Some(&b'\n'), "a bare CR"),
            0..=8 | 11..=31 | 127 => panic!("a control byte"),
            _ => {}
        }
        before = *byte;
    }
    let head = raw.iter().position(|byte| !b"\r\n".contains(byte)).expect("there is a request line");
    assert!(raw.len() - head <= limits.max_bytes && head <= 4);
    let mut lines =
        raw[head..].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request_line = lines.next().expect("there is a request line");
    let words: Vec<_> = request_line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { panic!("{}", text(request_line)) };
    assert_eq!(method, facts.method.as_str().as_bytes());
    assert_eq!(target, &raw[facts.raw_target.clone()]);
    assert_eq!(Target::parse(&facts.method, target).as_ref(), Ok(&facts.target));
    match version {
        b"HTTP/1.1" => assert_eq!(facts.version, Version::HTTP_11),
        b"HTTP/1.0" => assert_eq!(facts.version, Version::HTTP_10),
        _ => panic!("{}", text(version)),
    }
    let fields: Vec<_> = lines.take_while(|line| !line.is_empty()).map(field).collect();
    let found: Vec<_> = facts.fields.of(raw).map(|field| (field.name, field.value)).collect();
    assert_eq!(found, fields, "the lines are where they are said to be");
    assert!(fields.len() <= limits.max_headers);
    let values = |name: &str| -> Vec<&[u8]> {
        let same = |found: &&(&[u8], &[u8])| found.0.eq_ignore_ascii_case(name.as_bytes());
        fields.iter().filter(same).map(|(_, value)| *value).collect()
    };
    check_framing(facts, &values("content-length"), &values("transfer-encoding"));
    // RFC 9112 section 3.2.
    let hosts = values("host");
    assert!(hosts.len() == 1 || (hosts.is_empty() && facts.version == Version::HTTP_10));
    assert!(hosts.iter().all(|host| !host.iter().any(|byte| b" \t,/@?#".contains(byte))));
    if facts.version == Version::HTTP_10 {
        assert!(!facts.keep_alive && !facts.expects_continue, "C47, C50");
    }
}

/// RFC 9112 section 5.1: a token, a colon right behind it.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    assert!(!name.is_empty() && name.iter().all(is_tchar));
    (name, value)
}

/// RFC 9112 section 6.
fn check_framing(facts: &HeadFacts<'_>, lengths: &[&[u8]], codings: &[&[u8]]) {
    assert!(lengths.is_empty() || codings.is_empty(), "both Content-Length and Transfer-Encoding");
    if facts.method == Method::CONNECT {
        assert!(facts.framing == Framing::None && codings.is_empty(), "C65");
        assert!(lengths.iter().all(|length| length.iter().all(|digit| *digit == b'0')), "C65");
        assert!(matches!(facts.target, Target::Authority(_)));
        return;
    }
    assert!(!matches!(facts.target, Target::Authority(_)));
    match facts.framing {
        Framing::None => assert!(lengths.is_empty() && codings.is_empty()),
        Framing::Length(length) => {
            let [digits] = lengths else { panic!("{} lengths", lengths.len()) };
            assert!(digits.iter().all(u8::is_ascii_digit));
            assert_eq!(std::str::from_utf8(digits).expect("digits").parse(), Ok(length));
            assert!(i64::try_from(length).is_ok());
        }
        Framing::Chunked => {
            assert_eq!(facts.version, Version::HTTP_11, "C33");
            let members =
                codings.iter().flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
            let named: Vec<_> = members.filter(|member| !member.is_empty()).collect();
            assert!(named.len() == 1 && named[0].eq_ignore_ascii_case(b"chunked"), "C32");
        }
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
