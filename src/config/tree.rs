//! What was written, before anybody asks what it means: a tree of values, each of which knows where it stands.
//!
//! File, environment and flags become one tree, so that every later step has one way to read a value and one way to
//! complain of it.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::problem::Origin;

/// The largest configuration that is read, in bytes.
const MAX_TEXT: usize = 4 << 20;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
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
    /// What a person would call it.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => value.to_string(),
            Kind::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
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
    pub(super) fn set(&mut self, path: &str, value: Self) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        if !matches!(self.kind, Kind::Map(_)) {
            self.kind = Kind::Map(Vec::new());
        }
        let Kind::Map(entries) = &mut self.kind else { return };
        let at = entries.iter().position(|(key, _)| key == name).unwrap_or_else(|| {
            let empty = Self { kind: Kind::Map(Vec::new()), origin: value.origin.clone() };
            entries.push((name.to_owned(), empty));
            entries.len() - 1
        });
        match rest {
            Some(rest) => entries[at].1.set(rest, value),
            None => entries[at].1 = value,
        }
    }
}

/// Reads a file's text. The error is one sentence, with the line in it where known.
pub(super) fn parse(text: &str, path: &Arc<PathBuf>) -> Result<Value, (u64, String)> {
    if text.len() > MAX_TEXT {
        return Err((0, format!("the file is larger than {MAX_TEXT} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_empty = text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    });
    if is_empty {
        return Ok(Value {
            kind: Kind::Map(Vec::new()),
            origin: Origin::File { path: Arc::clone(path), line: 1 },
        });
    }
    let node: Spanned<Node> = serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let message = error.to_string();
        (line, format!("this is no YAML: {}", message.lines().next().unwrap_or(&message)))
    })?;
    Ok(located(node, path))
}

/// A value from a variable: null, a boolean, a number, a flow list or map, or else a text.
pub(super) fn parse_scalar(text: &str, origin: Origin) -> Value {
    let trimmed = text.trim();
    let kind = match trimmed {
        "" | "null" | "~" => Kind::Null,
        "true" => Kind::Bool(true),
        "false" => Kind::Bool(false),
        _ if trimmed.starts_with(['[', '{']) => match serde_yaml::from_str::<Spanned<Node>>(trimmed) {
            Ok(node) => return adopted(located(node, &Arc::default()), &origin),
            Err(_) => Kind::Text(trimmed.to_owned()),
        },
        _ => match (trimmed.parse(), trimmed.parse()) {
            (Ok(value), _) => Kind::Int(value),
            (_, Ok(value)) if trimmed.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                Kind::Float(value)
            }
            _ => Kind::Text(trimmed.to_owned()),
        },
    };
    Value { kind, origin }
}

fn adopted(value: Value, origin: &Origin) -> Value {
    let kind = match value.kind {
        Kind::List(members) => {
            Kind::List(members.into_iter().map(|member| adopted(member, origin)).collect())
        }
        Kind::Map(entries) => {
            Kind::Map(entries.into_iter().map(|(key, value)| (key, adopted(value, origin))).collect())
        }
        kind => kind,
    };
    Value { kind, origin: origin.clone() }
}

fn located(node: Spanned<Node>, path: &Arc<PathBuf>) -> Value {
    let origin = Origin::File { path: Arc::clone(path), line: node.referenced.line() };
    let kind = match node.value {
        Node::Null => Kind::Null,
        Node::Bool(value) => Kind::Bool(value),
        Node::Int(value) => Kind::Int(value),
        Node::Float(value) => Kind::Float(value),
        Node::Text(value) => Kind::Text(value),
        Node::List(members) => Kind::List(members.into_iter().map(|member| located(member, path)).collect()),
        Node::Map(entries) => {
            Kind::Map(entries.into_iter().map(|(key, value)| (key, located(value, path))).collect())
        }
    };
    Value { kind, origin }
}

/// YAML as serde sees it.
enum Node {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(String, Spanned<Self>)>),
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
mod tests {
    use super::*;

    fn line_of(tree: &Value, path: &str) -> u64 {
        match &tree.get(path).unwrap().origin {
            Origin::File { line, .. } => *line,
            origin => panic!("{origin}"),
        }
    }

    #[test]
    fn values_know_their_lines() {
        let text = "a: 1\nb:\n  c: \"x\"\n  d: [1, 2s]\n\ne: null\nf: 1.5\ng: yes please\nh: true\n";
        let tree = parse(text, &Arc::default()).unwrap();
        assert_eq!(tree.get("a").unwrap().kind, Kind::Int(1));
        assert_eq!(tree.get("b.c").unwrap().kind, Kind::Text("x".into()));
        assert_eq!(tree.get("e").unwrap().kind, Kind::Null);
        assert_eq!(tree.get("f").unwrap().kind, Kind::Float(1.5));
        assert_eq!(tree.get("g").unwrap().kind, Kind::Text("yes please".into()));
        assert_eq!(tree.get("h").unwrap().kind, Kind::Bool(true));
        assert_eq!((line_of(&tree, "a"), line_of(&tree, "b.c"), line_of(&tree, "f")), (1, 3, 7));
        assert!(tree.get("b.x").is_none() && tree.get("a.x").is_none());
    }

    #[test]
    fn odd_documents_have_an_answer() {
        for empty in ["", "\u{feff}", "# only\n\n# comments\n", "---\n"] {
            assert_eq!(parse(empty, &Arc::default()).unwrap().kind, Kind::Map(Vec::new()), "{empty:?}");
        }
        for bad in ["a: [1\n", "a:\n\tb: 1\n", "a: 1\na: 2\n", "a: &x [*x]\nb: \"\n"] {
            assert!(parse(bad, &Arc::default()).is_err(), "{bad:?}");
        }
        assert!(parse(&"#".repeat(MAX_TEXT + 1), &Arc::default()).is_err());
    }

    #[test]
    fn variables_are_scalars_or_flow_lists() {
        let origin = Origin::Environment("X".into());
        for (text, kind) in [
            ("4", Kind::Int(4)),
            ("1.5", Kind::Float(1.5)),
            ("null", Kind::Null),
            ("true", Kind::Bool(true)),
            ("127.0.0.1:80", Kind::Text("127.0.0.1:80".into())),
            ("5s", Kind::Text("5s".into())),
        ] {
            assert_eq!(parse_scalar(text, origin.clone()).kind, kind, "{text}");
        }
        let list = parse_scalar("[443, 8443]", origin.clone());
        assert!(
            matches!(&list.kind, Kind::List(members) if members.len() == 2 && members[0].origin == origin)
        );
    }
}
