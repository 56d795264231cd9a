//! The metrics of the whole instance, from shared memory and from what the launcher itself knows. Asks no worker.

use std::time::Instant;

use super::launcher::Launcher;
use crate::{
    admin::WorkerState,
    config::{Loaded, Problems},
    shared_memory::Seat,
    telemetry::{
        metrics::{self, Instance},
        process::Processes,
        prometheus::Exposition,
    },
    upstream::survey,
};

impl<L: FnMut() -> Result<Loaded, Problems>> Launcher<L> {
    /// The page of all metrics.
    pub(super) fn metrics(&self, exposition: Exposition) -> String {
        let views = self.fleet.views(Instant::now());
        let workers = WorkerState::ALL.map(|state| {
            let count = views.iter().filter(|view| view.state == state).count();
            (state.name(), count as u64)
        });
        let pids =
            self.processes.values().filter_map(|running| running.process.as_ref().and_then(|p| p.pid()));
        let seats = self.reporter.seats(&self.segment);
        let counters: Vec<_> = seats.iter().map(Seat::counters).collect();
        let instance = Instance {
            version: env!("CARGO_PKG_VERSION"),
            generation: self.configuration.generation,
            last_reload_successful: self.audience.last_reload().is_none_or(|reload| reload.successful),
            workers: &workers,
            restarts: &self.fleet.replaced().counts(),
            requests: &self.reporter.requests(&self.processes),
            segment: &self.segment,
            backends: &survey(&self.loaded.settings.upstreams, &self.segment),
            processes: Processes::of(std::process::id(), pids),
        };
        metrics::page(&counters, &instance, exposition)
    }
}
