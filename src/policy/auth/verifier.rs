//! Whether a password has a hash: bcrypt, apr1, SHA-256-crypt, SHA-512-crypt, argon2.
//!
//! Must not know whose it is. A hash was checked when it was loaded; verifying takes as long as it demands, whatever the answer.

use argon2::{Argon2, PasswordVerifier};
use md5::{Digest, Md5};
use sha_crypt::ShaCrypt;
use subtle::ConstantTimeEq;

use crate::config::password_hash::{PasswordHash, Scheme};

/// Whether this password has this hash.
pub(super) fn verify(password: &[u8], hash: &PasswordHash) -> bool {
    let text = hash.as_str();
    match hash.scheme() {
        Scheme::Apr1 => apr1(password, text),
        Scheme::Argon2 => argon2::PasswordHash::new(text)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        Scheme::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
        Scheme::ShaCrypt => ShaCrypt::default().verify_password(password, text).is_ok(),
    }
}

fn apr1(password: &[u8], text: &str) -> bool {
    let parts = text.strip_prefix("$apr1$").and_then(|rest| rest.split_once('$'));
    parts.is_some_and(|(salt, hash)| apr1_hash(password, salt.as_bytes()).ct_eq(hash.as_bytes()).into())
}

/// Apache's variant of MD5-crypt. There is no other way to write it than to follow it step by step.
fn apr1_hash(password: &[u8], salt: &[u8]) -> [u8; 22] {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for start in (0..password.len()).step_by(16) {
        outer.update(&inner[..16.min(password.len() - start)]);
    }
    let mut bits = password.len();
    while bits != 0 {
        outer.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut hash = outer.finalize();
    for round in 0..1000 {
        let mut md5 = Md5::new();
        md5.update(if round & 1 == 1 { password } else { &hash });
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(if round & 1 == 1 { &hash } else { password });
        hash = md5.finalize();
    }
    let mut text = [0; 22];
    let triples = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    for (places, [high, middle, low]) in text.chunks_mut(4).zip(triples) {
        write_crypt(
            places,
            u32::from(hash[high]) << 16 | u32::from(hash[middle]) << 8 | u32::from(hash[low]),
        );
    }
    write_crypt(&mut text[20..], u32::from(hash[11]));
    text
}

/// Six bits a place, the lowest first.
fn write_crypt(places: &mut [u8], mut value: u32) {
    for place in places {
        *place = CRYPT_ALPHABET[(value & 63) as usize];
        value >>= 6;
    }
}

const CRYPT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let cases = [
            ("secret", "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
            ("myPassword", "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"),
            ("pässwörd with a rather long text: over 32", "$apr1$s$/2ds8lN6eGo3rfZMoNDmp1"),
            ("", "$apr1$abcdefgh$L.PT565ESX4Tp2bqNs7Ie."),
            ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            (
                "Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            ("secret", "$5$rounds=1000$roundstoolow$xf5WsimL7u0Oyrw684piDNGSk656sExcVvnSu0d.ue9"),
            (
                "secret",
                "$6$rounds=1400$anotherlongsal$2UNHjgR5fs2gMBFKF708oGzVDO5k557uweXrjpAOPZEnS2dVV7LOQoBnw/PYoSfYQbSh7ozXb1d9Y2gAWbE771",
            ),
            ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            (
                "password",
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            ),
        ];
        for (password, text) in cases {
            let hash = PasswordHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(verify(password.as_bytes(), &hash), "{text}");
            for wrong in ["", "Secret", "secret ", "U*V", "passwore"] {
                assert!(wrong == password || !verify(wrong.as_bytes(), &hash), "{text} {wrong}");
            }
        }
    }
}
