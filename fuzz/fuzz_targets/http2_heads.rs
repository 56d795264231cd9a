//! Heads on their way to and from an origin that speaks HTTP/2, without sockets: whatever request passes can be said in its
//! fields, and a response is the one that came, line by line.
#![cfg_attr(fuzzing, no_main)]

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use rust_forward_proxy::message::{
    framing::{Framing, ResponseBody},
    head::{HeadLimits, check_request_head, find_end},
    hop_by_hop::HopByHop,
    http2::{request, response},
    onward::{RequestOnward, write_request},
    response_head::ResponseHead,
    target::{Target, origin_form},
    trace::{ClientAddress, Pseudonym},
};

/// Names that HTTP/2 has no fields for.
const FORBIDDEN: [&str; 7] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// First byte = which of the two, the rest = what a client sends, or a status and lines of an origin.
pub fn run(bytes: &[u8]) {
    match bytes {
        [first, bytes @ ..] if first & 1 == 0 => check_request(bytes),
        [first, bytes @ ..] => check_response(bytes, first & 2 != 0, first & 4 != 0),
        [] => {}
    }
}

fn check_request(bytes: &[u8]) {
    let limits = HeadLimits { max_bytes: 32_768, max_headers: 100 };
    let Some(end) = find_end(bytes, 0) else { return };
    let raw = &bytes[..end];
    let Ok(facts) = check_request_head(raw, limits) else { return };
    let Target::Absolute { authority, path_and_query, .. } = &facts.target else { return };
    let path = origin_form(&facts.method, Bytes::copy_from_slice(path_and_query.as_bytes()));
    let via = Pseudonym::parse("px").expect("a good name");
    let onward = RequestOnward {
        method: facts.method.as_str().as_bytes(),
        target: &path,
        origin: authority,
        default_port: 443,
        received: facts.version,
        framing: facts.framing,
        via: Some(&via),
        client_address: ClientAddress::Forwarded,
        client: [192, 0, 2, 1].into(),
        request_id: None,
        edits: None,
        max_forwards: None,
        keep_case: true,
    };
    let mut out = Vec::new();
    let hop_by_hop = HopByHop::read(facts.fields.of(raw));
    if write_request(&mut out, &onward, &hop_by_hop, facts.fields.of(raw)).is_some() {
        // An upgrade goes over HTTP/1.1.
        return;
    }
    assert!(request::fits(&path));
    let written = Bytes::from(out);
    let Some((request, content)) = request::read(&written) else {
        panic!("no words for {:?}", String::from_utf8_lossy(&written));
    };
    assert_eq!((request.method(), request.version()), (&facts.method, Version::HTTP_2));
    let uri = request.uri();
    assert_eq!(uri.path_and_query().map(|path| path.as_str().as_bytes()), Some(&path[..]));
    assert_eq!(uri.host(), Some(&*authority.host.to_string()), "{uri}");
    assert!(uri.port_u16().unwrap_or(443) == authority.port && uri.scheme_str() == Some("https"));
    let expected = match facts.framing {
        Framing::None | Framing::Length(0) => request::Content::None,
        Framing::Length(length) => request::Content::Length(length),
        Framing::Chunked => request::Content::Chunked,
    };
    assert_eq!(content, expected);
    assert!(FORBIDDEN.iter().all(|name| !request.headers().contains_key(*name)));
    assert!(request.headers().get_all("te").iter().all(|value| value == "trailers"));
    let lines = written.split(|byte| *byte == b'\n').skip(1).filter(|line| line.len() > 1);
    let names =
        lines.map(|line| line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase());
    let kept =
        names.filter(|name| FORBIDDEN.iter().all(|forbidden| forbidden.as_bytes() != &name[..])).count();
    assert_eq!(request.headers().len(), kept, "a field is lost or made up");
}

fn check_response(bytes: &[u8], is_head: bool, is_whole: bool) {
    let [a, b, lines @ ..] = bytes else { return };
    let Ok(status) = StatusCode::from_u16(u16::from_be_bytes([*a, *b]) % 1000) else { return };
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    let mut came = Response::new(());
    (*came.status_mut(), *came.headers_mut()) = (status, fields);
    let method = if is_head { Method::HEAD } else { Method::GET };
    let mut out = Vec::new();
    let Some(content) = response::write(&mut out, &came, &method, is_whole) else { return };
    assert_eq!(find_end(&out, 0), Some(out.len()), "one head, and nothing behind it");
    let mut lines: Vec<_> = std::iter::repeat_with(MaybeUninit::uninit).take(out.len() / 3).collect();
    let lengths = came.headers().get_all("content-length").iter().collect::<Vec<_>>();
    let Ok(head) = ResponseHead::read(&out, &method, &mut lines) else {
        // Lengths that differ are refused by the reader of frames already.
        assert!(lengths.len() > 1 || lengths.iter().any(|length| length.len() > 18), "{came:?}");
        return;
    };
    assert_eq!((head.status, head.version), (status, Version::HTTP_11));
    let expected = match (content, head.framing.body) {
        (response::Content::Chunked, ResponseBody::Chunked) => 1,
        (response::Content::Plain(0), ResponseBody::None) => 0,
        (response::Content::Plain(length), ResponseBody::Length(read)) if length == read => {
            usize::from(lengths.is_empty())
        }
        (content, read) => panic!("{content:?} is taken for {read:?}"),
    };
    let seen: Vec<_> = head.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
    assert_eq!(seen.len(), came.headers().len() + expected);
    for (name, value) in came.headers() {
        let is_there =
            |(seen, with): &(Vec<u8>, Vec<u8>)| seen == name.as_str().as_bytes() && with == value.as_bytes();
        assert!(seen.iter().any(is_there), "{name}");
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
