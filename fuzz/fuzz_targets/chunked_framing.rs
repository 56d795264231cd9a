//! Chunked bodies: the walk over the bytes finds the same end as a plain reading of the grammar, however the bytes come.
#![cfg_attr(fuzzing, no_main)]

use rust_forward_proxy::message::{
    body::{Body, TrailerRules},
    framing::{ChunkError, ChunkLimits, ChunkScan, Framing},
};

/// First byte = how the bytes are cut, and whether the limits are tight; the rest = the body and what follows.
pub fn run(bytes: &[u8]) {
    let [first, body @ ..] = bytes else { return };
    let limits = if first & 0x80 == 0 {
        ChunkLimits::default()
    } else {
        ChunkLimits { extension_bytes: 12, trailer_bytes: 24, trailers: 2 }
    };
    let whole = scan(body, body.len().max(1), limits);
    for step in [1, 2, 3, usize::from(first & 0x7f).max(1)] {
        assert_eq!(scan(body, step, limits), whole, "in pieces of {step}");
    }
    if limits == ChunkLimits::default() {
        for step in [1, 3, usize::from(*first).max(1), body.len().max(1)] {
            check_written(body, step, &whole);
        }
    }
    let plain = plain_reading(body, limits);
    match (&whole, &plain) {
        (Ok(seen), Plain::Complete { length, data, trailers }) => {
            assert!(seen.done, "the grammar is at its end");
            assert_eq!((seen.consumed, seen.data, seen.trailers), (*length, *data, *trailers));
            // What is behind the end is nobody's business here.
            let cut = scan(&body[..*length], body.len(), limits);
            assert_eq!(cut.as_ref(), Ok(seen));
        }
        (Ok(seen), Plain::Incomplete) => assert!(!seen.done && seen.consumed == body.len()),
        (Ok(_), Plain::Malformed) => panic!("let through what the grammar does not have"),
        // A fault is seen at its first byte, before the line around it is complete.
        (Err(_), Plain::Malformed | Plain::Incomplete) => {}
        (Err(error), Plain::Complete { .. }) => panic!("refused what is good: {error}"),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    consumed: usize,
    done: bool,
    data: u64,
    trailers: u32,
}

fn scan(body: &[u8], step: usize, limits: ChunkLimits) -> Result<Seen, ChunkError> {
    let mut scan = ChunkScan::new(limits);
    let mut consumed = 0;
    for piece in body.chunks(step) {
        let fed = scan.feed(piece)?;
        assert!(fed.consumed <= piece.len() && fed.done == scan.is_done());
        assert!(fed.done || fed.consumed == piece.len(), "all is taken until the end");
        consumed += fed.consumed;
        if fed.done {
            break;
        }
    }
    if scan.is_done() {
        assert_eq!(scan.feed(b"0\r\n\r\n").map(|fed| fed.consumed), Ok(0), "the end is the end");
    }
    Ok(Seen { consumed, done: scan.is_done(), data: scan.data_bytes(), trailers: scan.trailers() })
}

/// What is sent on: the same end, the same content, and chunks that no reader could take differently.
fn check_written(body: &[u8], step: usize, whole: &Result<Seen, ChunkError>) {
    let rules = TrailerRules { wanted: true, ..TrailerRules::default() };
    let mut passing = Body::of_request(Framing::Chunked, rules);
    let (mut written, mut taken) = (Vec::new(), 0);
    for piece in body.chunks(step) {
        match passing.pass(piece, &mut written) {
            Ok(passed) => taken += passed,
            Err(error) => {
                assert_eq!(Err(&error), whole.as_ref(), "in pieces of {step}");
                break;
            }
        }
        if passing.is_done() {
            break;
        }
    }
    let strict = ChunkLimits { extension_bytes: 0, ..ChunkLimits::default() };
    let sent = scan(&written, written.len().max(1), strict).expect("what is written is well-formed");
    assert_eq!(sent.consumed, written.len(), "nothing is behind the last chunk");
    let Ok(whole) = whole else {
        assert!(!sent.done, "what is malformed looks complete");
        return;
    };
    assert_eq!((sent.done, taken), (whole.done, whole.consumed));
    assert_eq!(sent.data, passing.content());
    if whole.done {
        assert_eq!(sent.data, whole.data);
        assert!(sent.trailers <= whole.trailers);
    }
}

enum Plain {
    Complete { length: usize, data: u64, trailers: u32 },
    Incomplete,
    Malformed,
}

/// RFC 9112 section 7.1 as it is written, over bytes that are all there; extensions are any text, and white space may
/// stand behind a size.
fn plain_reading(body: &[u8], limits: ChunkLimits) -> Plain {
    let (mut at, mut data, mut extensions) = (0, 0_u64, 0);
    loop {
        let Some(line) = line(&body[at..]) else { return Plain::Incomplete };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = &line[digits..];
        extensions += rest.len();
        let extension = &rest[rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()..];
        if digits == 0 || digits > 16 || !is_text(rest) || !matches!(extension, [] | [b';', ..]) {
            return Plain::Malformed;
        }
        if extensions > limits.extension_bytes as usize {
            return Plain::Malformed;
        }
        let text = std::str::from_utf8(&line[..digits]).expect("digits");
        let size = u64::from_str_radix(text, 16).expect("16 digits fit");
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        data = data.saturating_add(size);
        let Some(behind) = usize::try_from(size).ok().and_then(|size| at.checked_add(size)) else {
            return Plain::Incomplete;
        };
        match body.get(behind..) {
            None | Some([] | [b'\r']) => return Plain::Incomplete,
            Some([b'\r', b'\n', ..]) => at = behind + 2,
            Some(_) => return Plain::Malformed,
        }
    }
    let (mut trailers, mut trailer_bytes) = (0, 0);
    loop {
        let Some(line) = line(&body[at..]) else { return Plain::Incomplete };
        at += line.len() + 2;
        if line.is_empty() {
            return Plain::Complete { length: at, data, trailers };
        }
        trailers += 1;
        trailer_bytes += line.len() + 2;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Plain::Malformed };
        let (name, value) = line.split_at(colon);
        let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(is_tchar) || !is_text(value) {
            return Plain::Malformed;
        }
        if trailers > limits.trailers || trailer_bytes > limits.trailer_bytes as usize {
            return Plain::Malformed;
        }
    }
}

/// Up to the first CRLF.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.windows(2).position(|pair| pair == b"\r\n").map(|end| &bytes[..end])
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
