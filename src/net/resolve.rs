//! Names to addresses: the hosts file first, then DNS, cached and bounded, each name asked for once at a time.
//!
//! Cache, retries and the merging of equal questions are hickory-resolver's. What is ours is which names a short one
//! stands for, and that a name is left for the next one of the search list only when it has no address of either family,
//! as getaddrinfo does it. (Asked family by family, a host without IPv6 would get the IPv6 address of a wildcard in the
//! search list, and that would be dialled first.) Must not know what an address is for.
//!
//! The invariant: `localhost` and all below it is the loopback unless the hosts file says otherwise, and a name with a
//! trailing dot is looked up as it is.

mod answers;
mod system;
#[cfg(test)]
pub(super) mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
};
use thiserror::Error;

pub use self::answers::Answers;
use super::hosts::{self, Hosts};

/// How names are resolved.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// Name servers; none = the system's configuration. Only that has a search list.
    pub servers: Option<Vec<SocketAddr>>,
    /// Answers kept; a name has one a family.
    pub cache_size: usize,
    /// How long a negative answer is kept: what a server says of that is about zones, and not all say it.
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

impl Family {
    /// Of this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
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

/// Resolves names. Clones share the cache and the questions on their way.
///
/// Starts no thread. The first question ties it to the runtime that asks: one small task a name server, which ends with
/// the last clone.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    dns: TokioResolver,
    /// Appended to names with fewer dots than `ndots` before, and to others after, they are tried as they are.
    search: Vec<Name>,
    ndots: usize,
    hosts: Hosts,
}

/// All addresses of one name in one family, when they are there.
type Question = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send>>;

impl Resolver {
    /// A resolver. Reads the system's configuration and hosts file; nothing is asked of the network.
    ///
    /// # Errors
    ///
    /// When the system's configuration is asked for and cannot be understood. Where there is none, the name server is the one
    /// of this host (resolv.conf(5)): addresses and the names of the hosts file can be reached without any.
    pub fn new(options: &ResolverOptions) -> Result<Self, ResolverError> {
        Self::with_hosts(options, Hosts::read(hosts::system_path(), Instant::now()))
    }

    fn with_hosts(options: &ResolverOptions, hosts: Hosts) -> Result<Self, ResolverError> {
        let system = match &options.servers {
            None => system::read()?,
            Some(servers) => system::Conf {
                servers: servers.iter().copied().map(name_server).collect(),
                ..system::Conf::default()
            },
        };
        Self::build(options, system, hosts)
    }

    fn build(options: &ResolverOptions, system: system::Conf, hosts: Hosts) -> Result<Self, ResolverError> {
        let system::Conf { servers, search, mut dns } = system;
        let ndots = dns.ndots;
        dns.cache_size = options.cache_size as u64;
        dns.negative_min_ttl = Some(options.negative_ttl);
        dns.negative_max_ttl = Some(options.negative_ttl);
        // Hosts file and search list are looked at in here.
        dns.use_hosts_file = ResolveHosts::Never;
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let dns = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(dns)
            .build()
            .map_err(|error| ResolverError(error.to_string()))?;
        Ok(Self(Arc::new(Shared { dns, search, ndots, hosts })))
    }

    /// What the hosts file says of `name`, and the loopback addresses for `localhost` and all below it (RFC 6761 section 6.3).
    /// Empty for a name that has to be asked for.
    #[must_use]
    pub fn known(&self, name: &str) -> Vec<IpAddr> {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let listed = self.0.hosts.find(bare, Instant::now());
        let is_localhost = bare == "localhost" || bare.ends_with(".localhost");
        if listed.is_empty() && is_localhost {
            return vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        listed
    }

    /// Begins to ask DNS for the addresses of `name`, of both families at once. A name with a trailing dot is absolute; others
    /// are looked for with the system's search list as well. Nothing is sent before the answers are polled.
    #[must_use]
    pub fn ask(&self, name: &str) -> Answers {
        Answers::new(self.clone(), self.names(name))
    }

    /// The absolute names to try, in the order of resolv.conf(5).
    fn names(&self, name: &str) -> Vec<Name> {
        let Ok(mut own) = Name::from_ascii(name) else { return Vec::new() };
        if own.is_fqdn() {
            return vec![own];
        }
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let appended = self.0.search.iter().filter_map(|domain| own.clone().append_domain(domain).ok());
        let mut names: Vec<Name> = appended.collect();
        own.set_fqdn(true);
        names.insert(if dots >= self.0.ndots { 0 } else { names.len() }, own);
        for name in &mut names {
            name.set_fqdn(true);
        }
        names
    }

    fn question(&self, name: Name, family: Family) -> Question {
        let dns = self.0.dns.clone();
        Box::pin(async move {
            let record_type = match family {
                Family::Ipv4 => RecordType::A,
                Family::Ipv6 => RecordType::AAAA,
            };
            let answer = dns.lookup(name, record_type).await.map_err(|error| explain(&error))?;
            let found: Vec<_> = answer.answers().iter().filter_map(|record| address(&record.data)).collect();
            if found.is_empty() { Err(ResolveError::NotFound { rcode: "NOERROR" }) } else { Ok(found) }
        })
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

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("search", &self.0.search).finish_non_exhaustive()
    }
}
