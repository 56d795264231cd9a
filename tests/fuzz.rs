//! The fuzz targets as plain tests: every file of the committed corpus goes through its target.
//!
//! The targets are in `fuzz/fuzz_targets`, one file each, and the same function is run here and by libFuzzer. A target that is
//! added there is named here and in `fuzz/Cargo.toml`, and gets a folder in `fuzz/corpus`; a test sees to that.

// A test may unwrap wherever it stands; the lint knows only functions that carry the attribute.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use llhttp::{Framing, Kind, Reading};

#[path = "../fuzz/chunks.rs"]
mod chunks;
#[cfg(target_os = "linux")]
#[path = "../fuzz/stack.rs"]
mod stack;

/// All files of a target's corpus are to be small: it is read by people, too.
const MAX_CORPUS: u64 = 1 << 20;

macro_rules! targets {
    ($($(#[$attribute:meta])* $name:ident $file:literal)*) => {
        $(
            $(#[$attribute])*
            #[path = $file]
            mod $name;

            $(#[$attribute])*
            #[test]
            fn $name() {
                run_corpus(stringify!($name), $name::run);
            }
        )*

        const TARGETS: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    authority "../fuzz/fuzz_targets/authority.rs"
    certificate "../fuzz/fuzz_targets/certificate.rs"
    chunked_framing "../fuzz/fuzz_targets/chunked_framing.rs"
    configuration "../fuzz/fuzz_targets/configuration.rs"
    #[cfg(unix)]
    control_frames "../fuzz/fuzz_targets/control_frames.rs"
    differential_request "../fuzz/fuzz_targets/differential_request.rs"
    #[cfg(target_os = "linux")]
    differential_response "../fuzz/fuzz_targets/differential_response.rs"
    #[cfg(target_os = "linux")]
    forwarded_request "../fuzz/fuzz_targets/forwarded_request.rs"
    http2_heads "../fuzz/fuzz_targets/http2_heads.rs"
    http2_request "../fuzz/fuzz_targets/http2_request.rs"
    proxy_protocol "../fuzz/fuzz_targets/proxy_protocol.rs"
    request_head "../fuzz/fuzz_targets/request_head.rs"
    request_target "../fuzz/fuzz_targets/request_target.rs"
    response_head "../fuzz/fuzz_targets/response_head.rs"
    socks "../fuzz/fuzz_targets/socks.rs"
    users_file "../fuzz/fuzz_targets/users_file.rs"
}

fn run_corpus(target: &str, run: fn(&[u8])) {
    let files = corpus(target);
    assert!(!files.is_empty(), "fuzz/corpus/{target} has no file");
    let failed: Vec<_> = files
        .iter()
        .filter(|path| {
            let bytes = fs::read(path).unwrap();
            catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "{target} fails with {failed:#?}");
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = fuzz().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn every_target_is_run_and_has_a_corpus() {
    let named: BTreeSet<_> = TARGETS.iter().map(|name| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stems("fuzz_targets"), named, "a file in fuzz/fuzz_targets is a target in tests/fuzz.rs");
    assert_eq!(stems("corpus"), named, "a target in tests/fuzz.rs has a folder in fuzz/corpus");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &named {
        let path = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&path), "{name} is no [[bin]] of fuzz/Cargo.toml");
    }
    let size: u64 =
        named.iter().flat_map(|name| corpus(name)).map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(size < MAX_CORPUS, "the corpus has {size} bytes");
}

#[test]
fn the_second_reader_tells_where_a_message_ends() {
    let next = "GET /next HTTP/1.1\r\n\r\n";
    for (message, framing, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Unsaid, ""),
        ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Framing::Length(0), ""),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Framing::Length(3), "abc"),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
            Framing::Chunked,
            "abc",
        ),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Unsaid, ""),
    ] {
        for behind in ["", next, "\x16\x03"] {
            let bytes = format!("{message}{behind}");
            let Reading::Complete(read) = llhttp::read(Kind::Request, bytes.as_bytes()) else {
                panic!("{bytes:?} is complete")
            };
            assert_eq!((read.length, read.framing), (message.len(), framing), "{message:?}");
            assert_eq!(read.body, body.as_bytes(), "{message:?}");
        }
    }
    for (bytes, whole) in
        [("HTTP/1.1 200 OK\r\n\r\nab", true), ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false)]
    {
        let Reading::Open { so_far, ends_with_connection } = llhttp::read(Kind::Response, bytes.as_bytes())
        else {
            panic!("{bytes:?} goes on")
        };
        assert_eq!((&so_far.body[..], ends_with_connection), (&b"ab"[..], whole), "{bytes:?}");
    }
    assert!(matches!(llhttp::read(Kind::Response, b"HTTP/1.1 2x0\r\n\r\n"), Reading::Refused { .. }));
}
