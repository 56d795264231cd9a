//! Who we are and whom we trust: certificates and keys, from PEM.
//!
//! What is made here is checked: a key belongs to its certificate, an authority can be used as one. Must not know where a text was
//! read. Invariant: no `Debug` and no error shows a key.

use std::{fmt, sync::Arc};

use thiserror::Error;
use tokio_rustls::rustls::{
    self, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{protocol::provider, x509};

/// A chain of more certificates than this is a file of something else.
const MAX_CHAIN: usize = 16;

/// Why a text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PemError {
    /// There is none of what was looked for.
    #[error("there is no {0} in PEM in it")]
    Nothing(&'static str),
    /// There is one, but spoilt.
    #[error("it is malformed PEM")]
    Malformed,
    /// More certificates than a chain has.
    #[error("there are more than {MAX_CHAIN} certificates in it")]
    TooMany,
    /// A certificate that cannot be read.
    #[error("certificate {0} of it is malformed")]
    Certificate(usize),
    /// A certificate that cannot sign others.
    #[error("certificate {0} of it cannot be an authority")]
    Authority(usize),
    /// A key that we cannot use.
    #[error(
        "the key is of a kind that is not supported; RSA (2048 to 8192 bits), ECDSA P-256 and P-384, and Ed25519 are"
    )]
    Key,
    /// The key belongs to another certificate.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// When a certificate is valid, in seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

/// A chain: the certificate of somebody, and those of who has signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    certificates: Arc<[CertificateDer<'static>]>,
    validity: Validity,
}

/// A private key.
#[derive(Clone)]
pub struct PrivateKey(Arc<PrivateKeyDer<'static>>);

/// Who we are: a chain and the key of its first certificate.
#[derive(Clone, Debug)]
pub struct Identity(pub(super) Arc<CertifiedKey>);

/// Whom we trust. Two are equal when they name the same.
#[derive(Clone)]
pub struct Authorities {
    certificates: Arc<[CertificateDer<'static>]>,
    store: Arc<RootCertStore>,
}

impl Chain {
    /// The certificates of a text, the own one first.
    ///
    /// # Errors
    ///
    /// See [`PemError`].
    pub fn parse(text: &str) -> Result<Self, PemError> {
        let certificates = certificates(text)?;
        if certificates.len() > MAX_CHAIN {
            return Err(PemError::TooMany);
        }
        for (index, certificate) in certificates.iter().enumerate() {
            x509::validity(certificate).ok_or(PemError::Certificate(index + 1))?;
        }
        let validity = x509::validity(&certificates[0]).ok_or(PemError::Certificate(1))?;
        Ok(Self { certificates: certificates.into(), validity })
    }

    /// The certificate that the chain is of.
    pub(super) fn own(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    /// All of its certificates, the own one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.certificates.iter()
    }

    /// When its first certificate is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl PrivateKey {
    /// The first key of a text: PKCS #8, PKCS #1 or SEC1, without a password.
    ///
    /// # Errors
    ///
    /// See [`PemError`].
    pub fn parse(text: &str) -> Result<Self, PemError> {
        use rustls::pki_types::pem::Error;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
            Error::NoItemsFound => PemError::Nothing("key without a password"),
            _ => PemError::Malformed,
        })?;
        provider().key_provider.load_private_key(key.clone_key()).map_err(|_| PemError::Key)?;
        Ok(Self(Arc::new(key)))
    }

    pub(super) fn der(&self) -> &PrivateKeyDer<'static> {
        &self.0
    }
}

impl Identity {
    /// Both together.
    ///
    /// # Errors
    ///
    /// [`PemError::Mismatch`].
    pub fn new(chain: &Chain, key: &PrivateKey) -> Result<Self, PemError> {
        let certificates = chain.certificates.to_vec();
        let certified = CertifiedKey::from_der(certificates, key.0.clone_key(), &provider());
        certified.map(|certified| Self(Arc::new(certified))).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PemError::Mismatch,
            _ => PemError::Certificate(1),
        })
    }
}

impl Authorities {
    /// The certificates of a text.
    ///
    /// # Errors
    ///
    /// See [`PemError`].
    pub fn parse(text: &str) -> Result<Self, PemError> {
        let certificates = certificates(text)?;
        let mut store = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            store.add(certificate.clone()).map_err(|_| PemError::Authority(index + 1))?;
        }
        Ok(Self { certificates: certificates.into(), store: Arc::new(store) })
    }

    pub(super) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    /// All of their bytes, one after the other.
    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|certificate| &**certificate)
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|_| PemError::Malformed)?;
    if found.is_empty() { Err(PemError::Nothing("certificate")) } else { Ok(found) }
}

impl From<CertifiedKey> for Identity {
    fn from(certified: CertifiedKey) -> Self {
        Self(Arc::new(certified))
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.secret_der() == other.0.secret_der()
    }
}

impl Eq for PrivateKey {}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({}, {:?})", self.certificates.len(), self.validity)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.certificates.len())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    #[test]
    fn keys_belong_to_certificates() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let chain = Chain::parse(&made.cert.pem()).unwrap();
        let key = PrivateKey::parse(&made.signing_key.serialize_pem()).unwrap();
        assert!(Identity::new(&chain, &key).is_ok());
        assert_eq!(format!("{key:?}"), "PrivateKey(..)");
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let other = PrivateKey::parse(&pair.serialize_pem()).unwrap();
            assert_eq!(Identity::new(&chain, &other).unwrap_err(), PemError::Mismatch);
            let params = CertificateParams::new(["a.test".to_owned()]).unwrap();
            let chain = Chain::parse(&params.self_signed(&pair).unwrap().pem()).unwrap();
            assert!(Identity::new(&chain, &other).is_ok());
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert_eq!(Chain::parse(&key).unwrap_err(), PemError::Nothing("certificate"));
        assert!(matches!(PrivateKey::parse(&certificate), Err(PemError::Nothing(_))));
        assert_eq!(Chain::parse(&certificate.repeat(17)).unwrap_err(), PemError::TooMany);
        assert_eq!(Chain::parse(&certificate[..200]).unwrap_err(), PemError::Malformed);
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Chain::parse(&format!("{certificate}{other}")).unwrap_err(), PemError::Certificate(2));
        assert_eq!(Authorities::parse(other).unwrap_err(), PemError::Authority(1));
        let other = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(PrivateKey::parse(other).unwrap_err(), PemError::Key);
        assert_eq!(Authorities::parse(&certificate).unwrap(), Authorities::parse(&certificate).unwrap());
    }
}
