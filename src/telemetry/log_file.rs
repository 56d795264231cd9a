//! A file that several processes append whole lines to, and that can be opened anew after it was moved away.
//!
//! Knows nothing of what the lines say. Invariant: what could be written of a line only in part never becomes the
//! beginning of the next line of this process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Bytes of whole lines in one write to a file: other writers are kept out for as long as it takes.
const MAX_FILE_WRITE: usize = 64 << 10;

/// Lines that could not be written.
#[derive(Debug, Error)]
#[error("{lines} lines are lost: {source}")]
pub struct Unwritten {
    /// How many; one that was written in part is among them.
    pub lines: u64,
    /// Why: the disk is full, for one.
    pub source: io::Error,
}

/// An append-only log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    lines: WholeLines<File>,
}

impl LogFile {
    /// Opens `path` for appending; it and the directories above it are made where they do not exist.
    ///
    /// # Errors
    ///
    /// The operating system's, with the path in its text.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), lines: WholeLines::new(open(path)?, MAX_FILE_WRITE) })
    }

    /// Opens the path again: what had been opened was moved away by whoever rotates logs.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; then the old file is still in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.lines = WholeLines::new(open(&self.path)?, MAX_FILE_WRITE);
        Ok(())
    }

    /// Appends whole lines. The kernel keeps one write together (`O_APPEND`), so lines of several processes do not mix.
    ///
    /// # Errors
    ///
    /// [`Unwritten`]. The next call tries anew.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        self.lines.append(lines)
    }
}

/// Something that is written to in whole lines, as many at a time as fit into `max_write` bytes.
#[derive(Debug)]
pub(super) struct WholeLines<W> {
    out: W,
    max_write: usize,
    /// What was written last ends inside a line.
    is_torn: bool,
}

impl<W: Write> WholeLines<W> {
    pub(super) fn new(out: W, max_write: usize) -> Self {
        Self { out, max_write, is_torn: false }
    }

    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        let mut rest = lines;
        let lost = |rest: &[u8], source| Unwritten { lines: line_feeds(rest), source };
        if self.is_torn {
            self.out.write_all(b"\n").map_err(|source| lost(rest, source))?;
            self.is_torn = false;
        }
        while !rest.is_empty() {
            let result = match self.out.write(first_lines(rest, self.max_write)) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                result => result,
            };
            match result {
                Ok(written) => {
                    self.is_torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(lost(rest, source)),
            }
        }
        self.out.flush().map_err(|source| lost(lines, source))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(named)?;
    }
    // A pipe that nobody reads can only be opened by who could read it as well, and then it waits for its next reader.
    let is_pipe = fs::metadata(path).is_ok_and(|there| is_pipe(&there));
    OpenOptions::new().append(true).read(is_pipe).create(true).open(path).map_err(named)
}

#[cfg(unix)]
fn is_pipe(there: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&there.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &fs::Metadata) -> bool {
    false
}

/// As many whole lines as fit into `size` bytes; one, however long, when none does.
fn first_lines(lines: &[u8], size: usize) -> &[u8] {
    if lines.len() <= size {
        return lines;
    }
    let fits = memchr::memrchr(b'\n', &lines[..size]);
    let end = fits.or_else(|| memchr::memchr(b'\n', lines)).map_or(lines.len(), |at| at + 1);
    &lines[..end]
}

fn line_feeds(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes a write, fails at these writes, and remembers the writes.
    #[derive(Default)]
    struct Grudging {
        takes: usize,
        fails_at: Vec<usize>,
        writes: Vec<Vec<u8>>,
        asked: usize,
    }

    impl Write for Grudging {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked += 1;
            if self.fails_at.contains(&self.asked) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let some = &bytes[..bytes.len().min(self.takes)];
            self.writes.push(some.to_vec());
            Ok(some.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_holds_whole_lines() {
        let out = Grudging { takes: 100, ..Grudging::default() };
        let mut lines = WholeLines::new(out, 10);
        lines.append(b"one\ntwo\nthree\nlonger than all\nx\n").unwrap();
        let expected: [&[u8]; 4] = [b"one\ntwo\n", b"three\n", b"longer than all\n", b"x\n"];
        assert_eq!(lines.out.writes, expected);
    }

    #[test]
    fn short_writes_are_completed() {
        let out = Grudging { takes: 3, ..Grudging::default() };
        let mut lines = WholeLines::new(out, 1000);
        lines.append(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(lines.out.writes.concat(), b"one\ntwo\nthree\n");
        assert!(!lines.is_torn);
    }

    #[test]
    fn a_full_disk_loses_lines_and_tears_none_that_come_later() {
        let out = Grudging { takes: 6, fails_at: vec![2], ..Grudging::default() };
        let mut lines = WholeLines::new(out, 1000);
        let lost = lines.append(b"one\ntwo\nthree\n").unwrap_err();
        assert_eq!((lost.lines, lost.source.kind()), (2, io::ErrorKind::StorageFull));
        lines.append(b"four\n").unwrap();
        assert_eq!(lines.out.writes.concat(), b"one\ntw\nfour\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_that_is_full_is_no_reason_to_fail() {
        let mut file = LogFile::open(Path::new("/dev/full")).unwrap();
        assert_eq!(file.append(b"one\ntwo\n").unwrap_err().lines, 2);
    }

    #[test]
    fn directories_are_made_and_a_moved_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c.log");
        let mut file = LogFile::open(&path).unwrap();
        file.append(b"one\n").unwrap();
        fs::rename(&path, path.with_extension("old")).unwrap();
        file.append(b"two\n").unwrap();
        file.reopen().unwrap();
        file.append(b"three\n").unwrap();
        assert_eq!(fs::read(path.with_extension("old")).unwrap(), b"one\ntwo\n");
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = LogFile::open(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with(&folder.path().display().to_string()), "{error}");
    }
}
