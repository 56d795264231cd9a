//! Who is it? What a request says of that (`Proxy-Authorization`), asked of memory first, and of threads that take their
//! time where nobody else waits for them.
//!
//! Must not know what an answer looks like. Invariants: identity is of a request; what a client cannot know (whether there is such
//! a user) it cannot find out by the clock; verifying takes no more than the threads of [`Verifiers`], whoever asks how often.

mod guesses;
mod verifiers;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{guesses::Guesses, verifiers::Verifiers};
use crate::{
    config::settings::UsersFile,
    policy::auth::{Credentials, Remembered, Users, token},
    shared_memory::Seat,
};

/// How long somebody who does not come back is remembered.
const MEMORY: Duration = Duration::from_secs(600);

/// So many are remembered by a worker.
const MEMORIES: usize = 10_000;

/// Asks who somebody is, by one users file.
#[derive(Debug)]
pub struct Login {
    remembered: Remembered,
    guesses: Guesses,
    verifiers: Verifiers,
}

/// Why nobody knows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotKnown {
    /// No credentials, or none that are right.
    Unknown,
    /// More wait to be verified than can be.
    Busy,
    /// The client has guessed wrongly too often, and may try again in so many seconds.
    Guessing(u64),
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No randomness for a key.
    #[error("the system has no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// No thread to verify on.
    #[error("no thread can be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Login {
    /// For the users of `file`, so many of whom are verified at once as there are `threads`. Guesses are counted in the
    /// memory of `seat`.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn new(file: &UsersFile, threads: usize, seat: Seat) -> Result<Self, LoginError> {
        Ok(Self {
            remembered: Remembered::new(MEMORY, MEMORIES)?,
            verifiers: Verifiers::start(Users::new(&file.users), threads, &seat)?,
            guesses: Guesses::new(seat),
        })
    }

    /// Who sends these values of `Proxy-Authorization`. Waits for a verification until `deadline` at most. Dropped, it is not verified any more unless
    /// that has begun.
    pub(super) async fn who(
        &self,
        mut values: impl Iterator<Item = &[u8]>,
        client: IpAddr,
        deadline: Duration,
    ) -> Result<Arc<str>, NotKnown> {
        // Two who are said to be the same are nobody.
        let (Some(value), None) = (values.next(), values.next()) else { return Err(NotKnown::Unknown) };
        let token = token(value).map_err(|_| NotKnown::Unknown)?;
        if let Some(user) = self.remembered.recall(token, Instant::now()) {
            return Ok(user);
        }
        let credentials = Credentials::from_header(value).map_err(|_| NotKnown::Unknown)?;
        self.guesses.may_guess(client).map_err(NotKnown::Guessing)?;
        let verified = self.verifiers.verify(credentials);
        let verified = tokio::time::timeout(deadline, verified).await.ok().flatten().ok_or(NotKnown::Busy)?;
        let Some(user) = verified else {
            self.guesses.was_wrong(client);
            return Err(NotKnown::Unknown);
        };
        self.remembered.remember(token, Arc::clone(&user), Instant::now());
        Ok(user)
    }
}
