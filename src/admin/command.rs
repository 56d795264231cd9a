//! What an operator can tell an instance to do, over HTTP, and what comes of it.

use std::{borrow::Cow, fmt::Write as _, num::NonZeroUsize};

use http::StatusCode;
use thiserror::Error;

use crate::{config::settings::MAX_PROCESSES, telemetry::diagnostics::Diagnostics};

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Log at another level, or say at which.
    LogLevel(LevelWish),
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

/// What is wished of the level of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LevelWish {
    /// What the configuration says.
    Configured,
    /// To know what is in force.
    Tell,
    /// This level, or this filter.
    Set(String),
}

impl LevelWish {
    /// Puts it in force in this process; the outcome says what is in force then.
    #[must_use]
    pub fn carry_out(&self, diagnostics: &Diagnostics) -> Outcome {
        let level = match self {
            Self::Configured => None,
            Self::Set(level) => Some(level.as_str()),
            Self::Tell => return Outcome::Done(diagnostics.level()),
        };
        if let Err(error) = diagnostics.wish_level(level) {
            return Outcome::Failed(error.to_string());
        }
        let level = diagnostics.level();
        tracing::info!(level, "log level changed");
        Outcome::Done(level)
    }
}

/// A request that names no command, or names one wrongly.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such command.
    #[error(
        "there is no such command; accepted are /log-level, /reload, /restart, /scale?workers=N, /stop and /reopen-logs"
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
    pub fn target(&self) -> String {
        match self {
            Self::LogLevel(LevelWish::Configured) => "/log-level?level=default".into(),
            Self::LogLevel(LevelWish::Tell) => "/log-level".into(),
            Self::LogLevel(LevelWish::Set(level)) => format!("/log-level?level={}", escaped(level)),
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
            "/log-level" => Ok(Self::LogLevel(match parameter(query, "level=").map(unescaped) {
                None => LevelWish::Tell,
                Some(level) if level == "default" => LevelWish::Configured,
                Some(level) => LevelWish::Set(level),
            })),
            "/reload" => Ok(Self::Reload),
            "/reopen-logs" => Ok(Self::ReopenLogs),
            "/restart" => Ok(Self::Restart),
            "/scale" => {
                let workers = parameter(query, "workers=").unwrap_or_default();
                let number =
                    workers.parse().ok().filter(|number: &NonZeroUsize| number.get() <= MAX_PROCESSES);
                number.map(Self::Scale).ok_or_else(|| CommandError::Workers(workers.to_owned()))
            }
            "/stop" => Ok(Self::Stop),
            _ => Err(CommandError::Unknown),
        }
    }
}

fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name))
}

/// A text as it can stand in a query (RFC 3986 section 3.4).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' | b':' | b'=' => {
                escaped.push(byte.into());
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// The text that was escaped. What is no escape stands for itself.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => (bytes.push(escaped), rest = &behind[2..]),
            None => (bytes.push(*byte), rest = behind),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
        let set = |level: &str| Command::LogLevel(LevelWish::Set(level.into()));
        for command in [
            Command::LogLevel(LevelWish::Configured),
            Command::LogLevel(LevelWish::Tell),
            set("info,rust_forward_proxy::net=debug"),
            set("a[b{c=\"%25&level=ü\"}]=trace %"),
            Command::Reload,
            Command::ReopenLogs,
            Command::Restart,
            Command::Scale(four),
            Command::Stop,
        ] {
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
