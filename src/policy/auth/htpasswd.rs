//! The users file: a line `name:hash` for each user, as `htpasswd` writes it.
//!
//! Must not know files or requests. All faults of a text are reported together, by line and without what the line says;
//! a text with a fault makes no table.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    credentials::Credentials,
    verifier::{BadHash, Verifier},
};

/// The users. Immutable: a reload builds another.
#[derive(Default)]
pub struct Users {
    users: Vec<(Arc<str>, Verifier)>,
    index: HashMap<Arc<str>, usize>,
}

/// A line of the users file that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}")]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub reason: BadLineReason,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLineReason {
    /// No colon.
    #[error("no colon: \"name:hash\" is accepted")]
    NoColon,
    /// See [`BadUserName`].
    #[error(transparent)]
    Name(#[from] BadUserName),
    /// See [`BadHash`].
    #[error(transparent)]
    Hash(#[from] BadHash),
    /// Two lines for one user.
    #[error("user {0:?} is there twice")]
    Twice(String),
}

/// Not a name of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed user name: 1 to 255 bytes, without control characters and \":\", are accepted")]
pub struct BadUserName;

/// Why no line could be made for a user.
#[derive(Debug, thiserror::Error)]
pub enum HashLineError {
    /// See [`BadUserName`].
    #[error(transparent)]
    Name(#[from] BadUserName),
    /// bcrypt takes 72 bytes and would pass over the rest.
    #[error("the password has more than {PASSWORD_MAX} bytes")]
    TooLong,
    /// Nothing at all, or a NUL that no client can send.
    #[error("the password is empty or contains a NUL")]
    NoPassword,
    /// No randomness for the salt.
    #[error("cannot hash the password")]
    Hash(#[source] bcrypt::BcryptError),
}

impl Users {
    /// From the text of a users file. Empty lines and lines that begin with `#` mean nothing.
    ///
    /// # Errors
    /// Every line that is not accepted.
    pub fn parse(text: &str) -> Result<Self, Vec<BadLine>> {
        let mut users = Self::default();
        let mut faults = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if !line.is_empty() && !line.starts_with('#') {
                faults.extend(users.insert(line).err().map(|reason| BadLine { line: index + 1, reason }));
            }
        }
        if faults.is_empty() { Ok(users) } else { Err(faults) }
    }

    /// The user with this name and password, and nobody else.
    ///
    /// Blocks for as long as the users file says that a guess should take. For a name that is not in it, another user's hash
    /// is tried in vain: always the same for the same name, so that asking twice tells nothing either.
    pub fn verify(&self, credentials: &Credentials) -> Option<Arc<str>> {
        let known = self.index.get(credentials.user()).copied();
        let (user, verifier) = self.users.get(known.unwrap_or_else(|| self.stand_in(credentials.user())))?;
        let is_right = verifier.verify(credentials.password());
        (is_right && known.is_some()).then(|| Arc::clone(user))
    }

    /// Whether there is such a user. For rules that name users.
    pub fn contains(&self, user: &str) -> bool {
        self.index.contains_key(user)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn insert(&mut self, line: &str) -> Result<(), BadLineReason> {
        let (name, hash) = line.split_once(':').ok_or(BadLineReason::NoColon)?;
        check_name(name)?;
        let verifier = Verifier::parse(hash)?;
        let name: Arc<str> = name.into();
        if self.index.insert(Arc::clone(&name), self.users.len()).is_some() {
            return Err(BadLineReason::Twice(name.as_ref().to_owned()));
        }
        self.users.push((name, verifier));
        Ok(())
    }

    /// The index's hasher has random keys, so nobody can tell which user stands in for which name.
    fn stand_in(&self, name: &str) -> usize {
        let hash = std::hash::BuildHasher::hash_one(self.index.hasher(), name);
        usize::try_from(hash % self.users.len().max(1) as u64).unwrap_or_default()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The line of a users file for this user and password: bcrypt, which other programs read, too. Takes some 0.2 s.
///
/// # Errors
/// A name or password that cannot be in a users file.
pub fn hash_line(user: &str, password: &[u8]) -> Result<String, HashLineError> {
    hash_line_with(user, password, BCRYPT_COST)
}

fn hash_line_with(user: &str, password: &[u8], cost: u32) -> Result<String, HashLineError> {
    check_name(user)?;
    if password.is_empty() || password.contains(&0) {
        return Err(HashLineError::NoPassword);
    }
    if password.len() > PASSWORD_MAX {
        return Err(HashLineError::TooLong);
    }
    let parts = bcrypt::hash_with_result(password, cost).map_err(HashLineError::Hash)?;
    Ok(format!("{user}:{}", parts.format_for_version(bcrypt::Version::TwoY)))
}

fn check_name(name: &str) -> Result<(), BadUserName> {
    let is_name = (1..=255).contains(&name.len())
        && !name.contains(':')
        && !name.chars().any(char::is_control)
        && !name.starts_with('#')
        && name.trim() == name;
    if is_name { Ok(()) } else { Err(BadUserName) }
}

const BCRYPT_COST: u32 = 12;
const PASSWORD_MAX: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let pair = STANDARD.encode(format!("{user}:{password}"));
        Credentials::from_header(format!("Basic {pair}").as_bytes()).unwrap()
    }

    const FILE: &str = "# users\r\n\r\nann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\r\n\
        b\u{f6}b b:$5$rounds=1000$roundstoolow$xf5WsimL7u0Oyrw684piDNGSk656sExcVvnSu0d.ue9\n";

    #[test]
    fn users_are_verified() {
        let users = Users::parse(FILE).unwrap();
        assert_eq!(users.len(), 2);
        let verify =
            |user, password| users.verify(&credentials(user, password)).map(|user| user.as_ref().to_owned());
        assert_eq!(verify("ann", "secret").as_deref(), Some("ann"));
        assert_eq!(verify("b\u{f6}b b", "secret").as_deref(), Some("b\u{f6}b b"));
        for (user, password) in
            [("ann", "Secret"), ("ann", ""), ("carl", "secret"), ("", "secret"), ("Ann", "secret")]
        {
            assert_eq!(verify(user, password), None, "C66 {user}");
        }
        assert!(users.contains("ann") && !users.contains("carl"));
        assert_eq!(Users::default().verify(&credentials("ann", "secret")), None);
    }

    #[test]
    fn all_faults_are_reported_and_no_hash_is_shown() {
        let text = "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\nnocolon\n:x\nbob:plaintext\nann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n\
            carl:$2y$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
        let faults = Users::parse(text).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert_eq!(faults[2].reason, BadLineReason::Hash(BadHash::Kind));
        assert!(!format!("{faults:?}").contains("plaintext"));
    }

    #[test]
    fn a_line_made_is_a_line_read() {
        let line = hash_line_with("ann", b"s\xc3\xa9cret: with colon", 4).unwrap();
        assert!(line.starts_with("ann:$2y$04$"), "{line}");
        let users = Users::parse(&line).unwrap();
        assert!(users.verify(&credentials("ann", "s\u{e9}cret: with colon")).is_some());
        assert!(matches!(hash_line_with("a:b", b"x", 4), Err(HashLineError::Name(_))));
        assert!(matches!(hash_line_with("", b"x", 4), Err(HashLineError::Name(_))));
        assert!(matches!(hash_line_with("a", b"", 4), Err(HashLineError::NoPassword)));
        assert!(matches!(hash_line_with("a", &[b'x'; 73], 4), Err(HashLineError::TooLong)));
    }
}
