//! Responses and their way to the client, without sockets: the end of a head is found however the bytes come, what is written for
//! the client is one message to llhttp, with the content and the fields that the origin has sent, and the body comes out the
//! same in whatever pieces it goes in.
#![cfg_attr(fuzzing, no_main)]

use std::mem::MaybeUninit;

use http::{Method, Version};
use llhttp::{Kind, Message, Reading};
use rust_forward_proxy::message::{
    body::{Body, Coding, TrailerRules},
    field::Name,
    framing::{ChunkError, ResponseBody},
    head::find_end,
    onward::{ResponseCoding, ResponseOnward, write_response},
    response_head::ResponseHead,
    trace::Pseudonym,
};

/// First byte = whose answer it is and how it is cut, the rest = what an origin sends before it closes.
pub fn run(bytes: &[u8]) {
    let [first, bytes @ ..] = bytes else { return };
    let method = [Method::GET, Method::HEAD][usize::from(first & 1)].clone();
    let client = if first & 2 == 0 { Version::HTTP_11 } else { Version::HTTP_10 };
    let trailers = first & 4 != 0 && client == Version::HTTP_11;
    let step = usize::from(first >> 3) + 1;
    let Some(end) = find_end(bytes, 0) else { return };
    let mut lines = [const { MaybeUninit::uninit() }; 100];
    let Ok(head) = ResponseHead::read(&bytes[..end], &method, &mut lines) else { return };
    check_head(&bytes[..end], &method, &head);
    if head.status.is_informational() {
        return;
    }
    let behind = &bytes[end..];
    let whole = forward(&head, client, trailers, behind, behind.len().max(1));
    let pieces = forward(&head, client, trailers, behind, step);
    // One end, one content, one error, however the bytes come; chunks are cut as they come.
    assert_eq!(pieces.taken, whole.taken, "in pieces of {step}");
    assert_eq!((pieces.is_complete, &pieces.content), (whole.is_complete, &whole.content));
    for sent in [&whole, &pieces] {
        check_sent(sent, &head, &method, client);
    }
}

/// What the client gets.
struct Sent {
    bytes: Vec<u8>,
    /// How much of what the origin has sent belongs to it.
    taken: Result<usize, ChunkError>,
    is_complete: bool,
    content: u64,
}

fn forward(head: &ResponseHead<'_>, client: Version, trailers: bool, behind: &[u8], step: usize) -> Sent {
    let coding = ResponseCoding::of(head.framing.body, client);
    let via = Pseudonym::parse("px").expect("a good name");
    let onward = ResponseOnward {
        body: coding,
        via: Some(&via),
        closes: client == Version::HTTP_10,
        date: || *b"Sun, 06 Nov 1994 08:49:37 GMT",
        keep_case: false,
    };
    let mut bytes = Vec::new();
    write_response(&mut bytes, &onward, head);
    let rules = TrailerRules { wanted: trailers, ..TrailerRules::default() };
    let body_coding = if coding == ResponseCoding::Chunked { Coding::Chunked } else { Coding::Plain };
    let mut body = Body::of_response(head.framing.body, body_coding, rules);
    let mut taken = 0;
    while !body.is_done() && taken < behind.len() {
        let piece = &behind[taken..behind.len().min(taken + step)];
        let passed = match body.plain_bytes() {
            Some(most) => {
                let count = piece.len().min(usize::try_from(most).unwrap_or(usize::MAX));
                bytes.extend_from_slice(&piece[..count]);
                body.sent(count);
                count
            }
            None => match body.pass(piece, &mut bytes) {
                Ok(passed) => passed,
                Err(error) => return Sent { bytes, taken: Err(error), is_complete: false, content: 0 },
            },
        };
        assert!(passed == piece.len() || body.is_done(), "all is taken while it is not done");
        taken += passed;
    }
    let is_complete = body.end(&mut bytes);
    Sent { bytes, taken: Ok(taken), is_complete, content: body.content() }
}

/// What the lines say, by a plain reading of them.
fn check_head(raw: &[u8], method: &Method, head: &ResponseHead<'_>) {
    let code = head.status.as_u16();
    assert!((100..=999).contains(&code));
    let fields: Vec<_> = head.fields().collect();
    assert!(fields.len() <= raw.iter().filter(|byte| **byte == b'\n').count());
    let values = |wanted| fields.iter().filter(move |field| field.known == wanted).map(|field| field.value);
    for field in &fields {
        assert!(!field.name.is_empty() && !field.value.iter().any(|byte| b"\r\n\0".contains(byte)));
        assert_eq!(field.known, Name::of(field.name));
    }
    let has_no_body = head.status.is_informational() || matches!(code, 204 | 304) || *method == Method::HEAD;
    assert_eq!(head.framing.body == ResponseBody::None, has_no_body, "RFC 9112 section 6.3, 1 and 2");
    let (lengths, codings) = (values(Name::ContentLength).count(), values(Name::TransferEncoding).count());
    match head.framing.body {
        ResponseBody::None => {}
        ResponseBody::Length(length) => {
            assert!(lengths > 0 && codings == 0);
            let same =
                |member: &[u8]| std::str::from_utf8(member).is_ok_and(|text| text.parse() == Ok(length));
            for value in values(Name::ContentLength) {
                let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                assert!(members.filter(|member| !member.is_empty()).all(same), "C35");
            }
        }
        ResponseBody::Chunked => {
            assert!(codings == 1 && head.version == Version::HTTP_11);
            assert!(!(lengths > 0 && head.framing.reusable), "C31");
        }
        ResponseBody::UntilClose => assert!(lengths == 0 && codings == 0 && !head.framing.reusable),
    }
    if head.keeps_connection() {
        assert!(head.framing.reusable && !head.hop_by_hop.closes);
    }
}

/// llhttp takes it, and takes it for what it is.
fn check_sent(sent: &Sent, head: &ResponseHead<'_>, method: &Method, client: Version) {
    let kind = if *method == Method::HEAD { Kind::BodilessResponse } else { Kind::Response };
    let read: Message = match llhttp::read(kind, &sent.bytes) {
        Reading::Complete(message) => {
            assert!(sent.is_complete, "a body that is cut looks complete (C36)");
            assert_eq!(message.length, sent.bytes.len(), "bytes behind the message");
            message
        }
        Reading::Open { so_far, ends_with_connection } => {
            let until_close = client == Version::HTTP_10 && ends_with_connection;
            assert!(until_close || !sent.is_complete, "a complete body does not look so");
            assert!(!ends_with_connection || client == Version::HTTP_10);
            so_far
        }
        Reading::Refused { reason, at } => {
            panic!("llhttp refuses at byte {at}: {reason}: {:?}", String::from_utf8_lossy(&sent.bytes))
        }
    };
    assert_eq!((read.status, read.version), (head.status.as_u16(), (1, 1)));
    if sent.is_complete {
        assert_eq!(read.body.len() as u64, sent.content, "the content");
    }
    for name in ["keep-alive", "proxy-connection", "te", "upgrade", "proxy-authenticate", "http2-settings"] {
        assert!(read.fields.iter().all(|(found, _)| !found.eq_ignore_ascii_case(name.as_bytes())), "{name}");
    }
    let count = |name: &str| {
        read.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).count()
    };
    assert!(count("content-length") + count("transfer-encoding") <= 1, "C31");
    assert!(count("via") == 1 && count("date") >= 1);
    if client == Version::HTTP_10 {
        assert_ne!(read.framing, llhttp::Framing::Chunked, "C38");
        assert!(!read.keep_alive, "C47");
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
