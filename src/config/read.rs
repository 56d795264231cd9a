//! From the tree to [`Settings`]: every key with its default and what is accepted for it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::LazyLock,
    time::Duration,
};

use http::HeaderName;

use super::{
    access, interception, listen, rate_limit,
    reader::{Reader, quoted, show_duration, socket_address, text},
    routes,
    settings::{
        AccessLogFormat, AccessLogSettings, AccessLogTarget, AdminSettings, ClientAddress, DnsSettings,
        Family, ForwardingSettings, LimitKey, LimitsSettings, LogFormat, LoggingSettings, MAX_PROCESSES,
        Mode, QueryLogging, RouteSettings, RuntimeSettings, Settings, SupervisionSettings, TimeoutsSettings,
        UpstreamSettings, Via,
    },
    tls,
    tree::{Kind, Value},
    upstreams,
};
use crate::net::authority::Host;

/// What null means for a number of threads or workers. Asked for once: a worker that `runtime.cpu_affinity` has put on one core
/// would count one, and take the configuration that its launcher has read for another.
static CORES: LazyLock<NonZeroUsize> =
    LazyLock::new(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));

const SECOND: Duration = Duration::from_secs(1);
/// Where operators may look unless something else is said.
const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);
const DAY: Duration = Duration::from_secs(86_400);

/// The shortest and the longest deadline that can be asked for.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn settings(reader: &mut Reader<'_>) -> Settings {
    let upstreams = upstreams::read(reader);
    let ways = routes::ways(&upstreams);
    let settings = Settings {
        listen_addr: listen::addresses(reader),
        log_level: log_level(reader),
        user: name_or_null(reader, "user"),
        group: name_or_null(reader, "group"),
        listen: listen::read(reader),
        runtime: runtime(reader),
        supervision: supervision(reader),
        limits: limits(reader),
        timeouts: timeouts(reader),
        upstream: upstream(reader),
        upstream_tls: tls::read_upstream(reader),
        dns: dns(reader),
        forwarding: forwarding(reader),
        access: access::read(reader),
        rate_limit: rate_limit::read(reader),
        routes: routes::read(reader, &ways),
        default_route: routes::default(reader, &ways),
        upstreams,
        tls: tls::read(reader),
        interception: interception::read(reader),
        logging: logging(reader),
        access_log: access_log(reader),
        admin: admin(reader),
    };
    contradictions(reader, &settings);
    settings
}

fn log_level(reader: &mut Reader<'_>) -> String {
    reader.read(
        "log_level",
        "info".to_owned(),
        |level| quoted(level),
        |value| {
            let accepted =
                "error, warn, info, debug, trace or a tracing filter such as info,hyper=debug is accepted";
            let level = text(value).ok_or_else(|| accepted.to_owned())?;
            let is_level = |text: &str| matches!(text, "error" | "warn" | "info" | "debug" | "trace" | "off");
            let is_filter =
                level.contains(['=', ',']) && level.parse::<tracing_subscriber::EnvFilter>().is_ok();
            if is_level(&level) || is_filter { Ok(level) } else { Err(accepted.to_owned()) }
        },
    )
}

/// The name of a user or a group, or its number.
fn name_or_null(reader: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let shown = |name: &Option<String>| name.as_ref().map_or_else(|| "null".into(), |name| quoted(name));
    reader.read(key, None, shown, |value| match &value.kind {
        Kind::Null => Ok(None),
        _ => text(value)
            .filter(|name| !name.is_empty() && !name.contains('\0'))
            .map(Some)
            .ok_or_else(|| "a name, a number, or null is accepted".into()),
    })
}

fn runtime(reader: &mut Reader<'_>) -> RuntimeSettings {
    let cores = *CORES;
    let modes = [
        ("single_threaded", Mode::SingleThreaded),
        ("multi_threaded", Mode::MultiThreaded),
        ("multi_process", Mode::MultiProcess),
    ];
    let or_cores = |count: Option<u64>| {
        count.and_then(|count| NonZeroUsize::new(usize::try_from(count).unwrap_or(0))).unwrap_or(cores)
    };
    RuntimeSettings {
        mode: reader.choice("runtime.mode", Mode::SingleThreaded, &modes),
        worker_threads: or_cores(reader.number_or_null("runtime.worker_threads", None, 1..=1024)),
        process_count: or_cores(reader.number_or_null(
            "runtime.process_count",
            Some(4),
            1..=MAX_PROCESSES as u64,
        )),
        use_reuseport: reader.bool("runtime.use_reuseport", true),
        cpu_affinity: cpu_affinity(reader),
    }
}

fn cpu_affinity(reader: &mut Reader<'_>) -> bool {
    let wanted = reader.bool("runtime.cpu_affinity", false);
    let can = cfg!(target_os = "linux");
    if wanted && !can {
        reader.problem(
            "runtime.cpu_affinity",
            "found true; only false is accepted on this system, which cannot keep a thread on a core",
        );
    }
    wanted && can
}

fn supervision(reader: &mut Reader<'_>) -> SupervisionSettings {
    SupervisionSettings {
        restart_workers: reader.bool("supervision.restart_workers", true),
        restart_delay: reader.duration("supervision.restart_delay", SECOND, SHORTEST..=DAY),
        restart_delay_max: reader.duration("supervision.restart_delay_max", 30 * SECOND, SHORTEST..=DAY),
        respawn_threshold: nonzero_u32(reader.number("supervision.respawn_threshold", 5, 1..=1_000_000)),
        respawn_threshold_time: reader.duration(
            "supervision.respawn_threshold_time",
            60 * SECOND,
            SECOND..=DAY,
        ),
        max_restarts: reader
            .number_or_null("supervision.max_restarts", None, 0..=u64::from(u32::MAX))
            .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        start_timeout: reader.duration("supervision.start_timeout", 10 * SECOND, SHORTEST..=DAY),
        heartbeat_timeout: reader.duration("supervision.heartbeat_timeout", 10 * SECOND, SECOND..=DAY),
        shutdown_timeout: reader.duration("supervision.shutdown_timeout", 30 * SECOND, SHORTEST..=DAY),
    }
}

fn limits(reader: &mut Reader<'_>) -> LimitsSettings {
    LimitsSettings {
        max_connections: reader.number("limits.max_connections", 10_000, 0..=u64::from(u32::MAX)) as u32,
        max_connections_per_client: reader.number(
            "limits.max_connections_per_client",
            0,
            0..=u64::from(u32::MAX),
        ) as u32,
        max_header_bytes: reader.size("limits.max_header_bytes", 64 << 10, 1 << 10..=1 << 20) as usize,
        max_headers: reader.number("limits.max_headers", 100, 1..=10_000) as usize,
        max_body_size: reader.size("limits.max_body_size", 0, 0..=u64::MAX),
    }
}

fn timeouts(reader: &mut Reader<'_>) -> TimeoutsSettings {
    let mut wait = |key, seconds: u32| reader.duration(key, seconds * SECOND, SHORTEST..=LONGEST_WAIT);
    TimeoutsSettings {
        client_header: wait("timeouts.client_header", 10),
        client_idle: wait("timeouts.client_idle", 75),
        body_idle: wait("timeouts.body_idle", 60),
        connect: wait("timeouts.connect", 10),
        response_head: wait("timeouts.response_head", 30),
        tunnel_idle: wait("timeouts.tunnel_idle", 900),
        half_close: wait("timeouts.half_close", 60),
    }
}

fn upstream(reader: &mut Reader<'_>) -> UpstreamSettings {
    UpstreamSettings {
        max_idle_per_host: reader.number("upstream.max_idle_per_host", 50, 0..=1_000_000) as usize,
        max_idle: reader.number("upstream.max_idle", 1000, 0..=1_000_000) as usize,
        idle_timeout: reader.duration("upstream.idle_timeout", 30 * SECOND, SHORTEST..=DAY),
        tcp_keepalive: reader.duration("upstream.tcp_keepalive", 30 * SECOND, SECOND..=DAY),
        bind_addr: reader.read(
            "upstream.bind_addr",
            None,
            |address: &Option<IpAddr>| {
                address.map_or_else(|| "null".into(), |address| quoted(&address.to_string()))
            },
            |value| match &value.kind {
                Kind::Null => Ok(None),
                _ => text(value)
                    .and_then(|text| text.parse().ok())
                    .map(Some)
                    .ok_or_else(|| "an address of this host, or null, is accepted".into()),
            },
        ),
    }
}

fn dns(reader: &mut Reader<'_>) -> DnsSettings {
    let servers = reader.list_or_null(
        "dns.servers",
        |server: &SocketAddr| quoted(&server.to_string()),
        |value| {
            let text = text(value).unwrap_or_default();
            let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
            let server = bare.or_else(|_| text.parse::<SocketAddr>());
            server
                .ok()
                .filter(|server| server.port() != 0)
                .ok_or_else(|| "an address with or without a port is accepted".into())
        },
    );
    if servers.as_ref().is_some_and(Vec::is_empty) && !reader.problems.concern("dns.servers") {
        reader.problem(
            "dns.servers",
            "found an empty list; at least one is accepted, or null for the system's",
        );
    }
    DnsSettings {
        servers,
        cache_size: NonZeroUsize::new(reader.number("dns.cache_size", 10_000, 1..=10_000_000) as usize)
            .unwrap_or(NonZeroUsize::MIN),
        negative_ttl: reader.duration("dns.negative_ttl", 5 * SECOND, Duration::ZERO..=DAY),
        prefer: reader.choice("dns.prefer", Family::Ipv6, &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)]),
    }
}

fn forwarding(reader: &mut Reader<'_>) -> ForwardingSettings {
    let via = reader.read(
        "forwarding.via",
        Via::Auto,
        |via| match via {
            Via::Auto => "\"auto\"".into(),
            Via::Off => "\"off\"".into(),
            Via::Pseudonym(name) => quoted(name),
        },
        |value| match &value.kind {
            Kind::Bool(false) => Ok(Via::Off),
            Kind::Text(name) if name == "auto" => Ok(Via::Auto),
            Kind::Text(name) if name == "off" => Ok(Via::Off),
            Kind::Text(name) if is_pseudonym(name) => Ok(Via::Pseudonym(name.clone())),
            Kind::Text(_) => Err(
                "auto, off or a name of letters, digits, '-', '.', '_' that begins with a letter is accepted"
                    .into(),
            ),
            _ => Err("auto, off or a name is accepted".into()),
        },
    );
    let addresses = [
        ("off", ClientAddress::Off),
        ("x_forwarded_for", ClientAddress::XForwardedFor),
        ("forwarded", ClientAddress::Forwarded),
        ("delete", ClientAddress::Delete),
    ];
    ForwardingSettings {
        via,
        client_address: reader.choice("forwarding.client_address", ClientAddress::Off, &addresses),
        preserve_header_case: reader.bool("forwarding.preserve_header_case", false),
        request_id_header: reader.read(
            "forwarding.request_id_header",
            None,
            |name: &Option<HeaderName>| {
                name.as_ref().map_or_else(|| "null".into(), |name| quoted(name.as_str()))
            },
            |value| match &value.kind {
                Kind::Null => Ok(None),
                _ => id_field(&text(value).unwrap_or_default()).map(Some),
            },
        ),
    }
}

/// The name of a field that can hold an id: none that says something else to the next hop.
fn id_field(name: &str) -> Result<HeaderName, String> {
    let name: HeaderName =
        name.parse().map_err(|_| "the name of a header field such as x-request-id, or null, is accepted")?;
    let is_free = name.as_str().starts_with("x-") && !name.as_str().starts_with("x-forwarded")
        || ["request-id", "correlation-id"].contains(&name.as_str());
    if is_free {
        Ok(name)
    } else {
        Err("a name that begins with x- (and not with x-forwarded), request-id, correlation-id or null is accepted".into())
    }
}

/// A token that begins with a letter, so that it can stand in `Via` and in `Proxy-Status`.
fn is_pseudonym(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn logging(reader: &mut Reader<'_>) -> LoggingSettings {
    LoggingSettings {
        console: reader.bool("logging.console", true),
        file: path_or_null(reader, "logging.file", "logs/proxy.log"),
        format: reader.choice(
            "logging.format",
            LogFormat::Text,
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        ),
    }
}

fn access_log(reader: &mut Reader<'_>) -> AccessLogSettings {
    let file = match path_or_null(reader, "access_log.file", "logs/access.log") {
        None => AccessLogTarget::Off,
        Some(path) if path.as_os_str() == "-" => AccessLogTarget::Stdout,
        Some(path) => AccessLogTarget::File(path),
    };
    let queries = [("keep", QueryLogging::Keep), ("redact", QueryLogging::Redact)];
    let formats = [
        ("json", AccessLogFormat::Json),
        ("common", AccessLogFormat::Common),
        ("combined", AccessLogFormat::Combined),
        ("squid", AccessLogFormat::Squid),
    ];
    AccessLogSettings {
        file,
        format: reader.choice("access_log.format", AccessLogFormat::Json, &formats),
        tunnel_interval: reader.duration_or_null("access_log.tunnel_interval", SECOND..=DAY),
        sample: reader.read("access_log.sample", 1.0, |share| format!("{share:?}"), share),
        query: reader.choice("access_log.query", QueryLogging::Redact, &queries),
    }
}

/// A number from 0 to 1.
pub(super) fn share(value: &Value) -> Result<f64, String> {
    let number = match &value.kind {
        Kind::Int(number) => *number as f64,
        Kind::Float(number) => *number,
        _ => f64::NAN,
    };
    let accepted = || "a share from 0.0 (none) to 1.0 (all) is accepted".to_owned();
    (0.0..=1.0).contains(&number).then_some(number).ok_or_else(accepted)
}

fn admin(reader: &mut Reader<'_>) -> AdminSettings {
    // Without unix sockets there is nothing to be had at a path.
    let default = cfg!(unix).then_some("run/admin.sock");
    let socket_path = path_or_null(reader, "admin.socket_path", default);
    if socket_path.is_some() && cfg!(not(unix)) {
        reader.problem("admin.socket_path", "this system has no unix sockets: only null is accepted");
    }
    AdminSettings {
        listen_addr: reader.read(
            "admin.listen_addr",
            Some(ADMIN_ADDRESS),
            |address| address.map_or_else(|| "null".into(), |address| quoted(&address.to_string())),
            |value| match &value.kind {
                Kind::Null => Ok(None),
                _ => socket_address(value).map(Some).map_err(|accepted| format!("{accepted}, or null")),
            },
        ),
        host_names: reader.list("admin.host_names", Vec::new(), |name| quoted(name), host_name),
        socket_path,
    }
}

/// The name of a host, as it stands in a `Host` field without its port.
fn host_name(value: &Value) -> Result<String, String> {
    match Host::parse(&text(value).unwrap_or_default()) {
        Ok(Host::Name(name)) => Ok(name.trim_end_matches('.').to_owned()),
        _ => Err("the name of a host, without a port, is accepted; addresses are answered anyway".into()),
    }
}

pub(super) fn path_or_null<'a>(
    reader: &mut Reader<'_>,
    key: &'static str,
    default: impl Into<Option<&'a str>>,
) -> Option<PathBuf> {
    let shown = |path: &Option<PathBuf>| {
        path.as_ref().map_or_else(|| "null".into(), |path| quoted(&path.display().to_string()))
    };
    reader.read(key, default.into().map(PathBuf::from), shown, |value| match &value.kind {
        Kind::Null => Ok(None),
        Kind::Text(path) if !path.is_empty() => Ok(Some(path.into())),
        _ => Err("the path of a file, or null, is accepted".into()),
    })
}

fn contradictions(reader: &mut Reader<'_>, settings: &Settings) {
    let (delay, most) = (settings.supervision.restart_delay, settings.supervision.restart_delay_max);
    if delay > most {
        let (delay, most) = (show_duration(delay), show_duration(most));
        reader.contradiction(
            ["supervision.restart_delay", "supervision.restart_delay_max"],
            format!("supervision.restart_delay is {delay} and restart_delay_max is {most}; at most that is accepted"),
        );
    }
    let (per_host, all) = (settings.upstream.max_idle_per_host, settings.upstream.max_idle);
    if per_host > all {
        reader.contradiction(
            ["upstream.max_idle_per_host", "upstream.max_idle"],
            format!(
                "upstream.max_idle_per_host is {per_host} and max_idle is {all}; at most that is accepted"
            ),
        );
    }
    if let (Some(log), AccessLogTarget::File(access)) = (&settings.logging.file, &settings.access_log.file)
        && log == access
    {
        reader.contradiction(
            ["access_log.file", "logging.file"],
            format!("logging.file and access_log.file are both {}; two files are accepted", log.display()),
        );
    }
    if let Some(admin) = settings.admin.listen_addr.filter(|admin| admin.port() != 0)
        && settings.listen_addr.contains(&admin)
    {
        reader.contradiction(
            ["admin.listen_addr", "listen_addr"],
            format!("listen_addr and admin.listen_addr are both {admin}; two addresses are accepted"),
        );
    }
    if settings.group.is_some() && settings.user.is_none() {
        reader.problem("group", "is set without user; both or neither is accepted, or user alone");
    }
    if let Some(twice) =
        settings.tls.listen_addr.iter().find(|at| at.port() != 0 && settings.listen_addr.contains(at))
    {
        reader.contradiction(
            ["tls.listen_addr", "listen_addr"],
            format!("listen_addr and tls.listen_addr are both {twice}; two addresses are accepted"),
        );
    }
    if settings.access.users_file.is_none()
        && settings.tls.client_ca_path.is_none()
        && !reader.problems.concern("access.users_file")
        && let Some(limit) = settings
            .rate_limit
            .limits
            .iter()
            .find(|limit| limit.key == LimitKey::User || !limit.conditions.users.is_empty())
    {
        let text = format!(
            "{:?} asks for users, and access.users_file is null, and so is tls.client_ca_path; one of them or no such limit is accepted",
            limit.name
        );
        reader.problem("rate_limit.limits", text);
    }
    let asks = |route: &RouteSettings| !route.conditions.users.is_empty();
    if settings.access.users_file.is_none()
        && !reader.problems.concern("access.users_file")
        && let Some(index) = settings.routes.iter().position(asks)
    {
        let title = settings.routes[index].title(index);
        let text =
            format!("{title} asks for users, and access.users_file is null; both or neither is accepted");
        reader.problem("routes", text);
    }
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = settings.listen_addr.iter().partition(|address| address.is_ipv4());
    let overlaps = |addresses: &[&SocketAddr]| {
        addresses.iter().any(|wide| {
            wide.ip().is_unspecified()
                && wide.port() != 0
                && addresses.iter().any(|other| other.port() == wide.port() && !other.ip().is_unspecified())
        })
    };
    if overlaps(&ipv4) || overlaps(&ipv6) {
        reader.problem(
            "listen_addr",
            "has an address that the unspecified address with the same port includes",
        );
    }
}

pub(super) fn nonzero_u32(value: u64) -> NonZeroU32 {
    u32::try_from(value).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
