//! What is known of a request when it is decided upon.
//!
//! Borrowed from whoever knows it; must not own anything.

use std::net::IpAddr;

use http::Method;

use crate::{config::settings::AskedBy, net::authority::Authority};

/// What is known of a request when it is decided upon.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The client's address, as the kernel or a trusted balancer says.
    pub client: IpAddr,
    /// Whether the client is on this host, be it by another address than a loopback one.
    pub client_is_local: bool,
    /// The method.
    pub method: &'a Method,
    /// How it asks: for a tunnel, or by which scheme.
    pub asked_by: AskedBy,
    /// Where it is to go, as the client wrote it.
    pub authority: &'a Authority,
    /// The authenticated user.
    pub user: Option<&'a str>,
    /// The raw path and query, empty or with `/` or `?` in front; a tunnel has none.
    pub path: Option<&'a [u8]>,
}

impl Facts<'_> {
    /// Whether a tunnel is asked for.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.asked_by == AskedBy::Connect
    }
}
