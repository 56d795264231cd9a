//! A list of host names and suffixes, asked by labels.
//!
//! Must not know what the list is for. The cost of a question depends on the number of labels asked about and on nothing
//! else: the hash runs over the name once, from its end, and the table is asked at each dot.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use super::verdict::RuleName;

/// Names and suffixes, each with the rule it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    entries: Vec<Entry>,
    /// From the hash of a name to the newest entry that has it.
    heads: HashMap<u64, u32, BuildHasherDefault<Precomputed>>,
    /// No longer suffix is in the list.
    longest: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    /// `list[name]` or `list[.name]`.
    rule: Arc<str>,
    /// `list[@file]`, of an entry that stands in a file.
    file: Option<Arc<str>>,
    /// Where the name stands in it.
    start: usize,
    is_suffix: bool,
    /// Another entry with the same hash.
    next: Option<u32>,
}

impl Entry {
    fn name(&self) -> &str {
        &self.rule[self.start..self.rule.len() - 1]
    }
}

impl Names {
    /// Make room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.entries.reserve(more);
        self.heads.reserve(more);
    }

    /// Add a host, or everything below a domain. Both are lower case, without a dot at either end. `file` is `list[@file]`
    /// for what stands in a file.
    pub(super) fn insert(&mut self, list: &str, file: Option<&Arc<str>>, name: &str, is_suffix: bool) {
        let dot = if is_suffix { "." } else { "" };
        let rule: Arc<str> = format!("{list}[{dot}{name}]").into();
        let start = list.len() + 1 + dot.len();
        let hash = name.bytes().rev().fold(HASH_START, hash_byte);
        let index = u32::try_from(self.entries.len()).expect("a configuration has less than 2^32 names");
        let next = self.heads.insert(hash, index);
        self.longest = self.longest.max(name.len());
        self.entries.push(Entry { rule, file: file.cloned(), start, is_suffix, next });
    }

    /// The entry that covers this lower-case host name: the host itself before a suffix, a longer suffix before a shorter
    /// one. One trailing dot means nothing here.
    pub(super) fn find(&self, host: &str) -> Option<RuleName> {
        if self.entries.is_empty() {
            return None;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut hash = HASH_START;
        let mut found = None;
        for (at, byte) in host.bytes().enumerate().rev() {
            if byte == b'.' {
                // Later finds are longer suffixes.
                found = self.entry(hash, &host[at + 1..], true).or(found);
            }
            if host.len() - at > self.longest {
                return found.map(Self::rule);
            }
            hash = hash_byte(hash, byte);
        }
        self.entry(hash, host, false).or(found).map(Self::rule)
    }

    fn rule(entry: &Entry) -> RuleName {
        let rule = Arc::clone(&entry.rule);
        match &entry.file {
            Some(file) => RuleName::line(rule, Arc::clone(file)),
            None => RuleName::entry(rule),
        }
    }

    fn entry(&self, hash: u64, name: &str, is_suffix: bool) -> Option<&Entry> {
        let mut next = self.heads.get(&hash).copied();
        while let Some(index) = next {
            let entry = &self.entries[index as usize];
            if entry.is_suffix == is_suffix && entry.name() == name {
                return Some(entry);
            }
            next = entry.next;
        }
        None
    }
}

/// FNV-1a. No key is needed: a client asks, only the configuration inserts.
pub(super) fn hash_byte(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

pub(super) const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The keys are hashes already; their upper bits, which the table uses first, are mixed once more.
#[derive(Clone, Debug, Default)]
pub(super) struct Precomputed(u64);

impl Hasher for Precomputed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash_byte(hash, byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash ^ hash.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(entries: &[&str]) -> Names {
        let mut names = Names::default();
        for entry in entries {
            let suffix = entry.strip_prefix('.');
            names.insert("list", None, suffix.unwrap_or(entry), suffix.is_some());
        }
        names
    }

    #[test]
    fn hosts_and_suffixes() {
        let list = names(&[
            "a.test",
            ".b.test",
            "b.test",
            ".deep.b.test",
            ".c.test",
            "x.c.test",
            "localhost",
            ".local",
            "longest.name.in.the.list",
        ]);
        let cases = [
            ("a.test", Some("list[a.test]")),
            ("a.test.", Some("list[a.test]")),
            ("x.a.test", None),
            ("b.test", Some("list[b.test]")),
            ("x.b.test", Some("list[.b.test]")),
            ("x.y.z.b.test.", Some("list[.b.test]")),
            ("deep.b.test", Some("list[.b.test]")),
            ("x.deep.b.test", Some("list[.deep.b.test]")),
            ("c.test", None),
            ("x.c.test", Some("list[x.c.test]")),
            ("y.c.test", Some("list[.c.test]")),
            ("xc.test", None),
            ("test", None),
            ("localhost", Some("list[localhost]")),
            ("local", None),
            ("printer.local", Some("list[.local]")),
            ("a.test..", None),
            ("", None),
            (".", None),
            ("much.longer.than.anything.in.the.list.b.test", Some("list[.b.test]")),
            ("much.longer.than.anything.in.the.list.d.test", None),
        ];
        for (host, rule) in cases {
            assert_eq!(list.find(host).as_ref().map(RuleName::as_str), rule, "{host}");
        }
        assert!(Names::default().find("a.test").is_none());
    }

    #[test]
    fn names_with_the_same_hash_are_told_apart() {
        let mut list = names(&["a.test", "b.test"]);
        // As if both had the hash of the first.
        list.entries[1].next = Some(0);
        let hash = "a.test".bytes().rev().fold(HASH_START, hash_byte);
        list.heads.insert(hash, 1);
        assert_eq!(list.find("a.test").as_ref().map(RuleName::as_str), Some("list[a.test]"));
    }

    #[test]
    fn a_hundred_thousand_names_are_found() {
        let mut list = Names::default();
        for index in 0..100_000 {
            list.insert("list", None, &format!("host-{index}.example-{}.com", index % 977), index % 2 == 0);
        }
        for index in (0..100_000).step_by(997) {
            let name = format!("host-{index}.example-{}.com", index % 977);
            assert_eq!(list.find(&name).is_some(), index % 2 == 1);
            assert_eq!(list.find(&format!("www.{name}")).is_some(), index % 2 == 0);
        }
    }
}
