//! The section `interception`, with what stands in the files that it names.

use super::{
    access::destinations,
    reader::Reader,
    settings::{DestinationList, InterceptionSettings},
    tls::{PemFile, is_open, pem},
};
use crate::net::tls::{
    certificate::{Chain, PrivateKey},
    issuer::Issuer,
};

const CERT: &str = "interception.ca_cert_path";
const KEY: &str = "interception.ca_key_path";

pub(super) fn read(reader: &mut Reader<'_>) -> InterceptionSettings {
    let settings = InterceptionSettings {
        hosts: destinations(reader, "interception.hosts", Vec::new()),
        exempt: destinations(reader, "interception.exempt", Vec::new()),
        ca_cert_path: pem(reader, CERT, Chain::parse),
        ca_key_path: pem(reader, KEY, PrivateKey::parse),
    };
    match (&settings.ca_cert_path, &settings.ca_key_path) {
        (Some(chain), Some(key)) => check_pair(reader, chain, key),
        (None, None) => {
            let is_wanted = settings.hosts != DestinationList::default();
            if is_wanted && ![CERT, KEY].iter().any(|key| reader.problems.concern(key)) {
                let text = format!("is set without {CERT} and {KEY}; all or none is accepted");
                reader.problem("interception.hosts", text);
            }
        }
        _ => reader.contradiction([CERT, KEY], format!("{CERT} and {KEY}: both or neither is accepted")),
    }
    settings
}

fn check_pair(reader: &mut Reader<'_>, chain: &PemFile<Chain>, key: &PemFile<PrivateKey>) {
    if is_open(&key.path, 0o077) {
        // Whoever has it can be any host to everybody who trusts it.
        let text = format!("found {:?}, which others than its owner can read: chmod 600 it", key.path);
        reader.problem(KEY, text);
    }
    if let Err(error) = Issuer::new(&chain.content, &key.content) {
        let text = format!(
            "found {:?} and {:?}: {error}; what `ca create` writes is accepted, or another authority with its key in PKCS #8",
            chain.path, key.path
        );
        reader.contradiction([CERT, KEY], text);
    }
}
