//! Which addresses are our own listeners: a proxy that dials itself goes round for ever.

use std::net::{IpAddr, SocketAddr, UdpSocket};

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
    /// time: addresses come and go while we run.
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

/// Whether `ip` is an address of this host: then, and only then, a socket can be bound to it.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
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
            ("0.0.0.0:8080", true),
            ("127.0.0.1:8081", true),
            ("127.9.9.9:8081", true),
            ("[::1]:8081", true),
            ("192.0.2.1:8081", false),
        ] {
            assert_eq!(own.owns(address.parse().unwrap()), expected, "{address}");
        }
    }
}
