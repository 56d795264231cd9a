//! `Proxy-Authorization: Basic …` (RFC 7617).
//!
//! Must not know any user. What it reads it keeps to itself.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::config::users::USER_NAME_MAX;

/// What a client says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `user:password`.
    pair: Vec<u8>,
    colon: usize,
}

/// The field's value is not Basic credentials. Says nothing of what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// Digest, Negotiate, nothing at all.
    #[error("authentication scheme is not Basic")]
    Scheme,
    /// Not base64 of something with a colon in it, a user name that is not text, or too much of either.
    #[error("malformed Basic credentials")]
    Malformed,
}

/// What stands behind the scheme in a value of `Proxy-Authorization: Basic …`: the same bytes for the same user and password,
/// however the scheme and the space behind it are written.
///
/// # Errors
/// Another scheme, or none.
pub fn token(value: &[u8]) -> Result<&[u8], BadCredentials> {
    let space = value.iter().position(|&byte| byte == b' ').ok_or(BadCredentials::Scheme)?;
    let (scheme, token) = value.split_at(space);
    if scheme.eq_ignore_ascii_case(b"basic") { Ok(token.trim_ascii()) } else { Err(BadCredentials::Scheme) }
}

impl Credentials {
    /// From the value of `Proxy-Authorization`.
    ///
    /// # Errors
    /// [`BadCredentials`]: to be answered as if there were none.
    pub fn from_header(value: &[u8]) -> Result<Self, BadCredentials> {
        let token = token(value)?;
        if token.len() > TOKEN_MAX {
            return Err(BadCredentials::Malformed);
        }
        let pair = STANDARD.decode(token).map_err(|_| BadCredentials::Malformed)?;
        // A password may have colons in it, a name may not.
        let colon = pair.iter().position(|&byte| byte == b':').ok_or(BadCredentials::Malformed)?;
        let user = std::str::from_utf8(&pair[..colon]).map_err(|_| BadCredentials::Malformed)?;
        if user.chars().any(char::is_control) || pair.contains(&0) || pair.len() - colon > PASSWORD_MAX + 1 {
            return Err(BadCredentials::Malformed);
        }
        Ok(Self { pair, colon })
    }

    /// The name, not verified.
    pub fn user(&self) -> &str {
        std::str::from_utf8(&self.pair[..self.colon]).expect("checked when it was read")
    }

    pub(super) fn password(&self) -> &[u8] {
        &self.pair[self.colon + 1..]
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user()).finish_non_exhaustive()
    }
}

/// The longest password, in bytes: SHA-crypt takes time by the square of it.
const PASSWORD_MAX: usize = 256;

/// As base64, a name and a password that are as long as they may be.
const TOKEN_MAX: usize = (USER_NAME_MAX + 1 + PASSWORD_MAX).div_ceil(3) * 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_c66_c67() {
        type Expected = Result<(&'static str, &'static [u8]), BadCredentials>;
        let cases: &[(&[u8], Expected)] = &[
            (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Ok(("Aladdin", b"open sesame"))),
            (b"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Ok(("Aladdin", b"open sesame"))),
            (b"BASIC   dGVzdDoxMjPCow== ", Ok(("test", "123\u{a3}".as_bytes()))),
            (b"Basic YTpiOmM6", Ok(("a", b"b:c:"))),
            (b"Basic YTo=", Ok(("a", b""))),
            (b"Basic OmI=", Ok(("", b"b"))),
            (b"Basic YTrp", Ok(("a", b"\xe9"))),
            (b"Basic 6Tph", Err(BadCredentials::Malformed)),
            (b"Basic YQ==", Err(BadCredentials::Malformed)),
            (b"Basic YTpi=", Err(BadCredentials::Malformed)),
            (b"Basic YTpi YTpi", Err(BadCredentials::Malformed)),
            (b"Basic YTphAA==", Err(BadCredentials::Malformed)),
            (b"Basic YQo6YQ==", Err(BadCredentials::Malformed)),
            (b"Basic ", Err(BadCredentials::Malformed)),
            (b"Basic", Err(BadCredentials::Scheme)),
            (b"Bearer YTpi", Err(BadCredentials::Scheme)),
            (b"", Err(BadCredentials::Scheme)),
        ];
        for (value, expected) in cases {
            let found = Credentials::from_header(value);
            let found = found.as_ref().map(|found| (found.user(), found.password())).map_err(|error| *error);
            assert_eq!(found, *expected, "C66, C67 {}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn credentials_without_end_are_none() {
        let read = |password: usize| {
            let pair = STANDARD.encode(format!("{}:{}", "u".repeat(255), "p".repeat(password)));
            Credentials::from_header(format!("Basic {pair}").as_bytes()).map(|found| found.password().len())
        };
        assert_eq!(read(256), Ok(256));
        assert_eq!(read(257), Err(BadCredentials::Malformed));
        assert_eq!(read(48_000), Err(BadCredentials::Malformed));
    }

    #[test]
    fn passwords_are_not_shown() {
        let credentials = Credentials::from_header(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert!(!format!("{credentials:?}").contains("sesame"));
    }
}
