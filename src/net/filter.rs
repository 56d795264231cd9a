//! Which addresses: prefixes and named sets, with embedded IPv4 unwrapped.
//!
//! Knows addresses only: no names, no ports, no clients. The invariant: an IPv6 address that carries an
//! IPv4 address is refused when either of them is, so no spelling reaches what its plain form may not.

mod sets;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};
use prefix_trie::joint::JointPrefixSet;

pub use self::sets::NetSet;

/// A set of addresses by prefix or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetPattern {
    /// A CIDR prefix without bits beyond its length.
    Prefix(IpNet),
    /// A named set.
    Set(NetSet),
}

/// Why a text is not a [`NetPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetPatternError {
    /// Neither an address, nor a prefix, nor a set.
    #[error("is neither an address, nor a prefix such as 10.0.0.0/8, nor one of the sets {}", NetSet::NAMES)]
    Unknown,
    /// An address, but what follows `/` is no prefix length of its family.
    #[error("the prefix length must be a number from 0 to {max}")]
    PrefixLength {
        /// 32 or 128.
        max: u8,
    },
    /// The address has bits beyond the prefix: it may be a slip of either part.
    #[error("has bits beyond its prefix length: the network is {network}")]
    HostBits {
        /// What the prefix covers.
        network: IpNet,
    },
}

/// Patterns compiled for look-up: thousands of prefixes cost no more than one.
///
/// Membership here is that of the address itself, a mapped IPv4 address (`::ffff:a.b.c.d`) counting as
/// IPv4. That is right for whom to let in; for where to let somebody go use [`NetFilter`].
#[derive(Clone, Debug)]
pub struct NetList {
    prefixes: JointPrefixSet<IpNet>,
    sets: Vec<NetSet>,
}

/// Which addresses may be dialled: all but those denied, save those allowed.
#[derive(Clone, Debug)]
pub struct NetFilter {
    deny: NetList,
    allow: NetList,
}

impl NetFilter {
    /// `allow` holds the exceptions from `deny`.
    #[must_use]
    pub fn new(deny: &[NetPattern], allow: &[NetPattern]) -> Self {
        Self { deny: NetList::new(deny), allow: NetList::new(allow) }
    }

    /// Whether `ip` may be dialled.
    ///
    /// The address and every IPv4 address that is embedded in it must pass, each for itself: an exception
    /// for a tunnel's prefix is none for what the tunnel leads to.
    ///
    /// # Errors
    ///
    /// The pattern that refuses it: the longest prefix, or else a set.
    pub fn check(&self, ip: IpAddr) -> Result<(), NetPattern> {
        let ip = ip.to_canonical();
        self.check_one(ip)?;
        match ip {
            IpAddr::V4(_) => Ok(()),
            IpAddr::V6(outer) => sets::embedded(outer).try_for_each(|inner| self.check_one(inner.into())),
        }
    }

    fn check_one(&self, ip: IpAddr) -> Result<(), NetPattern> {
        match self.deny.find(ip) {
            Some(pattern) if !self.allow.contains(ip) => Err(pattern),
            _ => Ok(()),
        }
    }
}

impl NetList {
    /// Compiles the patterns. An empty list matches nothing.
    #[must_use]
    pub fn new(patterns: &[NetPattern]) -> Self {
        let mut prefixes = JointPrefixSet::new();
        let mut sets = Vec::new();
        for pattern in patterns {
            match *pattern {
                NetPattern::Prefix(prefix) => {
                    prefixes.insert(as_looked_up(prefix));
                }
                NetPattern::Set(set) => sets.push(set),
            }
        }
        Self { prefixes, sets }
    }

    /// The pattern that `ip` matches: the longest prefix, or else the first set.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<NetPattern> {
        let ip = ip.to_canonical();
        if let Some(prefix) = self.prefixes.get_lpm(&IpNet::from(ip)) {
            return Some(NetPattern::Prefix(prefix));
        }
        self.sets.iter().find(|set| set.contains(ip)).copied().map(NetPattern::Set)
    }

    /// Whether any pattern matches `ip`.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.find(ip).is_some()
    }
}

impl NetPattern {
    /// Whether the address itself is meant, as for [`NetList`].
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        match self {
            Self::Prefix(prefix) => as_looked_up(*prefix).contains(&ip),
            Self::Set(set) => set.contains(ip),
        }
    }
}

impl From<NetSet> for NetPattern {
    fn from(set: NetSet) -> Self {
        Self::Set(set)
    }
}

impl FromStr for NetPattern {
    type Err = NetPatternError;

    /// An address, a prefix or the name of a set.
    fn from_str(text: &str) -> Result<Self, NetPatternError> {
        if let Some(set) = NetSet::from_name(text) {
            return Ok(Self::Set(set));
        }
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetPatternError::Unknown)?;
        let Some(length) = length else {
            return Ok(Self::Prefix(address.into()));
        };
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = length
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| length.parse().ok())
            .flatten()
            .and_then(|length| IpNet::new(address, length).ok())
            .ok_or(NetPatternError::PrefixLength { max })?;
        match prefix.trunc() {
            network if network == prefix => Ok(Self::Prefix(prefix)),
            network => Err(NetPatternError::HostBits { network }),
        }
    }
}

impl fmt::Display for NetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Set(set) => set.fmt(f),
        }
    }
}

/// A prefix of mapped addresses is looked up as the IPv4 prefix that it means.
fn as_looked_up(prefix: IpNet) -> IpNet {
    let IpNet::V6(v6) = prefix else {
        return prefix;
    };
    let Some(v4) = v6.addr().to_ipv4_mapped() else {
        return prefix;
    };
    v6.prefix_len()
        .checked_sub(MAPPED_BITS)
        .and_then(|length| Ipv4Net::new(v4, length).ok())
        .map_or(prefix, IpNet::V4)
}

/// `::ffff:0:0/96`.
const MAPPED_BITS: u8 = 96;
