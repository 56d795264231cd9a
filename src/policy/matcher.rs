//! Which requests a route or a limit is for.
//!
//! Must not know what follows from it. Every condition that is written must hold; one that is not written always does. A
//! condition on something that a request does not have does not hold: a tunnel has no path.

use std::collections::HashSet;

use http::Method;

use super::{facts::Facts, members::Members, names::Names};
use crate::{
    config::settings::{AskedBy, Conditions, DestinationPattern, Wildcard},
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
    schemes: Vec<AskedBy>,
}

#[derive(Debug)]
struct Hosts {
    names: Names,
    wildcards: Vec<Wildcard>,
    /// None for the many lists that have names only.
    addresses: Option<Members>,
}

impl Matcher {
    /// From what is written.
    pub fn new(conditions: Conditions) -> Self {
        let Conditions { hosts, wildcards, methods, mut ports, paths, clients, users, schemes } = conditions;
        ports.sort_unstable();
        let is_for_all_hosts = hosts.is_empty() && wildcards.is_empty();
        Self {
            hosts: (!is_for_all_hosts).then(|| Hosts::new(&hosts, wildcards)),
            methods,
            ports,
            paths: paths.into_iter().map(Into::into).collect(),
            clients: (!clients.is_empty()).then(|| Members::new(&clients)),
            users: users.into_iter().map(Into::into).collect(),
            schemes,
        }
    }

    /// Whether it is for this request.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        (self.users.is_empty() || facts.user.is_some_and(|user| self.users.contains(user)))
            && self.matches_for_somebody(facts)
    }

    /// Whether it would be for this request if somebody else had sent it, whom it asks for.
    pub fn matches_for_somebody(&self, facts: &Facts<'_>) -> bool {
        // The cheap ones first.
        holds(&self.ports, |ports| ports.binary_search(&facts.authority.port).is_ok())
            && holds(&self.schemes, |schemes| schemes.contains(&facts.asked_by))
            && holds(&self.methods, |methods| methods.contains(facts.method))
            && holds(&self.paths, |paths| facts.path.is_some_and(|raw| begins(path(raw), paths)))
            && self.clients.as_ref().is_none_or(|clients| clients.contain(facts.client))
            && self.hosts.as_ref().is_none_or(|hosts| hosts.contain(&facts.authority.host))
    }

    /// Whether it asks who somebody is.
    pub fn asks_for_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether it is for every request, so that nothing behind it can ever match.
    pub fn matches_everything(&self) -> bool {
        let Self { hosts, methods, ports, paths, clients, users, schemes } = self;
        hosts.is_none()
            && clients.is_none()
            && methods.is_empty()
            && ports.is_empty()
            && paths.is_empty()
            && users.is_empty()
            && schemes.is_empty()
    }
}

impl Hosts {
    fn new(patterns: &[DestinationPattern], wildcards: Vec<Wildcard>) -> Self {
        let mut names = Names::default();
        let mut addresses = Vec::new();
        for pattern in patterns {
            match pattern {
                DestinationPattern::Host(name) => names.insert("hosts", None, name, false),
                DestinationPattern::Suffix(name) => names.insert("hosts", None, name, true),
                DestinationPattern::Net(pattern) => addresses.push(*pattern),
            }
        }
        let addresses = (!addresses.is_empty()).then(|| Members::new(&addresses));
        Self { names, wildcards, addresses }
    }

    fn contain(&self, host: &Host) -> bool {
        match host {
            Host::Name(name) => {
                self.names.find(name).is_some()
                    || self.wildcards.iter().any(|wildcard| wildcard.matches(name))
            }
            Host::V4(address) => self.has((*address).into()),
            Host::V6(address) => self.has((*address).into()),
        }
    }

    fn has(&self, address: std::net::IpAddr) -> bool {
        self.addresses.as_ref().is_some_and(|addresses| addresses.contain(address))
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
            asked_by: if method == Method::CONNECT { AskedBy::Connect } else { AskedBy::Http },
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
        let by = |schemes: &[AskedBy]| Conditions { schemes: schemes.to_vec(), ..Conditions::default() };
        let wild = Conditions {
            hosts: vec![DestinationPattern::Host("a.test".to_owned())],
            wildcards: vec![Wildcard::parse("api-*.test").unwrap()],
            ..Conditions::default()
        };
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
            (&by(&[AskedBy::Connect]), "CONNECT", "a.test:443", None, true),
            (&by(&[AskedBy::Http, AskedBy::Https]), "CONNECT", "a.test:443", None, false),
            (&by(&[AskedBy::Http, AskedBy::Https]), "GET", "a.test:80", Some("/"), true),
            (&by(&[AskedBy::Https]), "GET", "a.test:80", Some("/"), false),
            (&wild, "GET", "a.test:80", Some("/"), true),
            (&wild, "GET", "api-1.test:80", Some("/"), true),
            (&wild, "GET", "b.test:80", Some("/"), false),
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
