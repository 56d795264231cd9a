//! The control channel: the messages are the lines, whatever comes in one read, and each is what was sent.
#![cfg_attr(fuzzing, no_main)]

use std::{fmt::Debug, io::Write, os::fd::OwnedFd, os::unix::net::UnixStream};

use rust_forward_proxy::control::{Order, Report, channel::Channel};
use serde_json::{from_slice, to_vec};

/// First byte = how much is there already when the channel is taken over, second = which way it goes; the rest = what the
/// other process writes before it is gone.
pub fn run(bytes: &[u8]) {
    let [early, way, bytes @ ..] = bytes else { return };
    // More would wait for room in the socket.
    let bytes = &bytes[..bytes.len().min(32 << 10)];
    let early = usize::from(*early).min(bytes.len());
    if way & 1 == 0 { check::<Order>(bytes, early) } else { check::<Report>(bytes, early) }
}

fn check<T>(bytes: &[u8], early: usize)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let expected: Vec<T> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map_while(|line| from_slice(line.strip_suffix(b"\n")?).ok())
        .collect();
    for early in [0, early, bytes.len()] {
        assert_eq!(receive::<T>(bytes, early), expected, "with {early} bytes there already");
    }
    for message in &expected {
        let line = to_vec(message).expect("a message is JSON");
        assert!(!line.contains(&b'\n'), "one message, one line");
        assert_eq!(from_slice::<T>(&line).as_ref().ok(), Some(message));
    }
}

/// Every message until the channel ends.
fn receive<T: serde::de::DeserializeOwned>(bytes: &[u8], early: usize) -> Vec<T> {
    let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
    theirs.write_all(&bytes[early..]).expect("there is room");
    drop(theirs);
    let mut channel = Channel::resume(OwnedFd::from(ours), bytes[..early].to_vec());
    let mut messages = Vec::new();
    while let Ok(message) = channel.receive() {
        messages.push(message);
    }
    assert!(channel.descriptors(1).is_empty());
    messages
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
