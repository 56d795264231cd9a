//! The named sets, and where IPv6 addresses hide IPv4 ones.
//!
//! A table of data: IANA's special-purpose registries of both families (RFC 6890 and what was added since,
//! as of 2025), IPv6 outside the global unicast space, and the metadata services of the large clouds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

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
    /// All that is not public unicast, and the metadata services.
    Special,
}

impl NetSet {
    /// The set of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::LinkLocal, Self::Loopback, Self::Metadata, Self::Private, Self::Special]
            .into_iter()
            .find(|set| set.name() == name)
    }

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

    /// Whether `ip` itself, without looking into it, is in the set.
    pub(super) fn holds(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.contains_v4(ip),
            IpAddr::V6(ip) => self.contains_v6(ip),
        }
    }

    fn contains_v4(self, ip: Ipv4Addr) -> bool {
        match self {
            Self::LinkLocal => ip.is_link_local(),
            Self::Loopback => ip.is_loopback(),
            Self::Metadata => METADATA_V4.contains(&ip),
            Self::Private => ip.is_private(),
            Self::Special => METADATA_V4.contains(&ip) || SPECIAL_V4.iter().any(|net| net.contains(&ip)),
        }
    }

    fn contains_v6(self, ip: Ipv6Addr) -> bool {
        match self {
            Self::LinkLocal => ip.is_unicast_link_local(),
            Self::Loopback => ip.is_loopback(),
            Self::Metadata => METADATA_V6.iter().any(|net| net.contains(&ip)),
            Self::Private => ip.is_unique_local(),
            // A mapped address is dialled as IPv4, and NAT64's well-known prefix is all that an IPv6-only network has of
            // the IPv4 internet: of both the address inside decides.
            Self::Special => {
                !(NAT64.contains(&ip) || MAPPED.contains(&ip))
                    && (!GLOBAL_UNICAST.contains(&ip) || SPECIAL_V6.iter().any(|net| net.contains(&ip)))
            }
        }
    }
}

/// The IPv4 addresses that a packet to `ip` could end up at. Where a prefix allows several layouts, the address in each of
/// them is given.
pub(super) fn embedded_v4(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let octets = ip.octets();
    let at = move |positions: [usize; 4]| Ipv4Addr::from(positions.map(|position| octets[position]));
    let low = at([12, 13, 14, 15]);
    let found = if [MAPPED, TRANSLATED, NAT64].iter().any(|net| net.contains(&ip)) || is_compatible(ip) {
        [Some(low), None, None, None]
    } else if NAT64_LOCAL.contains(&ip) {
        // RFC 6052 2.2: lengths 48, 56, 64 and 96, skipping octet 8.
        [Some(at([6, 7, 9, 10])), Some(at([7, 9, 10, 11])), Some(at([9, 10, 11, 12])), Some(low)]
    } else if SIX_TO_FOUR.contains(&ip) {
        [Some(at([2, 3, 4, 5])), None, None, None]
    } else if TEREDO.contains(&ip) {
        // RFC 4380 4: the server, and the client with every bit inverted.
        [Some(at([4, 5, 6, 7])), Some(Ipv4Addr::from(!u32::from(low))), None, None]
    } else {
        [None; 4]
    };
    found.into_iter().flatten()
}

/// `::a.b.c.d` (RFC 4291 2.5.5.1), of which `::` and `::1` are none.
fn is_compatible(ip: Ipv6Addr) -> bool {
    COMPATIBLE.contains(&ip) && !ip.is_unspecified() && !ip.is_loopback()
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

const fn host(ip: Ipv6Addr) -> Ipv6Net {
    Ipv6Net::new_assert(ip, 128)
}

/// Not public unicast. The registry's anycast services that are reachable worldwide (AS112, AMT) are.
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),       // this network
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // shared by carriers' NAT
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // IETF protocol assignments, DS-Lite
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 88, 99, 0, 24),  // 6to4 relay anycast, withdrawn
    v4(192, 168, 0, 0, 16),  // private
    v4(198, 18, 0, 0, 15),   // benchmarking
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, and the broadcast address
];

/// Outside it lie loopback, unique local, link-local, site-local, multicast, discard-only, segment
/// routing (5f00::/16), compatible and translated IPv4, and all that is not assigned.
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Within the global unicast space.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23),      // protocol assignments: Teredo, benchmarking, ORCHID, DETs
    v6(0x2001, 0x0db8, 0, 32), // documentation
    SIX_TO_FOUR,
    v6(0x3fff, 0, 0, 20), // documentation
];

const COMPATIBLE: Ipv6Net = v6(0, 0, 0, 96);
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
const NAT64_LOCAL: Ipv6Net = v6(0x64, 0xff9b, 1, 48);
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
const TEREDO: Ipv6Net = v6(0x2001, 0, 0, 32);
/// `::ffff:0:a.b.c.d`, stateless translation (RFC 2765).
const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96);

const METADATA_V4: [Ipv4Addr; 12] = [
    Ipv4Addr::new(169, 254, 169, 254), // AWS, Google, Azure, Oracle, DigitalOcean, Hetzner, OpenStack, …
    Ipv4Addr::new(169, 254, 169, 253), // AWS, names
    Ipv4Addr::new(169, 254, 169, 123), // AWS, time
    Ipv4Addr::new(169, 254, 170, 2),   // AWS ECS task credentials
    Ipv4Addr::new(169, 254, 170, 23),  // AWS EKS pod identity
    Ipv4Addr::new(169, 254, 0, 23),    // Tencent
    Ipv4Addr::new(169, 254, 10, 10),   // Tencent
    Ipv4Addr::new(169, 254, 42, 42),   // Scaleway
    Ipv4Addr::new(169, 254, 169, 250), // Rancher
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(168, 63, 129, 16),   // Azure WireServer; looks public
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle, classic
];

const METADATA_V6: [Ipv6Net; 7] = [
    v6(0xfd00, 0x0ec2, 0, 32), // AWS: metadata, names, time, pod identity
    host(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)), // Google
    host(Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), // Oracle
    host(Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042)), // Scaleway
    host(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)), // Akamai
    host(Ipv6Addr::new(0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200)), // Alibaba
    host(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), // OpenStack, Akamai
];
