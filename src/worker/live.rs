//! What a reload swaps in a serving process.
//!
//! A configuration is put in force whole or not at all: everything is built before anything is swapped. Connections,
//! tunnels and pools live on; what a connection has begun with it keeps.

use std::{net::SocketAddr, sync::Arc};

use thiserror::Error;
use tokio::task::spawn_blocking;

use super::{
    acceptors::Acceptors,
    assemble::{AssembleError, access_log, connection_options, keep, live, pool_limits},
};
use crate::{
    config::{
        Loaded, Problems,
        change::{self, Effect},
        settings::Settings,
    },
    proxy::{Live, Proxy},
    server::ConnectionOptions,
    telemetry::{
        access_log::AccessLog,
        diagnostics::{Diagnostics, DiagnosticsError},
    },
};

/// The configuration in force in this process.
pub(super) struct InForce {
    loaded: Arc<Loaded>,
    listeners: Vec<SocketAddr>,
    proxy: Arc<Proxy>,
    diagnostics: Diagnostics,
}

/// Why the old configuration is still in force.
#[derive(Debug, Error)]
pub(super) enum ReloadError {
    /// The new one is wrong.
    #[error("{0}")]
    Wrong(#[from] Problems),
    /// These keys are read at the start of a process.
    #[error("these keys need a new start: {}", .0.join(", "))]
    Fixed(Vec<&'static str>),
    /// It cannot be built.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// What builds it has failed, which is logged where it has.
    #[error("an internal error: the log has it")]
    Unfinished,
    /// The log cannot be written as it says.
    #[error(transparent)]
    Diagnostics(#[from] DiagnosticsError),
}

/// What a configuration becomes before anything of it is in force.
struct Built {
    live: Live,
    connections: ConnectionOptions,
    /// Where it is another one.
    log: Option<AccessLog>,
}

impl Built {
    fn new(
        old: &Settings,
        new: &Settings,
        listeners: &[SocketAddr],
        proxy: &Proxy,
    ) -> Result<Self, AssembleError> {
        let seat = proxy.account().seat();
        let kept = keep(new, listeners, seat, Some((old, proxy.kept())))?;
        let live = live(new, listeners, seat, kept)?;
        let connections = connection_options(new, seat)?;
        let (log, other) = (&old.access_log, &new.access_log);
        let is_other = log.file != other.file || log.format != other.format || log.sample != other.sample;
        let log = is_other.then(|| access_log(new, seat)).transpose()?;
        Ok(Self { live, connections, log })
    }
}

impl InForce {
    pub(super) fn new(
        loaded: Loaded,
        listeners: Vec<SocketAddr>,
        proxy: Arc<Proxy>,
        diagnostics: Diagnostics,
    ) -> Self {
        Self { loaded: Arc::new(loaded), listeners, proxy, diagnostics }
    }

    /// The configuration.
    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Puts `new` in force; the keys that have changed. Inside a runtime. Not to be dropped halfway.
    pub(super) async fn replace(
        &mut self,
        new: Result<Box<Loaded>, Problems>,
        acceptors: &mut Acceptors,
    ) -> Result<Vec<&'static str>, ReloadError> {
        let new = Arc::new(*new?);
        let (old, settings) = (&self.loaded.settings, &new.settings);
        let keys = change::differing(old, settings);
        let fixed: Vec<_> = keys.iter().copied().filter(|key| change::effect(key) != Effect::Swap).collect();
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed(fixed));
        }
        if !keys.is_empty() {
            let (before, after) = (Arc::clone(&self.loaded), Arc::clone(&new));
            let (proxy, listeners) = (Arc::clone(&self.proxy), self.listeners.clone());
            // Long lists take a while, which is not to be that of those who serve.
            let building =
                spawn_blocking(move || Built::new(&before.settings, &after.settings, &listeners, &proxy));
            let Built { live, connections, log } = building.await.map_err(|_| ReloadError::Unfinished)??;
            if old.logging != settings.logging || old.log_level != settings.log_level {
                self.diagnostics.replace(&settings.logging, &settings.log_level)?;
            }
            let account = self.proxy.account();
            account.set_limits(&settings.limits);
            if let Some(log) = log {
                let old = account.replace_log(log);
                spawn_blocking(move || old.flush());
            }
            let replaced = self.proxy.reload(live, pool_limits(settings));
            let forgotten = Arc::clone(&self.loaded);
            spawn_blocking(move || drop((replaced, forgotten)));
            acceptors.serve_with(connections);
        }
        self.loaded = new;
        Ok(keys)
    }

    /// Opens the log files again. Inside a runtime.
    pub(super) fn reopen_logs(&self) {
        let (diagnostics, log) = (self.diagnostics.clone(), self.proxy.account().log());
        // A file system that hangs is waited for, but not by those who serve.
        spawn_blocking(move || {
            if let Err(error) = diagnostics.reopen() {
                tracing::error!(%error, "logging.file cannot be opened again: the old one is still written");
            }
            if let Err(error) = log.reopen() {
                tracing::error!(%error, "access_log.file cannot be opened again: the old one is still written");
            }
            tracing::info!("log files reopened");
        });
    }
}
