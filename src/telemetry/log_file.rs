//! A file that several processes append whole lines to, and that can be opened anew after it was moved away.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// An append-only log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    /// Opens `path` for appending; it and the directories above it are made where they do not exist.
    ///
    /// # Errors
    ///
    /// The operating system's, with the path in its text.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Mutex::new(open(path)?) })
    }

    /// Opens the path again: what had been opened was moved away by whoever rotates logs.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; then the old file is still in use.
    pub fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }

    /// Appends whole lines. The kernel keeps one write together (`O_APPEND`), so lines of several processes do not mix.
    ///
    /// # Errors
    ///
    /// The operating system's: the disk is full, for one.
    pub fn append(&self, lines: &[u8]) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(lines)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(named)?;
    }
    OpenOptions::new().append(true).create(true).open(path).map_err(named)
}
