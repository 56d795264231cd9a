//! One password hash of a users file: bcrypt, apr1, SHA-256-crypt, SHA-512-crypt or argon2.
//!
//! Must not know whose it is, nor verify anything. A hash is checked when it is loaded, its cost included, so that verifying it
//! later cannot fail and cannot be made to take minutes. It shows itself to nobody.

use std::fmt;

/// A password hash that is well formed and does not cost too much.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    scheme: Scheme,
    text: Box<str>,
}

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Apache's variant of MD5-crypt: 1,000 rounds, which is little today.
    Apr1,
    /// argon2d, argon2i, argon2id.
    Argon2,
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
    /// SHA-256-crypt and SHA-512-crypt.
    ShaCrypt,
}

/// A password hash that is not accepted. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    /// Plain text, DES, MD5, SHA-1.
    #[error(
        "plain text, or a password hash that is unknown or unsafe; bcrypt ($2y$), apr1 ($apr1$), SHA-crypt ($5$, $6$) and argon2 ($argon2id$) are accepted"
    )]
    Kind,
    /// It says which it is and then is not one.
    #[error("malformed {0} hash")]
    Malformed(&'static str),
    /// Would take many seconds, or gigabytes.
    #[error("{0} hash with a cost that is too high: it would take seconds to verify")]
    Cost(&'static str),
}

impl PasswordHash {
    /// From its text in the users file.
    ///
    /// # Errors
    ///
    /// [`BadHash`].
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        let kind = text.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(kind, _)| kind);
        let scheme = match kind {
            Some("2a" | "2b" | "2y") => bcrypt(text).map(|()| Scheme::Bcrypt),
            Some("apr1") => apr1(text).map(|()| Scheme::Apr1),
            Some("5" | "6") => sha_crypt(text).map(|()| Scheme::ShaCrypt),
            Some("argon2d" | "argon2i" | "argon2id") => argon2(text).map(|()| Scheme::Argon2),
            _ => Err(BadHash::Kind),
        }?;
        Ok(Self { scheme, text: text.into() })
    }

    /// How.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// As it stands in the file. For whoever verifies.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

fn bcrypt(text: &str) -> Result<(), BadHash> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| BadHash::Malformed("bcrypt"))?;
    match parts.get_cost() {
        4..=BCRYPT_COST_MAX => Ok(()),
        0..4 => Err(BadHash::Malformed("bcrypt")),
        _ => Err(BadHash::Cost("bcrypt")),
    }
}

fn apr1(text: &str) -> Result<(), BadHash> {
    let malformed = BadHash::Malformed("apr1");
    let (salt, hash) = text["$apr1$".len()..].split_once('$').ok_or(malformed)?;
    let is_salt = (1..=8).contains(&salt.len()) && salt.bytes().all(|byte| byte.is_ascii_graphic());
    if is_salt && hash.len() == 22 && is_crypt_text(hash) { Ok(()) } else { Err(malformed) }
}

fn sha_crypt(text: &str) -> Result<(), BadHash> {
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
    let is_whole = hash.len() == length && is_crypt_text(hash) && fields.next().is_none();
    if is_salt && is_whole { Ok(()) } else { Err(malformed) }
}

fn argon2(text: &str) -> Result<(), BadHash> {
    let malformed = BadHash::Malformed("argon2");
    let hash = argon2::PasswordHash::new(text).map_err(|_| malformed)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(malformed);
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > ARGON2_KIB_MAX || work > ARGON2_WORK_MAX {
        return Err(BadHash::Cost("argon2"));
    }
    Ok(())
}

fn is_crypt_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'))
}

/// About five seconds.
const BCRYPT_COST_MAX: u32 = 16;
const SHA_ROUNDS_TOO_MANY: u32 = 5_000_001;
/// Each of those who verify needs so much memory.
const ARGON2_KIB_MAX: u32 = 256 << 10;
/// KiB times passes.
const ARGON2_WORK_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted() {
        for (scheme, hash) in [
            (Scheme::Apr1, "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
            (Scheme::ShaCrypt, "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            (Scheme::ShaCrypt, "$5$rounds=1000$roundstoolow$xf5WsimL7u0Oyrw684piDNGSk656sExcVvnSu0d.ue9"),
            (Scheme::Bcrypt, "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            (
                Scheme::Argon2,
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            ),
        ] {
            let found = PasswordHash::parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
            assert_eq!((found.scheme(), found.as_str()), (scheme, hash));
            assert!(!format!("{found:?}").contains(&hash[10..]), "{found:?}");
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
            assert_eq!(PasswordHash::parse(hash).err(), Some(BadHash::Kind), "{hash}");
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
            assert!(matches!(PasswordHash::parse(hash).err(), Some(BadHash::Malformed(_))), "{hash}");
        }
        let costly = [
            "$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            "$5$rounds=999999999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=262144,t=30,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ];
        for hash in costly {
            assert!(matches!(PasswordHash::parse(hash).err(), Some(BadHash::Cost(_))), "{hash}");
        }
    }
}
