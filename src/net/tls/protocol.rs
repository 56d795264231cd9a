//! What is agreed on in a handshake: the version of TLS, and what is spoken inside (ALPN, RFC 7301).

use std::{fmt, sync::Arc};

use tokio_rustls::rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};

/// What is spoken inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, which is also what is spoken where nothing was agreed on.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// Its name in ALPN.
    #[must_use]
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    /// What was agreed on.
    pub(in crate::net) fn agreed(name: Option<&[u8]>) -> Self {
        if name == Some(Self::Http2.name()) { Self::Http2 } else { Self::Http1 }
    }

    pub(super) fn names(protocols: &[Self]) -> Vec<Vec<u8>> {
        protocols.iter().map(|protocol| protocol.name().to_vec()).collect()
    }
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Oldest {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Oldest {
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static SINCE_12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static SINCE_13: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self {
            Self::Tls12 => &SINCE_12,
            Self::Tls13 => &SINCE_13,
        }
    }
}

impl fmt::Display for Oldest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

/// Where all of our cryptography comes from.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
