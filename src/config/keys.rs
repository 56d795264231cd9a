//! Every key there is.

/// All keys, in the order of the manual.
pub(super) const KEYS: &[&str] = &[
    "listen_addr",
    "log_level",
    "user",
    "group",
    "listen.backlog",
    "listen.proxy_protocol",
    "listen.socks5",
    "runtime.mode",
    "runtime.worker_threads",
    "runtime.process_count",
    "runtime.use_reuseport",
    "runtime.cpu_affinity",
    "supervision.restart_workers",
    "supervision.restart_delay",
    "supervision.restart_delay_max",
    "supervision.respawn_threshold",
    "supervision.respawn_threshold_time",
    "supervision.max_restarts",
    "supervision.start_timeout",
    "supervision.heartbeat_timeout",
    "supervision.shutdown_timeout",
    "limits.max_connections",
    "limits.max_connections_per_client",
    "limits.max_header_bytes",
    "limits.max_headers",
    "limits.max_body_size",
    "timeouts.client_header",
    "timeouts.client_idle",
    "timeouts.body_idle",
    "timeouts.connect",
    "timeouts.response_head",
    "timeouts.tunnel_idle",
    "timeouts.half_close",
    "upstream.max_idle_per_host",
    "upstream.max_idle",
    "upstream.idle_timeout",
    "upstream.tcp_keepalive",
    "upstream.bind_addr",
    "upstream.tls.system_roots",
    "upstream.tls.ca_path",
    "upstream.tls.client_cert_path",
    "upstream.tls.client_key_path",
    "upstream.tls.min_version",
    "upstream.tls.http2",
    "dns.servers",
    "dns.cache_size",
    "dns.negative_ttl",
    "dns.prefer",
    "forwarding.via",
    "forwarding.client_address",
    "forwarding.preserve_header_case",
    "forwarding.request_id_header",
    "access.mode",
    "access.clients",
    "access.destinations.deny",
    "access.destinations.allow",
    "access.connect_ports",
    "access.users_file",
    "access.realm",
    "access.local_client_bypass",
    "rate_limit.store",
    "rate_limit.limits",
    "upstreams",
    "routes",
    "default_route",
    "tls.listen_addr",
    "tls.cert_path",
    "tls.key_path",
    "tls.client_ca_path",
    "tls.min_version",
    "tls.handshake_timeout",
    "tls.max_handshakes",
    "interception.hosts",
    "interception.exempt",
    "interception.ca_cert_path",
    "interception.ca_key_path",
    "logging.console",
    "logging.file",
    "logging.format",
    "access_log.file",
    "access_log.format",
    "access_log.tunnel_interval",
    "access_log.sample",
    "access_log.query",
    "admin.listen_addr",
    "admin.host_names",
    "admin.socket_path",
];

/// Variables with a short name.
pub(super) const SHORT_NAMES: &[(&str, &str)] = &[
    ("PROXY_LISTEN_ADDR", "listen_addr"),
    ("PROXY_LOG_LEVEL", "log_level"),
    ("PROXY_RUNTIME_MODE", "runtime.mode"),
    ("PROXY_WORKER_THREADS", "runtime.worker_threads"),
    ("PROXY_PROCESS_COUNT", "runtime.process_count"),
    ("PROXY_USE_REUSEPORT", "runtime.use_reuseport"),
    ("PROXY_USERS_FILE", "access.users_file"),
    ("PROXY_ADMIN_LISTEN_ADDR", "admin.listen_addr"),
];

/// Variables that are no keys.
pub(super) const OTHER_VARIABLES: &[&str] =
    &["PROXY_CONFIG", "PROXY_PROCESS_INDEX", "PROXY_GENERATION", "PROXY_HANDOVER"];

/// The key that a variable stands for. Variables are written in capitals only.
pub(super) fn key_of_variable(name: &str) -> Option<&'static str> {
    let short = SHORT_NAMES.iter().find(|(short, _)| *short == name).map(|(_, key)| *key);
    short.or_else(|| KEYS.iter().copied().find(|key| long_variable(key) == name))
}

fn long_variable(key: &str) -> String {
    format!("PROXY_{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Keys and sections that may have been meant by `key`, which nobody knows: those of the same name in another section, or
/// else the one whose spelling is most alike.
pub(super) fn nearest_keys(key: &str) -> Vec<&'static str> {
    let name = last(key);
    let misplaced: Vec<_> = KEYS.iter().copied().filter(|known| last(known) == name).collect();
    if (1..=3).contains(&misplaced.len()) {
        return misplaced;
    }
    let sections = KEYS.iter().filter_map(|known| known.rsplit_once('.').map(|(section, _)| section));
    let whole = nearest(key, KEYS.iter().copied().chain(sections), |known| known, 0.85);
    whole.or_else(|| nearest(name, KEYS.iter().copied(), last, 0.9)).into_iter().collect()
}

/// The variable that may have been meant by `name`, which nobody knows.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let wish = name.strip_prefix("PROXY_")?;
    let stem = |known: &'static str| known.strip_prefix("PROXY_").unwrap_or(known);
    let short = SHORT_NAMES.iter().map(|(short, _)| *short).chain(OTHER_VARIABLES.iter().copied());
    nearest(wish, short, stem, 0.9).map(str::to_owned).or_else(|| {
        let key = nearest_keys(&wish.to_ascii_lowercase().replace("__", ".")).into_iter().next()?;
        KEYS.contains(&key).then(|| long_variable(key))
    })
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The candidate of which `part` is most like `text`, if it is like it at all: 1 is the same, 0 has nothing in common.
fn nearest<'a>(
    text: &str,
    known: impl Iterator<Item = &'a str>,
    part: impl Fn(&'a str) -> &'a str,
    at_least: f64,
) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(text, part(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= at_least)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
