//! Which addresses: prefixes and named sets, with embedded IPv4 unwrapped.
//!
//! An IPv6 address that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) is refused when the one
//! inside it is, for the connection ends there. Must not know names or ports.

mod sets;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixSet;

pub use self::sets::NetSet;

/// A set of addresses by prefix or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetPattern {
    /// A CIDR prefix.
    Prefix(IpNet),
    /// A named set.
    Set(NetSet),
}

/// Addresses that match one of many patterns; the cost of asking does not depend on how many.
#[derive(Clone, Debug, Default)]
pub struct NetList {
    sets: Vec<NetSet>,
    v4: PrefixSet<Ipv4Net>,
    v6: PrefixSet<Ipv6Net>,
}

impl NetList {
    /// The addresses of all `patterns`.
    #[must_use]
    pub fn new(patterns: &[NetPattern]) -> Self {
        let mut list = Self::default();
        for pattern in patterns {
            match pattern {
                NetPattern::Set(set) => list.sets.push(*set),
                NetPattern::Prefix(IpNet::V4(net)) => {
                    list.v4.insert(*net);
                }
                NetPattern::Prefix(IpNet::V6(net)) => {
                    list.v6.insert(*net);
                    // Who writes down mapped addresses means the IPv4 ones, however they are spelt.
                    if let Some(net) = as_v4(*net) {
                        list.v4.insert(net);
                    }
                }
            }
        }
        list
    }

    /// The pattern that `ip` matches, itself or by what is embedded in it.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<NetPattern> {
        self.find_exactly(ip).or_else(|| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => sets::embedded_v4(ip).find_map(|inner| self.find_exactly(inner.into())),
        })
    }

    /// The pattern that `ip` itself matches, whatever is embedded in it.
    #[must_use]
    pub fn find_exactly(&self, ip: IpAddr) -> Option<NetPattern> {
        let prefix = match ip {
            IpAddr::V4(ip) => self.v4.get_lpm(&Ipv4Net::from(ip)).map(IpNet::V4),
            IpAddr::V6(ip) => self.v6.get_lpm(&Ipv6Net::from(ip)).map(IpNet::V6),
        };
        // What is written out says more than a name for many.
        prefix
            .map(NetPattern::Prefix)
            .or_else(|| self.sets.iter().find(|set| set.holds(ip)).copied().map(NetPattern::Set))
    }
}

/// Addresses that may be reached: all, but those that are denied and not excepted.
#[derive(Clone, Debug, Default)]
pub struct NetFilter {
    deny: NetList,
    allow: NetList,
}

impl NetFilter {
    /// Refuses `deny`, except `allow`, which is asked first.
    #[must_use]
    pub fn new(deny: &[NetPattern], allow: &[NetPattern]) -> Self {
        Self { deny: NetList::new(deny), allow: NetList::new(allow) }
    }

    /// Whether `ip` may be reached.
    ///
    /// # Errors
    ///
    /// The pattern that denies it.
    pub fn check(&self, ip: IpAddr) -> Result<(), NetPattern> {
        match self.deny.find(ip) {
            // An exception holds for the address as it is written and for its IPv4 form, never for one that merely
            // carries an excepted address.
            Some(pattern) if self.allow.find_exactly(ip.to_canonical()).is_none() => Err(pattern),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for NetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(net) => net.fmt(f),
            Self::Set(set) => f.write_str(set.name()),
        }
    }
}

/// The IPv4 prefix that a prefix of mapped addresses (`::ffff:a.b.c.d`) stands for.
fn as_v4(net: Ipv6Net) -> Option<Ipv4Net> {
    let length = net.prefix_len().checked_sub(MAPPED_BITS)?;
    Ipv4Net::new(net.addr().to_ipv4_mapped()?, length).ok()
}

/// In front of the IPv4 address in a mapped one.
const MAPPED_BITS: u8 = 96;
