//! What it takes to put one configuration in force after another. Pure: whoever reloads asks, and acts.
//!
//! Whether a key can change in a running instance is data, [`effect`]; `config.yml` says the same of each key, and a test
//! holds the two together.

use super::settings::{
    AccessLogSettings, AccessSettings, AdminSettings, DnsSettings, ForwardingSettings, InterceptionSettings,
    LimitsSettings, ListenSettings, LoggingSettings, RateLimitSettings, RuntimeSettings, Settings,
    SupervisionSettings, TimeoutsSettings, TlsSettings, UpstreamSettings, UpstreamTlsSettings,
};

/// What it takes for all that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are equal.
    Nothing,
    /// These keys differ and need a new launcher: the reload is refused as a whole, by their names.
    Refused(Vec<&'static str>),
    /// New workers, one after the other.
    Roll,
    /// Every process puts the new state in the place of the old. Connections, tunnels and pools live on.
    Swap,
}

/// What it takes for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is read once, when the program starts.
    Launcher,
    /// It is put in force in every process that runs.
    Swap,
    /// It is read once, when a worker starts.
    Workers,
}

/// What it takes for `key` to change.
#[must_use]
pub fn effect(key: &str) -> Effect {
    match key {
        // Sockets are bound, the shape is chosen and privileges are dropped once. `runtime.process_count` is not here: the
        // launcher takes more workers or fewer at any time.
        "listen_addr"
        | "listen.backlog"
        | "user"
        | "group"
        | "runtime.mode"
        | "runtime.worker_threads"
        | "runtime.use_reuseport"
        | "tls.listen_addr"
        | "admin.listen_addr"
        | "admin.host_names"
        | "admin.socket_path" => Effect::Launcher,
        "runtime.cpu_affinity" => Effect::Workers,
        _ => Effect::Swap,
    }
}

/// What it takes to go from `old` to `new`.
#[must_use]
pub fn between(old: &Settings, new: &Settings) -> Change {
    let differing = differing(old, new);
    let with = |wanted| differing.iter().copied().filter(move |key| effect(key) == wanted);
    let refused: Vec<_> = with(Effect::Launcher).collect();
    if !refused.is_empty() {
        return Change::Refused(refused);
    }
    match (differing.is_empty(), with(Effect::Workers).next()) {
        (true, _) => Change::Nothing,
        (false, None) => Change::Swap,
        (false, Some(_)) => Change::Roll,
    }
}

/// Collects the keys of a section that differ. The fields are named without `..`: a new one does not compile until it is
/// here.
macro_rules! section {
    ($keys:ident, $old:expr, $new:expr, $section:literal, $Settings:ident { $($field:ident),* $(,)? }) => {{
        let $Settings { $($field),* } = $old;
        let new = $new;
        $(if *$field != new.$field {
            $keys.push(concat!($section, ".", stringify!($field)));
        })*
    }};
}

/// The keys that differ, in the order of the manual.
#[must_use]
pub fn differing(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let Settings {
        listen_addr,
        log_level,
        user,
        group,
        listen,
        runtime,
        supervision,
        limits,
        timeouts,
        upstream,
        upstream_tls,
        dns,
        forwarding,
        access,
        rate_limit,
        upstreams,
        routes,
        default_route,
        tls,
        interception,
        logging,
        access_log,
        admin,
    } = old;
    let mut keys = Vec::new();
    if *listen_addr != new.listen_addr {
        keys.push("listen_addr");
    }
    if *log_level != new.log_level {
        keys.push("log_level");
    }
    if *user != new.user {
        keys.push("user");
    }
    if *group != new.group {
        keys.push("group");
    }
    section!(keys, listen, &new.listen, "listen", ListenSettings { backlog, proxy_protocol, socks5 });
    section!(
        keys,
        runtime,
        &new.runtime,
        "runtime",
        RuntimeSettings { mode, worker_threads, process_count, use_reuseport, cpu_affinity }
    );
    section!(
        keys,
        supervision,
        &new.supervision,
        "supervision",
        SupervisionSettings {
            restart_workers,
            restart_delay,
            restart_delay_max,
            respawn_threshold,
            respawn_threshold_time,
            max_restarts,
            start_timeout,
            heartbeat_timeout,
            shutdown_timeout,
        }
    );
    section!(
        keys,
        limits,
        &new.limits,
        "limits",
        LimitsSettings {
            max_connections,
            max_connections_per_client,
            max_header_bytes,
            max_headers,
            max_body_size
        }
    );
    section!(
        keys,
        timeouts,
        &new.timeouts,
        "timeouts",
        TimeoutsSettings {
            client_header,
            client_idle,
            body_idle,
            connect,
            response_head,
            tunnel_idle,
            half_close
        }
    );
    section!(
        keys,
        upstream,
        &new.upstream,
        "upstream",
        UpstreamSettings { max_idle_per_host, max_idle, idle_timeout, tcp_keepalive, bind_addr }
    );
    section!(
        keys,
        upstream_tls,
        &new.upstream_tls,
        "upstream.tls",
        UpstreamTlsSettings { system_roots, ca_path, client_cert_path, client_key_path, min_version, http2 }
    );
    section!(keys, dns, &new.dns, "dns", DnsSettings { servers, cache_size, negative_ttl, prefer });
    section!(
        keys,
        forwarding,
        &new.forwarding,
        "forwarding",
        ForwardingSettings { via, client_address, preserve_header_case, request_id_header }
    );
    section!(
        keys,
        access,
        &new.access,
        "access",
        AccessSettings { mode, clients, deny, allow, connect_ports, users_file, realm, local_client_bypass }
    );
    section!(keys, rate_limit, &new.rate_limit, "rate_limit", RateLimitSettings { store, limits });
    if *upstreams != new.upstreams {
        keys.push("upstreams");
    }
    if *routes != new.routes {
        keys.push("routes");
    }
    if *default_route != new.default_route {
        keys.push("default_route");
    }
    section!(
        keys,
        tls,
        &new.tls,
        "tls",
        TlsSettings {
            listen_addr,
            cert_path,
            key_path,
            client_ca_path,
            min_version,
            handshake_timeout,
            max_handshakes,
        }
    );
    section!(
        keys,
        interception,
        &new.interception,
        "interception",
        InterceptionSettings { hosts, exempt, ca_cert_path, ca_key_path }
    );
    section!(keys, logging, &new.logging, "logging", LoggingSettings { console, file, format });
    section!(
        keys,
        access_log,
        &new.access_log,
        "access_log",
        AccessLogSettings { file, format, tunnel_interval, sample, query }
    );
    section!(keys, admin, &new.admin, "admin", AdminSettings { listen_addr, host_names, socket_path });
    // The two lists of destinations are one level deeper in the file than in the settings.
    for key in &mut keys {
        match *key {
            "access.deny" => *key = "access.destinations.deny",
            "access.allow" => *key = "access.destinations.allow",
            _ => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests;
