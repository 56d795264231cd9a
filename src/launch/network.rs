//! The socket on which browsers and monitoring are answered.

use std::io;

use super::{Failure, code};
use crate::{
    admin::{HostNames, Network},
    config::{Loaded, Origin},
};

/// Listens where `admin.listen_addr` says. An address that nobody has asked for is done without where another instance
/// has it: two instances on one host are no mistake, and the second must not fail for a default.
pub(super) fn network(loaded: &Loaded) -> Result<Option<Network>, Failure> {
    const KEY: &str = "admin.listen_addr";
    let admin = &loaded.settings.admin;
    let Some(address) = admin.listen_addr else { return Ok(None) };
    let error = match Network::bind(address, HostNames::new(admin.host_names.clone())) {
        Ok(network) => return Ok(Some(network)),
        Err(error) => error,
    };
    let written = loaded.in_force.iter().find(|value| value.key == KEY);
    let is_default = written.is_none_or(|value| value.origin == Origin::Default);
    if is_default && error.source.kind() == io::ErrorKind::AddrInUse {
        tracing::warn!(
            %address,
            "the default of admin.listen_addr is in use, by another instance perhaps: this one goes without an admin endpoint \
             over TCP; give it an address of its own, or null"
        );
        return Ok(None);
    }
    let code = if error.is_forbidden() { code::NOT_PERMITTED } else { code::ADDRESS };
    Err(Failure::new(code, format!("{KEY}: {error}; an address of its own, port 0, or null is accepted")))
}
