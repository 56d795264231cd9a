//! Which addresses: prefixes and named sets, with embedded IPv4 unwrapped.

use ipnet::IpNet;

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
