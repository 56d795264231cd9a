//! Which addresses: prefixes and named sets, with embedded IPv4 unwrapped.
//!
//! An IPv6 address that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) is refused when the one
//! inside it is, for the connection ends there. Must not know names or ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixSet;

/// A set of addresses by prefix or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetPattern {
    /// A CIDR prefix.
    Prefix(IpNet),
    /// A named set.
    Set(NetSet),
}

/// The named sets of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetSet {
    /// Link-local addresses of both families.
    LinkLocal,
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// Metadata services of the large clouds.
    Metadata,
    /// RFC 1918 and unique local addresses.
    Private,
    /// All that is not public unicast.
    Special,
}

impl NetSet {
    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkLocal => "link_local",
            Self::Loopback => "loopback",
            Self::Metadata => "metadata",
            Self::Private => "private",
            Self::Special => "special",
        }
    }

    /// The set of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::LinkLocal, Self::Loopback, Self::Metadata, Self::Private, Self::Special]
            .into_iter()
            .find(|set| set.name() == name)
    }

    /// Whether `ip` itself, without looking into it, is in the set.
    fn holds(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.prefixes_v4().iter().any(|(net, length)| in_v4(ip, *net, *length)),
            IpAddr::V6(ip) if self == Self::Special => {
                // Public unicast is 2000::/3 without the registered exceptions, and what only wraps IPv4 is judged by that.
                !(in_v6(ip, [0x2000, 0, 0, 0, 0, 0, 0, 0], 3) || embedded_v4(ip).is_some())
                    || self.prefixes_v6().iter().any(|(net, length)| in_v6(ip, *net, *length))
            }
            IpAddr::V6(ip) => self.prefixes_v6().iter().any(|(net, length)| in_v6(ip, *net, *length)),
        }
    }

    const fn prefixes_v4(self) -> &'static [([u8; 4], u8)] {
        match self {
            Self::LinkLocal => &[([169, 254, 0, 0], 16)],
            Self::Loopback => &[([127, 0, 0, 0], 8)],
            Self::Metadata => &[
                // AWS, Azure, GCP, Oracle, DigitalOcean, OpenStack; AWS ECS tasks and DNS, time and pod identity.
                ([169, 254, 169, 254], 32),
                ([169, 254, 170, 2], 32),
                ([169, 254, 170, 23], 32),
                ([169, 254, 169, 253], 32),
                ([169, 254, 169, 123], 32),
                // Azure's wire server, Alibaba, Oracle at IPv4 192.0.0.192, Tencent.
                ([168, 63, 129, 16], 32),
                ([100, 100, 100, 200], 32),
                ([192, 0, 0, 192], 32),
                ([169, 254, 0, 23], 32),
            ],
            Self::Private => &[([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)],
            // The IANA registry of special-purpose addresses, multicast, and what is reserved or used inside clouds.
            Self::Special => &[
                ([0, 0, 0, 0], 8),
                ([10, 0, 0, 0], 8),
                ([100, 64, 0, 0], 10),
                ([127, 0, 0, 0], 8),
                ([168, 63, 129, 16], 32),
                ([169, 254, 0, 0], 16),
                ([172, 16, 0, 0], 12),
                ([192, 0, 0, 0], 24),
                ([192, 0, 2, 0], 24),
                ([192, 31, 196, 0], 24),
                ([192, 52, 193, 0], 24),
                ([192, 88, 99, 0], 24),
                ([192, 168, 0, 0], 16),
                ([192, 175, 48, 0], 24),
                ([198, 18, 0, 0], 15),
                ([198, 51, 100, 0], 24),
                ([203, 0, 113, 0], 24),
                ([224, 0, 0, 0], 4),
                ([240, 0, 0, 0], 4),
            ],
        }
    }

    const fn prefixes_v6(self) -> &'static [([u16; 8], u8)] {
        match self {
            Self::LinkLocal => &[([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10)],
            Self::Loopback => &[([0, 0, 0, 0, 0, 0, 0, 1], 128)],
            Self::Metadata => &[
                // AWS: instance metadata, DNS, time, pod identity; GCP; Oracle.
                ([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0], 32),
                ([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254], 128),
                ([0xfd00, 0x00c1, 0, 0, 0xa9fe, 0xa9fe, 0, 0], 96),
            ],
            Self::Private => &[([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7)],
            // Inside 2000::/3: benchmarking, ORCHID, documentation, and the rest of 2001::/23 that is not global.
            Self::Special => &[
                ([0x2001, 0x0002, 0, 0, 0, 0, 0, 0], 48),
                ([0x2001, 0x0010, 0, 0, 0, 0, 0, 0], 28),
                ([0x2001, 0x0020, 0, 0, 0, 0, 0, 0], 28),
                ([0x2001, 0x0030, 0, 0, 0, 0, 0, 0], 28),
                ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
                ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
            ],
        }
    }
}

/// The IPv4 addresses that are inside an IPv6 address. Teredo has two: the server, and the client it is for.
fn embedded_v4(ip: Ipv6Addr) -> Option<[Ipv4Addr; 2]> {
    let segments = ip.segments();
    let at = |index: usize| {
        let [a, b] = segments[index].to_be_bytes();
        let [c, d] = segments[index + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    let last = at(6);
    match segments {
        // Unspecified and loopback are no IPv4 addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible, mapped, translated (RFC 4291 section 2.5.5, RFC 2765 section 2.1), NAT64 (RFC 6052, RFC 8215).
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..] => Some([last; 2]),
        [0x2002, ..] => Some([at(1); 2]),
        [0x2001, 0, ..] => Some([at(2), Ipv4Addr::from_bits(!last.to_bits())]),
        _ => None,
    }
}

fn in_v4(ip: Ipv4Addr, net: [u8; 4], length: u8) -> bool {
    let shift = 32 - u32::from(length);
    (ip.to_bits() ^ Ipv4Addr::from(net).to_bits()).checked_shr(shift).unwrap_or(0) == 0
}

fn in_v6(ip: Ipv6Addr, net: [u16; 8], length: u8) -> bool {
    let shift = 128 - u32::from(length);
    (ip.to_bits() ^ Ipv6Addr::from(net).to_bits()).checked_shr(shift).unwrap_or(0) == 0
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
                }
            }
        }
        list
    }

    /// The pattern that `ip` matches, itself or by what is embedded in it.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<NetPattern> {
        let inside = match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => embedded_v4(ip),
        };
        self.find_exactly(ip)
            .or_else(|| inside.into_iter().flatten().find_map(|inner| self.find_exactly(inner.into())))
    }

    fn find_exactly(&self, ip: IpAddr) -> Option<NetPattern> {
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

impl std::fmt::Display for NetPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(net) => net.fmt(f),
            Self::Set(set) => f.write_str(set.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn special_is_all_that_is_not_public() {
        let filter = NetFilter::new(&[NetPattern::Set(NetSet::Special)], &[]);
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::10.0.0.1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:7f00:1::1",
            "2001:0:808:808:0:0:80ff:fffe",
            "::ffff:0:127.0.0.1",
            "100::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(filter.check(ip(refused)).is_err(), "{refused} is special");
        }
        for allowed in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2002:808:808::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(filter.check(ip(allowed)), Ok(()), "{allowed} is public");
        }
    }

    #[test]
    fn exceptions_come_first_and_do_not_unwrap() {
        let net = |text: &str| NetPattern::Prefix(text.parse().unwrap());
        let filter =
            NetFilter::new(&[NetPattern::Set(NetSet::Special), net("8.8.8.0/24")], &[net("10.1.0.0/16")]);
        assert_eq!(filter.check(ip("10.1.2.3")), Ok(()));
        assert_eq!(filter.check(ip("::ffff:10.1.2.3")), Ok(()));
        assert!(filter.check(ip("10.2.0.1")).is_err());
        assert!(
            filter.check(ip("64:ff9b::10.1.2.3")).is_err(),
            "a translated address is not the one that is excepted"
        );
        assert_eq!(filter.check(ip("8.8.8.8")), Err(net("8.8.8.0/24")));
        assert!(filter.check(ip("::ffff:8.8.8.8")).is_err());
    }

    #[test]
    fn sets_have_their_names() {
        for (set, member) in [
            (NetSet::LinkLocal, "fe80::1"),
            (NetSet::Loopback, "127.1.1.1"),
            (NetSet::Metadata, "fd00:ec2::254"),
            (NetSet::Metadata, "169.254.169.254"),
            (NetSet::Private, "192.168.0.1"),
        ] {
            assert_eq!(NetSet::named(set.name()), Some(set));
            assert_eq!(
                NetList::new(&[NetPattern::Set(set)]).find(ip(member)),
                Some(NetPattern::Set(set)),
                "{member}"
            );
        }
        assert_eq!(NetSet::named("everything"), None);
    }
}
