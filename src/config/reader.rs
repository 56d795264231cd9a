//! Reads typed values out of the tree. A value that is wrong becomes a problem and its default: reading goes on, so that all
//! problems are found at once. Every value that is read is remembered with its origin, for `check --print`.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::{
    problem::{Origin, Problems, masked},
    tree::{Kind, Value},
};

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
}

impl<'a> Reader<'a> {
    pub(super) fn new(tree: &'a Value, problems: Problems) -> Self {
        Self { tree, problems, in_force: Vec::new() }
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

fn duration(value: &Value, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
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

fn size(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
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

pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".into(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

pub(super) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
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
