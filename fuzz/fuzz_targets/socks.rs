//! SOCKS5: each message is the same however it is cut, and none runs on.
#![cfg_attr(fuzzing, no_main)]

use rust_forward_proxy::message::socks::{SocksError, greeting, login, request};

/// The longest message: a name and a password of 255 bytes each.
const LENGTH_MAX: usize = 513;

/// Bytes = what a client sends.
pub fn run(bytes: &[u8]) {
    check(bytes, greeting);
    check(bytes, login);
    check(bytes, request);
    if let Ok(Some((request, length))) = request(bytes) {
        assert!((10..=262).contains(&length) || length == 7 + usize::from(bytes[4]));
        // What was understood is what is said to others.
        let text = request.authority.to_string();
        let again = rust_forward_proxy::net::authority::Authority::parse(&text, None);
        assert_eq!(again.as_ref(), Ok(&request.authority));
    }
}

fn check<'a, T: PartialEq + std::fmt::Debug>(
    bytes: &'a [u8],
    parse: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, SocksError>,
) {
    match parse(bytes) {
        Ok(None) => assert!(bytes.len() < LENGTH_MAX, "nothing is waited for without end"),
        Ok(Some((message, length))) => {
            assert!(length <= LENGTH_MAX.min(bytes.len()));
            assert_eq!(parse(&bytes[..length]), Ok(Some((message, length))), "what follows decides nothing");
            for end in 0..length {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{end}");
            }
        }
        Err(_) => {}
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
