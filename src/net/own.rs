//! Which addresses are our own listeners: a proxy that dials itself goes round for ever.
//!
//! Knows the addresses the instance listens on and those of this host, and nothing of `Via`, which finds the longer loops.

use std::net::{IpAddr, SocketAddr};

/// The addresses this instance listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnListeners {
    listeners: Vec<SocketAddr>,
}

impl OwnListeners {
    /// The bound addresses, ports resolved.
    #[must_use]
    pub fn new(listeners: Vec<SocketAddr>) -> Self {
        Self { listeners }
    }

    /// Whether a connection to `address` would come back to us.
    ///
    /// A listener on the unspecified address answers on every address of this host, which is asked of the kernel each
    /// time: addresses come and go while we run. Only a port that is a listener's is worth the question.
    #[must_use]
    pub fn owns(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.listeners.iter().filter(|listener| listener.port() == address.port()).any(|listener| {
            let own = listener.ip().to_canonical();
            // To dial the unspecified address is to dial this host.
            own == ip || ip.is_unspecified() || (own.is_unspecified() && is_local(ip))
        })
    }
}

fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || is_of_an_interface(ip)
}

/// Asked of the interfaces, not by binding a socket: with `net.ipv4.ip_nonlocal_bind`, which fail-over set-ups switch on,
/// every address can be bound, and every origin on the listener's port would count as ourselves.
#[cfg(unix)]
fn is_of_an_interface(ip: IpAddr) -> bool {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return false };
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

    #[test]
    fn knows_itself_by_every_name() {
        let own = OwnListeners::new(vec!["127.0.0.1:8080".parse().unwrap(), "[::]:8081".parse().unwrap()]);
        for (address, expected) in [
            ("127.0.0.1:8080", true),
            ("127.0.0.2:8080", false),
            ("127.0.0.1:80", false),
            ("[::ffff:127.0.0.1]:8080", true),
            ("[::ffff:127.0.0.1]:8081", true),
            ("0.0.0.0:8080", true),
            ("[::]:8080", true),
            ("127.0.0.1:8081", true),
            ("127.9.9.9:8081", true),
            ("[::1]:8081", true),
            ("192.0.2.1:8081", false),
            ("[2001:db8::1]:8081", false),
        ] {
            assert_eq!(own.owns(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn knows_the_addresses_of_its_interfaces() {
        let own = OwnListeners::new(vec!["0.0.0.0:8080".parse().unwrap()]);
        for interface in nix::ifaddrs::getifaddrs().unwrap() {
            if let Some(address) = interface.address.as_ref().and_then(|address| address.as_sockaddr_in()) {
                assert!(own.owns((address.ip(), 8080).into()), "{}", interface.interface_name);
            }
        }
    }
}
