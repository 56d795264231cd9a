//! One password hash of a users file, and whether a password has it.
//!
//! bcrypt, apr1, SHA-256-crypt, SHA-512-crypt, argon2. Must not know whose it is. A hash is checked when it is loaded, its cost
//! included, so that verifying cannot fail and cannot be made to take minutes.

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use md5::{Digest, Md5};
use sha_crypt::ShaCrypt;
use subtle::ConstantTimeEq;

/// A password hash.
#[derive(Clone)]
pub(super) enum Verifier {
    Bcrypt(Box<str>),
    Apr1 { salt: Box<str>, hash: Box<str> },
    ShaCrypt(Box<str>),
    Argon2(Box<PasswordHash>),
}

/// A password hash that is not accepted. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    /// Plain text, DES, MD5, SHA-1.
    #[error(
        "unknown or unsafe password hash: bcrypt ($2y$), apr1 ($apr1$), SHA-crypt ($5$, $6$) and argon2 ($argon2id$) are accepted"
    )]
    Kind,
    /// It says which it is and then is not one.
    #[error("malformed {0} hash")]
    Malformed(&'static str),
    /// Would take seconds, or a gigabyte.
    #[error("{0} hash with a cost that is too high")]
    Cost(&'static str),
}

impl Verifier {
    /// From its text in the users file.
    pub(super) fn parse(text: &str) -> Result<Self, BadHash> {
        let kind = text.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(kind, _)| kind);
        match kind {
            Some("2a" | "2b" | "2y") => bcrypt(text),
            Some("apr1") => apr1(text),
            Some("5" | "6") => sha_crypt(text),
            Some("argon2d" | "argon2i" | "argon2id") => argon2(text),
            _ => Err(BadHash::Kind),
        }
    }

    /// Whether this password has this hash. Takes as long as the hash demands, whatever the answer.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Apr1 { salt, hash } => {
                apr1_hash(password, salt.as_bytes()).as_slice().ct_eq(hash.as_bytes()).into()
            }
            Self::ShaCrypt(hash) => ShaCrypt::default().verify_password(password, &**hash).is_ok(),
            Self::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
        }
    }
}

fn bcrypt(text: &str) -> Result<Verifier, BadHash> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| BadHash::Malformed("bcrypt"))?;
    match parts.get_cost() {
        0..4 => Err(BadHash::Malformed("bcrypt")),
        4..=BCRYPT_COST_MAX => Ok(Verifier::Bcrypt(text.into())),
        _ => Err(BadHash::Cost("bcrypt")),
    }
}

fn apr1(text: &str) -> Result<Verifier, BadHash> {
    let malformed = BadHash::Malformed("apr1");
    let (salt, hash) = text["$apr1$".len()..].split_once('$').ok_or(malformed)?;
    if !(1..=8).contains(&salt.len()) || hash.len() != 22 || !is_crypt_text(hash) || !salt.is_ascii() {
        return Err(malformed);
    }
    Ok(Verifier::Apr1 { salt: salt.into(), hash: hash.into() })
}

fn sha_crypt(text: &str) -> Result<Verifier, BadHash> {
    let malformed = BadHash::Malformed("SHA-crypt");
    let length = if text.starts_with("$5$") { 43 } else { 86 };
    let mut fields = text[3..].split('$');
    let mut field = fields.next().ok_or(malformed)?;
    if let Some(rounds) = field.strip_prefix("rounds=") {
        match rounds.parse() {
            Ok(1_000..SHA_ROUNDS_TOO_MANY) => {}
            Ok(SHA_ROUNDS_TOO_MANY..) => return Err(BadHash::Cost("SHA-crypt")),
            _ => return Err(malformed),
        }
        field = fields.next().ok_or(malformed)?;
    }
    let hash = fields.next().ok_or(malformed)?;
    let is_salt = (1..=16).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_salt || hash.len() != length || !is_crypt_text(hash) || fields.next().is_some() {
        return Err(malformed);
    }
    Ok(Verifier::ShaCrypt(text.into()))
}

fn argon2(text: &str) -> Result<Verifier, BadHash> {
    let malformed = |_| BadHash::Malformed("argon2");
    let hash = PasswordHash::new(text).map_err(|_| BadHash::Malformed("argon2"))?;
    let params = argon2::Params::try_from(&hash).map_err(malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(BadHash::Malformed("argon2"));
    }
    if params.m_cost() > ARGON2_KIB_MAX || params.t_cost() > ARGON2_PASSES_MAX {
        return Err(BadHash::Cost("argon2"));
    }
    Ok(Verifier::Argon2(Box::new(hash)))
}

fn is_crypt_text(text: &str) -> bool {
    text.bytes().all(|byte| CRYPT_ALPHABET.contains(&byte))
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

/// About five seconds.
const BCRYPT_COST_MAX: u32 = 16;
const SHA_ROUNDS_TOO_MANY: u32 = 5_000_001;
const ARGON2_KIB_MAX: u32 = 256 * 1024;
const ARGON2_PASSES_MAX: u32 = 32;

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
        for (password, hash) in cases {
            let verifier = Verifier::parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
            assert!(verifier.verify(password.as_bytes()), "{hash}");
            for wrong in ["", "Secret", "secret ", "U*V", "passwore"] {
                assert!(wrong == password || !verifier.verify(wrong.as_bytes()), "{hash} {wrong}");
            }
        }
    }

    #[test]
    fn what_is_not_accepted() {
        let kinds = [
            "plain",
            "",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "rqXexS6ZhobKA",
            "$1$salt$hash",
            "$",
            "$$",
            "$2x$05$",
        ];
        for hash in kinds {
            assert_eq!(Verifier::parse(hash).err(), Some(BadHash::Kind), "{hash}");
        }
        let malformed = [
            "$2y$05$short",
            "$2y$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$apr1$abcdefgh",
            "$apr1$$x",
            "$apr1$abcdefghi$h9FWgUz3n9YxylKLlR5SQ/",
            "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ",
            "$5$salt",
            "$5$salt$hash",
            "$5$rounds=10$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$5$rounds=x$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$5$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5$x",
            "$argon2id$",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ];
        for hash in malformed {
            assert!(matches!(Verifier::parse(hash).err(), Some(BadHash::Malformed(_))), "{hash}");
        }
        let costly = [
            "$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$5$rounds=999999999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ];
        for hash in costly {
            assert!(matches!(Verifier::parse(hash).err(), Some(BadHash::Cost(_))), "{hash}");
        }
    }
}
