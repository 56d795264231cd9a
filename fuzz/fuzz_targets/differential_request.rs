//! What is let through from a client, read a second time: llhttp finds the same requests in the same bytes.
//!
//! The bytes of a connection are cut into messages as [`server::front`](rust_forward_proxy::server) does it, and each that is
//! accepted is given to llhttp together with all that follows it. Where llhttp is stricter than RFC 9112, or follows another
//! rule, the difference is an [`Exception`], found in the bytes and not in what llhttp says of them.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
#[path = "../chunks.rs"]
mod chunks;

use http::{Method, Version};
use llhttp::{Kind, Message, Reading};
use rust_forward_proxy::message::{
    framing::{ChunkLimits, ChunkScan, Framing},
    head::{HeadFacts, HeadLimits, check_request_head, find_end},
};

/// Why llhttp may refuse what passes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exception {
    /// See [`crate::chunks`].
    Chunks(crate::chunks::Exception),
    /// An empty member in the list of `Transfer-Encoding`, which a recipient has to ignore (RFC 9110 section 5.6.1.2). The
    /// next hop gets `chunked` and nothing else.
    EmptyListMember,
    /// HTAB beside a member of that list: white space (RFC 9110 section 5.6.3), but llhttp takes it for a part of the name.
    TabInList,
}

/// Bytes = what a client sends on one connection.
pub fn run(bytes: &[u8]) {
    let limits = HeadLimits { max_bytes: 65_536, max_headers: 100 };
    let mut rest = bytes;
    while let Some(end) = find_end(rest, 0) {
        let Ok(facts) = check_request_head(&rest[..end], limits) else { return };
        let body = follow(facts.framing, &rest[end..]);
        let shown = with_known_method(rest, &facts);
        let reading = llhttp::read(Kind::Request, &shown);
        match (body, reading) {
            (Body::Malformed, _) => return,
            (Body::Complete { length, content }, Reading::Complete(read)) => {
                compare_heads(&rest[..end], &facts, &read);
                let (left, unread) = (rest.len() - end - length, shown.len() - read.length);
                assert_eq!(unread, left, "where the next message begins");
                if let Some(content) = content {
                    assert_eq!(read.body, content, "the content");
                }
                // HTTP/1.0 is never kept alive here (RFC 9112 section C.2.2).
                if facts.version == Version::HTTP_11
                    && exception(&facts, &rest[..end], &rest[end..]).is_none()
                {
                    assert_eq!(read.keep_alive, facts.keep_alive, "whether another message may follow");
                }
                if !facts.keep_alive || facts.method == Method::CONNECT {
                    return;
                }
                rest = &rest[end + length..];
            }
            (Body::Incomplete, Reading::Open { so_far, ends_with_connection }) => {
                compare_heads(&rest[..end], &facts, &so_far);
                assert!(
                    !ends_with_connection,
                    "the end of a connection completes no request (RFC 9112 section 8)"
                );
                return;
            }
            (body, Reading::Refused { reason, at }) => {
                let exception = exception(&facts, &rest[..end], &rest[end..]);
                assert!(exception.is_some(), "{body:?}, but llhttp refuses at byte {at}: {reason}");
                return;
            }
            (body, reading) => panic!("{body:?}, but llhttp: {reading:?}"),
        }
    }
}

/// What [`Framing`] makes of the bytes behind a head.
#[derive(Debug)]
enum Body {
    Complete {
        length: usize,
        /// Of a body that is not chunked.
        content: Option<Vec<u8>>,
    },
    Incomplete,
    Malformed,
}

fn follow(framing: Framing, behind: &[u8]) -> Body {
    match framing {
        Framing::None => Body::Complete { length: 0, content: Some(Vec::new()) },
        Framing::Length(length) => match usize::try_from(length).ok().and_then(|length| behind.get(..length))
        {
            Some(content) => Body::Complete { length: content.len(), content: Some(content.to_vec()) },
            None => Body::Incomplete,
        },
        Framing::Chunked => match ChunkScan::new(ChunkLimits::default()).feed(behind) {
            Ok(fed) if fed.done => Body::Complete { length: fed.consumed, content: None },
            Ok(_) => Body::Incomplete,
            Err(_) => Body::Malformed,
        },
    }
}

/// llhttp has a closed list of methods, where RFC 9110 section 9.1 has tokens (C15): it gets one that it knows.
fn with_known_method<'a>(message: &'a [u8], facts: &HeadFacts<'_>) -> std::borrow::Cow<'a, [u8]> {
    let method = facts.method.as_str().as_bytes();
    if llhttp::knows_method(method) {
        return message.into();
    }
    let start = facts.raw_target.start - 1 - method.len();
    [&message[..start], STAND_IN, &message[facts.raw_target.start - 1..]].concat().into()
}

const STAND_IN: &[u8] = b"MKACTIVITY";

fn compare_heads(head: &[u8], facts: &HeadFacts<'_>, read: &Message) {
    let method = facts.method.as_str().as_bytes();
    assert!(read.method == method || (read.method == STAND_IN && !llhttp::knows_method(method)));
    assert_eq!(read.target, &head[facts.raw_target.clone()], "the target");
    let version = if facts.version == Version::HTTP_10 { (1, 0) } else { (1, 1) };
    assert_eq!(read.version, version);
    let mut slots = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut slots);
    assert!(parsed.parse(head).is_ok_and(|parsed| parsed.is_complete()));
    let ours: Vec<_> =
        parsed.headers.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect();
    // White space behind a value is not part of it (RFC 9112 section 5.1); llhttp leaves it to its user to take it away.
    let theirs: Vec<_> =
        read.fields.iter().map(|(name, value)| (name.clone(), value.trim_ascii_end().to_vec())).collect();
    assert_eq!(theirs, ours, "the fields");
    let found: Vec<_> =
        facts.fields.of(head).map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
    assert_eq!(found, ours);
    let framing = match facts.framing {
        // CONNECT may say that it has no content.
        Framing::None if facts.method == Method::CONNECT && read.framing == llhttp::Framing::Length(0) => {
            read.framing
        }
        Framing::None => llhttp::Framing::Unsaid,
        Framing::Length(length) => llhttp::Framing::Length(length),
        Framing::Chunked => llhttp::Framing::Chunked,
    };
    assert_eq!(read.framing, framing);
}

fn exception(facts: &HeadFacts<'_>, head: &[u8], behind: &[u8]) -> Option<Exception> {
    if facts.framing != Framing::Chunked {
        return None;
    }
    if let Some(exception) = coding_exception(head) {
        return Some(exception);
    }
    crate::chunks::exception(behind).map(Exception::Chunks)
}

fn coding_exception(head: &[u8]) -> Option<Exception> {
    let mut exceptions = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = line[..colon].eq_ignore_ascii_case(b"transfer-encoding").then(|| &line[colon + 1..])?;
        if value.contains(&b'\t') {
            return Some(Exception::TabInList);
        }
        let mut members = value.split(|byte| *byte == b',');
        members.any(|member| member.trim_ascii().is_empty()).then_some(Exception::EmptyListMember)
    });
    exceptions.next()
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
