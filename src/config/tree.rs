//! What was written, before anybody asks what it means: a tree of values, each of which knows where it stands.
//!
//! File, environment and flags become one tree, so that every later step has one way to read a value and one way to
//! complain of it.

use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::problem::{Origin, Problems, masked};

/// The largest configuration that is read, in bytes.
pub(super) const MAX_TEXT: usize = 4 << 20;

/// Levels of lists and sections in each other. The keys need five; the parser needs much stack for each.
const MAX_DEPTH: usize = 16;

/// Values in a file, with what aliases repeat.
const MAX_NODES: usize = 250_000;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    /// What a weaker source says of the same key. It is not in force, and yet it must not be wrong.
    pub(super) beneath: Option<Box<Self>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    pub(super) fn new(kind: Kind, origin: Origin) -> Self {
        Self { kind, origin, beneath: None }
    }

    /// A section in which nothing is said.
    pub(super) fn empty(origin: Origin) -> Self {
        Self::new(Kind::Map(Vec::new()), origin)
    }

    /// This value and those that it overrides, the strongest first.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |value| value.beneath.as_deref())
    }

    /// What a person would call it.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => format!("{value:?}"),
            Kind::Text(text) if text.is_empty() => "an empty text".into(),
            Kind::Text(text) => format!("{:?}", masked(text).chars().take(60).collect::<String>()),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a section".into(),
        }
    }

    /// The value at a path of keys.
    pub(super) fn get(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| match &value.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        })
    }

    /// Puts `value` at a path of keys, over what is there.
    pub(super) fn set(&mut self, path: &str, mut value: Self) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        if !matches!(self.kind, Kind::Map(_)) {
            self.kind = Kind::Map(Vec::new());
        }
        let Kind::Map(entries) = &mut self.kind else { return };
        let at = entries.iter().position(|(key, _)| key == name);
        match (rest, at) {
            (Some(rest), Some(at)) => entries[at].1.set(rest, value),
            (Some(rest), None) => {
                let mut section = Self::empty(value.origin.clone());
                section.set(rest, value);
                entries.push((name.to_owned(), section));
            }
            (None, Some(at)) => {
                let overridden = std::mem::replace(&mut entries[at].1, Self::empty(Origin::Default));
                value.beneath = Some(Box::new(overridden));
                entries[at].1 = value;
            }
            (None, None) => entries.push((name.to_owned(), value)),
        }
    }
}

/// Reads a file's text. What is wrong with it as YAML is added to `problems`; the result is then what could be understood.
pub(super) fn parse(text: &str, path: &Arc<PathBuf>, problems: &mut Problems) -> Value {
    let at = |line| Origin::File { path: Arc::clone(path), line };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_TEXT {
        problems.add(&at(0), "", format!("is too large; {} MiB at most are accepted", MAX_TEXT >> 20));
        return Value::empty(at(0));
    }
    // The parser wants a document; none is one in which nothing is said.
    let is_empty = text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    });
    if is_empty {
        return Value::empty(at(1));
    }
    match serde_yaml::from_str_with_options::<Spanned<Node>>(text, options()) {
        Ok(node) => {
            let origin = at(node.referenced.line());
            located(node.value, origin, "", problems)
        }
        Err(error) => {
            let line = error.location().map_or(0, |location| location.line());
            problems.add(&at(line), "", explain(&error));
            Value::empty(at(line))
        }
    }
}

/// Duplicate keys reach the visitor, so that each is reported and hides nothing; merge keys are keys that nobody knows; and
/// only `true` and `false` are booleans, so that `off` and `no` stay the words that they are.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// The parser's complaint in our words, or in its own without the place, which is told already.
fn explain(error: &serde_yaml::Error) -> String {
    use serde_yaml::Error;
    match error.without_snippet() {
        Error::AliasError { error, .. } => explain(error),
        Error::MultipleDocuments { .. } => "a second document begins here; one is accepted".into(),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::Budget { .. } => {
            format!("holds too much; {MAX_NODES} values in {MAX_DEPTH} levels are accepted, aliases counted")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an alias stands inside of what it names".into(),
        error => {
            let text = error.to_string();
            let text = text.lines().next().unwrap_or_default();
            let text = text.split(" at line ").next().unwrap_or(text);
            format!("this is no YAML: {text}")
        }
    }
}

/// A value from a variable or a flag: null, a boolean, a number, a flow list or map, or else a text.
pub(super) fn parse_scalar(text: &str, origin: Origin) -> Value {
    let trimmed = text.trim();
    let kind = match trimmed {
        "null" | "~" => Kind::Null,
        "true" => Kind::Bool(true),
        "false" => Kind::Bool(false),
        _ if trimmed.starts_with(['[', '{']) => {
            match serde_yaml::from_str_with_options::<Spanned<Node>>(trimmed, options()) {
                Ok(node) => return located(node.value, origin, "", &mut Problems::default()),
                // Not a list, then, but perhaps an address: [::1]:80.
                Err(_) => Kind::Text(trimmed.to_owned()),
            }
        }
        _ => match (trimmed.parse(), trimmed.parse()) {
            (Ok(value), _) => Kind::Int(value),
            (_, Ok(value)) if trimmed.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                Kind::Float(value)
            }
            _ => Kind::Text(trimmed.to_owned()),
        },
    };
    Value::new(kind, origin)
}

/// Gives every value its place: that of its key, where it has one. Inside a variable, all is where the variable is.
fn located(node: Node, origin: Origin, key: &str, problems: &mut Problems) -> Value {
    let at = |line| match &origin {
        Origin::File { path, .. } => Origin::File { path: Arc::clone(path), line },
        origin => origin.clone(),
    };
    let kind = match node {
        Node::Null => Kind::Null,
        Node::Bool(value) => Kind::Bool(value),
        Node::Int(value) => Kind::Int(value),
        Node::Float(value) => Kind::Float(value),
        Node::Text(value) => Kind::Text(value),
        Node::List(members) => Kind::List(
            members
                .into_iter()
                .map(|member| located(member.value, at(member.referenced.line()), key, problems))
                .collect(),
        ),
        Node::Map(entries) => {
            let mut known: Vec<(String, Value)> = Vec::with_capacity(entries.len());
            let mut first_at: HashMap<String, Origin> = HashMap::with_capacity(entries.len());
            for (name, value) in entries {
                let origin = at(name.referenced.line());
                let name = match name.value {
                    Node::Text(name) => name,
                    name => located(name, origin.clone(), key, problems).describe(),
                };
                let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                let value = located(value.value, origin, &path, problems);
                if let Some(first) = first_at.get(&name) {
                    let text = format!("is there twice, first at {first}; once is accepted");
                    problems.add(&value.origin, &path, text);
                } else {
                    first_at.insert(name.clone(), value.origin.clone());
                }
                known.push((name, value));
            }
            Kind::Map(known)
        }
    };
    Value::new(kind, origin)
}

/// YAML as serde sees it.
enum Node {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<Self>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Int(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_element()? {
            list.push(member);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests;
