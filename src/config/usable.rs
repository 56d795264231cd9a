//! Whether the files that the settings name can be used: what `check` looks at beyond the text. Nothing is created and nothing
//! is opened, so that a check leaves no trace and cannot hang on a pipe.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    load::Loaded,
    problem::{Origin, Problems},
    settings::AccessLogTarget,
    tls,
};

/// Looks whether every file that is named can be used by whoever runs this.
///
/// # Errors
///
/// Every file that cannot, under its key.
pub fn examine(loaded: &Loaded) -> Result<(), Problems> {
    let settings = &loaded.settings;
    let access_log = match &settings.access_log.file {
        AccessLogTarget::File(path) => Some(path),
        AccessLogTarget::Off | AccessLogTarget::Stdout => None,
    };
    let (mut problems, _) = tls::outlook(loaded);
    for (key, path) in [("logging.file", settings.logging.file.as_ref()), ("access_log.file", access_log)] {
        let Some(path) = path else { continue };
        if let Err(why) = appendable(path) {
            let written = loaded.in_force.iter().find(|value| value.key == key);
            let origin = written.map_or(Origin::Default, |value| value.origin.clone());
            problems.add(
                &origin,
                key,
                format!("found {path:?}: {why}; a file that can be written is accepted, or null"),
            );
        }
    }
    if problems.0.is_empty() { Ok(()) } else { Err(problems) }
}

/// Whether `path` can be appended to, or made with the directories above it. The error says why not.
fn appendable(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err("it is a directory".into()),
        Ok(_) => return writable(path).map_err(|error| format!("it cannot be written: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.to_string()),
    }
    // It will be made, below the first directory that is there.
    let mut parents = path.ancestors().skip(1).map(|parent| match parent.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => parent.to_owned(),
    });
    let Some(parent) = parents.find(|parent| parent.exists()) else { return Ok(()) };
    if !parent.is_dir() {
        return Err(format!("{} is no directory", parent.display()));
    }
    writable(&parent).map_err(|error| format!("{} cannot be written: {error}", parent.display()))
}

#[cfg(unix)]
fn writable(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    Ok(access(path, Access::WRITE_OK)?)
}

#[cfg(not(unix))]
fn writable(path: &Path) -> io::Result<()> {
    // A directory that is marked read-only takes files all the same.
    let found = fs::metadata(path)?;
    if found.is_file() && found.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Sources, load};

    fn examined(directory: &Path, log: &str, access_log: &str) -> String {
        let under = |name: &str| directory.join(name).display().to_string();
        let text = format!(
            "logging: {{ file: \"{}\" }}\naccess_log:\n  file: \"{}\"\n",
            under(log),
            under(access_log)
        );
        let sources = Sources { text: Some(("c.yml".into(), text)), ..Sources::default() };
        examine(&load(&sources).unwrap()).map_or_else(|problems| problems.to_string(), |()| String::new())
    }

    #[test]
    fn a_check_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(examined(directory.path(), "a/b/proxy.log", "access.log"), "");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        fs::write(directory.path().join("access.log"), "x").unwrap();
        assert_eq!(examined(directory.path(), "proxy.log", "access.log"), "");
    }

    #[test]
    fn every_file_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "x").unwrap();
        fs::create_dir(directory.path().join("logs")).unwrap();
        let all = examined(directory.path(), "logs", "file/access.log");
        let lines: Vec<_> = all.lines().collect();
        assert_eq!(lines.len(), 2, "{all}");
        assert!(
            lines[0].starts_with("c.yml:1: logging.file: ") && lines[0].contains("is a directory"),
            "{all}"
        );
        assert!(lines[1].starts_with("c.yml:3: access_log.file: "), "{all}");
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_without_permission_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let locked = directory.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        // Root may write anywhere, and then there is nothing to complain of.
        let is_barred = fs::write(locked.join("probe"), "x").is_err();
        assert_eq!(!examined(directory.path(), "locked/new/proxy.log", "access.log").is_empty(), is_barred);
    }
}
