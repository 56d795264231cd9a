//! Whose bucket.
//!
//! Must not know where buckets are. A client is one bucket however it writes its address, and IPv6 clients, which have 2^64
//! addresses to choose from, are one by /64.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
};

use crate::{config::settings::LimitKey, net::authority::Host, policy::Facts};

/// Whose bucket it is. Displayed it is a text that is the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketKey<'a> {
    /// An IPv4 address, or the first of an IPv6 /64.
    Client(IpAddr),
    /// Everybody's.
    Global,
    /// A host, without the dot at its end.
    Host(&'a str),
    /// A host that is an address.
    HostAddress(IpAddr),
    /// A user.
    User(&'a str),
}

impl<'a> BucketKey<'a> {
    /// The bucket of a request. None for a limit by user when there is none: it does not concern the request then.
    pub fn of(kind: LimitKey, facts: &Facts<'a>) -> Option<Self> {
        Some(match kind {
            LimitKey::ClientIp => Self::Client(client_prefix(facts.client)),
            LimitKey::Global => Self::Global,
            LimitKey::User => Self::User(facts.user?),
            LimitKey::Host => match &facts.authority.host {
                Host::Name(name) => Self::Host(name.strip_suffix('.').unwrap_or(name)),
                Host::V4(address) => Self::HostAddress(IpAddr::V4(*address)),
                Host::V6(address) => Self::HostAddress(IpAddr::V6(*address).to_canonical()),
            },
        })
    }

    /// The name of the bucket among all buckets of an instance. `seed` is secret and one for the instance, lest somebody looks
    /// for names that share a bucket with another's; `limit` tells the limits apart. Never 0. Does not allocate.
    pub fn hash64(&self, seed: u64, limit: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (seed, limit, self).hash(&mut hasher);
        hasher.finish().max(1)
    }
}

impl fmt::Display for BucketKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(address @ IpAddr::V4(_)) => write!(f, "client:{address}"),
            Self::Client(address @ IpAddr::V6(_)) => write!(f, "client:{address}/64"),
            Self::Global => f.write_str("global"),
            Self::Host(name) => write!(f, "host:{name}"),
            Self::HostAddress(address) => write!(f, "host:{address}"),
            Self::User(name) => write!(f, "user:{name}"),
        }
    }
}

/// What a client is counted as: its address, or the first of its /64.
pub fn client_prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::{config::settings::AskedBy, net::authority::Authority};

    fn key(kind: LimitKey, client: &str, target: &str, user: Option<&str>) -> Option<(String, u64)> {
        let authority = Authority::parse(target, None).unwrap();
        let client = client.parse().unwrap();
        let facts = Facts {
            client,
            client_is_local: false,
            method: &Method::GET,
            asked_by: AskedBy::Http,
            authority: &authority,
            user,
            path: None,
        };
        BucketKey::of(kind, &facts).map(|key| (key.to_string(), key.hash64(1, 2)))
    }

    #[test]
    fn keys() {
        let cases = [
            (LimitKey::ClientIp, "192.0.2.1", "a.test:80", None, Some("client:192.0.2.1")),
            (LimitKey::ClientIp, "::ffff:192.0.2.1", "a.test:80", None, Some("client:192.0.2.1")),
            (LimitKey::ClientIp, "2001:db8:1:2:3:4:5:6", "a.test:80", None, Some("client:2001:db8:1:2::/64")),
            (LimitKey::Global, "192.0.2.1", "a.test:80", None, Some("global")),
            (LimitKey::Host, "192.0.2.1", "A.test.:80", None, Some("host:a.test")),
            (LimitKey::Host, "192.0.2.1", "[::ffff:192.0.2.2]:80", None, Some("host:192.0.2.2")),
            (LimitKey::User, "192.0.2.1", "a.test:80", Some("ann"), Some("user:ann")),
            (LimitKey::User, "192.0.2.1", "a.test:80", None, None),
        ];
        for (kind, client, target, user, expected) in cases {
            let found = key(kind, client, target, user);
            assert_eq!(found.as_ref().map(|(text, _)| text.as_str()), expected, "{kind:?} {client} {target}");
        }
        let hash = |client| key(LimitKey::ClientIp, client, "a.test:80", None).unwrap().1;
        assert_eq!(hash("2001:db8::1"), hash("2001:db8::2"));
        assert_ne!(hash("2001:db8::1"), hash("2001:db8:0:1::1"));
        assert_ne!(BucketKey::Global.hash64(1, 1), BucketKey::Global.hash64(1, 2));
        assert_ne!(BucketKey::Global.hash64(1, 1), BucketKey::Global.hash64(2, 1));
        assert_ne!(BucketKey::User("a").hash64(1, 1), BucketKey::Host("a").hash64(1, 1));
    }
}
