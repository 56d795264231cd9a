//! Routes that can never be taken: what is in front of them takes every request that they are for, or there is none.
//!
//! A route is hidden by one other, each of whose conditions holds wherever the later one's do. What only several others hide
//! together is not found, and what is not certain is not told. Nothing is hidden by a route that only reports.
//!
//! Thousands of routes by host are usual, so each is compared only with those that may cover its first host: the ones without
//! hosts, and those that have that host or a domain above it in their lists.

use std::collections::HashMap;

use http::Method;

use super::RouteSettings;
use crate::{
    config::settings::{AskedBy, Conditions, DestinationPattern, Wildcard},
    net::filter::{NetList, NetPattern, NetSet},
};

/// What is wrong, in words, for each of the first so many.
const MAX_TOLD: usize = 20;

/// What is to be said of each route that can never be taken.
pub(super) fn find(routes: &[RouteSettings]) -> Vec<String> {
    let mut known = Known::default();
    let mut found = Vec::new();
    let mut more = 0_usize;
    for (index, route) in routes.iter().enumerate() {
        let title = route.title(index);
        let text = match contradiction(&route.conditions) {
            Some(why) => Some(format!("{title} can never match: {why}")),
            None => known.hiding(routes, &route.conditions).map(|earlier| {
                let by = routes[earlier].title(earlier);
                format!(
                    "{title} can never match: {by}, which stands in front of it, takes all that it is for"
                )
            }),
        };
        match text {
            Some(text) if found.len() < MAX_TOLD => found.push(text),
            Some(_) => more += 1,
            None if !route.reports_only => known.add(index, &route.conditions),
            None => {}
        }
    }
    if more > 0 {
        found.push(format!("{more} more can never match"));
    }
    found
}

/// Why no request is of this kind.
fn contradiction(conditions: &Conditions) -> Option<&'static str> {
    let Conditions { methods, paths, schemes, .. } = conditions;
    let is_tunnel = |method: &Method| *method == Method::CONNECT;
    let only_tunnels = (!schemes.is_empty() && schemes.iter().all(|scheme| *scheme == AskedBy::Connect))
        || (!methods.is_empty() && methods.iter().all(is_tunnel));
    if only_tunnels && !paths.is_empty() {
        return Some("a tunnel has no path");
    }
    ways(conditions).is_empty().then_some("CONNECT is the method of a tunnel, and of nothing else")
}

/// The ways to ask that conditions leave, whether they say so or not.
fn ways(conditions: &Conditions) -> Vec<AskedBy> {
    let Conditions { methods, paths, schemes, .. } = conditions;
    let may = |way: &AskedBy| match way {
        AskedBy::Connect => paths.is_empty() && (methods.is_empty() || methods.contains(&Method::CONNECT)),
        AskedBy::Http | AskedBy::Https => {
            methods.is_empty() || methods.iter().any(|method| *method != Method::CONNECT)
        }
    };
    let all = AskedBy::ALL.into_iter().filter(may);
    all.filter(|way| schemes.is_empty() || schemes.contains(way)).collect()
}

/// The routes so far, by what their hosts are.
#[derive(Default)]
struct Known<'a> {
    /// Without a condition on hosts.
    everywhere: Vec<usize>,
    /// By a name, by a suffix, and by the tail of a wildcard.
    names: HashMap<&'a str, Vec<usize>>,
    /// By addresses.
    addresses: Vec<usize>,
}

impl<'a> Known<'a> {
    fn add(&mut self, index: usize, conditions: &'a Conditions) {
        if is_for_all_hosts(conditions) {
            self.everywhere.push(index);
        }
        let mut has_addresses = false;
        for host in &conditions.hosts {
            match host {
                DestinationPattern::Host(name) | DestinationPattern::Suffix(name) => {
                    self.names.entry(name).or_default().push(index);
                }
                DestinationPattern::Net(_) => has_addresses = true,
            }
        }
        for wildcard in &conditions.wildcards {
            self.names.entry(wildcard.tail()).or_default().push(index);
        }
        if has_addresses {
            self.addresses.push(index);
        }
    }

    /// The first that takes all that `later` is for.
    fn hiding(&self, routes: &[RouteSettings], later: &Conditions) -> Option<usize> {
        let ways = ways(later);
        let hides = |index: &&usize| covers(&routes[**index].conditions, later, &ways);
        let mut candidates: Vec<&[usize]> = vec![&self.everywhere];
        let first = match (later.hosts.first(), later.wildcards.first()) {
            (Some(DestinationPattern::Host(name) | DestinationPattern::Suffix(name)), _) => {
                Some(name.as_str())
            }
            (Some(DestinationPattern::Net(_)), _) => {
                candidates.push(&self.addresses);
                None
            }
            (None, Some(wildcard)) => Some(wildcard.tail()),
            (None, None) => None,
        };
        if let Some(first) = first {
            let above =
                std::iter::successors(Some(first), |name| name.split_once('.').map(|(_, above)| above));
            // A wildcard without a tail is for names of every domain.
            let all = above.chain(Some("").filter(|_| !first.is_empty()));
            candidates.extend(all.filter_map(|name| self.names.get(name)).map(Vec::as_slice));
        }
        candidates.into_iter().filter_map(|list| list.iter().find(hides)).min().copied()
    }
}

fn is_for_all_hosts(conditions: &Conditions) -> bool {
    conditions.hosts.is_empty() && conditions.wildcards.is_empty()
}

/// Whether everything that `later` is for, which asks in these `ways`, meets `earlier`.
fn covers(earlier: &Conditions, later: &Conditions, ways: &[AskedBy]) -> bool {
    let is_plain = ways.iter().all(|way| *way != AskedBy::Connect);
    // Every path begins with it.
    let any_path = |paths: &[String]| paths.iter().any(|path| path == "/");
    let covers_paths = || match (earlier.paths.as_slice(), later.paths.as_slice()) {
        ([], _) => true,
        (beginnings, _) if any_path(beginnings) => is_plain,
        (_, []) => false,
        (beginnings, paths) => paths.iter().all(|path| beginnings.iter().any(|with| path.starts_with(with))),
    };
    among(&earlier.ports, &later.ports)
        && among(&earlier.users, &later.users)
        && (among(&earlier.methods, &later.methods) || is_every_way(&earlier.methods, ways))
        && (earlier.schemes.is_empty() || ways.iter().all(|way| earlier.schemes.contains(way)))
        && covers_paths()
        && covers_nets(&earlier.clients, &later.clients)
        && covers_hosts(earlier, later)
}

/// Whether a condition with these members holds wherever one with those does.
fn among<T: PartialEq>(members: &[T], those: &[T]) -> bool {
    members.is_empty() || (!those.is_empty() && those.iter().all(|one| members.contains(one)))
}

/// A condition that asks for CONNECT says nothing new where there are tunnels only.
fn is_every_way(methods: &[Method], ways: &[AskedBy]) -> bool {
    methods.contains(&Method::CONNECT) && ways.iter().all(|way| *way == AskedBy::Connect)
}

fn covers_nets(members: &[NetPattern], those: &[NetPattern]) -> bool {
    members.is_empty()
        || (!those.is_empty() && those.iter().all(|net| members.iter().any(|with| contains(with, net))))
}

/// Whether one set of addresses is inside of another, where that is plain to see.
fn contains(outer: &NetPattern, inner: &NetPattern) -> bool {
    match (outer, inner) {
        (NetPattern::Prefix(outer), NetPattern::Prefix(inner)) => outer.contains(inner),
        (NetPattern::Set(_), NetPattern::Prefix(inner)) => {
            let list = NetList::new(std::slice::from_ref(outer));
            let holds = |address| list.find(address) == Some(*outer);
            match outer {
                // Of many pieces: only an address is surely in it.
                NetPattern::Set(NetSet::Special | NetSet::Metadata) => {
                    inner.prefix_len() == inner.max_prefix_len() && holds(inner.addr())
                }
                // No two of its pieces are in a prefix whose ends are in it.
                _ => holds(inner.network()) && holds(inner.broadcast()),
            }
        }
        (NetPattern::Set(outer), NetPattern::Set(inner)) => outer == inner || *outer == NetSet::Special,
        (NetPattern::Prefix(_), NetPattern::Set(_)) => false,
    }
}

fn covers_hosts(earlier: &Conditions, later: &Conditions) -> bool {
    let has_name = |name: &String| {
        earlier.wildcards.iter().any(|wildcard| wildcard.matches(name))
            || earlier.hosts.iter().any(|host| match host {
                DestinationPattern::Host(host) => host == name,
                DestinationPattern::Suffix(suffix) => is_below(name, suffix),
                DestinationPattern::Net(_) => false,
            })
    };
    let has_suffix = |name: &String| {
        earlier.hosts.iter().any(|host| match host {
            DestinationPattern::Suffix(suffix) => name == suffix || is_below(name, suffix),
            DestinationPattern::Host(_) | DestinationPattern::Net(_) => false,
        })
    };
    let has_net = |net: &NetPattern| {
        earlier.hosts.iter().any(|host| match host {
            DestinationPattern::Net(with) => contains(with, net),
            DestinationPattern::Host(_) | DestinationPattern::Suffix(_) => false,
        })
    };
    let has_wildcard = |wildcard: &Wildcard| {
        earlier.wildcards.iter().any(|with| with.covers(wildcard))
            || earlier.hosts.iter().any(|host| match host {
                DestinationPattern::Suffix(suffix) => {
                    wildcard.tail() == suffix || is_below(wildcard.tail(), suffix)
                }
                DestinationPattern::Host(_) | DestinationPattern::Net(_) => false,
            })
    };
    is_for_all_hosts(earlier)
        || (!is_for_all_hosts(later)
            && later.wildcards.iter().all(has_wildcard)
            && later.hosts.iter().all(|host| match host {
                DestinationPattern::Host(name) => has_name(name),
                DestinationPattern::Suffix(name) => has_suffix(name),
                DestinationPattern::Net(net) => has_net(net),
            }))
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|left| left.ends_with('.'))
}
