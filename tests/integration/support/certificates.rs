//! Authorities and what they sign, fresh for each test.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, date_time_ymd,
};

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        static MADE: AtomicUsize = AtomicUsize::new(0);
        params.distinguished_name = named(&format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed)));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is randomness");
        Self(CertifiedIssuer::self_signed(params, key).expect("it can sign itself"))
    }

    /// Its own certificate in PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server of these names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Signed {
        self.sign(names, |_| {})
    }

    /// For a server, valid no more.
    pub(crate) fn expired(&self, names: &[&str]) -> Signed {
        self.sign(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2001, 2, 1);
        })
    }

    /// For a server, valid for a day and a half more.
    pub(crate) fn soon(&self, names: &[&str]) -> Signed {
        let end = SystemTime::now() + Duration::from_secs(36 * 3600);
        self.sign(names, |params| params.not_after = end.into())
    }

    /// For a client who is called this.
    pub(crate) fn client(&self, name: &str) -> Signed {
        self.sign(&[], |params| {
            params.distinguished_name = named(name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names are names");
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().expect("there is randomness");
        let cert = params.signed_by(&key, &self.0).expect("it can sign");
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
