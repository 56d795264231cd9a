//! The server's end of TLS.

use std::{fmt, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, CertificateError, DigitallySignedStruct, DistinguishedName, HandshakeKind, ServerConfig,
        SignatureScheme,
        client::danger::HandshakeSignatureValid,
        pki_types::{CertificateDer, UnixTime},
        server::{
            ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
            danger::{ClientCertVerified, ClientCertVerifier},
        },
        sign::CertifiedKey,
    },
};

use super::{
    TlsError,
    certificate::{Authorities, Identity},
    protocol::{Oldest, Protocol, provider},
    tickets::{TicketKeys, Ticketer},
    x509,
};
use crate::net::{ahead::Ahead, stream::Stream};

/// How clients are taken.
#[derive(Clone, Debug)]
pub struct AcceptorOptions<'a> {
    /// Who we are.
    pub identity: &'a Identity,
    /// Who signs the certificates of clients; none = they need not have any.
    pub client_authorities: Option<&'a Authorities>,
    /// The oldest version.
    pub oldest: Oldest,
    /// What may be spoken inside, the best first.
    pub protocols: &'a [Protocol],
    /// Keys for session tickets; none = nobody can resume.
    pub tickets: Option<Arc<dyn TicketKeys>>,
}

/// Takes clients. Clones are the same.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// A client whose handshake is complete.
#[derive(Debug)]
pub struct Accepted {
    /// The inside.
    pub stream: Stream,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The common name of the client's certificate, where clients have to have one.
    pub user: Option<Arc<str>>,
    /// The client was here before.
    pub resumed: bool,
}

/// A client whose handshake has failed.
#[derive(Debug)]
pub struct NotAccepted {
    /// Why.
    pub error: TlsError,
    /// Its connection, on which an alert was sent.
    pub stream: Stream,
}

impl Acceptor {
    /// One with these options.
    ///
    /// # Errors
    ///
    /// When they make no sense together.
    pub fn new(options: &AcceptorOptions<'_>) -> Result<Self, TlsError> {
        let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(options.oldest.versions())
            .map_err(|error| setup(&error))?;
        let builder = match options.client_authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let store = Arc::clone(authorities.store());
                let verifier = WebPkiClientVerifier::builder_with_provider(store, provider).build();
                builder.with_client_cert_verifier(Arc::new(Named(verifier.map_err(|error| setup(&error))?)))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Always(Arc::clone(&options.identity.0))));
        config.alpn_protocols = Protocol::names(options.protocols);
        // A ticket holds the session: nothing is kept here for clients that may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(keys) = &options.tickets {
            let authorities = options.client_authorities.into_iter().flat_map(Authorities::bytes);
            config.ticketer = Arc::new(Ticketer::new(Arc::clone(keys), authorities));
        }
        Ok(Self(Arc::new(config).into()))
    }

    /// Shakes hands with who is at the other end of `stream`, of which the bytes of `early` were read already. There is no
    /// deadline in here; dropping the future closes it.
    ///
    /// # Errors
    ///
    /// Whatever the client does wrong. It has been told by an alert, as far as its connection takes one at once.
    pub async fn accept(&self, stream: Stream, early: &[u8]) -> Result<Accepted, NotAccepted> {
        let accepted = self.0.accept(Ahead::new(stream, early)).into_fallible().await;
        let tls = accepted.map_err(|(error, ahead)| NotAccepted {
            error: TlsError::of_handshake(&error),
            stream: ahead.into_stream(),
        })?;
        let (_, session) = tls.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let protocol = Protocol::agreed(session.alpn_protocol());
        let user = certificate.and_then(|certificate| x509::common_name(certificate)).map(Arc::from);
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Accepted { stream: Stream::Tls(Box::new(tls.into())), protocol, user, resumed })
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor(..)")
    }
}

/// One certificate for whatever name is asked for: clients know us by addresses and aliases too.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A client has to be somebody: a certificate without a name to call him by is refused.
#[derive(Debug)]
struct Named(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        match x509::common_name(end_entity) {
            Some(_) => Ok(verified),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }
}
