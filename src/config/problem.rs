//! What is wrong with a configuration: all of it, each with its place and with what is accepted.

use std::{borrow::Cow, fmt, path::PathBuf, sync::Arc};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In an environment variable.
    Environment(String),
    /// In the file, at this line (1-based).
    File {
        /// The file.
        path: Arc<PathBuf>,
        /// The line.
        line: u64,
    },
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub origin: Origin,
    /// The key's path; empty where the whole is wrong.
    pub key: String,
    /// What was found and what is accepted.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", shown(&self.key))?;
        }
        f.write_str(&shown(&self.text))
    }
}

/// `text` without control characters: what stands in a file must not move a terminal's cursor, nor begin another line.
fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown.into()
}

/// Everything that is wrong. Never empty when it is returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub(super) fn add(&mut self, origin: &Origin, key: &str, text: impl Into<String>) {
        self.0.push(Problem { origin: origin.clone(), key: key.to_owned(), text: text.into() });
    }
}

impl Problems {
    /// Whether something is wrong with `key`.
    pub(super) fn concern(&self, key: &str) -> bool {
        self.0.iter().any(|problem| problem.key == key)
    }

    /// Puts them in the order in which a person goes through the sources: the file from its top, the environment, the
    /// flags. What stands in one place keeps its order.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|problem| match problem.origin {
            Origin::File { line, .. } => (0, line),
            Origin::Environment(_) => (1, 0),
            Origin::Flag(_) => (2, 0),
            Origin::Default => (3, 0),
        });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `text` without the name and password of a URL in it: what is shown may end up in a log or in a question to a forum.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{}", &rest[end..]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_of_plain_text() {
        let mut problems = Problems::default();
        problems.add(&Origin::Default, "a\tb\u{1b}[31m", "found \u{85} and \u{fc}");
        assert_eq!(problems.to_string(), "default: a\\tb\\u{1b}[31m: found \\u{85} and \u{fc}");
    }

    #[test]
    fn passwords_in_urls_are_not_shown() {
        for (text, shown) in [
            ("https://user:pw@10.0.0.2:3129", "https://***@10.0.0.2:3129"),
            ("redis://:p@ss@host:1/0?x=@y", "redis://***@host:1/0?x=@y"),
            ("http://10.0.0.1:3128/a@b", "http://10.0.0.1:3128/a@b"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
