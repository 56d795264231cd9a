//! Which requests a route or a limit is for.
//!
//! Must not know what follows from it. Every condition that is written must hold; one that is not written always does. A
//! condition on something that a request does not have does not hold: a tunnel has no path.

use std::collections::HashSet;

use http::Method;

use super::{facts::Facts, members::Members, names::Names};
use crate::{
    config::settings::{Conditions, DestinationPattern},
    net::authority::Host,
};

/// Conditions, ready to be asked. Asking allocates nothing.
#[derive(Debug)]
pub struct Matcher {
    hosts: Option<Hosts>,
    methods: Vec<Method>,
    ports: Vec<u16>,
    paths: Vec<Box<str>>,
    clients: Option<Members>,
    users: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Hosts {
    names: Names,
    addresses: Members,
}

impl Matcher {
    /// From what is written.
    pub fn new(conditions: Conditions) -> Self {
        let Conditions { hosts, methods, mut ports, paths, clients, users } = conditions;
        ports.sort_unstable();
        Self {
            hosts: (!hosts.is_empty()).then(|| Hosts::new(&hosts)),
            methods,
            ports,
            paths: paths.into_iter().map(Into::into).collect(),
            clients: (!clients.is_empty()).then(|| Members::new(&clients)),
            users: users.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether it is for this request.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        // The cheap ones first.
        holds(&self.ports, |ports| ports.binary_search(&facts.authority.port).is_ok())
            && holds(&self.methods, |methods| methods.contains(facts.method))
            && (self.users.is_empty() || facts.user.is_some_and(|user| self.users.contains(user)))
            && holds(&self.paths, |paths| facts.path.is_some_and(|raw| begins(path(raw), paths)))
            && self.clients.as_ref().is_none_or(|clients| clients.contain(facts.client))
            && self.hosts.as_ref().is_none_or(|hosts| hosts.contain(&facts.authority.host))
    }

    /// Whether it is for every request, so that nothing behind it can ever match.
    pub fn matches_everything(&self) -> bool {
        let Self { hosts, methods, ports, paths, clients, users } = self;
        hosts.is_none()
            && clients.is_none()
            && methods.is_empty()
            && ports.is_empty()
            && paths.is_empty()
            && users.is_empty()
    }
}

impl Hosts {
    fn new(patterns: &[DestinationPattern]) -> Self {
        let mut names = Names::default();
        let mut addresses = Vec::new();
        for pattern in patterns {
            match pattern {
                DestinationPattern::Host(name) => names.insert("hosts", None, name, false),
                DestinationPattern::Suffix(name) => names.insert("hosts", None, name, true),
                DestinationPattern::Net(pattern) => addresses.push(*pattern),
            }
        }
        Self { names, addresses: Members::new(&addresses) }
    }

    fn contain(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => self.names.find(name).is_some(),
            Host::V4(address) => self.addresses.contain((*address).into()),
            Host::V6(address) => self.addresses.contain((*address).into()),
        }
    }
}

fn holds<T>(condition: &[T], is_met: impl Fn(&[T]) -> bool) -> bool {
    condition.is_empty() || is_met(condition)
}

/// Without the query; an empty one is `/`.
fn path(raw: &[u8]) -> &[u8] {
    match raw.split(|byte| *byte == b'?').next() {
        None | Some([]) => b"/",
        Some(path) => path,
    }
}

fn begins(path: &[u8], beginnings: &[Box<str>]) -> bool {
    beginnings.iter().any(|beginning| path.starts_with(beginning.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        authority::Authority,
        filter::{NetPattern, NetSet},
    };

    fn prefix(text: &str) -> NetPattern {
        NetPattern::Prefix(text.parse().unwrap())
    }

    /// From 10.1.2.3, as ann.
    fn matches(conditions: &Conditions, method: &str, target: &str, path: Option<&str>) -> bool {
        let authority = Authority::parse(target, None).unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let facts = Facts {
            client: [10, 1, 2, 3].into(),
            client_is_local: false,
            method: &method,
            connect: method == Method::CONNECT,
            authority: &authority,
            user: Some("ann"),
            path: path.map(str::as_bytes),
        };
        Matcher::new(conditions.clone()).matches(&facts)
    }

    #[test]
    fn each_condition() {
        let hosts = |patterns: &[DestinationPattern]| Conditions {
            hosts: patterns.to_vec(),
            ..Conditions::default()
        };
        let suffix = hosts(&[DestinationPattern::Suffix("internal".to_owned())]);
        let net = hosts(&[DestinationPattern::Net(NetPattern::Set(NetSet::Private))]);
        let methods = Conditions { methods: vec![Method::GET, Method::POST], ..Conditions::default() };
        let ports = Conditions { ports: vec![8080, 80], ..Conditions::default() };
        let paths = Conditions { paths: vec!["/api/".to_owned(), "/x".to_owned()], ..Conditions::default() };
        let clients = |text| Conditions { clients: vec![prefix(text)], ..Conditions::default() };
        let users = |name: &str| Conditions { users: vec![name.to_owned()], ..Conditions::default() };
        let none = Conditions::default();
        let root = Conditions { paths: vec!["/".to_owned()], ..Conditions::default() };
        let cases: &[(&Conditions, &str, &str, Option<&str>, bool)] = &[
            (&none, "GET", "a.test:80", Some("/"), true),
            (&none, "CONNECT", "a.test:443", None, true),
            (&suffix, "GET", "a.internal:80", Some("/"), true),
            (&suffix, "GET", "a.test:80", Some("/"), false),
            (&suffix, "GET", "10.0.0.1:80", Some("/"), false),
            (&net, "GET", "10.0.0.1:80", Some("/"), true),
            (&net, "GET", "8.8.8.8:80", Some("/"), false),
            (&net, "GET", "a.internal:80", Some("/"), false),
            (&methods, "POST", "a.test:80", Some("/"), true),
            (&methods, "get", "a.test:80", Some("/"), false),
            (&ports, "GET", "a.test:8080", Some("/"), true),
            (&ports, "GET", "a.test:81", Some("/"), false),
            (&paths, "GET", "a.test:80", Some("/api/?x"), true),
            (&paths, "GET", "a.test:80", Some("/api"), false),
            (&paths, "GET", "a.test:80", Some("?/api/"), false),
            (&paths, "CONNECT", "a.test:443", None, false),
            (&root, "GET", "a.test:80", Some(""), true),
            (&root, "GET", "a.test:80", Some("?q"), true),
            (&clients("10.0.0.0/8"), "GET", "a.test:80", Some("/"), true),
            (&clients("11.0.0.0/8"), "GET", "a.test:80", Some("/"), false),
            (&users("ann"), "GET", "a.test:80", Some("/"), true),
            (&users("bob"), "GET", "a.test:80", Some("/"), false),
        ];
        for (conditions, method, target, path, expected) in cases {
            assert_eq!(
                matches(conditions, method, target, *path),
                *expected,
                "{conditions:?} {method} {target} {path:?}"
            );
        }
    }

    #[test]
    fn all_must_hold() {
        let both = Conditions { ports: vec![80], methods: vec![Method::GET], ..Conditions::default() };
        assert!(matches(&both, "GET", "a.test:80", Some("/")));
        assert!(
            !matches(&both, "GET", "a.test:81", Some("/")) && !matches(&both, "POST", "a.test:80", Some("/"))
        );
        assert!(Matcher::new(Conditions::default()).matches_everything());
        assert!(!Matcher::new(both).matches_everything());
    }
}
