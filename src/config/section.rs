//! A section inside a list: its keys are not known from the start, so it knows its own path, and which keys it was asked for.

use super::{
    problem::Problems,
    tree::{Kind, Value},
};

/// A section that is being read. What is wrong with it becomes problems.
pub(super) struct Section<'a, 'p> {
    path: String,
    value: &'a Value,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'a, 'p> Section<'a, 'p> {
    /// Reads `value` as a section by `read`; none when it is none, or when `read` could not do without what is wrong.
    pub(super) fn read<T>(
        path: String,
        value: &'a Value,
        problems: &'p mut Problems,
        read: impl FnOnce(&mut Section<'a, '_>) -> Option<T>,
    ) -> Option<T> {
        let Kind::Map(entries) = &value.kind else {
            let text = format!("found {}; a section is accepted", value.describe());
            problems.add(&value.origin, &path, text);
            return None;
        };
        let mut section = Section { path, value, known: Vec::new(), problems };
        let read = read(&mut section);
        let Section { path, known, problems, .. } = section;
        for (name, entry) in entries {
            if !known.contains(&name.as_str()) {
                let text = format!("unknown key; {} are accepted", known.join(", "));
                problems.add(&entry.origin, &format!("{path}.{name}"), text);
            }
        }
        read
    }

    /// A key that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if self.get(name).is_none() {
            let accepted =
                convert(&Value::new(Kind::Null, self.value.origin.clone())).err().unwrap_or_default();
            self.problem(name, &format!("is missing; {accepted}"));
            self.known.push(name);
            return None;
        }
        self.optional(name, convert)
    }

    /// A key that may be there; null is as if it were not.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.get(name).filter(|value| value.kind != Kind::Null)?;
        convert(value).map_err(|accepted| self.wrong(name, value, &accepted)).ok()
    }

    /// A list that may be there. One value is a list of one.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        convert: impl Fn(&Value) -> Result<T, String>,
    ) -> Vec<T> {
        self.known.push(name);
        let members = match self.get(name) {
            None => &[][..],
            Some(Value { kind: Kind::List(members), .. }) => members,
            Some(value) => std::slice::from_ref(value),
        };
        let convert =
            |value: &Value| convert(value).map_err(|accepted| self.wrong(name, value, &accepted)).ok();
        members.iter().filter_map(convert).collect()
    }

    /// A section of names that nobody knows before, each with a value.
    pub(super) fn pairs<T>(
        &mut self,
        name: &'static str,
        convert: impl Fn(&str, &Value) -> Result<T, String>,
    ) -> Vec<T> {
        self.known.push(name);
        let Some(value) = self.get(name).filter(|value| value.kind != Kind::Null) else { return Vec::new() };
        let Kind::Map(entries) = &value.kind else {
            self.wrong(name, value, "a section of names and values is accepted");
            return Vec::new();
        };
        let convert = |(key, value): &(String, Value)| {
            let wrong = |accepted| {
                let text = format!("found {key:?}: {}; {accepted}", value.describe());
                self.problems.add(&value.origin, &format!("{}.{name}", self.path), text);
            };
            convert(key, value).map_err(wrong).ok()
        };
        entries.iter().filter_map(convert).collect()
    }

    /// A list of one section at least and `most` at most. A single section is a list of one; none when what is there is no such
    /// list.
    pub(super) fn sections<T>(
        &mut self,
        name: &'static str,
        most: usize,
        read: impl Fn(&mut Section<'a, '_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.known.push(name);
        let members = match self.get(name) {
            None => {
                self.problem(name, "is missing; a list is accepted");
                return None;
            }
            Some(Value { kind: Kind::List(members), .. }) => members.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        if members.is_empty() {
            self.problem(name, "found an empty list; at least one is accepted");
        }
        if members.len() > most {
            self.problem(name, &format!("found {} of them; {most} at most are accepted", members.len()));
        }
        let path = format!("{}.{name}", self.path);
        let members = members.iter().enumerate();
        let read = members.filter_map(|(index, member)| {
            Section::read(format!("{path}[{index}]"), member, self.problems, &read)
        });
        Some(read.collect())
    }

    /// A section inside of this one.
    pub(super) fn child<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'a, '_>) -> T,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.get(name).filter(|value| value.kind != Kind::Null)?;
        Section::read(format!("{}.{name}", self.path), value, self.problems, |section| Some(read(section)))
    }

    /// Something is wrong with a key, or with the section itself when that is empty.
    pub(super) fn problem(&mut self, name: &str, text: &str) {
        let origin = self.get(name).map_or(&self.value.origin, |value| &value.origin);
        let path = if name.is_empty() { self.path.clone() } else { format!("{}.{name}", self.path) };
        self.problems.add(origin, &path, text);
    }

    fn wrong(&mut self, name: &str, value: &Value, accepted: &str) {
        let text = format!("found {}; {accepted}", value.describe());
        self.problems.add(&value.origin, &format!("{}.{name}", self.path), text);
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let Kind::Map(entries) = &self.value.kind else { return None };
        entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}
