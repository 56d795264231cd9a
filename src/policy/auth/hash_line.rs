//! A line for the users file.
//!
//! Must not know where the password comes from. It is not kept.

use crate::config::users::{BadUserName, check_user_name};

/// Why no line could be made for a user.
#[derive(Debug, thiserror::Error)]
pub enum HashLineError {
    /// See [`BadUserName`].
    #[error(transparent)]
    Name(#[from] BadUserName),
    /// bcrypt takes 72 bytes and would pass over the rest.
    #[error("the password has more than {PASSWORD_MAX} bytes")]
    TooLong,
    /// Nothing at all.
    #[error("the password is empty")]
    Empty,
    /// A NUL, which no client can send.
    #[error("the password contains a NUL")]
    Nul,
    /// No randomness for the salt.
    #[error("the password cannot be hashed: {0}")]
    Hash(#[source] bcrypt::BcryptError),
}

/// The line of a users file for this user and password: bcrypt, which other programs read, too. Takes some 0.2 s.
///
/// # Errors
/// A name or password that cannot be in a users file.
pub fn hash_line(user: &str, password: &[u8]) -> Result<String, HashLineError> {
    hash_line_with(user, password, BCRYPT_COST)
}

fn hash_line_with(user: &str, password: &[u8], cost: u32) -> Result<String, HashLineError> {
    check_user_name(user)?;
    if password.is_empty() {
        return Err(HashLineError::Empty);
    }
    if password.contains(&0) {
        return Err(HashLineError::Nul);
    }
    if password.len() > PASSWORD_MAX {
        return Err(HashLineError::TooLong);
    }
    let parts = bcrypt::hash_with_result(password, cost).map_err(HashLineError::Hash)?;
    Ok(format!("{user}:{}", parts.format_for_version(bcrypt::Version::TwoY)))
}

/// 4,096 rounds, some 0.2 s.
const BCRYPT_COST: u32 = 12;
const PASSWORD_MAX: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::password_hash::PasswordHash, policy::auth::verifier::verify};

    #[test]
    fn a_line_made_is_a_line_read() {
        let line = hash_line_with("ann", b"s\xc3\xa9cret: with colon", 4).unwrap();
        let hash = line.strip_prefix("ann:").unwrap();
        assert!(hash.starts_with("$2y$04$"), "{line}");
        let hash = PasswordHash::parse(hash).unwrap();
        assert!(verify("s\u{e9}cret: with colon".as_bytes(), &hash) && !verify(b"secret", &hash));
        assert!(matches!(hash_line_with("a:b", b"x", 4), Err(HashLineError::Name(_))));
        assert!(matches!(hash_line_with("", b"x", 4), Err(HashLineError::Name(_))));
        assert!(matches!(hash_line_with("a", b"", 4), Err(HashLineError::Empty)));
        assert!(matches!(hash_line_with("a", b"x\0", 4), Err(HashLineError::Nul)));
        assert!(matches!(hash_line_with("a", &[b'x'; 73], 4), Err(HashLineError::TooLong)));
    }
}
