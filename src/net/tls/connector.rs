//! The client's end of TLS: who is at the other end is who was asked for, or there is no stream.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::OnceCell;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, HandshakeKind, RootCertStore,
        pki_types::{DnsName, ServerName},
        sign::SingleCertAndKey,
    },
};

use super::{
    TlsError,
    certificate::{Authorities, Identity},
    protocol::{Oldest, Protocol, provider},
};
use crate::net::{ahead::Ahead, authority::Host, stream::Stream};

/// How servers are reached.
#[derive(Clone, Debug, Default)]
pub struct ConnectorOptions {
    /// Whether the authorities of the system are trusted. They are read once, when somebody is reached for the first time.
    pub system_roots: bool,
    /// Who else is trusted.
    pub authorities: Option<Authorities>,
    /// Who we are, for servers that ask.
    pub identity: Option<Identity>,
    /// The oldest version.
    pub oldest: Oldest,
    /// What may be spoken inside where there is a choice, the best first. Where there is none, it is HTTP/1.1.
    pub protocols: Vec<Protocol>,
}

/// Goes to servers. Clones are the same, and remember the same sessions.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    options: ConnectorOptions,
    /// Made when it is needed first: most proxies never do.
    ready: OnceCell<Ready>,
    is_retired: AtomicBool,
}

/// What shakes hands. Both remember the same sessions.
#[derive(Clone)]
struct Ready {
    http1: TlsConnector,
    /// With all of [`ConnectorOptions::protocols`].
    any: TlsConnector,
}

/// A server whose handshake is complete, and who is who was asked for.
#[derive(Debug)]
pub struct Connected {
    /// The inside.
    pub stream: Stream,
    /// What is spoken there.
    pub protocol: Protocol,
    /// We were there before.
    pub resumed: bool,
}

impl Connector {
    /// One with these options.
    #[must_use]
    pub fn new(options: ConnectorOptions) -> Self {
        Self(Arc::new(Inner { options, ready: OnceCell::new(), is_retired: AtomicBool::new(false) }))
    }

    /// Whether this is the very same one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What it has verified is not to be relied on any more: another one has been put in its place.
    pub fn retire(&self) {
        self.0.is_retired.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.0.is_retired.load(Ordering::Relaxed)
    }

    /// Whether anything but HTTP/1.1 may be spoken inside.
    #[must_use]
    pub fn offers(&self, protocol: Protocol) -> bool {
        self.0.options.protocols.contains(&protocol)
    }

    /// Shakes hands with `host`, which is at the other end of `stream`: its name is asked for (SNI) and verified. HTTP/1.1 is
    /// spoken inside. There is no deadline in here; dropping the future closes the stream.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; the stream is closed then.
    pub async fn connect(&self, stream: Stream, host: &Host) -> Result<Connected, TlsError> {
        let ready = self.0.ready.get_or_try_init(|| self.make()).await?;
        shake(&ready.http1, stream, host).await
    }

    /// The same, but what is spoken inside is agreed on (ALPN).
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub async fn agree(&self, stream: Stream, host: &Host) -> Result<Connected, TlsError> {
        let ready = self.0.ready.get_or_try_init(|| self.make()).await?;
        shake(&ready.any, stream, host).await
    }

    async fn make(&self) -> Result<Ready, TlsError> {
        let options = self.0.options.clone();
        // The authorities of the system are in files.
        let made = tokio::task::spawn_blocking(move || make(&options)).await;
        made.unwrap_or_else(|error| Err(TlsError::Setup(error.to_string())))
    }
}

async fn shake(connector: &TlsConnector, stream: Stream, host: &Host) -> Result<Connected, TlsError> {
    let name = server_name(host)?;
    let connecting = connector.connect(name, Ahead::new(stream, &[]));
    let tls = connecting.await.map_err(|error| TlsError::of_handshake(&error))?;
    let (_, session) = tls.get_ref();
    let protocol = Protocol::agreed(session.alpn_protocol());
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok(Connected { stream: Stream::Tls(Box::new(tls.into())), protocol, resumed })
}

fn make(options: &ConnectorOptions) -> Result<Ready, TlsError> {
    let roots = match (&options.authorities, options.system_roots) {
        (Some(own), false) => Arc::clone(own.store()),
        (None, true) => Arc::clone(&SYSTEM),
        (None, false) => Arc::new(RootCertStore::empty()),
        (Some(own), true) => {
            let mut both = RootCertStore::clone(&SYSTEM);
            both.extend(own.store().roots.iter().cloned());
            Arc::new(both)
        }
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(options.oldest.versions())
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.0))))
        }
    };
    config.alpn_protocols = Protocol::names(&[Protocol::Http1]);
    let mut any = config.clone();
    any.alpn_protocols = Protocol::names(&options.protocols);
    Ok(Ready { http1: Arc::new(config).into(), any: Arc::new(any).into() })
}

/// Whom the system trusts.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::error!(
            "this system has no certificates of authorities: no origin is trusted but by upstream.tls.ca_path"
        );
    }
    Arc::new(store)
});

/// The name that a certificate has to be for. One that ends in a dot is the same without (RFC 6066 section 3).
fn server_name(host: &Host) -> Result<ServerName<'static>, TlsError> {
    match host {
        Host::V4(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::V6(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            DnsName::try_from(name.to_owned()).map(ServerName::DnsName).map_err(|_| TlsError::Name)
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.0.options).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_certificates_have_them() {
        for (host, name) in [
            ("a.test", "a.test"),
            ("a.test.", "a.test"),
            ("a_b.test", "a_b.test"),
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:db8::1]", "2001:db8::1"),
        ] {
            let found = server_name(&Host::parse(host).unwrap()).unwrap();
            assert_eq!(found.to_str(), name);
        }
    }
}
