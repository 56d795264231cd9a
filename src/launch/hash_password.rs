//! `hash-password USER`: a password in, a line for the users file out. The password is never shown, and on no command line.

use std::io::{self, IsTerminal, Read, Write};

use super::{Failure, code};
use crate::policy::auth::{HashLineError, hash_line};

/// More is no password that anybody accepts.
const MOST: u64 = 4096;

pub(super) fn run(user: &str) -> Result<u8, Failure> {
    // Before anybody is asked for a password in vain.
    crate::config::users::check_user_name(user).map_err(|error| Failure::new(code::COMMAND_LINE, error))?;
    let password = if io::stdin().is_terminal() { ask() } else { receive() };
    let password = password.map_err(|error| Failure::new(code::FAILURE, error))?;
    let line = hash_line(user, &password).map_err(|error| match error {
        HashLineError::Name(_) => Failure::new(code::COMMAND_LINE, error),
        error => Failure::new(code::FAILURE, error),
    })?;
    let said = writeln!(io::stdout(), "{line}");
    said.map(|()| code::OK).map_err(|error| Failure::new(code::FAILURE, error))
}

/// From a pipe: everything, without the end of the line.
fn receive() -> io::Result<Vec<u8>> {
    let mut password = Vec::new();
    io::stdin().lock().take(MOST).read_to_end(&mut password)?;
    for end in [b'\n', b'\r'] {
        if password.last() == Some(&end) {
            password.pop();
        }
    }
    Ok(password)
}

/// From a terminal: twice, and the same.
fn ask() -> io::Result<Vec<u8>> {
    let password = prompt("Password: ")?;
    if prompt("The same again: ")? != password {
        return Err(io::Error::other("the two are not the same"));
    }
    Ok(password)
}

/// Nothing that is typed is shown, and the terminal is left as it was, also when the user thinks better of it.
#[cfg(unix)]
fn prompt(question: &str) -> io::Result<Vec<u8>> {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    // Byte by byte: what interrupts is read like all else, so that there is an end at which to put everything back.
    silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    silent.special_codes[SpecialCodeIndex::VMIN] = 1;
    silent.special_codes[SpecialCodeIndex::VTIME] = 0;
    write!(io::stderr(), "{question}")?;
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let typed = type_in(stdin.lock().bytes());
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    writeln!(io::stderr())?;
    typed
}

#[cfg(not(unix))]
fn prompt(_: &str) -> io::Result<Vec<u8>> {
    Err(io::Error::other("on this system the password is read from a pipe only"))
}

/// A line, as a person types it.
#[cfg_attr(not(unix), expect(dead_code, reason = "a terminal is read on unix only"))]
fn type_in(bytes: impl Iterator<Item = io::Result<u8>>) -> io::Result<Vec<u8>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const KILL: u8 = 21;
    const QUIT: u8 = 28;
    const DELETE: u8 = 127;
    let mut line = Vec::new();
    for byte in bytes.take(MOST as usize) {
        match byte? {
            b'\n' | b'\r' | END => return Ok(line),
            INTERRUPT | QUIT => return Err(io::ErrorKind::Interrupted.into()),
            KILL => line.clear(),
            BACKSPACE | DELETE => {
                // A whole character, whatever it takes.
                while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            byte => line.push(byte),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types() {
        let typed = |bytes: &[u8]| type_in(bytes.iter().map(|byte| Ok(*byte))).ok();
        assert_eq!(typed(b"secret\nmore").as_deref(), Some(&b"secret"[..]));
        assert_eq!(typed("s\u{e9}\x7f\x7f\x7fok\r".as_bytes()).as_deref(), Some(&b"ok"[..]));
        assert_eq!(typed(b"wrong\x15right\x04").as_deref(), Some(&b"right"[..]));
        assert_eq!(typed(b"sec\x03"), None);
        assert_eq!(typed(b"").as_deref(), Some(&b""[..]));
    }
}
