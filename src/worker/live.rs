//! What a reload swaps in a serving process.
//!
//! A configuration is put in force whole or not at all: everything is built before anything is swapped. Connections,
//! tunnels and pools live on; what a connection has begun with it keeps.

use std::{net::SocketAddr, sync::Arc};

use thiserror::Error;

use super::{
    acceptors::Acceptors,
    assemble::{AssembleError, access_log, connection_options, keep, live, pool_limits},
};
use crate::{
    config::{
        Loaded, Problems,
        change::{self, Effect},
    },
    proxy::Proxy,
    telemetry::diagnostics::{Diagnostics, DiagnosticsError},
};

/// The configuration in force in this process.
pub(super) struct InForce {
    loaded: Loaded,
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
    /// The log cannot be written as it says.
    #[error(transparent)]
    Diagnostics(#[from] DiagnosticsError),
}

impl InForce {
    pub(super) fn new(
        loaded: Loaded,
        listeners: Vec<SocketAddr>,
        proxy: Arc<Proxy>,
        diagnostics: Diagnostics,
    ) -> Self {
        Self { loaded, listeners, proxy, diagnostics }
    }

    /// The configuration.
    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Puts `new` in force; the keys that have changed. Inside a runtime.
    pub(super) fn replace(
        &mut self,
        new: Result<Box<Loaded>, Problems>,
        acceptors: &mut Acceptors,
    ) -> Result<Vec<&'static str>, ReloadError> {
        let new = *new?;
        let (old, settings) = (&self.loaded.settings, &new.settings);
        let keys = change::differing(old, settings);
        let fixed: Vec<_> = keys.iter().copied().filter(|key| change::effect(key) != Effect::Swap).collect();
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed(fixed));
        }
        if !keys.is_empty() {
            let seat = self.proxy.account().seat();
            let kept = keep(settings, &self.listeners, seat, Some((old, self.proxy.kept())))?;
            let built = live(settings, &self.listeners, seat, kept)?;
            let connections = connection_options(settings, seat)?;
            let (log, other) = (&old.access_log, &settings.access_log);
            let is_other = log.file != other.file || log.format != other.format || log.sample != other.sample;
            let log = is_other.then(|| access_log(settings, seat)).transpose()?;
            if old.logging != settings.logging || old.log_level != settings.log_level {
                self.diagnostics.replace(&settings.logging, &settings.log_level)?;
            }
            let account = self.proxy.account();
            account.set_limits(&settings.limits);
            if let Some(log) = log {
                let old = account.replace_log(log);
                tokio::task::spawn_blocking(move || old.flush());
            }
            self.proxy.reload(built, pool_limits(settings));
            acceptors.serve_with(connections);
        }
        self.loaded = new;
        Ok(keys)
    }

    /// Opens the log files again. Inside a runtime.
    pub(super) fn reopen_logs(&self) {
        let (diagnostics, log) = (self.diagnostics.clone(), self.proxy.account().log());
        // A file system that hangs is waited for, but not by those who serve.
        tokio::task::spawn_blocking(move || {
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
