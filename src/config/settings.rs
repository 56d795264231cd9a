//! What is meant: the complete, checked configuration, one struct a section.
//!
//! Every value is of a type that cannot be wrong; no string mode survives loading. The names are those
//! of the keys in `config.yml`. Each part of the program takes only its own section.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use http::HeaderName;

pub use super::{
    conditions::{AskedBy, Conditions, Wildcard},
    rate::Rate,
    rate_limit::{LimitKey, LimitSettings, RateLimitSettings, Store},
    routes::{FieldSettings, GroupPlace, RouteSettings, RouteTimeouts, RouteVia, SetField, ValuePart},
    tls::{PemFile, TlsSettings, UpstreamTlsSettings},
    upstreams::{
        Balance, EjectionSettings, GroupKind, GroupSettings, HealthCheckSettings, ServerCredentials,
        ServerScheme, ServerSettings,
    },
    users::UsersFile,
};
use crate::net::{
    filter::{NetPattern, NetSet},
    tls::certificate::{Chain, PrivateKey},
};

/// The configuration in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where clients connect. Never empty.
    pub listen_addr: Vec<SocketAddr>,
    /// A level or a tracing filter, checked to parse.
    pub log_level: String,
    /// Started as root, those who serve run as this user, given by name or number.
    pub user: Option<String>,
    /// And as this group; none = the user's own. Never without a user.
    pub group: Option<String>,
    /// Section `listen`.
    pub listen: ListenSettings,
    /// Section `runtime`.
    pub runtime: RuntimeSettings,
    /// Section `supervision`.
    pub supervision: SupervisionSettings,
    /// Section `limits`.
    pub limits: LimitsSettings,
    /// Section `timeouts`.
    pub timeouts: TimeoutsSettings,
    /// Section `upstream`.
    pub upstream: UpstreamSettings,
    /// Section `upstream.tls`.
    pub upstream_tls: UpstreamTlsSettings,
    /// Section `dns`.
    pub dns: DnsSettings,
    /// Section `forwarding`.
    pub forwarding: ForwardingSettings,
    /// Section `access`.
    pub access: AccessSettings,
    /// Section `rate_limit`.
    pub rate_limit: RateLimitSettings,
    /// Groups that routes name. No two have one name.
    pub upstreams: Vec<GroupSettings>,
    /// `routes`, in order.
    pub routes: Vec<RouteSettings>,
    /// `default_route`: the way out that no route takes.
    pub default_route: RouteVia,
    /// Section `tls`.
    pub tls: TlsSettings,
    /// Section `interception`.
    pub interception: InterceptionSettings,
    /// Section `logging`.
    pub logging: LoggingSettings,
    /// Section `access_log`.
    pub access_log: AccessLogSettings,
    /// Section `admin`.
    pub admin: AdminSettings,
}

/// The listening sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// Connections the kernel queues for each socket.
    pub backlog: NonZeroU32,
    /// Balancers, which must say whose connection each is.
    pub proxy_protocol: Vec<NetPattern>,
    /// Whether clients may speak SOCKS5.
    pub socks5: bool,
}

/// The most that `runtime.process_count` or `scale` can ask for.
pub const MAX_PROCESSES: usize = 256;

/// How many processes and threads serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// The shape of the instance.
    pub mode: Mode,
    /// Threads of `multi_threaded`; the number of CPU cores where the file says null.
    pub worker_threads: NonZeroUsize,
    /// Workers of `multi_process`; the number of CPU cores where the file says null.
    pub process_count: NonZeroUsize,
    /// One SO_REUSEPORT socket a worker, or one socket that all share.
    pub use_reuseport: bool,
    /// Keep worker i on core i. Never true where the system cannot.
    pub cpu_affinity: bool,
}

/// `runtime.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A launcher and N single-threaded workers.
    MultiProcess,
    /// One process, a work-stealing runtime.
    MultiThreaded,
    /// One process, one thread.
    SingleThreaded,
}

/// How the launcher keeps its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisionSettings {
    /// Whether a worker that dies is replaced at all.
    pub restart_workers: bool,
    /// The second respawn waits this long, the third twice as long, and so on.
    pub restart_delay: Duration,
    /// The longest wait before a respawn.
    pub restart_delay_max: Duration,
    /// More respawns than this inside the window and the slot is given up.
    pub respawn_threshold: NonZeroU32,
    /// The sliding window.
    pub respawn_threshold_time: Duration,
    /// Respawns of a slot since it was last stable; none = no limit.
    pub max_restarts: Option<u32>,
    /// From spawn to ready.
    pub start_timeout: Duration,
    /// A worker silent for this long is killed and replaced.
    pub heartbeat_timeout: Duration,
    /// The drain deadline.
    pub shutdown_timeout: Duration,
}

/// What one instance will hold at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsSettings {
    /// Client connections of the whole instance; 0 = unlimited.
    pub max_connections: u32,
    /// Client connections from one address; 0 = unlimited.
    pub max_connections_per_client: u32,
    /// Request line and header section together, in bytes.
    pub max_header_bytes: usize,
    /// Header fields of a message.
    pub max_headers: usize,
    /// Request bodies, in bytes; 0 = unlimited.
    pub max_body_size: u64,
}

/// Every wait for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutsSettings {
    /// First byte to end of a request head.
    pub client_header: Duration,
    /// A keep-alive connection between requests.
    pub client_idle: Duration,
    /// No progress in a body, either way.
    pub body_idle: Duration,
    /// Name resolution and dial together.
    pub connect: Duration,
    /// End of the request to the head of the response.
    pub response_head: Duration,
    /// A tunnel in which nothing moves.
    pub tunnel_idle: Duration,
    /// One side of a tunnel has finished, the other is silent.
    pub half_close: Duration,
}

/// Connections to origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Idle connections kept for one origin, per worker.
    pub max_idle_per_host: usize,
    /// Idle connections kept in all, per worker.
    pub max_idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// TCP keep-alive time of connections both ways.
    pub tcp_keepalive: Duration,
    /// The source address of connections to origins.
    pub bind_addr: Option<IpAddr>,
}

/// Name resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// Name servers; none = the system's configuration.
    pub servers: Option<Vec<SocketAddr>>,
    /// Names kept.
    pub cache_size: NonZeroUsize,
    /// How long a failed look-up is remembered.
    pub negative_ttl: Duration,
    /// The address family that is tried first.
    pub prefer: Family,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What is added to and taken from forwarded messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardingSettings {
    /// The name in `Via` and `Proxy-Status`.
    pub via: Via,
    /// What the origin learns of the client's address.
    pub client_address: ClientAddress,
    /// Send header names as they were received.
    pub preserve_header_case: bool,
    /// The field in which origins get the id of a request; none = they do not.
    pub request_id_header: Option<HeaderName>,
}

/// `forwarding.via`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// A pseudonym made from the host name.
    Auto,
    /// No `Via` field is added. Loops are then found by address only.
    Off,
    /// This pseudonym.
    Pseudonym(String),
}

/// `forwarding.client_address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// Remove what the client sent of `Forwarded` and `X-Forwarded-*`.
    Delete,
    /// Append to `Forwarded` (RFC 7239).
    Forwarded,
    /// Touch nothing.
    Off,
    /// Append to `X-Forwarded-For`.
    XForwardedFor,
}

/// Who may go where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// Enforce, or only report.
    pub mode: AccessMode,
    /// Clients that are served.
    pub clients: Vec<NetPattern>,
    /// Destinations that are refused.
    pub deny: DestinationList,
    /// Exceptions, checked first.
    pub allow: DestinationList,
    /// Ports that CONNECT may reach.
    pub connect_ports: Vec<u16>,
    /// Who must log in; none = nobody has to.
    pub users_file: Option<UsersFile>,
    /// What the question for a password names: visible ASCII and space, not empty.
    pub realm: String,
    /// A client on this host may reach everything.
    pub local_client_bypass: bool,
}

/// `access.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Refuse what is not allowed.
    Enforce,
    /// Log what would be refused and let it pass.
    Report,
}

/// One list of `access.destinations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationList {
    /// What stands in the list itself.
    pub entries: Vec<DestinationPattern>,
    /// What stands in files that it names.
    pub files: Vec<ListFile>,
}

/// A file with entries of a list, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFile {
    /// As the list names it, with the `@`.
    pub name: String,
    /// What stands in it.
    pub entries: Vec<DestinationPattern>,
}

impl From<Vec<DestinationPattern>> for DestinationList {
    fn from(entries: Vec<DestinationPattern>) -> Self {
        Self { entries, files: Vec::new() }
    }
}

/// One entry of `access.destinations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationPattern {
    /// Exactly this host name, lower case, without a trailing dot.
    Host(String),
    /// These addresses.
    Net(NetPattern),
    /// Every name below this one, lower case, without the leading dot.
    Suffix(String),
}

impl From<NetSet> for DestinationPattern {
    fn from(set: NetSet) -> Self {
        Self::Net(NetPattern::Set(set))
    }
}

/// Hosts in whose place the proxy answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterceptionSettings {
    /// Whose tunnels are opened; none = nobody's.
    pub hosts: DestinationList,
    /// Whose are not, for all that.
    pub exempt: DestinationList,
    /// The authority that signs what clients see. With hosts, there are a certificate and a key.
    pub ca_cert_path: Option<PemFile<Chain>>,
    /// The key that belongs to it.
    pub ca_key_path: Option<PemFile<PrivateKey>>,
}

/// Diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingSettings {
    /// Write to stderr.
    pub console: bool,
    /// Write to this file.
    pub file: Option<PathBuf>,
    /// The form of a line.
    pub format: LogFormat,
}

/// `logging.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Message and fields for people.
    Text,
}

/// The access log.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogSettings {
    /// Where it goes.
    pub file: AccessLogTarget,
    /// The form of a line.
    pub format: AccessLogFormat,
    /// A line so often while a tunnel runs; none = only when it ends.
    pub tunnel_interval: Option<Duration>,
    /// The share of successful requests that is written, from 0 to 1.
    pub sample: f64,
    /// What becomes of the query of a logged target.
    pub query: QueryLogging,
}

/// `access_log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// The same as [`Self::Common`] with two fields more.
    Combined,
    /// The Common Log Format of Apache.
    Common,
    /// One JSON object a line.
    Json,
    /// The native format of Squid.
    Squid,
}

/// `access_log.file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// To a file.
    File(PathBuf),
    /// Not written.
    Off,
    /// To standard output.
    Stdout,
}

/// `access_log.query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryLogging {
    /// As received.
    Keep,
    /// Replaced by a mark.
    Redact,
}

/// The operator's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where operators may look over TCP; none = it is off.
    pub listen_addr: Option<SocketAddr>,
    /// Names under which it may be asked there, lower case, besides addresses and `localhost`.
    pub host_names: Vec<String>,
    /// The socket file on which commands are taken; none = it is off.
    pub socket_path: Option<PathBuf>,
}
