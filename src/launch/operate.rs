//! The commands that speak to an instance that runs: the command line's side of the admin socket.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::{Failure, code};
use crate::{
    admin::{
        Command, Outcome, client,
        table::{View, table},
    },
    config::{self, Sources},
};

/// Between two looks of `status --watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Goes to the top of a terminal; clears the rest of a line, and the rest below. Clearing all at once would flicker.
const TOP: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K\n";
const REST_BELOW: &str = "\x1b[J";

/// Has the instance carry out `command`, says how that went.
pub(super) fn command(command: &Command, sources: &Sources) -> Result<u8, Failure> {
    match client::command(&socket(sources)?, command) {
        Ok(Outcome::Done(text)) => say(&format!("{text}\n")),
        Ok(outcome @ Outcome::Continues(_)) => Err(Failure::new(code::FAILURE, outcome.text())),
        Ok(Outcome::Failed(text)) => Err(Failure::new(code::FAILURE, text)),
        Ok(Outcome::Invalid(text)) => Err(Failure::new(code::CONFIGURATION, text)),
        Err(error) => Err(Failure::new(code::FAILURE, error)),
    }
}

/// Shows how the instance is.
pub(super) fn status(json: bool, watch: bool, sources: &Sources) -> Result<u8, Failure> {
    let path = socket(sources)?;
    let is_terminal = io::stdout().is_terminal();
    let colours =
        is_terminal && !sources.environment.iter().any(|(name, on)| name == "NO_COLOR" && !on.is_empty());
    let mut before = None;
    loop {
        let (text, seen) = match client::status(&path) {
            Ok((status, json_text)) if json => (json_text + "\n", Some(status)),
            Ok((status, _)) => (table(&status, View { colours, before: before.as_ref() }), Some(status)),
            // Whoever watches wants to see it come back.
            Err(error) if watch && before.is_some() => (format!("{error}\n"), before),
            Err(error) => return Err(Failure::new(code::FAILURE, error)),
        };
        if !watch {
            return say(&text);
        }
        if is_terminal {
            say(&format!("{TOP}{}{REST_BELOW}", text.replace('\n', REST_OF_LINE)))?;
        } else {
            say(&text)?;
        }
        before = seen;
        wait(WATCH_INTERVAL);
    }
}

/// Where the instance of this configuration listens. A configuration with problems says that as well as it can: the
/// instance has begun with another.
fn socket(sources: &Sources) -> Result<PathBuf, Failure> {
    let settings = config::load_what_can_be(sources);
    settings.admin.socket_path.ok_or_else(|| {
        Failure::new(
            code::CONFIGURATION,
            "admin.socket_path is null: there is no socket to speak to the instance",
        )
    })
}

fn say(text: &str) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    let said = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    said.map(|()| code::OK).map_err(|error| Failure::new(code::FAILURE, error))
}

/// A park may end early, so it is repeated.
fn wait(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}
