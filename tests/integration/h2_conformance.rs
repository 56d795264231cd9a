//! What RFC 9113 and RFC 7541 say must happen when a client breaks a rule of frames, and what must be let pass: the cases that
//! h2spec has, by section. What requests may not say is in `h2_rules`, what is too much of something in `h2_attacks`.

use crate::support::{
    Config, H2Proxy, Mode, Origin,
    h2_client::{Frames, block, frame},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// What must come of a case.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// Nothing: the connection lives on, and no stream is reset.
    Pass,
    /// The stream, or the connection if it is taken for that, ends with one of these codes.
    EndStream(&'static [u32]),
    /// The connection ends with one of these codes.
    EndConnection(&'static [u32]),
}

use Must::{EndConnection, EndStream, Pass};

const PROTOCOL: &[u32] = &[1];
const FLOW: &[u32] = &[3];
const CLOSED: &[u32] = &[5];
const SIZE: &[u32] = &[6];
const COMPRESSION: &[u32] = &[9];

/// What has come of one.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It lives; these streams were reset with these codes.
    Lives(Vec<(u32, u32)>),
    /// GOAWAY with this code.
    Gone(u32),
    /// It was closed without a word.
    Closed,
}

impl Must {
    fn allows(self, outcome: &Outcome) -> bool {
        // A generic code can always be used in place of a more specific one (RFC 9113 section 5.4).
        let is_one_of = |codes: &[u32], code: u32| code == PROTOCOL[0] || codes.contains(&code);
        match (self, outcome) {
            (Pass, Outcome::Lives(resets)) => resets.is_empty(),
            (EndStream(codes), Outcome::Lives(resets)) => {
                !resets.is_empty() && resets.iter().all(|(_, code)| is_one_of(codes, *code))
            }
            (EndStream(codes) | EndConnection(codes), Outcome::Gone(code)) => is_one_of(codes, *code),
            _ => false,
        }
    }
}

/// Sends `bytes` on a connection that has been greeted, and looks how it is after that.
fn outcome(proxy: &H2Proxy, bytes: &[u8]) -> Outcome {
    let mut client = proxy.frames();
    client.greet();
    // Who has closed already takes no more.
    let _ = client.write(bytes);
    let _ = client.send(PING, 0, 0, b"are here");
    look(&mut client)
}

/// What comes until a second PING is answered: the first may be answered before what stands in front of it.
fn look(client: &mut Frames) -> Outcome {
    let (mut resets, mut answered) = (Vec::new(), 0);
    while let Some(frame) = client.next() {
        match frame.kind {
            RST_STREAM => resets.push((frame.stream, frame.code())),
            GOAWAY if frame.code() != 0 => return Outcome::Gone(frame.code()),
            PING if frame.flags & ACK != 0 && frame.payload == b"are here" => {
                answered += 1;
                if answered == 2 {
                    return Outcome::Lives(resets);
                }
                let _ = client.send(PING, 0, 0, b"are here");
            }
            SETTINGS if frame.flags & ACK == 0 => {
                let _ = client.send(SETTINGS, ACK, 0, b"");
            }
            _ => {}
        }
    }
    Outcome::Closed
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

#[test]
fn frames_that_break_a_rule_end_what_they_must() {
    let proxy = H2Proxy::start(Config::new(Mode::SingleThreaded));
    // Nothing is ever answered, so that streams stay open.
    let silent = Origin::silent();
    let authority = silent.authority();
    let fields = |method: &str| {
        block(&[(":method", method), (":scheme", "http"), (":authority", &authority), (":path", "/")])
    };
    let (get, post) = (fields("GET"), fields("POST"));
    let whole = |stream: u32| frame(HEADERS, WHOLE, stream, &get);
    let open = |stream: u32| frame(HEADERS, END_HEADERS, stream, &post);
    let reset = |stream: u32| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let grow = |stream: u32, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let (half, rest) = get.split_at(7);
    let begun = frame(HEADERS, END_STREAM, 1, half);
    let cases: Vec<(&str, Vec<Vec<u8>>, Must)> = vec![
        ("4.1 a frame of an unknown type", vec![frame(0x16, 0, 0, &[0; 8])], Pass),
        ("4.1 flags that are not defined", vec![frame(PING, 0x16, 0, &[0; 8])], Pass),
        ("4.1 the reserved bit of a stream", vec![frame(PING, 0, 1 << 31, &[0; 8])], Pass),
        ("4.2 DATA as large as it may be", vec![open(1), frame(DATA, 0, 1, &[0; 1 << 14])], Pass),
        ("4.2 DATA that is larger", vec![open(1), frame(DATA, 0, 1, &[0; (1 << 14) + 1])], EndStream(SIZE)),
        (
            "4.2 HEADERS that are larger",
            vec![frame(HEADERS, WHOLE, 1, &[get.clone(), block(&[("x", &"y".repeat(1 << 14))])].concat())],
            EndConnection(SIZE),
        ),
        ("4.3 a field that is cut", vec![frame(HEADERS, WHOLE, 1, &get[..20])], EndConnection(COMPRESSION)),
        (
            "4.3 PRIORITY in a header block",
            vec![begun.clone(), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])],
            EndConnection(PROTOCOL),
        ),
        (
            "4.3 HEADERS of another stream in a header block",
            vec![begun.clone(), whole(3)],
            EndConnection(PROTOCOL),
        ),
        ("5.1 DATA on an idle stream", vec![frame(DATA, 1, 1, b"x")], EndConnection(PROTOCOL)),
        ("5.1 RST_STREAM on an idle stream", vec![reset(1)], EndConnection(PROTOCOL)),
        ("5.1 WINDOW_UPDATE on an idle stream", vec![grow(1, 9)], EndConnection(PROTOCOL)),
        (
            "5.1 CONTINUATION on an idle stream",
            vec![frame(CONTINUATION, END_HEADERS, 1, &get)],
            EndConnection(PROTOCOL),
        ),
        ("5.1 PRIORITY on an idle stream", vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])], Pass),
        ("5.1 DATA behind END_STREAM", vec![whole(1), frame(DATA, 0, 1, b"x")], EndStream(CLOSED)),
        ("5.1 HEADERS behind END_STREAM", vec![whole(1), whole(1)], EndStream(CLOSED)),
        ("5.1 WINDOW_UPDATE behind END_STREAM", vec![whole(1), grow(1, 9)], Pass),
        ("5.1 DATA behind RST_STREAM", vec![open(1), reset(1), frame(DATA, 1, 1, b"x")], EndStream(CLOSED)),
        ("5.1 HEADERS behind RST_STREAM", vec![open(1), reset(1), whole(1)], EndStream(CLOSED)),
        ("5.1 WINDOW_UPDATE behind RST_STREAM", vec![open(1), reset(1), grow(1, 9)], Pass),
        ("5.1.1 a stream with an even number", vec![whole(2)], EndConnection(PROTOCOL)),
        ("5.1.1 a stream with a smaller number", vec![whole(5), whole(3)], EndConnection(&[1, 5])),
        (
            "5.5 an unknown frame in a header block",
            vec![begun.clone(), frame(0x16, 0, 0, &[0; 8])],
            EndConnection(PROTOCOL),
        ),
        ("6.1 DATA on stream 0", vec![frame(DATA, 1, 0, b"x")], EndConnection(PROTOCOL)),
        (
            "6.1 more padding than DATA",
            vec![open(1), frame(DATA, PADDED, 1, b"\x09abc")],
            EndConnection(PROTOCOL),
        ),
        ("6.1 DATA that is all padding", vec![open(1), frame(DATA, PADDED, 1, b"\x03abc")], Pass),
        ("6.2 HEADERS on stream 0", vec![whole(0)], EndConnection(PROTOCOL)),
        (
            "6.2 more padding than HEADERS",
            vec![frame(HEADERS, WHOLE | PADDED, 1, &[&[0xff], &get[..]].concat())],
            EndConnection(PROTOCOL),
        ),
        (
            "6.2 padded HEADERS",
            vec![frame(HEADERS, WHOLE | PADDED, 1, &[&[2], &get[..], &[0; 2]].concat())],
            Pass,
        ),
        ("6.3 PRIORITY on stream 0", vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 9])], EndConnection(PROTOCOL)),
        ("6.3 PRIORITY of another length", vec![open(1), frame(PRIORITY, 0, 1, &[0; 4])], EndStream(SIZE)),
        ("6.4 RST_STREAM on stream 0", vec![reset(0)], EndConnection(PROTOCOL)),
        (
            "6.4 RST_STREAM of another length",
            vec![open(1), frame(RST_STREAM, 0, 1, &[0; 3])],
            EndConnection(SIZE),
        ),
        (
            "6.5 SETTINGS that acknowledge and say something",
            vec![frame(SETTINGS, ACK, 0, &[0; 6])],
            EndConnection(SIZE),
        ),
        (
            "6.5 SETTINGS on a stream",
            vec![frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 9])],
            EndConnection(PROTOCOL),
        ),
        ("6.5 SETTINGS of another length", vec![frame(SETTINGS, 0, 0, &[0; 5])], EndConnection(SIZE)),
        ("6.5.2 ENABLE_PUSH that is neither 0 nor 1", vec![setting(2, 2)], EndConnection(PROTOCOL)),
        ("6.5.2 INITIAL_WINDOW_SIZE above 2^31-1", vec![setting(4, 1 << 31)], EndConnection(FLOW)),
        ("6.5.2 MAX_FRAME_SIZE below 2^14", vec![setting(5, (1 << 14) - 1)], EndConnection(PROTOCOL)),
        ("6.5.2 MAX_FRAME_SIZE above 2^24-1", vec![setting(5, 1 << 24)], EndConnection(PROTOCOL)),
        ("6.5.2 a setting that nobody knows", vec![setting(0xff, 1)], Pass),
        (
            "6.6 PUSH_PROMISE",
            vec![open(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &get[..]].concat())],
            EndConnection(PROTOCOL),
        ),
        ("6.7 an answer to a PING that was not sent", vec![frame(PING, ACK, 0, &[3; 8])], Pass),
        ("6.7 PING on a stream", vec![frame(PING, 0, 1, &[0; 8])], EndConnection(PROTOCOL)),
        ("6.7 PING of another length", vec![frame(PING, 0, 0, &[0; 6])], EndConnection(SIZE)),
        ("6.8 GOAWAY on a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], EndConnection(PROTOCOL)),
        ("6.9 WINDOW_UPDATE of nothing", vec![grow(0, 0)], EndConnection(PROTOCOL)),
        ("6.9 WINDOW_UPDATE of nothing on a stream", vec![open(1), grow(1, 0)], EndStream(PROTOCOL)),
        (
            "6.9 WINDOW_UPDATE of another length",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            EndConnection(SIZE),
        ),
        (
            "6.9.1 a window above 2^31-1",
            vec![grow(0, 0x7fff_ffff), grow(0, 0x7fff_ffff)],
            EndConnection(FLOW),
        ),
        (
            "6.9.1 a window of a stream above 2^31-1",
            vec![open(1), grow(1, 0x7fff_ffff), grow(1, 0x7fff_ffff)],
            EndStream(FLOW),
        ),
        (
            "6.9.2 a window of a stream above 2^31-1 by SETTINGS",
            vec![open(1), grow(1, 0x7fff_0000), setting(4, 0x7fff_ffff)],
            EndConnection(FLOW),
        ),
        (
            "6.10 a header block in three parts",
            vec![
                begun,
                frame(CONTINUATION, 0, 1, &rest[..5]),
                frame(CONTINUATION, END_HEADERS, 1, &rest[5..]),
            ],
            Pass,
        ),
        (
            "6.10 CONTINUATION behind a whole header block",
            vec![whole(1), frame(CONTINUATION, END_HEADERS, 1, &get)],
            EndConnection(PROTOCOL),
        ),
        (
            "6.10 CONTINUATION on stream 0",
            vec![frame(HEADERS, 1, 1, half), frame(CONTINUATION, END_HEADERS, 0, rest)],
            EndConnection(PROTOCOL),
        ),
        (
            "6.10 CONTINUATION behind DATA",
            vec![open(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, &get)],
            EndConnection(PROTOCOL),
        ),
        (
            "8.1 trailers that are not the end",
            vec![open(1), frame(HEADERS, END_HEADERS, 1, &block(&[("x", "1")]))],
            EndStream(PROTOCOL),
        ),
        // Section 8.1 has it for malformed. The reader of frames drops it instead: it reaches nobody.
        (
            "8.1 a pseudo-field in trailers",
            vec![open(1), frame(HEADERS, WHOLE, 1, &block(&[(":path", "/")]))],
            Pass,
        ),
        (
            "RFC 7541 2.3.3 an index that is not in the table",
            vec![frame(HEADERS, WHOLE, 1, &[&get[..], &[0xc6]].concat())],
            EndConnection(COMPRESSION),
        ),
        (
            "RFC 7541 6.1 index 0",
            vec![frame(HEADERS, WHOLE, 1, &[&get[..], &[0x80]].concat())],
            EndConnection(COMPRESSION),
        ),
        (
            "RFC 7541 4.2 a size update behind a field",
            vec![frame(HEADERS, WHOLE, 1, &[&get[..], &[0x20]].concat())],
            EndConnection(COMPRESSION),
        ),
        (
            "RFC 7541 6.3 a table larger than was allowed",
            vec![frame(HEADERS, WHOLE, 1, &[&[0x3f, 0xe2, 0x1f], &get[..]].concat())],
            EndConnection(COMPRESSION),
        ),
        (
            "RFC 7541 5.2 a string in Huffman's code",
            vec![frame(HEADERS, WHOLE, 1, &[&get[..], b"\x00\x01x\x83\x49\x50\x9f"].concat())],
            Pass,
        ),
        (
            "RFC 7541 5.2 padding of more than 7 bits",
            vec![frame(HEADERS, WHOLE, 1, &[&get[..], b"\x00\x01x\x84\x49\x50\x9f\xff"].concat())],
            EndConnection(COMPRESSION),
        ),
        (
            "RFC 7541 5.2 padding with zeros",
            vec![frame(HEADERS, WHOLE, 1, &[&get[..], b"\x00\x01x\x83\x49\x50\x90"].concat())],
            EndConnection(COMPRESSION),
        ),
        (
            "RFC 7541 5.2 the end of a string inside one",
            vec![frame(
                HEADERS,
                WHOLE,
                1,
                &[&get[..], b"\x00\x01x\x87\x49\x50\x9f\xff\xff\xff\xff"].concat(),
            )],
            EndConnection(COMPRESSION),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, frames, must) in &cases {
        let found = outcome(&proxy, &frames.concat());
        if !must.allows(&found) {
            wrong.push(format!("{name}: {found:?}, must be {must:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
