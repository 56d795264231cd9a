//! Names to addresses: the hosts file first, then DNS, cached and bounded, each name asked for once at a time.
//!
//! Cache, retries and the merging of equal questions are hickory-resolver's. Must not know what an address is for.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RData, RecordType},
    },
};
use thiserror::Error;

/// How often the hosts file is looked at for a change.
const HOSTS_INTERVAL: Duration = Duration::from_secs(1);

/// How names are resolved.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// Name servers; none = the system's configuration.
    pub servers: Option<Vec<SocketAddr>>,
    /// Answers kept.
    pub cache_size: usize,
    /// How long a negative answer is kept at most.
    pub negative_ttl: Duration,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Why a name has no addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name servers say so, with this code: `NXDOMAIN`, or `NOERROR` for a name without addresses.
    #[error("the name has no address ({rcode})")]
    NotFound {
        /// The answer's code, as RFC 9209 has it.
        rcode: &'static str,
    },
    /// The name servers failed, with this code where they gave one.
    #[error("the name servers cannot answer ({})", rcode.unwrap_or("no usable answer"))]
    Failed {
        /// The answer's code.
        rcode: Option<&'static str>,
    },
    /// No name server answered in time.
    #[error("no name server answered in time")]
    Timeout,
    /// The text is no DNS name.
    #[error("the name cannot be looked up in DNS")]
    BadName,
}

/// There is no usable configuration of name servers.
#[derive(Debug, Error)]
#[error("cannot use the name servers of this system: {0}")]
pub struct ResolverError(String);

/// Resolves names. Clones share the cache.
#[derive(Clone)]
pub struct Resolver {
    dns: TokioResolver,
    hosts: Arc<Mutex<HostsFile>>,
}

impl Resolver {
    /// A resolver. Reads the system's configuration and hosts file; nothing is asked of the network.
    ///
    /// # Errors
    ///
    /// When the system's configuration is asked for and cannot be read.
    pub fn new(options: &ResolverOptions) -> Result<Self, ResolverError> {
        let mut builder = match &options.servers {
            None => TokioResolver::builder_tokio().map_err(|error| ResolverError(error.to_string()))?,
            Some(servers) => {
                let servers = servers.iter().copied().map(name_server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let opts: &mut ResolverOpts = builder.options_mut();
        opts.cache_size = options.cache_size as u64;
        opts.negative_max_ttl = Some(options.negative_ttl);
        // Looked at in here, so that a name in the hosts file is never asked of DNS in the other family.
        opts.use_hosts_file = ResolveHosts::Never;
        let dns = builder.build().map_err(|error| ResolverError(error.to_string()))?;
        Ok(Self { dns, hosts: Arc::default() })
    }

    /// What the hosts file says of `name`, and the loopback addresses for `localhost` and all below it (RFC 6761 section 6.3).
    /// Empty for a name that has to be asked for.
    #[must_use]
    pub fn known(&self, name: &str) -> Vec<IpAddr> {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let Ok(mut parsed) = Name::from_utf8(bare) else { return Vec::new() };
        parsed.set_fqdn(true);
        let listed = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).find(&parsed);
        let is_localhost = bare == "localhost" || bare.ends_with(".localhost");
        if listed.is_empty() && is_localhost {
            return vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        }
        listed
    }

    /// Asks DNS for the addresses of `name` in one family. A name with a trailing dot is absolute; others are looked for
    /// with the system's search list as well.
    ///
    /// # Errors
    ///
    /// When there is none; why is in the error. Dropping the future leaves other callers' questions alone.
    pub async fn lookup(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
        let name = Name::from_utf8(name).map_err(|_| ResolveError::BadName)?;
        let record_type = match family {
            Family::Ipv4 => RecordType::A,
            Family::Ipv6 => RecordType::AAAA,
        };
        let answer = self.dns.lookup(name, record_type).await.map_err(|error| explain(&error))?;
        let found: Vec<_> = answer.answers().iter().filter_map(|record| address(&record.data)).collect();
        if found.is_empty() { Err(ResolveError::NotFound { rcode: "NOERROR" }) } else { Ok(found) }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

fn explain(error: &NetError) -> ResolveError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => ResolveError::NotFound { rcode: "NXDOMAIN" },
            ResponseCode::NoError => ResolveError::NotFound { rcode: "NOERROR" },
            code => ResolveError::Failed { rcode: code_name(code) },
        },
        NetError::Dns(DnsError::ResponseCode(code)) => ResolveError::Failed { rcode: code_name(*code) },
        NetError::Timeout => ResolveError::Timeout,
        _ => ResolveError::Failed { rcode: None },
    }
}

/// The mnemonic of the IANA registry.
fn code_name(code: ResponseCode) -> Option<&'static str> {
    Some(match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        _ => return None,
    })
}

/// The hosts file, read again when it has changed.
#[derive(Default)]
struct HostsFile {
    hosts: Hosts,
    looked: Option<Instant>,
    modified: Option<SystemTime>,
}

impl HostsFile {
    fn find(&mut self, name: &Name) -> Vec<IpAddr> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= HOSTS_INTERVAL) {
            self.look();
        }
        let mut found = Vec::new();
        for record_type in [RecordType::AAAA, RecordType::A] {
            if let Some(lookup) = self.hosts.lookup_static_host(&Query::query(name.clone(), record_type)) {
                found.extend(lookup.answers().iter().filter_map(|record| address(&record.data)));
            }
        }
        found
    }

    fn look(&mut self) {
        let modified = fs::metadata(HOSTS_PATH).and_then(|file| file.modified()).ok();
        if self.looked.is_none() || modified != self.modified {
            self.hosts = Hosts::from_system().unwrap_or_default();
            self.modified = modified;
        }
        self.looked = Some(Instant::now());
    }
}

#[cfg(not(windows))]
const HOSTS_PATH: &str = "/etc/hosts";
#[cfg(windows)]
const HOSTS_PATH: &str = r"C:\Windows\System32\drivers\etc\hosts";

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}
