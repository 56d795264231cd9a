//! Sources in, settings out, or every problem at once.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    files::Files,
    keys::{KEYS, OTHER_VARIABLES, key_of_variable, nearest_keys, nearest_variable},
    problem::{Origin, Problems},
    read,
    reader::{InForce, Reader},
    settings::Settings,
    tree::{self, Kind, MAX_TEXT, Value},
};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "config.yml";

/// So many problems may come with a search for what was meant.
const MAX_HINTS: usize = 100;

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that was named on the command line.
    pub file: Option<PathBuf>,
    /// A file that somebody else has read already. Then none is read.
    pub text: Option<(PathBuf, String)>,
    /// Files that the configuration names, which somebody else has read already. Then none is read.
    pub files: Option<Vec<(PathBuf, String)>>,
    /// The environment, as the process got it, with U+FFFD for what is no UTF-8: a value with that in it is a problem.
    /// Only what begins with `PROXY_` is looked at.
    pub environment: Vec<(String, String)>,
    /// Flags, as key and value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A configuration that is free of problems.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is meant.
    pub settings: Settings,
    /// The file that was read and what was in it, if one was.
    pub file: Option<(PathBuf, String)>,
    /// The files that it names, lists and the users file, and what was in them.
    pub files: Vec<(PathBuf, String)>,
    /// What the operator should know, though nothing is wrong.
    pub notices: Vec<String>,
    /// Every value with its origin, in the order of the manual.
    pub in_force: Vec<InForce>,
}

/// Loads a configuration: defaults, the file over them, the environment over that, the flags over all.
///
/// # Errors
///
/// Every problem of every source.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let (loaded, problems) = load_with_problems(sources);
    if problems.0.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// The same, where what is wrong does not matter: the default is in force for every value that is wrong. For those who
/// want to reach an instance that has begun before its configuration was spoilt.
#[must_use]
pub fn load_what_can_be(sources: &Sources) -> Settings {
    load_with_problems(sources).0.settings
}

fn load_with_problems(sources: &Sources) -> (Loaded, Problems) {
    let mut problems = Problems::default();
    let mut notices = Vec::new();
    let named = sources.file.clone().map(|path| (path, Origin::Flag("--config"))).or_else(|| {
        variable(sources, "PROXY_CONFIG")
            .map(|path| (path.into(), Origin::Environment("PROXY_CONFIG".into())))
    });
    let (path, text) = match &sources.text {
        Some((path, text)) => (path.clone(), Some(text.clone())),
        None => read_file(named, &mut problems, &mut notices),
    };
    let path = Arc::new(path);
    let mut tree = match text.as_deref() {
        Some(text) => tree::parse(text, &path, &mut problems),
        None => Value::empty(Origin::Default),
    };
    if !matches!(tree.kind, Kind::Map(_) | Kind::Null) {
        let found = format!(
            "found {}; sections and keys such as listen_addr: \"127.0.0.1:8080\" are accepted",
            tree.describe()
        );
        problems.add(&tree.origin, "", found);
        tree = Value::empty(Origin::Default);
    }
    // Before anything lies over the file: a section that is none would be out of sight then.
    find_unknown(&tree, "", &mut problems);
    overlay_environment(&mut tree, sources, &mut problems, &mut notices);
    for (key, flag, value) in &sources.flags {
        tree.set(key, tree::parse_scalar(value, Origin::Flag(flag)));
    }
    let mut reader = Reader::new(&tree, problems, Files::new(sources.files.clone()));
    let settings = read::settings(&mut reader);
    let Reader { mut in_force, mut problems, files, .. } = reader;
    problems.sort();
    in_force.sort_by_key(|value| KEYS.iter().position(|key| *key == value.key));
    let file = text.map(|text| (path.as_ref().clone(), text));
    (Loaded { settings, file, files: files.into_texts(), notices, in_force }, problems)
}

fn variable<'a>(sources: &'a Sources, name: &str) -> Option<&'a str> {
    sources.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn read_file(
    named: Option<(PathBuf, Origin)>,
    problems: &mut Problems,
    notices: &mut Vec<String>,
) -> (PathBuf, Option<String>) {
    let is_named = named.is_some();
    let (path, origin) = named.unwrap_or_else(|| (DEFAULT_FILE.into(), Origin::Default));
    if path.as_os_str().is_empty() {
        problems.add(&origin, "", "found an empty text; the path of a file is accepted");
        return (path, None);
    }
    match read_text(&path).map(String::from_utf8) {
        Ok(Ok(text)) => return (path, Some(text)),
        Ok(Err(_)) => problems.add(&origin, "", format!("{} is no text in UTF-8", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => {
            notices.push(format!("there is no {DEFAULT_FILE} here: built-in defaults are in force"));
        }
        Err(error) => problems.add(&origin, "", format!("{} cannot be read: {error}", path.display())),
    }
    (path, None)
}

/// What is in a file. A path may lead to a device without an end, so no more is read than is accepted.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX_TEXT as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX_TEXT {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_TEXT >> 20)));
    }
    Ok(text)
}

fn overlay_environment(
    tree: &mut Value,
    sources: &Sources,
    problems: &mut Problems,
    notices: &mut Vec<String>,
) {
    let mut seen: Vec<(&str, &str, &str)> = Vec::new();
    for (name, text) in &sources.environment {
        if !name.starts_with("PROXY_") || OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let origin = Origin::Environment(name.clone());
        let Some(key) = key_of_variable(name) else {
            let hint = nearest_variable(name).map(|near| format!(" (is {near} meant?)")).unwrap_or_default();
            notices.push(format!("the environment variable {name} means nothing here{hint}"));
            continue;
        };
        if let Some((other, _, _)) = seen.iter().find(|(_, known, value)| *known == key && value != text) {
            problems.add(
                &origin,
                key,
                format!("says something else than {other}; one of the two is accepted"),
            );
        }
        if text.contains(char::REPLACEMENT_CHARACTER) {
            problems.add(&origin, key, "is no text in UTF-8; such a text is accepted");
            continue;
        }
        seen.push((name, key, text));
        tree.set(key, tree::parse_scalar(text, origin));
    }
}

/// Reports every key that nobody knows.
fn find_unknown(value: &Value, path: &str, problems: &mut Problems) {
    let Kind::Map(entries) = &value.kind else {
        if !path.is_empty() && !matches!(value.kind, Kind::Null) {
            let text = format!("found {}; a section is accepted", value.describe());
            problems.add(&value.origin, path, text);
        }
        return;
    };
    for (name, entry) in entries {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if name.contains('.') {
            // Nobody would find it: a path is walked name by name.
            let known = KEYS.contains(&key.as_str());
            let hint = if known { "; a section with the key in it is accepted" } else { "" };
            problems.add(&entry.origin, &key, format!("unknown key: a name has no dot{hint}"));
            continue;
        }
        if KEYS.contains(&key.as_str()) {
            continue;
        }
        let section = format!("{key}.");
        if KEYS.iter().any(|known| known.starts_with(&section)) {
            find_unknown(entry, &key, problems);
            continue;
        }
        // A file of many unknown keys is another program's: what is meant by each is not worth the search.
        let is_ours = problems.0.len() < MAX_HINTS;
        let near = if is_ours { nearest_keys(&key).join(" or ") } else { String::new() };
        let hint = if near.is_empty() { String::new() } else { format!("; is {near} meant?") };
        problems.add(&entry.origin, &key, format!("unknown key{hint}"));
    }
}

#[cfg(test)]
mod manual;
#[cfg(test)]
mod tests;
