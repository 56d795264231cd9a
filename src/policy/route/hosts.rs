//! Which routes may be for a host, in order, by the labels of its name or by its address.
//!
//! Must not know what a route says. It finds all that may be for a host and some that are not: whoever asks looks at the
//! conditions as a whole. Routes without a condition on hosts, and the few whose hosts cannot be looked up, are among the
//! candidates for every host.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::{
    config::settings::{Conditions, DestinationPattern},
    net::{authority::Host, filter::NetPattern},
    policy::names::{HASH_START, Precomputed, hash_byte},
};

/// Routes by host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    everywhere: Vec<u32>,
    names: Vec<Name>,
    /// From the hash of a name to the newest entry that has it.
    heads: HashMap<u64, u32, BuildHasherDefault<Precomputed>>,
    /// No longer suffix is there.
    longest: usize,
    v4: PrefixMap<Ipv4Net, Vec<u32>>,
    v6: PrefixMap<Ipv6Net, Vec<u32>>,
}

/// A host, or everything below a domain.
#[derive(Debug)]
struct Name {
    name: Box<str>,
    is_suffix: bool,
    /// Sorted.
    routes: Vec<u32>,
    /// The longest domain above that is there, too.
    above: Option<u32>,
    /// Another name with the same hash.
    next: Option<u32>,
}

/// The routes that may be for one host: sorted lists, merged as they are asked.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    hosts: &'a Hosts,
    name: Option<u32>,
    address: Option<IpAddr>,
    /// No earlier route is of interest any more.
    from: u32,
}

impl Hosts {
    /// The route at this place, which is behind all that were added before, is for these hosts.
    pub(super) fn add(&mut self, index: usize, conditions: &Conditions) {
        let index = u32::try_from(index).expect("a configuration has less than 2^32 routes");
        let Conditions { hosts, wildcards, .. } = conditions;
        let mut is_everywhere = hosts.is_empty() && wildcards.is_empty();
        for host in hosts {
            match host {
                DestinationPattern::Host(name) => note(self.name(name, false), index),
                DestinationPattern::Suffix(name) => note(self.name(name, true), index),
                DestinationPattern::Net(NetPattern::Prefix(IpNet::V4(net))) => {
                    note(self.v4.entry(*net).or_default(), index);
                }
                // Mapped addresses are IPv4.
                DestinationPattern::Net(NetPattern::Prefix(IpNet::V6(net))) if !is_mapped(net) => {
                    note(self.v6.entry(*net).or_default(), index);
                }
                DestinationPattern::Net(_) => is_everywhere = true,
            }
        }
        for wildcard in wildcards {
            match wildcard.tail() {
                "" => is_everywhere = true,
                tail => note(self.name(tail, true), index),
            }
        }
        if is_everywhere {
            note(&mut self.everywhere, index);
        }
    }

    /// All routes are there.
    pub(super) fn finish(&mut self) {
        for at in 0..self.names.len() {
            self.names[at].above = self.suffix(&self.names[at].name);
        }
    }

    /// The routes that may be for this host, in order.
    pub(super) fn candidates(&self, host: &Host) -> Candidates<'_> {
        let (name, address) = match host {
            Host::Name(name) => (self.find(name.strip_suffix('.').unwrap_or(name)), None),
            Host::V4(address) => (None, Some((*address).into())),
            Host::V6(address) => (None, Some(IpAddr::V6(*address).to_canonical())),
        };
        Candidates { hosts: self, name, address, from: 0 }
    }

    /// The host itself, or else the longest domain above it.
    fn find(&self, host: &str) -> Option<u32> {
        let (found, hash) = self.walk(host);
        hash.and_then(|hash| self.entry(hash, host, false)).or(found)
    }

    /// The longest domain above this name.
    fn suffix(&self, name: &str) -> Option<u32> {
        self.walk(name).0
    }

    /// The longest domain above a name, and the hash of all of it, if anything is as long.
    fn walk(&self, name: &str) -> (Option<u32>, Option<u64>) {
        let (mut hash, mut found) = (HASH_START, None);
        if self.names.is_empty() {
            return (None, None);
        }
        for (at, byte) in name.bytes().enumerate().rev() {
            if byte == b'.' {
                // Later finds are longer.
                found = self.entry(hash, &name[at + 1..], true).or(found);
            }
            if name.len() - at > self.longest {
                return (found, None);
            }
            hash = hash_byte(hash, byte);
        }
        (found, Some(hash))
    }

    fn entry(&self, hash: u64, name: &str, is_suffix: bool) -> Option<u32> {
        let mut next = self.heads.get(&hash).copied();
        while let Some(index) = next {
            let entry = &self.names[index as usize];
            if entry.is_suffix == is_suffix && *entry.name == *name {
                return next;
            }
            next = entry.next;
        }
        None
    }

    /// The routes of a name, which is there afterwards.
    fn name(&mut self, name: &str, is_suffix: bool) -> &mut Vec<u32> {
        let hash = name.bytes().rev().fold(HASH_START, hash_byte);
        let at = self.entry(hash, name, is_suffix).unwrap_or_else(|| {
            let at = u32::try_from(self.names.len()).expect("a configuration has less than 2^32 names");
            let next = self.heads.insert(hash, at);
            self.longest = self.longest.max(name.len());
            self.names.push(Name { name: name.into(), is_suffix, routes: Vec::new(), above: None, next });
            at
        });
        &mut self.names[at as usize].routes
    }
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let from = self.from;
        let mut least = first(&self.hosts.everywhere, from);
        let mut consider = |routes: &[u32]| {
            least = match (least, first(routes, from)) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        let mut name = self.name;
        while let Some(at) = name {
            let entry = &self.hosts.names[at as usize];
            consider(&entry.routes);
            name = entry.above;
        }
        match self.address {
            Some(IpAddr::V4(address)) => {
                self.hosts.v4.cover_values(&Ipv4Net::from(address)).for_each(|routes| consider(routes));
            }
            Some(IpAddr::V6(address)) => {
                self.hosts.v6.cover_values(&Ipv6Net::from(address)).for_each(|routes| consider(routes));
            }
            None => {}
        }
        let found = least?;
        self.from = found + 1;
        Some(found)
    }
}

/// The first that is not before `from`.
fn first(routes: &[u32], from: u32) -> Option<u32> {
    routes.get(routes.partition_point(|index| *index < from)).copied()
}

/// A route may name a host twice.
fn note(routes: &mut Vec<u32>, index: u32) {
    if routes.last() != Some(&index) {
        routes.push(index);
    }
}

fn is_mapped(net: &Ipv6Net) -> bool {
    let mapped = Ipv6Net::new_assert(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96);
    mapped.contains(net)
}
