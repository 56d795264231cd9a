//! What is read of certificates: a name is one that can be logged, a time is one, and what stands behind the certificate decides nothing.
#![cfg_attr(fuzzing, no_main)]

use rust_forward_proxy::net::tls::x509::{common_name, is_authority, validity};

/// Bytes = a certificate in DER.
pub fn run(bytes: &[u8]) {
    let (name, times, signs) = (common_name(bytes), validity(bytes), is_authority(bytes));
    if let Some(name) = name {
        assert!((1..=255).contains(&name.len()));
        assert!(name.trim() == name && !name.chars().any(char::is_control), "{name:?}");
        assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()), "it is made up");
    }
    if let Some(times) = times {
        // Years 0000 and 9999, and a day that a month need not have.
        for time in [times.from, times.until] {
            assert!((-62_167_305_600..=253_402_387_200).contains(&time), "{time}");
        }
    }
    let longer = [bytes, b"\x30\x03\x02\x01\x00"].concat();
    // One that is cut may be made longer by what follows; one of which anything was read is whole.
    if name.is_some() || times.is_some() || signs {
        assert_eq!((common_name(&longer), validity(&longer), is_authority(&longer)), (name, times, signs));
        let length = end(bytes).expect("it is whole");
        for cut in [0, 1, length / 2, length - 1] {
            assert_eq!((common_name(&bytes[..cut]), validity(&bytes[..cut])), (None, None), "{cut} bytes");
            assert!(!is_authority(&bytes[..cut]), "{cut} bytes");
        }
    }
}

/// Where the first value ends.
fn end(bytes: &[u8]) -> Option<usize> {
    let digits = match *bytes.get(1)? {
        length @ 0..=0x7f => return Some(2 + usize::from(length)),
        first => usize::from(first & 0x7f),
    };
    let length = bytes.get(2..2 + digits)?.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    Some(2 + digits + length)
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
