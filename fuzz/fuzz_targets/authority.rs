//! `host:port`: what is accepted has one spelling, and reads the same in it.
#![cfg_attr(fuzzing, no_main)]

use std::net::IpAddr;

use rust_forward_proxy::net::authority::{Authority, Host};

/// Bytes = the text.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let bare = Authority::parse(text, None);
    let with_default = Authority::parse(text, Some(80));
    if bare.is_ok() {
        assert_eq!(bare, with_default, "a default changes only what has no port");
    }
    let Ok(authority) = with_default else { return };
    assert_ne!(authority.port, 0);
    let shown = authority.to_string();
    assert_eq!(Authority::parse(&shown, None).as_ref(), Ok(&authority), "{shown}");
    assert_eq!(Authority::parse(&shown, Some(443)).as_ref(), Ok(&authority), "{shown}");
    assert!(shown.len() <= 254 + ":65535".len() && shown.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!shown.contains(['@', '/', '?', '#', '%', '\\', ',']), "{shown}");
    assert_eq!(Host::parse(&authority.host.to_string()).as_ref(), Ok(&authority.host));
    match &authority.host {
        Host::Name(name) => {
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name}");
            // What any resolver could take for an address is none of our names (RFC 6943 section 3.1.1).
            assert!(name.parse::<IpAddr>().is_err(), "{name}");
            let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
            assert!(
                !last.starts_with(|first: char| first.is_ascii_digit())
                    || last.contains(|c: char| !c.is_ascii_digit())
            );
        }
        Host::V4(address) => assert!(shown.starts_with(&address.to_string())),
        Host::V6(address) => assert!(shown.starts_with(&format!("[{address}]"))),
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
