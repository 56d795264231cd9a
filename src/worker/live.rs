//! What a reload swaps in a serving process.
//!
//! A configuration is put in force whole or not at all: everything is built before anything is swapped.

use std::{net::SocketAddr, sync::Arc};

use super::assemble::{AssembleError, live, pool_limits};
use crate::{
    config::{
        Loaded,
        change::{self, Scope},
    },
    proxy::Proxy,
    telemetry::diagnostics::Diagnostics,
};

/// The configuration in force in this process.
pub(super) struct InForce {
    loaded: Loaded,
    listeners: Vec<SocketAddr>,
    proxy: Arc<Proxy>,
    diagnostics: Diagnostics,
}

/// What became of a reload.
pub(super) enum Outcome {
    /// These keys have another value now.
    Applied(Vec<&'static str>),
    /// These keys cannot be swapped.
    Refused(Vec<&'static str>),
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

    /// Puts `new` in force, if nothing in it needs a new process.
    ///
    /// # Errors
    ///
    /// When it cannot be built; then the old one is in force.
    pub(super) fn replace(&mut self, new: Loaded) -> Result<Outcome, AssembleError> {
        let changes = change::changes(&self.loaded, &new);
        let fixed: Vec<_> =
            changes.iter().filter(|change| change.scope != Scope::Live).map(|change| change.key).collect();
        if !fixed.is_empty() {
            return Ok(Outcome::Refused(fixed));
        }
        let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
        if !keys.is_empty() {
            let settings = &new.settings;
            let built = live(settings, &self.listeners)?;
            if keys.contains(&"log_level")
                && let Err(error) = self.diagnostics.set_level(&settings.log_level)
            {
                tracing::warn!(%error, "the log keeps its level");
            }
            self.proxy.account().set_max_connections(settings.limits.max_connections);
            self.proxy.reload(built, pool_limits(settings));
        }
        self.loaded = new;
        Ok(Outcome::Applied(keys))
    }

    /// Opens the log files again.
    pub(super) fn reopen_logs(&self) {
        if let Err(error) = self.diagnostics.reopen() {
            tracing::error!(%error, "logging.file cannot be opened again: the old one is still written");
        }
        if let Err(error) = self.proxy.account().log().reopen() {
            tracing::error!(%error, "access_log.file cannot be opened again: the old one is still written");
        }
        tracing::info!("log files reopened");
    }
}
