//! The other end of the socket file, for the command line: asks one thing and waits for the answer, blocking.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{
    command::{Command, Outcome},
    status::{LastReload, Status},
};

/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// Between two looks at what goes on in another process.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// How long a process that is being replaced may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Fields in the head of an answer; ours has four.
const MAX_HEADERS: usize = 32;

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// What was answered is not HTTP as our server speaks it.
    #[error("what answers at {0} is not this program")]
    Answer(PathBuf),
    /// The connection ended before the answer.
    #[error("the instance was gone before it answered: {0}")]
    Gone(#[source] io::Error),
    /// Nobody answers there.
    #[error(
        "no instance answers at {path} ({source}); is it running, and is this its configuration and its directory?"
    )]
    Nobody {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Has `command` carried out by the instance at `path`, and waits for its outcome.
///
/// # Errors
///
/// See [`ClientError`]; what the instance could not do is an outcome.
pub fn command(path: &Path, command: &Command) -> Result<Outcome, ClientError> {
    let (status, body) = ask(path, "POST", &command.target())?;
    let text = String::from_utf8_lossy(&body).trim_end().to_owned();
    match Outcome::from_status(status, text) {
        Outcome::Continues(number) => follow(path, number),
        outcome => Ok(outcome),
    }
}

/// Waits until so many reloads have ended, whoever counts them.
fn follow(path: &Path, number: u64) -> Result<Outcome, ClientError> {
    let mut silent_since = None;
    loop {
        match status(path) {
            Ok((status, _)) => {
                silent_since = None;
                if let Some(reload) = status.last_reload.filter(|_| status.reloads >= number) {
                    let LastReload { successful, text, .. } = reload;
                    return Ok(if successful { Outcome::Done(text) } else { Outcome::Failed(text) });
                }
            }
            // A process that is being replaced may close the connection.
            Err(error) => {
                let since = *silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() > SILENCE {
                    return Err(error);
                }
            }
        }
        std::thread::park_timeout(FOLLOW_INTERVAL);
    }
}

/// How the instance at `path` is, and the JSON that it said so with.
///
/// # Errors
///
/// See [`ClientError`].
pub fn status(path: &Path) -> Result<(Status, String), ClientError> {
    let foreign = || ClientError::Answer(path.to_owned());
    let (status, body) = ask(path, "GET", "/status")?;
    if status != 200 {
        return Err(ClientError::Gone(io::Error::other(String::from_utf8_lossy(&body).trim_end())));
    }
    let text = String::from_utf8(body).map_err(|_| foreign())?;
    Ok((serde_json::from_str(&text).map_err(|_| foreign())?, text))
}

fn ask(path: &Path, method: &str, target: &str) -> Result<(u16, Vec<u8>), ClientError> {
    let mut stream =
        UnixStream::connect(path).map_err(|source| ClientError::Nobody { path: path.to_owned(), source })?;
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(ClientError::Gone)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(ClientError::Gone)?;
    if answer.is_empty() {
        return Err(ClientError::Gone(io::ErrorKind::UnexpectedEof.into()));
    }
    parse(answer).ok_or_else(|| ClientError::Answer(path.to_owned()))
}

/// Status and body of a whole answer.
fn parse(mut answer: Vec<u8>) -> Option<(u16, Vec<u8>)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = head.parse(&answer).ok()? else { return None };
    let status = head.code?;
    let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
    answer.drain(..end);
    (answer.len() == length).then_some((status, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_none() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes".to_vec();
        assert_eq!(parse(whole.clone()), Some((200, b"yes".to_vec())));
        assert_eq!(parse(whole[..whole.len() - 1].to_vec()), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), None);
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n".to_vec()), None);
    }

    #[test]
    fn nobody_there_is_said_with_the_path() {
        let error = status(Path::new("/nowhere/admin.sock")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/admin.sock"), "{error}");
    }
}
