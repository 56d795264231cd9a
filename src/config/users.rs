//! The users file: a line `name:hash` for each user, as `htpasswd` writes it.
//!
//! Must not know requests. All faults of a text are reported together, by line and without what the line says; a text with a
//! fault makes no list.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use super::password_hash::{BadHash, PasswordHash};

/// The users file as it was read. Two are equal when nobody's login differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersFile {
    /// Where it was read.
    pub path: PathBuf,
    /// Each user once, with the hash of the password. Never empty.
    pub users: Vec<(Arc<str>, PasswordHash)>,
}

/// A line of the users file that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: BadLineReason,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLineReason {
    /// No colon.
    #[error("a line without a colon; name:hash is accepted")]
    NoColon,
    /// See [`BadUserName`].
    #[error(transparent)]
    Name(#[from] BadUserName),
    /// See [`BadHash`].
    #[error(transparent)]
    Hash(#[from] BadHash),
    /// Two lines for one user.
    #[error("a second line for the user {0:?}; one is accepted")]
    Twice(String),
}

/// Not a name of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed user name; 1 to {USER_NAME_MAX} bytes without control characters and colons, and without space around them, are accepted"
)]
pub struct BadUserName;

/// The longest name of a user, in bytes.
pub const USER_NAME_MAX: usize = 255;

/// Whether somebody can be called this: it must survive a users file and `Proxy-Authorization`.
///
/// # Errors
///
/// It cannot be.
pub fn check_user_name(name: &str) -> Result<(), BadUserName> {
    let is_name = (1..=USER_NAME_MAX).contains(&name.len())
        && !name.contains(':')
        && !name.chars().any(char::is_control)
        && !name.starts_with('#')
        && name.trim() == name;
    if is_name { Ok(()) } else { Err(BadUserName) }
}

/// The users of a text. Empty lines and lines that begin with `#` mean nothing.
///
/// # Errors
///
/// Every line that is not accepted; none of the reasons tells what stands behind the colon.
pub fn parse(text: &str) -> Result<Vec<(Arc<str>, PasswordHash)>, Vec<BadLine>> {
    let (mut users, mut known, mut faults) = (Vec::new(), HashSet::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match user(line, &mut known) {
            Ok(user) => users.push(user),
            Err(reason) => faults.push(BadLine { line: index + 1, reason }),
        }
    }
    if faults.is_empty() { Ok(users) } else { Err(faults) }
}

fn user(line: &str, known: &mut HashSet<Arc<str>>) -> Result<(Arc<str>, PasswordHash), BadLineReason> {
    let (name, hash) = line.split_once(':').ok_or(BadLineReason::NoColon)?;
    check_user_name(name)?;
    let hash = PasswordHash::parse(hash)?;
    let name: Arc<str> = name.into();
    if !known.insert(Arc::clone(&name)) {
        return Err(BadLineReason::Twice(name.as_ref().to_owned()));
    }
    Ok((name, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/";

    #[test]
    fn one_line_a_user() {
        let text = format!(
            "\u{23} users\r\n\r\n{ANN}\r\nb\u{f6}b b:$5$rounds=1000$roundstoolow$xf5WsimL7u0Oyrw684piDNGSk656sExcVvnSu0d.ue9\n"
        );
        let users = parse(&text).unwrap();
        let names: Vec<_> = users.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["ann", "b\u{f6}b b"]);
        assert_eq!(parse("# nobody\n"), Ok(vec![]));
    }

    #[test]
    fn all_faults_are_reported_and_no_hash_is_shown() {
        let text = format!(
            "{ANN}\nnocolon\n:x\nbob:plaintext\n{ANN}\ncarl:$2y$99$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
        );
        let faults = parse(&text).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert_eq!(faults[2].reason, BadLineReason::Hash(BadHash::Kind));
        assert!(faults.iter().all(|fault| !fault.reason.to_string().contains("plaintext")), "{faults:?}");
    }

    #[test]
    fn names() {
        for name in ["a", "ann@example.com", "b\u{f6}b", "a b", &"x".repeat(255)] {
            assert_eq!(check_user_name(name), Ok(()), "{name}");
        }
        for name in ["", "a:b", "#a", " a", "a ", "a\tb", "a\u{7f}", &"x".repeat(256)] {
            assert_eq!(check_user_name(name), Err(BadUserName), "{name}");
        }
    }
}
