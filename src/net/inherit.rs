//! Listening sockets that systemd has opened (sd_listen_fds(3)).
//!
//! What is taken is checked: it was meant for this process, and each is a TCP socket that listens. Must be asked once and
//! before anything else opens descriptors: then the numbers can only be what systemd says that they are.

use std::{
    io,
    net::TcpListener,
    os::fd::{FromRawFd, OwnedFd},
};

use nix::libc;
use socket2::{Domain, Socket, Type};
use thiserror::Error;

/// Variables that are for one process only and not for its children.
pub const VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// The descriptor of the first socket.
const FIRST: i32 = 3;

/// More sockets than this are a mistake.
const MOST: i32 = 256;

/// Why the sockets cannot be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritError {
    /// The number of sockets is none.
    #[error("LISTEN_FDS is {0:?}; a number from 0 to {MOST} is accepted")]
    Count(String),
    /// A descriptor is not what it should be.
    #[error("descriptor {descriptor} of LISTEN_FDS is not a listening TCP socket{}", explain(.source))]
    Socket {
        /// Its number.
        descriptor: i32,
        /// What the operating system says, if it is that.
        source: Option<io::Error>,
    },
}

fn explain(source: &Option<io::Error>) -> String {
    source.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
}

/// The sockets that `environment` promises to the process `pid`; none when it promises nothing, or to another.
///
/// They do not block and are not inherited by children.
///
/// # Errors
///
/// See [`InheritError`].
pub fn listeners(environment: &[(String, String)], pid: u32) -> Result<Vec<TcpListener>, InheritError> {
    promised(environment, pid)?.map(take).collect()
}

/// The descriptor with this number, which somebody has left to this process and nobody in it owns. It is not inherited by
/// children. To be called once for a number, before anything else opens descriptors.
///
/// # Errors
///
/// When it is not open.
pub fn own(descriptor: i32) -> io::Result<OwnedFd> {
    if !is_open(descriptor) {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "descriptors are left by number; there is no other way to own them")]
    // SAFETY: the descriptor is open (checked above), was given to this process under this number, and is taken once,
    // before anything else in the process opens or owns a descriptor.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)?;
    Ok(owned)
}

/// The numbers that are promised.
fn promised(environment: &[(String, String)], pid: u32) -> Result<std::ops::Range<i32>, InheritError> {
    let value =
        |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let Some(count) =
        value("LISTEN_FDS").filter(|_| value("LISTEN_PID").is_some_and(|meant| meant.parse() == Ok(pid)))
    else {
        return Ok(FIRST..FIRST);
    };
    let number = count.parse().ok().filter(|number| (0..=MOST).contains(number));
    number.map(|number| FIRST..FIRST + number).ok_or_else(|| InheritError::Count(count.to_owned()))
}

fn take(descriptor: i32) -> Result<TcpListener, InheritError> {
    let refused = |source| InheritError::Socket { descriptor, source };
    let socket = Socket::from(own(descriptor).map_err(|error| refused(Some(error)))?);
    let check = || -> io::Result<bool> {
        let is_tcp = socket.r#type()? == Type::STREAM
            && [Domain::IPV4, Domain::IPV6].contains(&socket.domain()?)
            && socket.is_listener()?;
        if is_tcp {
            socket.set_nonblocking(true)?;
        }
        Ok(is_tcp)
    };
    match check() {
        Ok(true) => Ok(socket.into()),
        Ok(false) => Err(refused(None)),
        Err(error) => Err(refused(Some(error))),
    }
}

#[expect(unsafe_code, reason = "only the call itself takes a number that may be no descriptor")]
fn is_open(descriptor: i32) -> bool {
    // SAFETY: F_GETFD takes any number, changes nothing, and fails on one that is no descriptor.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn only_what_is_meant_for_this_process() {
        assert_eq!(promised(&[], 7).unwrap(), 3..3);
        assert_eq!(promised(&pairs(&[("LISTEN_FDS", "2")]), 7).unwrap(), 3..3);
        assert_eq!(promised(&pairs(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "8")]), 7).unwrap(), 3..3);
        assert_eq!(promised(&pairs(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "7")]), 7).unwrap(), 3..5);
        for count in ["-1", "257", "many", ""] {
            let environment = pairs(&[("LISTEN_FDS", count), ("LISTEN_PID", "7")]);
            assert!(matches!(promised(&environment, 7), Err(InheritError::Count(_))), "{count}");
        }
    }

    #[test]
    fn a_listening_socket_is_taken_and_nothing_else() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        assert_eq!(take(listening.into_raw_fd()).unwrap().local_addr().unwrap(), address);
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = tempfile::tempfile().unwrap();
        for descriptor in [bound.into_raw_fd(), datagram.into_raw_fd(), file.into_raw_fd(), 1 << 20] {
            assert!(matches!(take(descriptor), Err(InheritError::Socket { .. })), "{descriptor}");
        }
    }
}
