//! The section `access`: which clients are served, and where they may go.
//!
//! Must not know the process, the request beyond its [`Facts`], or what is answered. The order is: the client; the port of
//! a tunnel; the exceptions of `allow`; the names of `deny`; the addresses of `deny`. The last are asked again, by `reach`, of
//! every address that is dialled.
//!
//! The way that a request takes is looked up at first and refuses at last: a route to `deny` says no to what everything else lets
//! pass. The names of `deny` hold on every way. Addresses hold for what we dial on the word of a client: parents and origins, which
//! the operator has written down, are excepted, and so is an address that stands for origins behind us.
//!
//! Three things that the text of the configuration leaves open:
//!
//! - An exception by name is one from the whole of `deny`: a name in `allow` may stand for a private address, or else it would
//!   except nothing from the default `["special"]`. Only our own listeners stay out of reach.
//! - An address that is written in the target is refused as an address (502 `destination_ip_prohibited`), as if
//!   it had been resolved, and before anything is dialled.
//! - A client on this host, with `local_client_bypass`, may use any port and is not held to the sets `loopback`, `private` and
//!   `special` in `deny`. Names, prefixes, `link_local` and `metadata` that are written there hold for it, too:
//!   somebody meant them.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::{
    facts::Facts,
    members::Members,
    names::Names,
    route::{Action, Route, Routed, Routes, Via},
    verdict::{Permit, Refusal, RefusalKind, RuleName},
};
use crate::{
    config::settings::{AccessMode, AccessSettings, DestinationList, DestinationPattern, ListFile},
    net::{
        authority::Host,
        dial::Reach,
        filter::{NetFilter, NetPattern, NetSet},
        own::OwnListeners,
    },
};

/// The rules of `access`, and the routes, ready to be asked. Immutable: a reload builds another.
#[derive(Debug)]
pub struct Policy {
    reports_only: bool,
    clients: Members,
    serves_loopback: bool,
    connect_ports: Vec<u16>,
    bypass: bool,
    allowed_names: Names,
    denied_names: Names,
    /// For most; for clients on this host; for names that are excepted.
    everyone: Branch,
    local: Branch,
    excepted: Arc<Reach>,
    routes: Routes,
}

/// The address rules that hold for some clients, as they are enforced and as they are reported.
#[derive(Debug)]
struct Branch {
    rules: Arc<AddressRules>,
    reach: Arc<Reach>,
}

/// The addresses of `deny` and `allow`, with the names of the rules.
#[derive(Debug)]
pub(super) struct AddressRules {
    filter: NetFilter,
    names: Arc<HashMap<NetPattern, RuleName>>,
}

impl Policy {
    /// From the settings, which are checked already, the ways out, and the sockets of this instance, which nothing may reach.
    pub fn new(settings: &AccessSettings, routes: Routes, own: &OwnListeners) -> Self {
        let AccessSettings { mode, clients, deny, allow, connect_ports, local_client_bypass, .. } = settings;
        let reports_only = *mode == AccessMode::Report;
        let (denied_names, denied) = split(DENY, deny);
        let (allowed_names, allowed) = split(ALLOW, allow);
        let excepted = Arc::new(Reach { filter: None, own: own.clone() });
        // What stands in the list itself gives its name, also to what a file has once more.
        let listed = deny.entries.iter().filter_map(|entry| match entry {
            DestinationPattern::Net(pattern) => Some((*pattern, address_rule(pattern))),
            DestinationPattern::Host(_) | DestinationPattern::Suffix(_) => None,
        });
        let names: Arc<HashMap<_, _>> =
            Arc::new(deny.files.iter().flat_map(addresses_of).chain(listed).collect());
        let branch = |denied: &[NetPattern]| {
            let filter = NetFilter::new(denied, &allowed);
            let reach = Reach { filter: Some(filter.clone()), own: own.clone() };
            Branch {
                rules: Arc::new(AddressRules { filter, names: Arc::clone(&names) }),
                reach: if reports_only { Arc::clone(&excepted) } else { Arc::new(reach) },
            }
        };
        let held: Vec<_> = denied.iter().copied().filter(|pattern| !is_lifted(pattern)).collect();
        let mut connect_ports = connect_ports.clone();
        connect_ports.sort_unstable();
        Self {
            reports_only,
            clients: Members::new(clients),
            serves_loopback: clients.contains(&NetPattern::Set(NetSet::Loopback)),
            connect_ports,
            bypass: *local_client_bypass,
            allowed_names,
            denied_names,
            everyone: branch(&denied),
            local: branch(&held),
            excepted,
            routes,
        }
    }

    /// Whether this request may pass.
    ///
    /// # Errors
    /// The rule that forbids it. Never in `access.mode: report`, where the permit says what would have been refused.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Permit, Refusal> {
        let routed = self.routes.find(facts, !self.reports_only);
        let way = match routed.action {
            Action::Take(route) => Ok(route),
            Action::Deny(rule) => Err(rule),
        };
        let told = |refusal| Refusal { would_route: routed.would_route(), ..refusal };
        match (self.enforce(facts, way.ok()), way) {
            (Ok(passed), Ok(route)) => Ok(passed.by(route, routed)),
            (Ok(_), Err(rule)) => Err(told(Refusal::new(rule.clone(), RefusalKind::Route))),
            (Err(refusal), Ok(route)) if self.reports_only => {
                let reach = Arc::clone(&self.excepted);
                let passed = Passed { rule: MODE, reach, reported: None };
                Ok(Permit { would_refuse: Some(Box::new(refusal)), ..passed.by(route, routed) })
            }
            (Err(refusal), _) if refusal.kind == RefusalKind::Client => Err(refusal),
            (Err(refusal), _) => Err(told(refusal)),
        }
    }

    /// The ways out.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Whether this client is served at all. For whoever wants to know before there is a request.
    ///
    /// # Errors
    /// The rule that forbids it. Never in `access.mode: report`.
    pub fn admit(&self, client: IpAddr, is_local: bool) -> Result<(), Refusal> {
        if self.reports_only { Ok(()) } else { self.check_client(client, is_local) }
    }

    /// The rule behind an address that `reach` has refused, as that names the pattern only.
    pub fn address_rule(&self, pattern: &NetPattern) -> RuleName {
        self.everyone.rules.names.get(pattern).cloned().unwrap_or_else(|| address_rule(pattern))
    }

    /// What `access` says. `route` is the way that it will take, if it takes one.
    fn enforce(&self, facts: &Facts<'_>, route: Option<&Arc<Route>>) -> Result<Passed, Refusal> {
        self.check_client(facts.client, facts.client_is_local)?;
        let is_exempt = self.bypass && facts.client_is_local;
        let port = facts.authority.port;
        if facts.is_tunnel() && !is_exempt && self.connect_ports.binary_search(&port).is_err() {
            return Err(Refusal::new(CONNECT_PORTS, RefusalKind::ConnectPort));
        }
        let branch = if is_exempt { &self.local } else { &self.everyone };
        let literal = match &facts.authority.host {
            Host::Name(name) => {
                if let Some(rule) = self.allowed_names.find(name) {
                    let reach = Arc::clone(&self.excepted);
                    return Ok(Passed { rule, reach, reported: None });
                }
                if let Some(rule) = self.denied_names.find(name) {
                    return Err(Refusal::new(rule, RefusalKind::DestinationName));
                }
                None
            }
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        };
        let via = route.map_or(Via::Direct, |route| route.via);
        // Whoever is asked for by the address of an origin is not gone to: the origins are.
        if let Some(address) = literal
            && !matches!(via, Via::Origin(_))
        {
            branch.rules.check(address)?;
        }
        let rule = if is_exempt { LOCAL_CLIENT_BYPASS } else { CLIENTS };
        if via != Via::Direct {
            // What is dialled then, the operator has written down himself.
            return Ok(Passed { rule, reach: Arc::clone(&self.excepted), reported: None });
        }
        Ok(Passed {
            rule,
            reach: Arc::clone(&branch.reach),
            reported: self.reports_only.then(|| Arc::clone(&branch.rules)),
        })
    }

    fn check_client(&self, client: IpAddr, is_local: bool) -> Result<(), Refusal> {
        // A client on this host that comes by another of its addresses is meant by "loopback", too.
        if (is_local && self.serves_loopback) || self.clients.contain(client) {
            return Ok(());
        }
        Err(Refusal::new(CLIENTS, RefusalKind::Client))
    }
}

/// What `access` lets pass, without its way.
struct Passed {
    rule: RuleName,
    reach: Arc<Reach>,
    reported: Option<Arc<AddressRules>>,
}

impl Passed {
    fn by(self, route: &Arc<Route>, routed: Routed<'_>) -> Permit {
        let Self { rule, reach, reported } = self;
        let would_route = routed.would_route();
        Permit { rule, reach, route: Arc::clone(route), would_route, would_refuse: None, reported }
    }
}

impl AddressRules {
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        self.filter.check(address).map_err(|pattern| {
            let rule = self.names.get(&pattern).cloned().unwrap_or_else(|| address_rule(&pattern));
            Refusal::new(rule, RefusalKind::DestinationAddress)
        })
    }
}

/// The names of a list, and its addresses.
fn split(list: &str, patterns: &DestinationList) -> (Names, Vec<NetPattern>) {
    let (mut names, mut addresses) = (Names::default(), Vec::new());
    let files = patterns.files.iter().map(|file| (Some(file_rule(list, file)), &file.entries));
    // Of two that are the same the later one is found: what stands in the list itself.
    for (file, entries) in files.chain([(None, &patterns.entries)]) {
        names.reserve(entries.len());
        for pattern in entries {
            match pattern {
                DestinationPattern::Host(name) => names.insert(list, file.as_ref(), name, false),
                DestinationPattern::Suffix(name) => names.insert(list, file.as_ref(), name, true),
                DestinationPattern::Net(pattern) => addresses.push(*pattern),
            }
        }
    }
    (names, addresses)
}

/// The addresses of a file of `deny`, each with its name.
fn addresses_of(file: &ListFile) -> impl Iterator<Item = (NetPattern, RuleName)> {
    let rule = file_rule(DENY, file);
    file.entries.iter().filter_map(move |entry| match entry {
        DestinationPattern::Net(pattern) => {
            Some((*pattern, RuleName::line(address_rule(pattern).as_str().into(), Arc::clone(&rule))))
        }
        DestinationPattern::Host(_) | DestinationPattern::Suffix(_) => None,
    })
}

fn file_rule(list: &str, file: &ListFile) -> Arc<str> {
    format!("{list}[{}]", file.name).into()
}

fn address_rule(pattern: &NetPattern) -> RuleName {
    RuleName::entry(format!("{DENY}[{pattern}]").into())
}

/// Whether `local_client_bypass` lifts it.
const fn is_lifted(pattern: &NetPattern) -> bool {
    matches!(pattern, NetPattern::Set(NetSet::Loopback | NetSet::Private | NetSet::Special))
}

const CLIENTS: RuleName = RuleName::key("access.clients");
const CONNECT_PORTS: RuleName = RuleName::key("access.connect_ports");
const LOCAL_CLIENT_BYPASS: RuleName = RuleName::key("access.local_client_bypass");
const MODE: RuleName = RuleName::key("access.mode");
const ALLOW: &str = "access.destinations.allow";
const DENY: &str = "access.destinations.deny";

#[cfg(test)]
mod tests;
