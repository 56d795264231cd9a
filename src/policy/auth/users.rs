//! Who has which password.
//!
//! Must not know files or requests. Invariant: a question takes as long for a name that is not there as for one that is, so that
//! nobody learns names by the clock.

use std::{collections::HashMap, fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{credentials::Credentials, verifier};
use crate::config::password_hash::PasswordHash;

/// The users. Immutable: a reload builds another.
pub struct Users {
    users: Vec<(Arc<str>, PasswordHash)>,
    index: HashMap<Arc<str>, usize>,
    /// Made of all hashes, so it is secret as they are, and the same in every worker and after every reload.
    secret: [u8; 32],
}

impl Users {
    /// These, each of whom is there once.
    pub fn new(users: &[(Arc<str>, PasswordHash)]) -> Self {
        let index = users.iter().enumerate().map(|(at, (name, _))| (Arc::clone(name), at)).collect();
        let hashes = users.iter().fold(Sha256::new(), |all, (_, hash)| all.chain_update(hash.as_str()));
        Self { users: users.to_vec(), index, secret: hashes.finalize().into() }
    }

    /// The user with this name and password, and nobody else.
    ///
    /// Blocks for as long as the users file says that a guess should take. For a name that is not in it, another user's hash
    /// is tried in vain: always the same one for the same name, whichever worker is asked, so that asking twice tells
    /// nothing either.
    pub fn verify(&self, credentials: &Credentials) -> Option<Arc<str>> {
        let known = self.index.get(credentials.user()).copied();
        let (user, hash) = self.users.get(known.unwrap_or_else(|| self.stand_in(credentials.user())))?;
        let is_right = verifier::verify(credentials.password(), hash);
        (is_right && known.is_some()).then(|| Arc::clone(user))
    }

    /// Which user's hash is tried for a name that is not there. With hashes of several costs, names that are not there are
    /// spread over them as those that are: nobody who has not seen the file can tell.
    fn stand_in(&self, name: &str) -> usize {
        let hash = Sha256::new().chain_update(self.secret).chain_update(name).finalize();
        let number = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number % self.users.len().max(1) as u64).unwrap_or_default()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[(&str, &str)]) -> Users {
        let line = |(name, hash): &(&str, &str)| ((*name).into(), PasswordHash::parse(hash).unwrap());
        Users::new(&lines.iter().map(line).collect::<Vec<_>>())
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let pair = STANDARD.encode(format!("{user}:{password}"));
        Credentials::from_header(format!("Basic {pair}").as_bytes()).unwrap()
    }

    const ANN: &str = "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/";
    const BOB: &str = "$5$rounds=1000$roundstoolow$xf5WsimL7u0Oyrw684piDNGSk656sExcVvnSu0d.ue9";

    #[test]
    fn users_are_verified() {
        let users = table(&[("ann", ANN), ("b\u{f6}b b", BOB)]);
        let verify =
            |user, password| users.verify(&credentials(user, password)).map(|user| user.as_ref().to_owned());
        assert_eq!(verify("ann", "secret").as_deref(), Some("ann"));
        assert_eq!(verify("b\u{f6}b b", "secret").as_deref(), Some("b\u{f6}b b"));
        for (user, password) in
            [("ann", "Secret"), ("ann", ""), ("carl", "secret"), ("", "secret"), ("Ann", "secret")]
        {
            assert_eq!(verify(user, password), None, "C66 {user}");
        }
        assert_eq!(Users::new(&[]).verify(&credentials("ann", "secret")), None);
    }

    #[test]
    fn strangers_are_spread_over_the_hashes_the_same_way_everywhere() {
        let lines = [("ann", ANN), ("bob", BOB)];
        let (one, other) = (table(&lines), table(&lines));
        let names: Vec<_> = (0..64).map(|number| format!("nobody{number}")).collect();
        let chosen: Vec<_> = names.iter().map(|name| one.stand_in(name)).collect();
        assert_eq!(chosen, names.iter().map(|name| other.stand_in(name)).collect::<Vec<_>>());
        let first = chosen.iter().filter(|at| **at == 0).count();
        assert!((8..=56).contains(&first), "{chosen:?}");
        let another = table(&[("ann", BOB), ("bob", ANN)]);
        assert_ne!(chosen, names.iter().map(|name| another.stand_in(name)).collect::<Vec<_>>());
    }
}
