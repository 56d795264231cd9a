//! What an operator can tell an instance to do, over HTTP, and what comes of it.

use std::{borrow::Cow, num::NonZeroUsize};

use http::StatusCode;
use thiserror::Error;

use crate::config::settings::MAX_PROCESSES;

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration again and put it in force.
    Reload,
    /// Open the log files again.
    ReopenLogs,
    /// Replace all workers, one after the other.
    Restart,
    /// Have so many workers.
    Scale(NonZeroUsize),
    /// Finish what is there and end.
    Stop,
}

/// A request that names no command, or names one wrongly.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such command.
    #[error(
        "there is no such command; accepted are /reload, /restart, /scale?workers=N, /stop and /reopen-logs"
    )]
    Unknown,
    /// `scale` without a number, or with an impossible one.
    #[error("workers={0:?}; a whole number from 1 to {MAX_PROCESSES} is accepted")]
    Workers(String),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not: this process ends before, and another goes on in its place. It is known when [`super::Status`] counts so
    /// many reloads.
    Continues(u64),
    /// As it was asked for; what was done.
    Done(String),
    /// It could not be done, or not to the end; why, and what is in force now.
    Failed(String),
    /// The configuration is not valid: every problem. Nothing was changed.
    Invalid(String),
}

impl Command {
    /// The path under which the command is posted, with its query.
    #[must_use]
    pub fn target(self) -> String {
        match self {
            Self::Reload => "/reload".into(),
            Self::ReopenLogs => "/reopen-logs".into(),
            Self::Restart => "/restart".into(),
            Self::Scale(workers) => format!("/scale?workers={workers}"),
            Self::Stop => "/stop".into(),
        }
    }

    /// The command that a path and its query name.
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, CommandError> {
        match path {
            "/reload" => Ok(Self::Reload),
            "/reopen-logs" => Ok(Self::ReopenLogs),
            "/restart" => Ok(Self::Restart),
            "/scale" => {
                let mut pairs = query.unwrap_or_default().split('&');
                let workers = pairs.find_map(|pair| pair.strip_prefix("workers=")).unwrap_or_default();
                let number =
                    workers.parse().ok().filter(|number: &NonZeroUsize| number.get() <= MAX_PROCESSES);
                number.map(Self::Scale).ok_or_else(|| CommandError::Workers(workers.to_owned()))
            }
            "/stop" => Ok(Self::Stop),
            _ => Err(CommandError::Unknown),
        }
    }
}

impl CommandError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Workers(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl Outcome {
    /// What is told to the operator.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Continues(number) => number.to_string().into(),
            Self::Done(text) | Self::Failed(text) | Self::Invalid(text) => text.into(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Continues(_) => StatusCode::ACCEPTED,
            Self::Done(_) => StatusCode::OK,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    #[cfg(unix)]
    pub(super) fn from_status(status: u16, text: String) -> Self {
        if let (202, Ok(number)) = (status, text.parse()) {
            return Self::Continues(number);
        }
        match status {
            200 => Self::Done(text),
            422 => Self::Invalid(text),
            _ => Self::Failed(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_understood() {
        let four = NonZeroUsize::new(4).unwrap();
        for command in
            [Command::Reload, Command::ReopenLogs, Command::Restart, Command::Scale(four), Command::Stop]
        {
            let target = command.target();
            let (path, query) =
                target.split_once('?').map_or((&*target, None), |(path, query)| (path, Some(query)));
            assert_eq!(Command::parse(path, query), Ok(command));
        }
    }

    #[test]
    fn impossible_numbers_of_workers() {
        for query in
            [None, Some(""), Some("workers="), Some("workers=0"), Some("workers=-1"), Some("workers=257")]
        {
            assert!(matches!(Command::parse("/scale", query), Err(CommandError::Workers(_))), "{query:?}");
        }
        assert_eq!(Command::parse("/fly", None), Err(CommandError::Unknown));
    }

    #[cfg(unix)]
    #[test]
    fn outcomes_survive_the_way() {
        for outcome in [
            Outcome::Continues(7),
            Outcome::Done("a".into()),
            Outcome::Failed("b".into()),
            Outcome::Invalid("c".into()),
        ] {
            let back = Outcome::from_status(outcome.status().as_u16(), outcome.text().into_owned());
            assert_eq!(back, outcome);
        }
    }
}
