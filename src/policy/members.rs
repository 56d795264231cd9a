//! A list of addresses that somebody belongs to or not.
//!
//! Must not know what belonging means. An address counts as what it is, IPv4 that comes in an IPv6 socket as IPv4; what an
//! IPv6 address carries inside does not count. (For destinations it does, for a connection to it ends there. Here
//! it would make whoever takes the address 2002:7f00:1::1 a client on this host.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::filter::{NetFilter, NetPattern};

/// A list of addresses.
#[derive(Clone, Debug)]
pub(super) struct Members(NetFilter);

impl Members {
    /// Of these patterns.
    pub(super) fn new(patterns: &[NetPattern]) -> Self {
        // All are refused, and the members are the exceptions: those are compared exactly.
        Self(NetFilter::new(&EVERYBODY, patterns))
    }

    /// Whether this address is one of them.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.0.check(address).is_ok()
    }
}

const EVERYBODY: [NetPattern; 2] = [
    NetPattern::Prefix(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0))),
    NetPattern::Prefix(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0))),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::filter::NetSet;

    #[test]
    fn an_address_is_what_it_is() {
        let contain =
            |patterns: &[NetPattern], address: &str| Members::new(patterns).contain(address.parse().unwrap());
        let prefix = |text: &str| NetPattern::Prefix(text.parse().unwrap());
        let (loopback, private) = (NetPattern::Set(NetSet::Loopback), NetPattern::Set(NetSet::Private));
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(contain(&[loopback], address), "{address}");
        }
        for address in
            ["10.0.0.1", "8.8.8.8", "2002:7f00:1::1", "64:ff9b::7f00:1", "::127.0.0.1", "2001:db8::1"]
        {
            assert!(!contain(&[loopback], address), "{address}");
        }
        assert!(contain(&[private], "::ffff:10.0.0.1") && !contain(&[private], "2002:a00:1::1"));
        assert!(contain(&[loopback, prefix("2001:db8::/32")], "2001:db8::7"));
        assert!(!contain(&[], "127.0.0.1"));
    }
}
