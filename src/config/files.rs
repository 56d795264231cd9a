//! Text files that the configuration names, and that are part of it: lists and the users file.
//!
//! Must not know what stands in them. Each is read once in a load, and who gets a configuration from somebody else gets these
//! with it and reads none.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    problem::Origin,
    tree::{Kind, Value},
};

/// All of them together, in bytes.
pub(super) const MAX_FILES: usize = 16 << 20;

/// The files of one load.
#[derive(Debug)]
pub(super) struct Files {
    given: Option<Vec<(PathBuf, String)>>,
    read: Vec<(PathBuf, String)>,
}

impl Files {
    /// Those that were read already; none = those that are there.
    pub(super) fn new(given: Option<Vec<(PathBuf, String)>>) -> Self {
        Self { given, read: Vec::new() }
    }

    /// What stands in a file. The error says why that cannot be told.
    pub(super) fn text(&mut self, path: &Path) -> Result<String, String> {
        let named = |(known, _): &&(PathBuf, String)| known == path;
        if let Some((_, text)) = self.read.iter().find(named) {
            return Ok(text.clone());
        }
        let text = match &self.given {
            Some(given) => given.iter().find(named).map(|(_, text)| text.clone()),
            None => Some(self.read(path)?),
        };
        let text = text.ok_or("it was not there when the configuration was read")?;
        self.read.push((path.to_owned(), text.clone()));
        Ok(text)
    }

    /// What has been asked for.
    pub(super) fn into_texts(self) -> Vec<(PathBuf, String)> {
        self.read
    }

    /// A path may lead to a device without an end, so no more is read than is accepted.
    fn read(&self, path: &Path) -> Result<String, String> {
        let left = MAX_FILES - self.read.iter().map(|(_, text)| text.len()).sum::<usize>();
        let mut bytes = Vec::new();
        let read = open(path).and_then(|file| file.take(left as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| format!("it cannot be read: {error}"))?;
        if bytes.len() > left {
            return Err(format!("all such files together are larger than {} MiB", MAX_FILES >> 20));
        }
        let text = String::from_utf8(bytes).map_err(|_| "it is no text in UTF-8")?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }
}

/// The entries of a list: one a line, without empty lines and what stands behind `#`.
pub(super) fn entries(path: PathBuf, text: &str) -> impl Iterator<Item = Value> {
    let path = Arc::new(path);
    text.lines().enumerate().filter_map(move |(index, line)| {
        let entry = line.split('#').next().unwrap_or_default().trim();
        let origin = || Origin::File { path: Arc::clone(&path), line: index as u64 + 1 };
        (!entry.is_empty()).then(|| Value::new(Kind::Text(entry.to_owned()), origin()))
    })
}

/// A pipe that nobody writes to would be waited for.
fn open(path: &Path) -> io::Result<fs::File> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type()) {
        return Err(io::Error::other("it is a pipe"));
    }
    fs::File::open(path)
}
