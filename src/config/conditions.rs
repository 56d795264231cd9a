//! `match`: which requests something is for. Limits have one, and routes.

use http::Method;

use super::{
    reader::{text, whole},
    section::Section,
    settings::DestinationPattern,
    value::{destination, net_pattern},
};
use crate::net::{authority::Host, filter::NetPattern};

/// What is written under `match`. An empty list is no condition; all others must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Hosts, suffixes, and addresses of hosts that are written as addresses.
    pub hosts: Vec<DestinationPattern>,
    /// Hosts with `*` in their names: what is written under `hosts`, too, and one of either is enough.
    pub wildcards: Vec<Wildcard>,
    /// Methods, in their case.
    pub methods: Vec<Method>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Beginnings of paths, each with its `/` in front. Compared byte for byte with what the client sent.
    pub paths: Vec<String>,
    /// Clients.
    pub clients: Vec<NetPattern>,
    /// Users.
    pub users: Vec<String>,
    /// Ways to ask.
    pub schemes: Vec<AskedBy>,
}

/// An entry of `schemes`: how a request asks. Each is of one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// `http://` in the target, or a request in origin-form.
    Http,
    /// `https://` in the target.
    Https,
    /// A tunnel, whatever is sent through it.
    Connect,
}

impl AskedBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Http, Self::Https, Self::Connect];

    /// As the configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Connect => "connect",
        }
    }
}

/// A host name with `*` in it, each of which stands for any characters of one label, or none: `*.example.com` is every name
/// one level below, `api-*.example.com` some of them. Lower case, without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard(Box<str>);

impl Wildcard {
    /// The pattern, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        // With a letter in the place of each * it is a name. The last label may be one, which no name's can: then it has one.
        let name = text.replace('*', "x");
        match Host::parse(&name) {
            Ok(Host::Name(_)) if text.contains('*') => Some(Self(text.to_ascii_lowercase().into())),
            _ => None,
        }
    }

    /// Whether this lower-case name is one of those. One trailing dot means nothing.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let (mut labels, mut patterns) = (name.split('.'), self.0.split('.'));
        loop {
            match (labels.next(), patterns.next()) {
                (None, None) => return true,
                (Some(label), Some(pattern)) if fits(label.as_bytes(), pattern.as_bytes()) => {}
                _ => return false,
            }
        }
    }

    /// Whether every name that `other` is for is one of those, as far as one can tell label by label.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (ours, others) = (self.0.split('.'), other.0.split('.'));
        ours.clone().count() == others.clone().count()
            && ours.zip(others).all(|(ours, other)| {
                ours == "*"
                    || ours == other
                    || !other.contains('*') && fits(other.as_bytes(), ours.as_bytes())
            })
    }

    /// The labels behind the last one that has a `*`, without a dot in front: every name that matches is below it. Empty
    /// when the last label has one.
    #[must_use]
    pub fn tail(&self) -> &str {
        let star = self.0.rfind('*').unwrap_or(0);
        self.0[star..].split_once('.').map_or("", |(_, tail)| tail)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a label fits a pattern in which `*` is any characters. Goes back to the last `*` only, so it takes no more than
/// the product of the two lengths.
fn fits(label: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut by, mut retry) = (0, 0, None);
    while at < label.len() {
        if pattern.get(by) == Some(&b'*') {
            retry = Some((at, by));
            by += 1;
        } else if pattern.get(by) == Some(&label[at]) {
            (at, by) = (at + 1, by + 1);
        } else if let Some((taken, star)) = retry {
            retry = Some((taken + 1, star));
            (at, by) = (taken + 1, star + 1);
        } else {
            return false;
        }
    }
    pattern[by..].iter().all(|byte| *byte == b'*')
}

/// Reads `match` of a section.
pub(super) fn read(section: &mut Section<'_, '_>) -> Conditions {
    section.child("match", conditions).unwrap_or_default()
}

fn conditions(section: &mut Section<'_, '_>) -> Conditions {
    let (mut hosts, mut wildcards) = (Vec::new(), Vec::new());
    let entries = section.list("hosts", |value| {
        let text = text(value).unwrap_or_default();
        match Wildcard::parse(&text) {
            Some(wildcard) => Ok(Err(wildcard)),
            None if text.contains('*') => {
                Err("a name such as *.example.com, in which * is any part of one label, is accepted".into())
            }
            None => destination(&text).map(Ok),
        }
    });
    for entry in entries {
        match entry {
            Ok(host) => hosts.push(host),
            Err(wildcard) => wildcards.push(wildcard),
        }
    }
    Conditions {
        hosts,
        wildcards,
        methods: section.list("methods", |value| {
            let method = text(value).and_then(|method| Method::from_bytes(method.as_bytes()).ok());
            method.ok_or_else(|| "a method such as GET is accepted".to_owned())
        }),
        ports: section.list("ports", |value| whole(value, &(1..=65_535)).map(|port| port as u16)),
        paths: section.list("paths", |value| {
            let path = text(value).filter(|path| path.starts_with('/') && !path.contains(['?', '#']));
            path.ok_or_else(|| "a path that begins with / is accepted".to_owned())
        }),
        clients: section.list("clients", |value| net_pattern(&text(value).unwrap_or_default())),
        users: section.list("users", |value| {
            let user = text(value).filter(|user| super::users::check_user_name(user).is_ok());
            user.ok_or_else(|| "the name of a user is accepted".to_owned())
        }),
        schemes: section.list("schemes", |value| {
            let name = text(value).unwrap_or_default();
            let scheme = AskedBy::ALL.into_iter().find(|scheme| scheme.name() == name);
            scheme.ok_or_else(|| "accepted are http, https, connect".to_owned())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, names, others) in [
            (
                "*.Example.com",
                &["a.example.com", "a.example.com."][..],
                &["example.com", "b.a.example.com"][..],
            ),
            (
                "api-*.a.test",
                &["api-.a.test", "api-1.a.test"],
                &["api.a.test", "xapi-1.a.test", "api-1.b.a.test"],
            ),
            ("*a*b.test", &["ab.test", "xaxbxab.test"], &["a.test", "abc.test"]),
            ("www.*", &["www.test"], &["www.a.test", "www"]),
            ("a.*.test", &["a.b.test"], &["a.test", "b.b.test"]),
        ] {
            let wildcard = Wildcard::parse(pattern).unwrap();
            for name in names {
                assert!(wildcard.matches(name), "{pattern} {name}");
            }
            for name in others {
                assert!(!wildcard.matches(name), "{pattern} {name}");
            }
        }
        for text in ["a.test", "*..a", "*.a:80", "a b*", ".*.a", "http://*/", ""] {
            assert_eq!(Wildcard::parse(text), None, "{text}");
        }
        let tail = |text| Wildcard::parse(text).unwrap().tail().to_owned();
        assert_eq!(
            (tail("*.b.test"), tail("a-*.test"), tail("www.*")),
            ("b.test".into(), "test".into(), "".into())
        );
    }

    #[test]
    fn wildcards_that_cover_others() {
        let covers = |a, b| Wildcard::parse(a).unwrap().covers(&Wildcard::parse(b).unwrap());
        assert!(covers("*.a.test", "*.a.test") && covers("*.a.test", "x-*.a.test") && covers("*.*", "a.*"));
        assert!(
            !covers("x-*.a.test", "*.a.test") && !covers("*.a.test", "*.*.test") && !covers("*.b", "*.a.b")
        );
    }
}
