//! The PROXY protocol: a header is the same however it is cut, never runs on, and is read as it was written.
#![cfg_attr(fuzzing, no_main)]

use rust_forward_proxy::net::proxy_protocol::{LENGTH_MAX, Version, parse, write};

/// Bytes = what a balancer sends.
pub fn run(bytes: &[u8]) {
    let judged = parse(bytes);
    match judged {
        Ok(None) => assert!(bytes.len() < LENGTH_MAX, "nothing is waited for without end"),
        Ok(Some(header)) => {
            assert!((15..=LENGTH_MAX.min(bytes.len())).contains(&header.length));
            // What follows decides nothing, and nothing less is a header.
            assert_eq!(parse(&bytes[..header.length]), judged);
            for end in 0..header.length {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{end}");
            }
            let (Some(client), Some(destination)) = (header.client, header.destination) else { return };
            for version in [Version::V1, Version::V2] {
                let mut written = Vec::new();
                write(version, client, destination, &mut written);
                let read = parse(&written).unwrap().unwrap();
                for (seen, meant) in [(read.client, client), (read.destination, destination)] {
                    let seen = seen.unwrap();
                    assert_eq!(
                        (seen.ip().to_canonical(), seen.port()),
                        (meant.ip().to_canonical(), meant.port())
                    );
                }
                assert_eq!(read.length, written.len());
            }
        }
        // Once it is wrong it stays so.
        Err(error) => assert_eq!(parse(&[bytes, b"\r\n"].concat()), Err(error)),
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
