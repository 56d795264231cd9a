//! Which destinations are this proxy itself.
//!
//! Knows the addresses that the instance listens on and those of this host, and nothing of `Via`, which
//! finds the longer loops. The invariant: an address that would be answered by one of our listeners is
//! never dialled (RFC 9110 7.6), whatever name or spelling led to it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// The sockets that the instance itself listens on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct OwnListeners {
    bound: Arc<[SocketAddr]>,
}

impl OwnListeners {
    /// Takes the addresses as they were bound: with port 0 already replaced by the real port.
    #[must_use]
    pub fn new(bound: Vec<SocketAddr>) -> Self {
        Self { bound: bound.into() }
    }

    /// Whether a connection to `address` would arrive at one of the listeners.
    ///
    /// A listener on the wildcard address of either family is taken to own its port on every address of
    /// this host. The host's addresses are asked of the kernel then and there, since they change while
    /// we run; that happens only when the port is the listener's.
    #[must_use]
    pub fn owns(&self, address: SocketAddr) -> bool {
        let mut same_port = self.bound.iter().filter(|bound| bound.port() == address.port()).peekable();
        if same_port.peek().is_none() {
            return false;
        }
        let target = as_connected(address.ip());
        same_port.any(|bound| match bound.ip().to_canonical() {
            ip if ip.is_unspecified() => is_of_this_host(target),
            ip => ip == target,
        })
    }
}

/// The address that the kernel connects to: a mapped one is IPv4, and "any" is the loopback.
fn as_connected(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

fn is_of_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || is_of_an_interface(ip)
}

/// Asked of the interfaces and not by a trial bind, which `ip_nonlocal_bind` makes succeed everywhere.
#[cfg(unix)]
fn is_of_an_interface(ip: IpAddr) -> bool {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return false;
    };
    interfaces.filter_map(|interface| interface.address).any(|address| match ip {
        IpAddr::V4(ip) => address.as_sockaddr_in().is_some_and(|found| found.ip() == ip),
        IpAddr::V6(ip) => address.as_sockaddr_in6().is_some_and(|found| found.ip() == ip),
    })
}

#[cfg(not(unix))]
fn is_of_an_interface(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owns(bound: &[&str], address: &str) -> bool {
        OwnListeners::new(bound.iter().map(|bound| bound.parse().unwrap()).collect())
            .owns(address.parse().unwrap())
    }

    #[test]
    fn a_listener_owns_every_spelling_of_its_address() {
        for (bound, address, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "127.0.0.1:8081", false),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            ("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", true),
            ("127.0.0.1:8080", "0.0.0.0:8080", true),
            ("127.0.0.1:8080", "[::1]:8080", false),
            ("[::1]:8080", "[::1]:8080", true),
            ("[::1]:8080", "[::]:8080", true),
            ("[::1]:8080", "127.0.0.1:8080", false),
            ("[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true),
            ("192.0.2.1:8080", "0.0.0.0:8080", false),
        ] {
            assert_eq!(owns(&[bound], address), expected, "{bound} {address}");
        }
        assert!(!owns(&[], "127.0.0.1:80"));
        assert!(owns(&["192.0.2.1:1", "127.0.0.1:2"], "127.0.0.1:2"));
    }

    #[test]
    fn a_wildcard_listener_owns_its_port_on_this_host_only() {
        for bound in ["0.0.0.0:8080", "[::]:8080"] {
            for mine in ["127.0.0.1:8080", "127.9.9.9:8080", "[::1]:8080", "0.0.0.0:8080", "[::]:8080"] {
                assert!(owns(&[bound], mine), "{bound} {mine}");
            }
            for other in ["192.0.2.1:8080", "[2001:db8::1]:8080", "127.0.0.1:8081"] {
                assert!(!owns(&[bound], other), "{bound} {other}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn addresses_of_interfaces_are_of_this_host() {
        for interface in nix::ifaddrs::getifaddrs().unwrap() {
            if let Some(address) = interface.address.as_ref().and_then(|address| address.as_sockaddr_in()) {
                assert!(is_of_this_host(address.ip().into()), "{}", interface.interface_name);
            }
        }
    }
}
