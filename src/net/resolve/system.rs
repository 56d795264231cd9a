//! What the system says about name servers.
//!
//! Reads configuration, never the network. A host without any is no error: resolv.conf(5) says that the
//! name server is then the one of this host, and a proxy must start without one to reach addresses and the
//! names of the hosts file.

use hickory_resolver::{
    config::{NameServerConfig, ResolverOpts},
    proto::rr::Name,
};

use super::ResolverError;

/// Name servers, search list, and options (`ndots`, timeout, attempts).
#[derive(Default)]
pub(super) struct Conf {
    pub(super) servers: Vec<NameServerConfig>,
    pub(super) search: Vec<Name>,
    pub(super) dns: ResolverOpts,
}

#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
pub(super) fn read() -> Result<Conf, ResolverError> {
    let text = std::fs::read("/etc/resolv.conf").or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(ResolverError(format!("/etc/resolv.conf: {error}"))),
    })?;
    parse(text)
}

#[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
pub(super) fn read() -> Result<Conf, ResolverError> {
    hickory_resolver::system_conf::read_system_conf()
        .map(|(config, dns)| conf(config.into_parts(), dns))
        .map_err(|error| ResolverError(error.to_string()))
}

#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
pub(super) fn parse(mut text: Vec<u8>) -> Result<Conf, ResolverError> {
    use hickory_resolver::system_conf::parse_resolv_conf;

    let parsed = parse_resolv_conf(&text).or_else(|_| {
        // It refuses a file without servers; whatever else was wrong is still wrong with one.
        text.extend_from_slice(b"\nnameserver 127.0.0.1\n");
        parse_resolv_conf(&text)
    });
    match parsed {
        Ok((config, dns)) => Ok(conf(config.into_parts(), dns)),
        Err(error) => Err(ResolverError(format!("/etc/resolv.conf: {error}"))),
    }
}

fn conf(
    (domain, mut search, servers): (Option<Name>, Vec<Name>, Vec<NameServerConfig>),
    dns: ResolverOpts,
) -> Conf {
    // The domain of the host's own name serves where no search list was written.
    if search.is_empty() {
        search.extend(domain);
    }
    search.retain(|domain| !domain.is_root());
    Conf { servers, search, dns }
}
