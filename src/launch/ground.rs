//! What an instance stands on before it begins: sockets from systemd, the socket for operators, who is told of it, and who
//! it is to be.

use std::net::TcpListener;

use super::{Failure, code};
use crate::{
    admin::{SocketFile, SocketFileError},
    config::{
        Origin, Problem, Problems,
        settings::{AccessLogTarget, Settings},
    },
    control::{
        notify::Notifier,
        privileges::{self, Identity, PrivilegesError},
    },
    net::inherit::{self, InheritError},
};

impl From<InheritError> for Failure {
    fn from(error: InheritError) -> Self {
        Self::new(code::ADDRESS, error)
    }
}

impl From<PrivilegesError> for Failure {
    fn from(error: PrivilegesError) -> Self {
        Self::new(if error.is_forbidden() { code::NOT_PERMITTED } else { code::CONFIGURATION }, error)
    }
}

impl From<SocketFileError> for Failure {
    fn from(error: SocketFileError) -> Self {
        Self::new(if error.is_forbidden() { code::NOT_PERMITTED } else { code::ADDRESS }, error)
    }
}

/// The ground.
pub(super) struct Ground {
    /// Sockets that systemd has opened; none = the instance opens its own.
    pub(super) inherited: Vec<TcpListener>,
    /// Who serves; none = who this process is.
    pub(super) identity: Option<Identity>,
    /// Who is told.
    pub(super) notifier: Notifier,
}

impl Ground {
    /// Takes what there is. To be called first: sockets are known by their numbers only.
    pub(super) fn lay(settings: &Settings, environment: &[(String, String)]) -> Result<Self, Failure> {
        let pid = std::process::id();
        let inherited = inherit::listeners(environment, pid)?;
        let identity = identity(settings)?;
        if let Some(identity) = &identity {
            give_logs(identity, settings).map_err(|problems| Failure::new(code::CONFIGURATION, problems))?;
        }
        Ok(Self { inherited, identity, notifier: Notifier::new(environment, pid) })
    }

    /// What the operator should know, once there is a log.
    pub(super) fn notices(&self, settings: &Settings) {
        if privileges::is_root() && self.identity.is_none() {
            tracing::warn!("everything runs as root: set user to the name of one who has nothing else");
        }
        let taken: Vec<_> = self.inherited.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let asked = settings.listen_addr.iter().map(|address| ("listen_addr", address));
        let asked = asked.chain(settings.tls.listen_addr.iter().map(|address| ("tls.listen_addr", address)));
        for (key, address) in asked.filter(|(_, address)| !taken.is_empty() && !taken.contains(address)) {
            tracing::warn!(%address, "{key} is not listened on: systemd has opened the sockets of this instance");
        }
    }
}

/// Lets those who serve write the log files: they are opened again later, without root.
pub(super) fn give_logs(identity: &Identity, settings: &Settings) -> Result<(), Problems> {
    let access_log = match &settings.access_log.file {
        AccessLogTarget::File(path) => Some(("access_log.file", path)),
        AccessLogTarget::Off | AccessLogTarget::Stdout => None,
    };
    let log = settings.logging.file.as_ref().map(|path| ("logging.file", path));
    let refused = log.into_iter().chain(access_log).filter_map(|(key, path)| {
        let text = identity.give_file(path).err()?.to_string();
        Some(Problem { origin: Origin::Default, key: key.into(), text })
    });
    let refused: Vec<_> = refused.collect();
    if refused.is_empty() { Ok(()) } else { Err(Problems(refused)) }
}

/// Who serves.
pub(super) fn identity(settings: &Settings) -> Result<Option<Identity>, PrivilegesError> {
    let Some(user) = &settings.user else { return Ok(None) };
    Identity::find(user, settings.group.as_deref())
}

/// Becomes who serves, in a process that does nothing else any more, and gives up the rest.
pub(super) fn settle(identity: Option<&Identity>) -> Result<(), Failure> {
    if let Some(identity) = identity {
        identity.assume()?;
    }
    privileges::forbid_gaining();
    Ok(())
}

/// The socket on which operators are answered.
pub(super) fn socket(settings: &Settings) -> Result<Option<SocketFile>, Failure> {
    Ok(settings.admin.socket_path.as_deref().map(SocketFile::bind).transpose()?)
}
