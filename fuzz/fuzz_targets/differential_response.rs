//! What reaches the client: the whole proxy on real sockets, and llhttp at both ends of it.
//!
//! The same reader takes the bytes that the origin sends and those that the client gets. What the client takes for a complete
//! answer is one that the origin completed, with its status, its content and its fields; everything else is our own answer, or
//! is seen to be cut. A second request, on the same client connection where that lives, gets its own answer and nothing
//! else; the connection to the origin serves it only if nothing is left over on it. Where llhttp does not take what passes,
//! the difference is an [`Exception`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
#[path = "../chunks.rs"]
mod chunks;
#[cfg(fuzzing)]
#[path = "../stack.rs"]
mod stack;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use llhttp::{Framing, Kind, Message, Reading};

use crate::stack::{Client, Scene, on_stage};

/// Why llhttp may refuse what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exception {
    /// A line of the head or of a chunk that ends in LF alone, which a recipient may take for a line's end (RFC 9112 section 2.2).
    /// What is sent on ends in CRLF.
    BareLf,
    /// White space between a field's name and its colon, which a proxy has to take away (RFC 9112 section 5.1, C41).
    SpaceBeforeColon,
    /// `Transfer-Encoding: chunked` beside `Content-Length`: the former holds, the latter goes (RFC 9112 section 6.3, C31). The
    /// connection does not serve again.
    LengthAndCoding,
    /// Several `Content-Length` that say the same (RFC 9112 section 6.3, C35). One is sent on.
    RepeatedLength,
    /// An empty member in a list, which a recipient has to ignore (RFC 9110 section 5.6.1.2).
    EmptyListMember,
    /// HTAB beside a member of `Transfer-Encoding`: white space (RFC 9110 section 5.6.3), but llhttp takes it for a part of the
    /// name.
    TabInList,
    /// A length that is none in an interim response: it has no content whatever its fields say (RFC 9112 section 6.3, 1), and
    /// they are not sent on.
    InterimLength,
    /// See [`crate::chunks`].
    Chunks(crate::chunks::Exception),
}

/// First byte = which request is answered, the rest = what the origin sends.
pub fn run(bytes: &[u8]) {
    let [first, bytes @ ..] = bytes else { return };
    if bytes.len() > 16 << 10 {
        return;
    }
    let request = Asked { head: first & 1 != 0, http10: first & 2 != 0, trailers: first & 4 != 0 };
    let origin = Origin::new(request, bytes);
    let script = bytes.to_vec();
    let closes = !matches!(origin.last, Reading::Complete(_));
    let play = move |connection: usize, received: &[u8]| match complete_requests(received) {
        (1, true) if connection == 0 => (script.clone(), closes),
        (_, true) => (SECOND.to_vec(), false),
        (_, false) => (Vec::new(), false),
    };
    on_stage(Rc::new(RefCell::new(play)), |scene| perform(request, origin, bytes, scene));
}

const SECOND: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";

/// How many requests are there, and whether the last one is complete.
fn complete_requests(bytes: &[u8]) -> (usize, bool) {
    let (mut count, mut rest) = (0, bytes);
    while let Reading::Complete(message) = llhttp::read(Kind::Request, rest) {
        count += 1;
        rest = &rest[message.length..];
        if rest.is_empty() {
            return (count, true);
        }
    }
    (count, false)
}

#[derive(Clone, Copy)]
struct Asked {
    head: bool,
    http10: bool,
    trailers: bool,
}

impl Asked {
    fn kind(self) -> Kind {
        if self.head { Kind::BodilessResponse } else { Kind::Response }
    }

    fn text(self, scene: &Scene) -> String {
        let method = if self.head { "HEAD" } else { "GET" };
        let version = if self.http10 { "1.0" } else { "1.1" };
        let te = if self.trailers { "TE: trailers\r\n" } else { "" };
        format!("{method} http://{0}/ HTTP/{version}\r\nHost: {0}\r\n{te}\r\n", scene.origin)
    }
}

/// What llhttp says of a stream of responses to one request.
struct Origin {
    interim: Vec<Message>,
    last: Reading,
    /// Where the last one begins.
    start: usize,
}

impl Origin {
    fn new(asked: Asked, bytes: &[u8]) -> Self {
        let mut interim = Vec::new();
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let line = &rest[blank(rest)..];
            // No 1xx has content (RFC 9110 section 15.2); llhttp knows that of 100, 102 and 103 only.
            let is_interim = line.get(8..10) == Some(b" 1") && line.get(8..12) != Some(b" 101");
            let kind = if is_interim { Kind::BodilessResponse } else { asked.kind() };
            match llhttp::read(kind, rest) {
                Reading::Complete(message) if is_interim && matches!(message.status, 100..=199) => {
                    start += message.length;
                    interim.push(message);
                }
                last => return Self { interim, last, start },
            }
        }
    }
}

async fn perform(asked: Asked, origin: Origin, bytes: &[u8], scene: Scene) {
    let mut client = Client::connect(scene.proxy).await;
    client.send(asked.text(&scene).as_bytes(), false).await;
    let is_complete = |bytes: &[u8]| matches!(Origin::new(asked, bytes).last, Reading::Complete(_));
    let in_time = client.read_until(is_complete).await;
    assert!(in_time, "the client waits for ever; it has {:?}", text(&client.received));
    let answer = Origin::new(asked, &client.received);
    if let Reading::Refused { reason, at } = &answer.last {
        panic!("llhttp refuses what the client got, at byte {at}: {reason}: {:?}", text(&client.received));
    }
    let own = is_own(&answer);
    let exception = exception(bytes, origin.start);
    match complete(&answer, asked, &client) {
        None => assert!(
            !matches!(origin.last, Reading::Complete(_)) || exception.is_some(),
            "a complete response was cut: {:?}",
            text(&client.received)
        ),
        Some(received) if own => assert_eq!(received.status, 502, "{:?}", text(&client.received)),
        Some(received) => match &origin.last {
            Reading::Complete(sent) => compare(sent, received, asked, exception),
            Reading::Open { so_far, ends_with_connection: true } => {
                compare(so_far, received, asked, exception)
            }
            Reading::Open { so_far, .. } if asked.head && so_far.version != (0, 0) => {}
            Reading::Open { .. } => panic!("completed by us: {:?}", text(&client.received)),
            Reading::Refused { reason, at } => assert!(
                exception.is_some(),
                "llhttp refuses at byte {at}: {reason}; but the client got {:?}",
                text(&client.received)
            ),
        },
    }
    compare_interim(&origin, &answer, asked, own);
    let end = match &origin.last {
        Reading::Complete(message) => Some((message.keep_alive, origin.start + message.length)),
        _ => None,
    };
    check_second(client, answer, &scene).await;
    let reused = complete_requests(&scene.connections.borrow()[0].bytes).0 > 1;
    if reused {
        match end {
            Some((keep_alive, end)) => {
                assert!(keep_alive || exception.is_some(), "the origin does not keep it open");
                assert_eq!(end, bytes.len(), "a connection with surplus bytes serves again (C58)");
            }
            None => assert!(
                !matches!(exception, None | Some(Exception::LengthAndCoding)),
                "a connection serves again whose response was not complete"
            ),
        }
    }
}

/// Whether this is our own answer.
fn is_own(answer: &Origin) -> bool {
    let (Reading::Complete(message) | Reading::Open { so_far: message, .. }) = &answer.last else {
        return false;
    };
    let status = by_name(&message.fields).remove("proxy-status").unwrap_or_default();
    status.last().is_some_and(|status| status.starts_with(b"px; error="))
}

/// The message, if its reader has to believe that it is complete.
fn complete<'a>(answer: &'a Origin, asked: Asked, client: &Client) -> Option<&'a Message> {
    match &answer.last {
        Reading::Complete(message) => Some(message),
        Reading::Open { so_far, ends_with_connection } => {
            let is_whole = *ends_with_connection && client.closed && !client.reset;
            assert!(
                asked.http10 || !is_whole,
                "a body that ends with the connection, for a client that knows chunks"
            );
            is_whole.then_some(so_far)
        }
        Reading::Refused { .. } => None,
    }
}

fn compare(sent: &Message, received: &Message, asked: Asked, exception: Option<Exception>) {
    assert_eq!(received.status, sent.status);
    assert_eq!(received.version, (1, 1), "RFC 9112 section 2.3");
    let bodiless = asked.head || matches!(sent.status, 204 | 304);
    if bodiless {
        assert!(received.body.is_empty(), "C43");
    } else if exception != Some(Exception::LengthAndCoding) {
        assert_eq!(received.body, sent.body, "the content");
    }
    if asked.http10 {
        assert!(!matches!(received.framing, Framing::Chunked | Framing::OtherCoding), "C38");
        assert!(!received.keep_alive, "C47");
    }
    if sent.status == 204 {
        assert_eq!(received.framing, Framing::Unsaid, "C43");
    }
    let (before, after) = (by_name(&sent.fields), by_name(&received.fields));
    let nominated = nominated(&before);
    for (name, values) in &before {
        // `Trailer` announces what may come; it says nothing where none come (RFC 9110 section 6.6.2).
        let is_void = name == "trailer" && received.trailers.is_empty() && !after.contains_key(name);
        if is_ours(name) || is_void || (is_nominated(name, &nominated) && !is_end_to_end(name)) {
            continue;
        }
        let same = match after.get(name) {
            // One line may be made of several, which says the same (RFC 9110 section 5.3 and 5.6.1).
            Some(found) if name == "trailer" => members(found).eq(members(values)),
            found => found == Some(values),
        };
        assert!(same, "{name} is not what it was: {:?}", after.get(name));
    }
    for name in after.keys() {
        let is_added =
            matches!(name.as_str(), "via" | "connection" | "content-length" | "transfer-encoding" | "date");
        assert!(is_added || (!is_ours(name) && before.contains_key(name)), "{name} was not sent");
    }
    let via =
        after.get("via").and_then(|values| values.last()).expect("Via is added (RFC 9110 section 7.6.3)");
    assert!(via.ends_with(if sent.version == (1, 0) { b"1.0 px" } else { b"1.1 px" }), "C25");
    for (name, value) in &received.trailers {
        assert!(
            sent.trailers
                .iter()
                .any(|(found, same)| found.eq_ignore_ascii_case(name) && same.trim_ascii_end() == value)
        );
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        assert!(!is_ours(&name) && !is_end_to_end(&name), "{name} as a trailer (RFC 9110 section 6.5.1)");
        assert!(!nominated.contains(&name), "{name} was nominated (RFC 9110 section 7.6.1)");
        assert!(asked.trailers, "C44");
    }
}

/// C48: in order, and not to HTTP/1.0.
fn compare_interim(origin: &Origin, answer: &Origin, asked: Asked, own: bool) {
    let numbers = |messages: &[Message]| -> Vec<u16> {
        messages.iter().map(|message| message.status).filter(|status| *status != 100).collect()
    };
    let (sent, received) = (numbers(&origin.interim), numbers(&answer.interim));
    if asked.http10 {
        assert!(received.is_empty(), "an interim response to HTTP/1.0");
    } else if own || matches!(answer.last, Reading::Open { .. }) {
        // llhttp may have stopped earlier than we did.
        assert!(received.starts_with(&sent) || sent.starts_with(&received));
    } else if !matches!(origin.last, Reading::Refused { .. }) {
        assert_eq!(received, sent, "interim responses");
    }
    for message in &answer.interim {
        let fields = by_name(&message.fields);
        assert!(!fields.contains_key("content-length") && !fields.contains_key("transfer-encoding"), "C43");
        assert!(!fields.contains_key("connection"));
    }
}

/// A second request gets the second answer: neither what was left over, nor nothing.
async fn check_second(mut client: Client, answer: Origin, scene: &Scene) {
    let goes_on = match &answer.last {
        Reading::Complete(message) => {
            assert_eq!(answer.start + message.length, client.received.len(), "bytes behind the answer");
            message.keep_alive && !client.closed
        }
        _ => false,
    };
    if !goes_on {
        client = Client::connect(scene.proxy).await;
    }
    client.received.clear();
    let request = format!("GET http://{0}/second HTTP/1.1\r\nHost: {0}\r\n\r\n", scene.origin);
    client.send(request.as_bytes(), false).await;
    let is_complete = |bytes: &[u8]| matches!(llhttp::read(Kind::Response, bytes), Reading::Complete(_));
    assert!(client.read_until(is_complete).await, "no second answer");
    match llhttp::read(Kind::Response, &client.received) {
        Reading::Complete(message) => {
            assert_eq!((message.status, &message.body[..]), (200, &b"second"[..]), "another's answer");
        }
        other => panic!("{other:?}"),
    }
}

/// What of these bytes llhttp does not take, and we do.
fn exception(bytes: &[u8], start: usize) -> Option<Exception> {
    let rest = &bytes[start..];
    let rest = &rest[blank(rest)..];
    let head_end = end_of_head(rest);
    let (head, body) = rest.split_at(head_end);
    if (0..head.len()).any(|at| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r')) {
        return Some(Exception::BareLf);
    }
    let (mut codings, mut lengths) = (Vec::new(), Vec::new());
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.ends_with(b" ") || name.ends_with(b"\t") {
            return Some(Exception::SpaceBeforeColon);
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings.push(value);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            lengths.push(value);
        }
    }
    let is_interim = head.get(8..10) == Some(b" 1");
    if is_interim && !(codings.is_empty() && lengths.is_empty()) {
        return Some(Exception::InterimLength);
    }
    if !codings.is_empty() && !lengths.is_empty() {
        return Some(Exception::LengthAndCoding);
    }
    if codings.iter().any(|value| value.contains(&b'\t')) {
        return Some(Exception::TabInList);
    }
    if codings
        .iter()
        .any(|value| value.split(|byte| *byte == b',').any(|member| member.trim_ascii().is_empty()))
    {
        return Some(Exception::EmptyListMember);
    }
    if lengths.len() > 1 || lengths.iter().any(|value| value.contains(&b',')) {
        return Some(Exception::RepeatedLength);
    }
    if codings.is_empty() { None } else { crate::chunks::exception(body).map(Exception::Chunks) }
}

/// Empty lines in front, which both pass over (RFC 9112 section 2.2).
fn blank(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count()
}

/// Behind the first empty line.
fn end_of_head(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(end) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[at..at + end];
        at += end + 1;
        if line.is_empty() || line == b"\r" {
            return at;
        }
    }
    bytes.len()
}

fn by_name(fields: &[(Vec<u8>, Vec<u8>)]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut map: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, value) in fields {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        map.entry(name).or_default().push(value.trim_ascii().to_vec());
    }
    map
}

/// The members of a list.
fn members(values: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    let members = values.iter().flat_map(|value| value.split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

fn nominated(fields: &BTreeMap<String, Vec<Vec<u8>>>) -> Vec<String> {
    let options = fields.get("connection").into_iter().flat_map(|values| members(values));
    options.map(|option| String::from_utf8_lossy(option).to_ascii_lowercase()).collect()
}

/// Who nominates more than 64 has something in mind: then every field is taken for one of them.
fn is_nominated(name: &str, nominated: &[String]) -> bool {
    nominated.len() > 64 || nominated.iter().any(|known| known == name)
}

/// Fields that are written anew for each hop.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            // It says nothing in a response (RFC 9110 section 7.2).
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "via"
    )
}

/// Fields that are for every recipient: nominating them is forbidden (RFC 9110 section 7.6.1) and has no effect.
fn is_end_to_end(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cache-control"
            | "content-encoding"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "expect"
            | "forwarded"
            | "location"
            | "max-forwards"
            | "proxy-status"
            | "range"
            | "set-cookie"
            | "vary"
            | "www-authenticate"
            | "x-real-ip"
    ) || name.starts_with("x-forwarded-")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
