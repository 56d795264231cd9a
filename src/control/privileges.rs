//! How a process gives up what it does not need.
//!
//! Root is needed for ports below 1024 and for little else. [`Identity`] is who a process becomes after that, for good:
//! groups first, then the user, then the promise that no program it might start gets more.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Gid, Group, Uid, User, chown, getgid, getuid, setgid, setuid};
use thiserror::Error;

/// Who to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: Uid,
    /// The one group that is kept.
    gid: Gid,
}

/// Why a process cannot become somebody.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrivilegesError {
    /// The operating system refuses it.
    #[error("cannot run as user {user}: {source}")]
    Forbidden {
        /// Who.
        user: Uid,
        /// Why.
        source: io::Error,
    },
    /// There is no such group.
    #[error("group: there is no group {0:?} on this system")]
    NoGroup(String),
    /// There is no such user.
    #[error("user: there is no user {0:?} on this system")]
    NoUser(String),
    /// Only root can become somebody else.
    #[error(
        "user: only root can run as {0:?}; started as somebody else, only null or that one's own name is accepted"
    )]
    NotRoot(String),
}

impl PrivilegesError {
    /// Whether it is the operating system that refuses, as opposed to: the configuration cannot be fulfilled here.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::NotRoot(_))
    }
}

impl Identity {
    /// The user and the group with these names or numbers. None when this process is the user already.
    ///
    /// # Errors
    ///
    /// See [`PrivilegesError`].
    pub fn find(user: &str, group: Option<&str>) -> Result<Option<Self>, PrivilegesError> {
        let found = match user.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(user),
        };
        let found = found.ok().flatten().ok_or_else(|| PrivilegesError::NoUser(user.to_owned()))?;
        let gid = match group {
            None => found.gid,
            Some(name) => find_group(name)?,
        };
        if !getuid().is_root() {
            let is_us = found.uid == getuid() && (group.is_none() || gid == getgid());
            return if is_us { Ok(None) } else { Err(PrivilegesError::NotRoot(user.to_owned())) };
        }
        Ok(Some(Self { uid: found.uid, gid }))
    }

    /// Becomes it. There is no way back.
    ///
    /// # Errors
    ///
    /// [`PrivilegesError::Forbidden`]. The process may then be half of what it was and has to end.
    pub fn assume(&self) -> Result<(), PrivilegesError> {
        self.try_assume().map_err(|source| PrivilegesError::Forbidden { user: self.uid, source })
    }

    fn try_assume(&self) -> io::Result<()> {
        #[cfg(not(target_vendor = "apple"))]
        nix::unistd::setgroups(&[self.gid])?;
        setgid(self.gid)?;
        setuid(self.uid)?;
        // Believing is good.
        if !self.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
            return Err(io::Error::other("root could be had back"));
        }
        Ok(())
    }

    /// Gives it the file at `path`, if it is root's; made first, with the directories above it, where there is none.
    ///
    /// # Errors
    ///
    /// The operating system's, with the path in its text.
    pub fn give_file(&self, path: &Path) -> io::Result<()> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            self.make_directory(directory).map_err(named)?;
        }
        let file = fs::OpenOptions::new().append(true).create(true).open(path).map_err(named)?;
        if file.metadata().map_err(named)?.uid() == 0 {
            std::os::unix::fs::fchown(&file, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
                .map_err(named)?;
        }
        Ok(())
    }

    /// A directory that exists is left as it is.
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            self.make_directory(above)?;
        }
        fs::create_dir(path)?;
        chown(path, Some(self.uid), Some(self.gid))?;
        Ok(())
    }
}

fn find_group(name: &str) -> Result<Gid, PrivilegesError> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(name).ok().flatten();
    found.map(|group| group.gid).ok_or_else(|| PrivilegesError::NoGroup(name.to_owned()))
}

/// Whoever is not root keeps no capability of root that came along, and no program that this process starts gets more
/// rights than it has itself, whatever bits its file carries. Where the system cannot promise that, nothing is changed.
#[cfg(target_os = "linux")]
pub fn forbid_gaining() {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    if !is_root() {
        let none = CapabilitySet::empty();
        let _ = rustix::thread::clear_ambient_capability_set();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        let _ = rustix::thread::set_capabilities(None, sets);
    }
    let _ = rustix::thread::set_no_new_privs(true);
}

/// The same; this system has no such promise.
#[cfg(not(target_os = "linux"))]
pub fn forbid_gaining() {}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    getuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_there_is() {
        let nobody = "nobody-of-this-name";
        assert!(matches!(Identity::find(nobody, None), Err(PrivilegesError::NoUser(_))));
        let us = getuid().as_raw().to_string();
        assert!(matches!(Identity::find(&us, Some(nobody)), Err(PrivilegesError::NoGroup(_))));
        if is_root() {
            let identity = Identity::find("nobody", None).unwrap().unwrap();
            assert!(!identity.uid.is_root());
        } else {
            assert_eq!(Identity::find(&us, None).unwrap(), None);
            assert!(matches!(Identity::find("root", None), Err(PrivilegesError::NotRoot(_))));
        }
    }

    #[test]
    fn files_are_given_with_the_directories_that_had_to_be_made() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file.log");
        let identity = Identity::find("nobody", None).unwrap().unwrap();
        identity.give_file(&path).unwrap();
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        assert_eq!(owner(&path), identity.uid.as_raw());
        assert_eq!(owner(&folder.path().join("a")), identity.uid.as_raw());
        assert_eq!(owner(folder.path()), 0, "what was there stays as it was");
    }
}
