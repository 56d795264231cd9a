//! Certificates that we sign ourselves: for hosts in whose place we answer, by an authority whose key we have.
//!
//! Must not know for which hosts that may be done. Invariant: no `Debug` and no error shows a key, and what is signed is a server's
//! certificate for one host, for days and not for years.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;
use tokio_rustls::rustls::{pki_types::PrivateKeyDer, sign::CertifiedKey};

use super::{
    TlsError,
    certificate::{Chain, Identity, PemError, PrivateKey},
    protocol::provider,
    x509,
};
use crate::net::authority::Host;

/// How long what is signed is valid. A clock that is a day behind finds it valid, too.
pub const VALIDITY: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// How long an authority that is made here is valid.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3653 * 86_400);

/// The longest common name there is (RFC 5280, ub-common-name).
const COMMON_NAME_MAX: usize = 64;

/// Signs for one authority.
pub struct Issuer {
    chain: Chain,
    issuer: rcgen::Issuer<'static, KeyPair>,
    /// One for all that is signed: it does not leave this process.
    key: KeyPair,
}

impl Issuer {
    /// The authority of `chain`, whose key this is, in PKCS #8.
    ///
    /// # Errors
    ///
    /// The certificate is not that of an authority, the key is of another kind or another's.
    pub fn new(chain: &Chain, key: &PrivateKey) -> Result<Self, PemError> {
        let certificate = chain.own();
        if !x509::is_authority(certificate) {
            return Err(PemError::Authority(1));
        }
        Identity::new(chain, key)?;
        let pair = KeyPair::try_from(key.der()).map_err(|_| PemError::Key)?;
        let issuer =
            rcgen::Issuer::from_ca_cert_der(certificate, pair).map_err(|_| PemError::Certificate(1))?;
        let key = KeyPair::generate().map_err(|_| PemError::Key)?;
        Ok(Self { chain: chain.clone(), issuer, key })
    }

    /// Who we are in the place of `host`, for [`VALIDITY`] from `now` on.
    ///
    /// # Errors
    ///
    /// The host has no name that a certificate can have, or there is no randomness.
    pub fn issue(&self, host: &Host, now: SystemTime) -> Result<Identity, TlsError> {
        let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
        let mut params = CertificateParams::default();
        let name = match host {
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                params.subject_alt_names =
                    vec![SanType::DnsName(name.try_into().map_err(|_| TlsError::Name)?)];
                name.to_owned()
            }
            Host::V4(address) => {
                params.subject_alt_names = vec![SanType::IpAddress((*address).into())];
                address.to_string()
            }
            Host::V6(address) => {
                params.subject_alt_names = vec![SanType::IpAddress((*address).into())];
                address.to_string()
            }
        };
        params.distinguished_name = DistinguishedName::new();
        if name.len() <= COMMON_NAME_MAX {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date(now - DAY);
        params.not_after = date(now + VALIDITY);
        params.serial_number = Some(serial_number().map_err(|error| setup(&error))?);
        let signed = params.signed_by(&self.key, &self.issuer).map_err(|error| setup(&error))?;
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let certificates = [signed.der().clone()].into_iter().chain(self.chain.all().cloned()).collect();
        let certified =
            CertifiedKey::from_der(certificates, key, &provider()).map_err(|error| setup(&error))?;
        Ok(Identity::from(certified))
    }
}

/// A new authority of this name: its certificate and its key, in PEM.
///
/// # Errors
///
/// The name is none, or there is no randomness.
pub fn create_authority(name: &str, now: SystemTime) -> Result<(String, String), TlsError> {
    let setup = |error: &dyn fmt::Display| TlsError::Setup(error.to_string());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // It signs servers, and nobody who signs others.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date(now - DAY);
    params.not_after = date(now + AUTHORITY_VALIDITY);
    params.serial_number = Some(serial_number().map_err(|error| setup(&error))?);
    let key = KeyPair::generate().map_err(|error| setup(&error))?;
    let signed = params.self_signed(&key).map_err(|error| setup(&error))?;
    Ok((signed.pem(), key.serialize_pem()))
}

/// Twenty bytes at most, positive, and not to be guessed (RFC 5280 section 4.1.2.2).
fn serial_number() -> Result<SerialNumber, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A clock that is before 1970 or far in the future says nothing that can be written down.
fn date(at: SystemTime) -> OffsetDateTime {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("chain", &self.chain).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_authority_signs() {
        let (certificate, key) = create_authority("ours", SystemTime::now()).unwrap();
        let (chain, key) = (Chain::parse(&certificate).unwrap(), PrivateKey::parse(&key).unwrap());
        let issuer = Issuer::new(&chain, &key).unwrap();
        for host in ["a.test", "a.test.", "192.0.2.7", "[2001:db8::1]", &"a.".repeat(100)] {
            issuer.issue(&Host::parse(host).unwrap(), SystemTime::now()).unwrap();
        }
        let other = create_authority("other", SystemTime::now()).unwrap();
        assert_eq!(
            Issuer::new(&chain, &PrivateKey::parse(&other.1).unwrap()).unwrap_err(),
            PemError::Mismatch
        );
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let (chain, key) = (Chain::parse(&chain).unwrap(), PrivateKey::parse(&key).unwrap());
        assert_eq!(Issuer::new(&chain, &key).unwrap_err(), PemError::Authority(1));
        assert!(!format!("{issuer:?}").contains("key"));
    }

    #[test]
    fn no_two_have_the_same_number() {
        let [one, other] = [serial_number().unwrap(), serial_number().unwrap()];
        assert_ne!(one, other);
    }
}
