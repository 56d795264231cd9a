//! What reaches the origin: the whole proxy on real sockets, and llhttp at both ends of it.
//!
//! The same reader takes the bytes that the client sends and those that the origin gets. Every message at the origin is one
//! that the client sent, in its order, with its method, its target, its content and its fields; none is made up of parts, and
//! one that the client did not finish is never finished.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
#[path = "../stack.rs"]
mod stack;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use crate::stack::{Client, PATIENCE, Scene, on_stage};
use http::{Method, Version};
use llhttp::{Framing, Kind, Message, Reading};
use rust_forward_proxy::message::{
    framing::{ChunkLimits, ChunkScan},
    head::{HeadFacts, HeadLimits, check_request_head, find_end},
    target::{Scheme, Target},
};
use tokio::time::{sleep, timeout};

/// Bytes = what a client sends on one connection; `a.test` in them stands for the origin.
pub fn run(bytes: &[u8]) {
    if bytes.len() > 16 << 10 {
        return;
    }
    let mut continued: Vec<usize> = Vec::new();
    let play = move |connection: usize, bytes: &[u8]| {
        continued.resize(continued.len().max(connection + 1), usize::MAX);
        answer(bytes, &mut continued[connection])
    };
    on_stage(Rc::new(RefCell::new(play)), |scene| perform(bytes, scene));
}

/// An empty answer to each message that is complete with these bytes, and a 100 to a head that waits for one.
fn answer(bytes: &[u8], continued: &mut usize) -> (Vec<u8>, bool) {
    let mut answered = 0;
    let mut answer = Vec::new();
    let mut rest = bytes;
    // What was answered before is answered by the position in the stream: a message that ends with the newest bytes is new.
    loop {
        match llhttp::read(Kind::Request, rest) {
            Reading::Complete(message) => {
                rest = &rest[message.length..];
                answered += message.length;
                if rest.is_empty() {
                    answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                    return (answer, false);
                }
            }
            Reading::Open { so_far, .. } => {
                let waits = so_far.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"expect"));
                if waits && *continued != answered {
                    *continued = answered;
                    answer.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                return (answer, false);
            }
            // Told of in the comparison; the proxy is not left to wait.
            Reading::Refused { .. } => {
                return (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), true);
            }
        }
    }
}

async fn perform(bytes: &[u8], scene: Scene) {
    let sent = replace(bytes, b"a.test", scene.origin.to_string().as_bytes());
    let Some(plan) = plan(&sent, &scene) else { return };
    let mut client = Client::connect(scene.proxy).await;
    client.send(&sent[..plan.end], true).await;
    assert!(client.read_until(|_| false).await, "the proxy does not close: {:?}", text(&client.received));
    // A message that will never be complete is given up, and its connection with it.
    let done =
        || scene.connections.borrow().iter().all(|seen| seen.closed || remainder(&seen.bytes).is_empty());
    assert!(settle(done).await, "a connection to the origin stays open in the middle of a message");
    let mut expected = plan.messages.into_iter();
    for seen in scene.connections.borrow().iter() {
        let mut rest = seen.bytes.as_slice();
        while !rest.is_empty() {
            match llhttp::read(Kind::Request, rest) {
                Reading::Complete(received) => {
                    let sent = expected
                        .find(|sent| matches_up(sent, &received))
                        .unwrap_or_else(|| panic!("the origin got what nobody has sent: {:?}", text(rest)));
                    compare(&sent, &received, &scene);
                    rest = &rest[received.length..];
                }
                Reading::Open { ends_with_connection, .. } => {
                    assert!(!ends_with_connection);
                    break;
                }
                Reading::Refused { reason, at } => {
                    panic!("llhttp refuses what the origin got, at byte {at}: {reason}: {:?}", text(rest))
                }
            }
        }
    }
    assert!(
        expected.all(|sent| !sent.must_arrive),
        "a request did not arrive; the client got {:?}",
        text(&client.received)
    );
}

/// Lets everybody else go on until `condition` holds. False when it does not for too long.
async fn settle(condition: impl Fn() -> bool) -> bool {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.is_ok()
}

/// One message of the client.
struct Sent {
    method: Vec<u8>,
    path: Vec<u8>,
    http10: bool,
    message: Message,
    /// Nothing is known why it should not.
    must_arrive: bool,
}

struct Plan {
    messages: Vec<Sent>,
    /// So much is sent.
    end: usize,
}

/// What the client's bytes say, up to where nothing more is read. None if they could lead anywhere else than to the origin.
fn plan(sent: &[u8], scene: &Scene) -> Option<Plan> {
    let limits = HeadLimits { max_bytes: 65_536, max_headers: 100 };
    let mut messages = Vec::new();
    let mut at = 0;
    while let Some(end) = find_end(&sent[at..], 0) {
        let rest = &sent[at..];
        let Ok(facts) = check_request_head(&rest[..end], limits) else { break };
        let path = match &facts.target {
            Target::Absolute { scheme, authority, path_and_query } => {
                if authority.to_string() != scene.origin.to_string() {
                    return None;
                }
                if *scheme == Scheme::Https {
                    return (at > 0).then_some(Plan { messages, end: at });
                }
                Some(origin_form(&facts.method, path_and_query))
            }
            // What is encrypted, as above, and a tunnel are other stories.
            Target::Authority(_) => return (at > 0).then_some(Plan { messages, end: at }),
            Target::Origin(_) | Target::Asterisk => None,
        };
        let method = facts.method.as_str().as_bytes();
        // llhttp has a closed list of methods, where RFC 9110 section 9.1 has tokens.
        if !llhttp::knows_method(method) {
            return None;
        }
        let message = match llhttp::read(Kind::Request, rest) {
            Reading::Complete(message) => message,
            Reading::Open { .. } => break,
            // A body that is malformed; or llhttp is stricter, for a reason that has its name in differential_request.
            Reading::Refused { .. } => {
                let malformed = ChunkScan::new(ChunkLimits::default()).feed(&rest[end..]).is_err();
                return malformed.then_some(Plan { messages, end: sent.len() });
            }
        };
        at += message.length;
        let goes_on = facts.keep_alive;
        if let Some(path) = path {
            messages.push(Sent {
                method: method.to_vec(),
                path,
                http10: facts.version == Version::HTTP_10,
                must_arrive: must_arrive(&facts, &message),
                message,
            });
        }
        if !goes_on {
            break;
        }
    }
    Some(Plan { messages, end: sent.len() })
}

fn origin_form(method: &Method, path_and_query: &str) -> Vec<u8> {
    match path_and_query.as_bytes() {
        [] if *method == Method::OPTIONS => b"*".to_vec(),
        path @ ([] | [b'?', ..]) => [b"/", path].concat(),
        path => path.to_vec(),
    }
}

/// Whether the proxy has no reason of its own to answer.
fn must_arrive(facts: &HeadFacts<'_>, message: &Message) -> bool {
    let has = |name: &[u8]| message.fields.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
    let hops = (facts.method == Method::OPTIONS || facts.method == Method::TRACE) && has(b"max-forwards");
    !hops && !has(b"via") && !has(b"upgrade") && !has(b"expect")
}

/// Whether this is the same message. One that the proxy may have answered by itself has to have the same fields, for another that
/// looks like it may follow.
fn matches_up(sent: &Sent, received: &Message) -> bool {
    sent.method == received.method
        && sent.path == received.target
        && sent.message.body == received.body
        && (sent.must_arrive || passing_fields(&sent.message, sent) == passing_fields(received, sent))
}

fn passing_fields(message: &Message, sent: &Sent) -> BTreeMap<String, Vec<Vec<u8>>> {
    let nominated = nominated(&by_name(&sent.message.fields));
    let mut fields = by_name(&message.fields);
    fields.retain(|name, _| {
        !is_ours(name)
            && !matches!(name.as_str(), "expect" | "trailer")
            && (!is_nominated(name, &nominated) || is_end_to_end(name))
    });
    fields
}

fn compare(sent: &Sent, received: &Message, scene: &Scene) {
    assert_eq!(received.version, (1, 1), "RFC 9112 section 2.3");
    let framing = match sent.message.framing {
        Framing::OtherCoding => panic!("nobody lets that pass"),
        framing => framing,
    };
    assert_eq!(received.framing, framing, "the framing");
    let (before, after) = (by_name(&sent.message.fields), by_name(&received.fields));
    assert_eq!(after.get("host").map(Vec::as_slice), Some(&[scene_host(scene)][..]), "C1");
    let nominated = nominated(&before);
    for (name, values) in &before {
        if is_ours(name)
            || (is_nominated(name, &nominated) && !is_end_to_end(name))
            || (sent.http10 && name == "expect")
        {
            continue;
        }
        let same = match after.get(name) {
            // One line may be made of several, which says the same (RFC 9110 section 5.3 and 5.6.1).
            Some(found) if name == "trailer" => members(found).eq(members(values)),
            found => found == Some(values),
        };
        assert!(same, "{name} is not what it was: {:?}", after.get(name));
    }
    for (name, values) in &after {
        match name.as_str() {
            "host" | "via" | "content-length" | "transfer-encoding" | "max-forwards" => {}
            "connection" => assert!(values[0] == b"te" || values[0] == b"upgrade"),
            "te" => assert_eq!(values[0], b"trailers"),
            "upgrade" => assert!(before.contains_key(name)),
            _ => assert!(!is_ours(name) && before.contains_key(name), "{name} was not sent"),
        }
    }
    let via =
        after.get("via").and_then(|values| values.last()).expect("Via is added (RFC 9110 section 7.6.3)");
    assert!(via.ends_with(if sent.http10 { b"1.0 px" } else { b"1.1 px" }));
    for (name, value) in &received.trailers {
        assert!(
            sent.message
                .trailers
                .iter()
                .any(|(found, same)| found.eq_ignore_ascii_case(name) && same.trim_ascii_end() == value)
        );
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        assert!(!is_ours(&name) && !is_end_to_end(&name), "{name} as a trailer (RFC 9110 section 6.5.1)");
        assert!(!nominated.contains(&name), "{name} was nominated (RFC 9110 section 7.6.1)");
    }
}

fn scene_host(scene: &Scene) -> Vec<u8> {
    scene.origin.to_string().into_bytes()
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

/// What `Connection` names.
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
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "max-forwards"
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
            | "proxy-status"
            | "range"
            | "set-cookie"
            | "vary"
            | "www-authenticate"
            | "x-real-ip"
    ) || name.starts_with("x-forwarded-")
}

/// What is left of the bytes behind the last message that is complete.
fn remainder(mut bytes: &[u8]) -> &[u8] {
    while let Reading::Complete(message) = llhttp::read(Kind::Request, bytes) {
        bytes = &bytes[message.length..];
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(from) {
            replaced.extend_from_slice(to);
            at += from.len();
        } else {
            replaced.push(bytes[at]);
            at += 1;
        }
    }
    replaced
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
