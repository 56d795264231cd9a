//! A listening unix socket with a name in the file system, which nobody but its owner can open.
//!
//! It gets its mode before it listens and its name after that, so there is no moment in which somebody else could
//! connect. A name that a dead process has left behind is taken over; one behind which somebody answers is not.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// Operators that can wait to be taken.
const BACKLOG: i32 = 16;

/// Why there is no socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketFileError {
    /// Another process answers there.
    #[error("admin.socket_path {0}: another instance answers there")]
    InUse(PathBuf),
    /// The operating system refuses something.
    #[error("admin.socket_path {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else has the name.
    #[error("admin.socket_path {0}: there is something that is no socket; it is not replaced")]
    NoSocket(PathBuf),
}

impl SocketFileError {
    /// Whether the operating system forbids it, as opposed to: it cannot be had at all.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// The socket. Dropped, its name is gone.
#[derive(Debug)]
pub struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Listens at `path`; the directories above it are made where they do not exist.
    ///
    /// # Errors
    ///
    /// See [`SocketFileError`].
    pub fn bind(path: &Path) -> Result<Self, SocketFileError> {
        let failed = |source| SocketFileError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(SocketFileError::NoSocket(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(SocketFileError::InUse(path.to_owned()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(_) | Err(_) => {}
        }
        let mut unnamed = path.as_os_str().to_owned();
        unnamed.push(format!(".{}", std::process::id()));
        let unnamed = PathBuf::from(unnamed);
        let bound = listen(&unnamed, path);
        if bound.is_err() {
            let _ = fs::remove_file(&unnamed);
        }
        bound.map_err(failed)
    }

    /// Takes over a socket that listens at `path` already.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn adopt(listener: UnixListener, path: &Path) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, inode: fs::symlink_metadata(path)?.ino(), path: path.to_owned() })
    }

    /// Another handle to the socket.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

fn listen(unnamed: &Path, path: &Path) -> io::Result<SocketFile> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let _ = fs::remove_file(unnamed);
    socket.bind(&SockAddr::unix(unnamed)?)?;
    fs::set_permissions(unnamed, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    fs::rename(unnamed, path)?;
    SocketFile::adopt(UnixListener::from(std::os::fd::OwnedFd::from(socket)), path)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have taken the name over.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_its_owner_only_and_gone_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let socket = SocketFile::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_name_that_was_left_behind_is_taken_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let socket = SocketFile::bind(&path).unwrap();
        assert!(matches!(SocketFile::bind(&path), Err(SocketFileError::InUse(_))));
        UnixStream::connect(&path).unwrap();
        drop(socket);
        fs::write(&path, "mine").unwrap();
        assert!(matches!(SocketFile::bind(&path), Err(SocketFileError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_successor_keeps_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = SocketFile::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = SocketFile::bind(&path).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
    }
}
