//! The sections `tls` and `upstream.tls`, with what stands in the files that they name.
//!
//! Certificates and keys are read and checked here, once, and go wherever the configuration goes: who serves opens no file. What is
//! only a matter of time, or of who else may read a key, is no reason not to begin: [`outlook`] tells it to who checks.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    load::Loaded,
    problem::{Origin, Problems},
    read::path_or_null,
    reader::{Reader, quoted, socket_address, text},
    tree::{Kind, Value},
};
use crate::net::tls::{
    Oldest,
    certificate::{Authorities, Chain, Identity, PemError, PrivateKey},
};

/// Section `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Where clients connect with TLS. With an address, there are a certificate and a key.
    pub listen_addr: Vec<SocketAddr>,
    /// Who we are.
    pub cert_path: Option<PemFile<Chain>>,
    /// The key that belongs to it.
    pub key_path: Option<PemFile<PrivateKey>>,
    /// Who signs the certificates of clients; none = they need not have any.
    pub client_ca_path: Option<PemFile<Authorities>>,
    /// The oldest version.
    pub min_version: Oldest,
    /// From connecting to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Handshakes at once, per process.
    pub max_handshakes: usize,
}

/// Section `upstream.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTlsSettings {
    /// Whether the authorities of the system are trusted.
    pub system_roots: bool,
    /// Who else is trusted.
    pub ca_path: Option<PemFile<Authorities>>,
    /// Who we are, for origins that ask.
    pub client_cert_path: Option<PemFile<Chain>>,
    /// The key that belongs to it.
    pub client_key_path: Option<PemFile<PrivateKey>>,
    /// The oldest version.
    pub min_version: Oldest,
    /// Whether HTTP/2 is spoken with origins that can.
    pub http2: bool,
}

/// A file in PEM, as it was read. Two are equal when the same stands in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemFile<T> {
    /// Where it was read.
    pub path: PathBuf,
    /// What stands in it.
    pub content: T,
}

/// A certificate that ends so soon is told of.
const SOON: i64 = 14 * DAY;
const DAY: i64 = 86_400;

/// Certificates with their keys, by the keys of the configuration.
const PAIRS: [(&str, &str); 3] = [
    ("tls.cert_path", "tls.key_path"),
    ("upstream.tls.client_cert_path", "upstream.tls.client_key_path"),
    ("interception.ca_cert_path", "interception.ca_key_path"),
];

impl TlsSettings {
    /// Who we are.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        identity(self.cert_path.as_ref(), self.key_path.as_ref())
    }
}

impl UpstreamTlsSettings {
    /// Who we are.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        identity(self.client_cert_path.as_ref(), self.client_key_path.as_ref())
    }
}

fn identity(chain: Option<&PemFile<Chain>>, key: Option<&PemFile<PrivateKey>>) -> Option<Identity> {
    Identity::new(&chain?.content, &key?.content).ok()
}

pub(super) fn read(reader: &mut Reader<'_>) -> TlsSettings {
    let listen_addr = reader.list_or_null("tls.listen_addr", |at| quoted(&at.to_string()), socket_address);
    let settings = TlsSettings {
        listen_addr: listen_addr.unwrap_or_default(),
        cert_path: pem(reader, "tls.cert_path", Chain::parse),
        key_path: pem(reader, "tls.key_path", PrivateKey::parse),
        client_ca_path: pem(reader, "tls.client_ca_path", Authorities::parse),
        min_version: version(reader, "tls.min_version"),
        handshake_timeout: reader.duration(
            "tls.handshake_timeout",
            Duration::from_secs(10),
            Duration::from_millis(1)..=Duration::from_secs(86_400),
        ),
        max_handshakes: reader.number("tls.max_handshakes", 500, 1..=1_000_000) as usize,
    };
    check_pair(reader, PAIRS[0], settings.cert_path.as_ref(), settings.key_path.as_ref());
    if !settings.listen_addr.is_empty()
        && settings.cert_path.is_none()
        && !["tls.cert_path", "tls.key_path"].iter().any(|key| reader.problems.concern(key))
    {
        reader.problem(
            "tls.listen_addr",
            "is set without tls.cert_path and tls.key_path; all or none is accepted",
        );
    }
    settings
}

pub(super) fn read_upstream(reader: &mut Reader<'_>) -> UpstreamTlsSettings {
    let settings = UpstreamTlsSettings {
        system_roots: reader.bool("upstream.tls.system_roots", true),
        ca_path: pem(reader, "upstream.tls.ca_path", Authorities::parse),
        client_cert_path: pem(reader, "upstream.tls.client_cert_path", Chain::parse),
        client_key_path: pem(reader, "upstream.tls.client_key_path", PrivateKey::parse),
        min_version: version(reader, "upstream.tls.min_version"),
        http2: reader.bool("upstream.tls.http2", true),
    };
    check_pair(reader, PAIRS[1], settings.client_cert_path.as_ref(), settings.client_key_path.as_ref());
    settings
}

pub(super) fn pem<T>(
    reader: &mut Reader<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, PemError>,
) -> Option<PemFile<T>> {
    let path = path_or_null(reader, key, None)?;
    let content = reader.files.text(&path).and_then(|text| parse(&text).map_err(|error| error.to_string()));
    match content {
        Ok(content) => Some(PemFile { path, content }),
        Err(why) => {
            reader.problem(key, format!("found {path:?}: {why}; a file in PEM is accepted, or null"));
            None
        }
    }
}

fn check_pair(
    reader: &mut Reader<'_>,
    (cert_key, key_key): (&'static str, &'static str),
    chain: Option<&PemFile<Chain>>,
    key: Option<&PemFile<PrivateKey>>,
) {
    match (chain, key) {
        (None, None) => {}
        (Some(chain), Some(key)) => {
            if let Err(error) = Identity::new(&chain.content, &key.content) {
                let text = format!("found {:?}: {error} in {:?}", key.path, chain.path);
                reader.contradiction([key_key, cert_key], text);
            }
        }
        _ => reader.contradiction(
            [cert_key, key_key],
            format!("{cert_key} and {key_key}: both or neither is accepted"),
        ),
    }
}

fn version(reader: &mut Reader<'_>, key: &'static str) -> Oldest {
    reader.read(
        key,
        Oldest::Tls12,
        |version| quoted(&version.to_string()),
        |value: &Value| {
            // Without quotes it is a number.
            let written = match value.kind {
                Kind::Float(number) => Some(number.to_string()),
                _ => text(value),
            };
            match written.as_deref() {
                Some("1.2") => Ok(Oldest::Tls12),
                Some("1.3") => Ok(Oldest::Tls13),
                _ => Err("accepted are \"1.2\" and \"1.3\"".into()),
            }
        },
    )
}

/// What is wrong with certificates and keys by now, and what an operator should know of them.
#[must_use]
pub fn outlook(loaded: &Loaded) -> (Problems, Vec<String>) {
    let (tls, upstream) = (&loaded.settings.tls, &loaded.settings.upstream_tls);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let (mut problems, mut notices) = (Problems::default(), Vec::new());
    let authority = &loaded.settings.interception;
    let pairs = [
        (&tls.cert_path, &tls.key_path),
        (&upstream.client_cert_path, &upstream.client_key_path),
        (&authority.ca_cert_path, &authority.ca_key_path),
    ];
    for ((cert_key, key_key), (chain, key)) in PAIRS.into_iter().zip(pairs) {
        if let Some(PemFile { path, content }) = chain {
            let validity = content.validity();
            let origin = loaded.in_force.iter().find(|value| value.key == cert_key);
            let origin = origin.map_or(Origin::Default, |value| value.origin.clone());
            if validity.until < now {
                problems.add(
                    &origin,
                    cert_key,
                    format!("found {path:?}: the certificate has expired; one that is valid is accepted"),
                );
            } else if validity.from > now {
                problems.add(
                    &origin,
                    cert_key,
                    format!(
                        "found {path:?}: the certificate is not valid yet; one that is valid is accepted"
                    ),
                );
            } else if validity.until - now < SOON {
                let left = (validity.until - now) / DAY;
                notices.push(format!("{cert_key}: the certificate {path:?} expires in {left} days"));
            }
        }
        if let Some(key) = key
            // A group may be the one of those who need it.
            && is_open(&key.path, 0o007)
        {
            notices.push(format!(
                "{key_key}: anybody on this host can read the key {:?}: chmod o= it",
                key.path
            ));
        }
    }
    (problems, notices)
}

/// Whether a file can be read by those whose permissions are `whose`.
#[cfg(unix)]
pub(super) fn is_open(path: &Path, whose: u32) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & whose != 0)
}

#[cfg(not(unix))]
pub(super) fn is_open(_: &Path, _: u32) -> bool {
    false
}
