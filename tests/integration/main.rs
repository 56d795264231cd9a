//! The proxy from outside: the real binary, real sockets, real signals.
//!
//! One file a behaviour. A test whose name begins with `c` and a number holds the row of that name of the
//! protocol checklist. A scenario that is listed in `in_every_mode!` runs in all three process models.

// A test may unwrap wherever it stands; the lint knows only functions that carry the attribute.
#![allow(clippy::unwrap_used)]

mod support;

mod access;
mod access_log;
mod admin;
#[cfg(target_os = "linux")]
mod affinity;
mod auth;
mod basics;
mod big;
mod bodies;
mod bounds;
mod config;
mod connect;
mod connection_limits;
mod dns;
mod drain;
mod errors;
mod exactness;
mod explain;
mod framing;
mod groups;
mod h2;
mod h2_attacks;
mod h2_conformance;
mod h2_rules;
mod h2_tunnels;
mod h2_upstream;
mod h2_upstream_attacks;
mod h2_upstream_ends;
mod hop_by_hop;
mod install;
mod interception;
mod limits;
mod lists;
mod local_answers;
mod logs;
mod modes;
mod monitoring;
mod operations;
mod parents;
mod pooling;
mod privileges;
mod proxy_protocol;
mod proxy_protocol_out;
mod rate_exact;
mod rate_limit;
mod reload;
mod responses;
mod routes;
mod socks;
mod spellings;
mod start;
mod succession;
mod supervision;
mod systemd;
mod target;
mod timeouts;
mod tls;
mod tls_certificates;
mod tls_handshakes;
mod tls_upstream;
mod traces;
mod tunnels;
mod upgrade;
mod users;
