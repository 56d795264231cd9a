//! Who asks a process that runs alone how it is and what to do: operators over the socket, and the service manager.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::oneshot,
    time::{Interval, interval},
};

use crate::{
    admin::{
        Ask, Asks, Command, Doors, GroupStatus, LastReload, Outcome, Rate, Server, Status, Totals, Traffic,
        WorkerState, WorkerStatus, desk,
    },
    config::settings::{GroupSettings, Mode, Settings},
    control::{notify::Notifier, signals::Signal},
    shared_memory::Seat,
    telemetry::{
        diagnostics::Diagnostics,
        memory,
        metrics::{self, Instance},
        process::Processes,
        prometheus::Exposition,
    },
    upstream::survey,
};

/// How long an operator's answers may still be written when everything else has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the service manager waits for beyond the drain deadline.
const MARGIN: Duration = Duration::from_secs(10);

/// What an office knows of its process.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) mode: Mode,
    pub(super) listeners: Vec<SocketAddr>,
    pub(super) tls_listeners: Vec<SocketAddr>,
    pub(super) seat: Seat,
    pub(super) diagnostics: Diagnostics,
    pub(super) shutdown_timeout: Duration,
    pub(super) upstreams: Vec<GroupSettings>,
}

/// The place where questions come in and outcomes go out.
#[derive(Debug)]
pub(super) struct Office {
    facts: Facts,
    asks: Asks,
    server: Option<Server>,
    notifier: Notifier,
    watchdog: Option<Interval>,
    began: Instant,
    rate: Rate,
    generation: u64,
    reloads: u64,
    is_stopping: bool,
    last_reload: Option<LastReload>,
    /// Who waits for the reload that is being done.
    reload: Option<oneshot::Sender<Outcome>>,
    /// Who waits for the end.
    end: Vec<oneshot::Sender<Outcome>>,
}

impl Office {
    /// Opens inside a runtime.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(super) fn open(facts: Facts, doors: Doors, notifier: Notifier) -> std::io::Result<Self> {
        let (desk, asks) = desk();
        let now = Instant::now();
        Ok(Self {
            facts,
            asks,
            server: Some(Server::start(doors, &desk)?),
            watchdog: notifier.watchdog().map(interval),
            notifier,
            began: now,
            rate: Rate::new(now, 0),
            generation: 1,
            reloads: 0,
            is_stopping: false,
            last_reload: None,
            reload: None,
            end: Vec::new(),
        })
    }

    /// The process serves.
    pub(super) fn ready(&self) {
        self.notifier.ready("ready");
    }

    /// Waits for a wish of an operator, as the signal that means the same. Answers questions meanwhile. Cancel-safe.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            let ask = tokio::select! {
                ask = self.asks.next() => ask,
                () = due(&mut self.watchdog) => {
                    self.notifier.alive();
                    self.rate.note(Instant::now(), self.totals().requests_total);
                    continue;
                }
            };
            if let Some(signal) = self.receive(ask) {
                return signal;
            }
        }
    }

    fn receive(&mut self, ask: Ask) -> Option<Signal> {
        let (command, answer) = match ask {
            Ask::Command(command, answer) => (command, answer),
            Ask::Metrics(exposition, answer) => {
                let _ = answer.send(self.metrics(exposition));
                return None;
            }
            Ask::Status(answer) => {
                // Nobody may wait any more.
                let _ = answer.send(self.status());
                return None;
            }
        };
        let outcome = match command {
            Command::LogLevel(wish) => wish.carry_out(&self.facts.diagnostics),
            Command::Reload if self.is_stopping => Outcome::Failed("the instance is stopping".into()),
            Command::Reload => {
                self.reload = Some(answer);
                return Some(Signal::Reload);
            }
            Command::ReopenLogs => {
                let _ = answer.send(Outcome::Done("log files are opened again".into()));
                return Some(Signal::ReopenLogs);
            }
            Command::Stop => {
                self.end.push(answer);
                // A second one would cut what is in flight.
                return (!self.is_stopping).then_some(Signal::Stop);
            }
            Command::Restart | Command::Scale(_) => {
                Outcome::Failed("this is one process: workers are for runtime.mode multi_process".into())
            }
        };
        let _ = answer.send(outcome);
        None
    }

    /// A reload has begun.
    pub(super) fn reloading(&self) {
        self.notifier.reloading();
    }

    /// The reload has ended. These settings were to be put in force by it.
    pub(super) fn reloaded(&mut self, outcome: Outcome, settings: Option<Settings>) {
        let time = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let successful = matches!(outcome, Outcome::Done(_));
        self.generation += u64::from(successful);
        self.reloads += 1;
        if let Some(settings) = settings.filter(|_| successful) {
            self.facts.shutdown_timeout = settings.supervision.shutdown_timeout;
            self.facts.upstreams = settings.upstreams;
        }
        self.last_reload = Some(LastReload { successful, time, text: outcome.text().into_owned() });
        self.notifier.ready("ready");
        if let Some(answer) = self.reload.take() {
            let _ = answer.send(outcome);
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&mut self) {
        if !self.is_stopping {
            self.is_stopping = true;
            self.notifier.stopping(self.facts.shutdown_timeout + MARGIN);
        }
    }

    /// The end is there.
    pub(super) async fn close(&mut self, cut: u64) {
        for answer in self.end.drain(..) {
            let _ = answer.send(Outcome::Done(format!("stopped; {cut} tunnels were cut")));
        }
        if let Some(server) = self.server.take() {
            server.finish(FAREWELL).await;
        }
    }

    fn totals(&self) -> Totals {
        Totals::of([self.facts.seat.counters()])
    }

    fn state(&self) -> WorkerState {
        if self.is_stopping { WorkerState::Draining } else { WorkerState::Ready }
    }

    fn metrics(&self, exposition: Exposition) -> String {
        let counters = self.facts.seat.counters();
        let workers = WorkerState::ALL.map(|state| (state.name(), u64::from(state == self.state())));
        let instance = Instance {
            version: env!("CARGO_PKG_VERSION"),
            generation: self.generation,
            last_reload_successful: self.last_reload.as_ref().is_none_or(|reload| reload.successful),
            workers: &workers,
            // Nobody replaces the only process.
            restarts: &[],
            requests: &[(0, self.totals().requests_total)],
            segment: self.facts.seat.segment(),
            backends: &survey(&self.facts.upstreams, self.facts.seat.segment()),
            processes: Processes::of(std::process::id(), []),
        };
        metrics::page(&[counters], &instance, exposition)
    }

    fn status(&mut self) -> Status {
        let now = Instant::now();
        let totals = self.totals();
        self.rate.note(now, totals.requests_total);
        let requests_per_second = self.rate.per_second(now, totals.requests_total);
        let uptime_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pid = std::process::id();
        let worker = WorkerStatus {
            index: 0,
            pid: Some(pid),
            generation: self.generation,
            state: self.state(),
            uptime_ms,
            restarts: 0,
            connections_active: totals.connections_active,
            connections_total: totals.connections_total,
            requests_total: totals.requests_total,
            requests_per_second,
            tunnels_active: totals.tunnels_active,
            memory_bytes: memory::resident(pid),
        };
        let mode = match self.facts.mode {
            Mode::MultiProcess => "multi_process",
            Mode::MultiThreaded => "multi_threaded",
            Mode::SingleThreaded => "single_threaded",
        };
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid,
            mode: mode.into(),
            uptime_ms,
            generation: self.generation,
            listeners: self.facts.listeners.clone(),
            tls_listeners: self.facts.tls_listeners.clone(),
            ready: !self.is_stopping,
            stopping: self.is_stopping,
            last_reload: self.last_reload.clone(),
            reloads: self.reloads,
            // It is in the only worker.
            memory_bytes: 0,
            workers: vec![worker],
            totals: Totals { requests_per_second, ..totals },
            traffic: Traffic::of([self.facts.seat.counters()]).with_refusals(self.facts.seat.segment()),
            groups: GroupStatus::of(survey(&self.facts.upstreams, self.facts.seat.segment())),
        }
    }
}

/// The next tick; never where there is nothing to tick.
async fn due(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
