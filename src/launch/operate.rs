//! The commands that speak to an instance that runs: the command line's side of the admin socket.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{Failure, code};
use crate::{
    admin::{Command, Outcome, client, table},
    config::{self, Sources},
};

/// Between two looks of `status --watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

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
    let clear = if watch && io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        say(&format!("{clear}{}", look(&path, json)?))?;
        if !watch {
            return Ok(code::OK);
        }
        wait(WATCH_INTERVAL);
    }
}

fn look(path: &Path, json: bool) -> Result<String, Failure> {
    let (status, text) = client::status(path).map_err(|error| Failure::new(code::FAILURE, error))?;
    Ok(if json { text + "\n" } else { table::table(&status) })
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
