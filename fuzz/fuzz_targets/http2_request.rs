//! The head that is written for a request of HTTP/2: one head, whose end is where it ends, with the method, the target and the fields
//! that came, and a body that ends where that of the stream does.
#![cfg_attr(fuzzing, no_main)]

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri};
use rust_forward_proxy::{
    message::{
        framing::Framing,
        head::{HeadLimits, check_request_head, find_end},
        target::Target,
    },
    server::http2::request::{Content, write},
};

/// First byte = whether anything comes behind the head; then lines: `:method`, `:scheme`, `:authority` and `:path`, each of which may be
/// empty, `:protocol` likewise, and fields as `name: value`.
pub fn run(bytes: &[u8]) {
    let [first, bytes @ ..] = bytes else { return };
    let is_whole = first & 1 == 1;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let [method, scheme, authority, path, protocol] =
        std::array::from_fn(|_| lines.next().unwrap_or_default());
    let Some(uri) = uri(scheme, authority, path) else { return };
    let Ok(method) = Method::from_bytes(method) else { return };
    let mut fields = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) =
            (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or_else(|| &line[colon + 1..]));
        let (Ok(name), Ok(value)) = (HeaderName::from_lowercase(name), HeaderValue::from_bytes(value)) else {
            return;
        };
        // The reader of frames refuses these.
        if ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
            .contains(&name.as_str())
            || (name == header::TE && value != "trailers")
        {
            return;
        }
        fields.append(name, value);
    }
    let Ok(protocol) = std::str::from_utf8(protocol) else { return };
    let protocol = Some(protocol).filter(|protocol| !protocol.is_empty() && method == Method::CONNECT);
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri, parts.headers) = (method, uri, fields);
    let Ok(written) = write(&parts, protocol, is_whole) else { return };
    let head = &written.head[..];
    assert_eq!(find_end(head, 0), Some(head.len()), "one head and nothing else: {}", head.escape_ascii());
    assert_eq!(written.key.is_some(), protocol.is_some());
    let limits = HeadLimits { max_bytes: 1 << 20, max_headers: 1 << 16 };
    // What is wrong in any version is found by who reads it.
    let Ok(facts) = check_request_head(head, limits) else { return };
    let method = if protocol.is_some() { &Method::GET } else { &parts.method };
    assert_eq!(&facts.method, method);
    match (&facts.target, method == Method::CONNECT) {
        (Target::Authority(_), true) | (Target::Absolute { .. } | Target::Origin(_), false) => {}
        (Target::Asterisk, false) => assert_eq!(method, Method::OPTIONS),
        (target, _) => panic!("{target:?} of {}", head.escape_ascii()),
    }
    let length = parts.headers.get(header::CONTENT_LENGTH);
    match facts.framing {
        Framing::Chunked => assert!(written.content == Content::Chunked && !is_whole && length.is_none()),
        Framing::Length(_) => assert!(written.content == Content::Plain && length.is_some()),
        Framing::None => assert!(written.content == Content::Plain),
    }
    compare(head, &parts.headers, protocol.is_some());
}

/// `:scheme`, `:authority` and `:path` as the reader of frames puts them together.
fn uri(scheme: &[u8], authority: &[u8], path: &[u8]) -> Option<Uri> {
    let mut parts = uri::Parts::default();
    if !scheme.is_empty() {
        parts.scheme = Some(scheme.try_into().ok()?);
    }
    if !authority.is_empty() {
        parts.authority = Some(authority.try_into().ok()?);
    }
    if !path.is_empty() {
        parts.path_and_query = Some(path.try_into().ok()?);
    }
    Uri::from_parts(parts).ok()
}

/// The lines behind the first are the fields that came, in their order among those of one name, and those that are made here.
fn compare(head: &[u8], fields: &HeaderMap, is_websocket: bool) {
    let mut found = HeaderMap::new();
    let lines = head.split(|byte| *byte == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap());
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.windows(2).position(|pair| pair == b": ").unwrap();
        let name = HeaderName::from_lowercase(&line[..colon]).unwrap();
        found.append(name, HeaderValue::from_bytes(&line[colon + 2..]).unwrap());
    }
    assert_eq!(found.get_all(header::HOST).iter().count(), 1, "C1");
    let crumbs: Vec<_> = fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let cookies: Vec<_> = found.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(cookies.concat(), crumbs.join(&b"; "[..]), "C76");
    assert!(cookies.len() <= 1, "C76");
    for name in fields.keys().chain(found.keys()) {
        let ours = match name {
            &header::HOST | &header::COOKIE => true,
            &header::TRANSFER_ENCODING => !fields.contains_key(name),
            &header::CONNECTION | &header::UPGRADE | &header::SEC_WEBSOCKET_KEY => is_websocket,
            _ => false,
        };
        let (came, went) = (fields.get_all(name), found.get_all(name));
        assert!(ours || came.iter().eq(went.iter()), "{name}: {}", head.escape_ascii());
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
