//! Reads typed values out of the tree. A value that is wrong becomes a problem and its default: reading goes on, so that all
//! problems are found at once. Every value that is read is remembered with its origin, for `check --print`.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

pub(super) use super::show::{show_duration, show_size};
use super::{
    files::{self, Files},
    problem::{Origin, Problems, masked},
    section::Section,
    tree::{Kind, Value},
};

/// So many lines of a file are told of when they are wrong: another file was meant then.
const MAX_WRONG_LINES: usize = 20;

/// One value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The key's path.
    pub key: &'static str,
    /// The value as YAML.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

pub(super) struct Reader<'a> {
    tree: &'a Value,
    pub(super) problems: Problems,
    pub(super) in_force: Vec<InForce>,
    pub(super) files: Files,
}

/// What a list says, with what stands in files that it names.
#[derive(Debug)]
pub(super) struct Listed<T> {
    /// In the list itself.
    pub(super) entries: Vec<T>,
    /// In files, each as the list names it.
    pub(super) files: Vec<(String, Vec<T>)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(tree: &'a Value, problems: Problems, files: Files) -> Self {
        Self { tree, problems, in_force: Vec::new(), files }
    }

    /// Reads `key` by `convert`, whose error says what is accepted. `shown` writes a value as YAML.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        shown: impl Fn(&T) -> String,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> T {
        let mut in_force = None;
        for written in self.tree.get(key).into_iter().flat_map(Value::layers) {
            match convert(written) {
                Ok(value) => in_force = in_force.or_else(|| Some((value, written.origin.clone()))),
                Err(accepted) => {
                    let text = format!("found {}; {accepted}", written.describe());
                    self.problems.add(&written.origin, key, text);
                }
            }
        }
        let (value, origin) = in_force.unwrap_or((default, Origin::Default));
        self.in_force.push(InForce { key, value: shown(&value), origin });
        value
    }

    /// Where a key that was read was written.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.tree.get(key).map_or(Origin::Default, |value| value.origin.clone())
    }

    pub(super) fn problem(&mut self, key: &str, text: impl Into<String>) {
        let origin = self.origin(key);
        self.problems.add(&origin, key, text);
    }

    /// Reports that two keys contradict each other, where somebody has written one of them. What is wrong by itself
    /// contradicts nothing.
    pub(super) fn contradiction(&mut self, keys: [&str; 2], text: impl Into<String>) {
        if keys.iter().any(|key| self.problems.concern(key)) {
            return;
        }
        let written = keys.into_iter().find(|key| self.origin(key) != Origin::Default);
        self.problem(written.unwrap_or(keys[0]), text);
    }

    pub(super) fn bool(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, default, ToString::to_string, |value| {
            let word = match &value.kind {
                Kind::Bool(value) => return Ok(*value),
                Kind::Text(word) => word.to_ascii_lowercase(),
                _ => String::new(),
            };
            match word.as_str() {
                "true" | "yes" | "on" => Ok(true),
                "false" | "no" | "off" => Ok(false),
                _ => Err("true or false is accepted".into()),
            }
        })
    }

    pub(super) fn number(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.read(key, default, ToString::to_string, |value| whole(value, &range))
    }

    /// A number, or null.
    pub(super) fn number_or_null(
        &mut self,
        key: &'static str,
        default: Option<u64>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let shown = |value: &Option<u64>| value.map_or_else(|| "null".into(), |value| value.to_string());
        self.read(key, default, shown, |value| match value.kind {
            Kind::Null => Ok(None),
            _ => whole(value, &range).map(Some).map_err(|accepted| format!("{accepted}, or null")),
        })
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.read(key, default, |value| show_duration(*value), |value| duration(value, &range))
    }

    /// A duration, or null, which is the default.
    pub(super) fn duration_or_null(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let shown = |value: &Option<Duration>| value.map_or_else(|| "null".into(), show_duration);
        self.read(key, None, shown, |value| match value.kind {
            Kind::Null => Ok(None),
            _ => duration(value, &range).map(Some).map_err(|accepted| format!("{accepted}, or null")),
        })
    }

    pub(super) fn size(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.read(key, default, |value| show_size(*value), |value| size(value, &range))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&'static str, T)],
    ) -> T {
        let shown = |value: &T| {
            choices
                .iter()
                .find(|(_, choice)| choice == value)
                .map_or_else(String::new, |(name, _)| quoted(name))
        };
        self.read(key, default, shown, |value| {
            let word = match &value.kind {
                Kind::Text(word) => word.as_str(),
                Kind::Bool(false) => "off",
                _ => "",
            };
            choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice).ok_or_else(|| {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                format!("accepted are {}", names.join(", "))
            })
        })
    }

    /// A list. A single value is a list of one; a text from a variable is split at commas. Nothing at all is not the empty
    /// list: a key whose value was forgotten would open what it should close.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        shown: impl Fn(&T) -> String,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<T> {
        self.members(key, Some(default), shown, convert).unwrap_or_default()
    }

    /// A list, of which `@path` means the lines of a file.
    pub(super) fn list_with_files<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        shown: impl Fn(&T) -> String,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Listed<T> {
        let mut in_force = None;
        for written in self.tree.get(key).into_iter().flat_map(Value::layers) {
            if matches!(written.kind, Kind::Null) {
                self.problems.add(&written.origin, key, "found null; a list is accepted, [] for none");
                continue;
            }
            let (mut listed, mut names) = (Listed { entries: Vec::new(), files: Vec::new() }, Vec::new());
            for member in split(written) {
                let name = match &member.kind {
                    Kind::Text(text) if text.starts_with('@') => text.clone(),
                    _ => {
                        match convert(&member) {
                            Ok(value) => {
                                names.push(shown(&value));
                                listed.entries.push(value);
                            }
                            Err(accepted) => {
                                let text = format!("found {}; {accepted}", member.describe());
                                self.problems.add(&member.origin, key, text);
                            }
                        }
                        continue;
                    }
                };
                names.push(quoted(&name));
                let entries = self.list_file(key, &name, &member.origin, &convert);
                listed.files.push((name, entries));
            }
            in_force = in_force.or_else(|| Some((listed, names, written.origin.clone())));
        }
        let (listed, names, origin) = in_force.unwrap_or_else(|| {
            let names = default.iter().map(&shown).collect();
            (Listed { entries: default, files: Vec::new() }, names, Origin::Default)
        });
        self.in_force.push(InForce { key, value: format!("[{}]", names.join(", ")), origin });
        listed
    }

    /// The entries of the file `name`, which begins with `@`.
    fn list_file<T>(
        &mut self,
        key: &'static str,
        name: &str,
        origin: &Origin,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<T> {
        let path = PathBuf::from(&name[1..]);
        let text = match self.files.text(&path) {
            Ok(text) => text,
            Err(why) => {
                let text = format!(
                    "found {name:?}: {why}; @ and the path of a file with an entry a line is accepted"
                );
                self.problems.add(origin, key, text);
                return Vec::new();
            }
        };
        let (mut values, mut wrong) = (Vec::new(), 0_usize);
        for entry in files::entries(path, &text) {
            match convert(&entry) {
                Ok(value) => values.push(value),
                Err(accepted) => {
                    wrong += 1;
                    if wrong <= MAX_WRONG_LINES {
                        let text = format!("found {}; {accepted}", entry.describe());
                        self.problems.add(&entry.origin, key, text);
                    }
                }
            }
        }
        if let Some(more @ 1..) = wrong.checked_sub(MAX_WRONG_LINES) {
            self.problems.add(origin, key, format!("{more} more lines of {name:?} are wrong"));
        }
        values
    }

    /// A list, or null, which is the default.
    pub(super) fn list_or_null<T>(
        &mut self,
        key: &'static str,
        shown: impl Fn(&T) -> String,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.members(key, None, shown, convert)
    }

    fn members<T>(
        &mut self,
        key: &'static str,
        default: Option<Vec<T>>,
        shown: impl Fn(&T) -> String,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let is_nullable = default.is_none();
        let mut in_force = None;
        for written in self.tree.get(key).into_iter().flat_map(Value::layers) {
            let values = match &written.kind {
                Kind::Null if is_nullable => None,
                Kind::Null => {
                    self.problems.add(&written.origin, key, "found null; a list is accepted, [] for none");
                    continue;
                }
                _ => {
                    let mut values = Vec::new();
                    for member in split(written) {
                        match convert(&member) {
                            Ok(value) => values.push(value),
                            Err(accepted) => {
                                let text = format!("found {}; {accepted}", member.describe());
                                self.problems.add(&member.origin, key, text);
                            }
                        }
                    }
                    Some(values)
                }
            };
            in_force = in_force.or_else(|| Some((values, written.origin.clone())));
        }
        let (values, origin) = in_force.unwrap_or((default, Origin::Default));
        let text = values.as_ref().map_or_else(
            || "null".to_owned(),
            |values| format!("[{}]", values.iter().map(&shown).collect::<Vec<_>>().join(", ")),
        );
        self.in_force.push(InForce { key, value: text, origin });
        values
    }
}

impl Reader<'_> {
    /// A list of `most` sections at most. A single section is a list of one; without any it is empty.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl Fn(&mut Section<'_, '_>) -> Option<T>,
    ) -> Vec<T> {
        let mut in_force = None;
        for written in self.tree.get(key).into_iter().flat_map(Value::layers) {
            let members = match &written.kind {
                Kind::List(members) => members.as_slice(),
                Kind::Map(_) => std::slice::from_ref(written),
                _ => {
                    let text = format!("found {}; a list is accepted, [] for none", written.describe());
                    self.problems.add(&written.origin, key, text);
                    continue;
                }
            };
            if members.len() > most {
                let text = format!("found {} of them; {most} at most are accepted", members.len());
                self.problems.add(&written.origin, key, text);
            }
            let sections = members.iter().enumerate().filter_map(|(index, member)| {
                Section::read(format!("{key}[{index}]"), member, &mut self.problems, &read)
            });
            let sections: Vec<_> = sections.collect();
            let shown: Vec<_> = members.iter().map(flow).collect();
            in_force = in_force.or_else(|| Some((sections, shown, written.origin.clone())));
        }
        let (sections, shown, origin) = in_force.unwrap_or_else(|| (Vec::new(), Vec::new(), Origin::Default));
        self.in_force.push(InForce { key, value: format!("[{}]", shown.join(", ")), origin });
        sections
    }
}

/// A value as YAML on one line.
fn flow(value: &Value) -> String {
    match &value.kind {
        Kind::Null => "null".into(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(value) => value.to_string(),
        Kind::Float(value) => value.to_string(),
        Kind::Text(text) => quoted(text),
        Kind::List(members) => format!("[{}]", members.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(name, value)| format!("{name}: {}", flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

fn split(written: &Value) -> Vec<Value> {
    match &written.kind {
        Kind::List(members) => members.clone(),
        Kind::Text(text) if matches!(written.origin, Origin::Environment(_) | Origin::Flag(_)) => {
            text.split(',').map(|part| super::tree::parse_scalar(part, written.origin.clone())).collect()
        }
        _ => vec![written.clone()],
    }
}

/// A text, whatever scalar it was written as.
pub(super) fn text(value: &Value) -> Option<String> {
    match &value.kind {
        Kind::Text(text) => Some(text.clone()),
        Kind::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn whole(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let accepted = || format!("a whole number from {} to {} is accepted", range.start(), range.end());
    let Kind::Int(number) = value.kind else { return Err(accepted()) };
    u64::try_from(number).ok().filter(|number| range.contains(number)).ok_or_else(accepted)
}

pub(super) fn duration(value: &Value, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let accepted = || {
        let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
        format!(
            "a duration such as 500ms, 30s, 5m, 1h or a number of seconds, from {from} to {to}, is accepted"
        )
    };
    let (number, unit) = match &value.kind {
        Kind::Int(seconds) => (seconds.to_string(), "s".to_owned()),
        Kind::Float(seconds) => (seconds.to_string(), "s".to_owned()),
        Kind::Text(text) => split_unit(text),
        _ => return Err(accepted()),
    };
    let unit = match unit.as_str() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(accepted()),
    };
    let seconds = number.parse::<f64>().map_err(|_| accepted())? * unit;
    // Whole milliseconds: what is in force can be shown as what it is.
    let duration = Duration::try_from_secs_f64((seconds * 1e3).round() / 1e3).map_err(|_| accepted())?;
    if range.contains(&duration) { Ok(duration) } else { Err(accepted()) }
}

pub(super) fn size(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let accepted = || {
        let (from, to) = (show_size(*range.start()), show_size(*range.end()));
        format!("a size such as 64KiB, 1MB or a number of bytes, from {from} to {to}, is accepted")
    };
    let (number, unit) = match &value.kind {
        Kind::Int(bytes) => (bytes.to_string(), String::new()),
        Kind::Text(text) => split_unit(text),
        _ => return Err(accepted()),
    };
    let unit: u64 = match unit.as_str() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(accepted()),
    };
    let bytes =
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(accepted)?;
    if range.contains(&bytes) { Ok(bytes) } else { Err(accepted()) }
}

fn split_unit(text: &str) -> (String, String) {
    let text = text.trim();
    let at = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let unit = text[at..].trim();
    (text[..at].to_owned(), if at > 0 && unit.is_empty() { String::new() } else { unit.to_owned() })
}

/// An address and a port.
pub(super) fn socket_address(value: &Value) -> Result<SocketAddr, String> {
    let accepted = "an address and a port such as 127.0.0.1:8080 or [::1]:8080 is accepted";
    text(value).and_then(|text| text.parse().ok()).ok_or_else(|| accepted.to_owned())
}

/// A text as a YAML string. Passwords are not shown.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in masked(text).chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
