//! How the launcher is succeeded by another binary without anybody noticing: the new one is asked, everything is put in its
//! will, and it is executed in the place of the old one. The workers stay, and are then replaced one after the other.
//!
//! Until the very last step nothing is given away: whatever fails, the old launcher goes on.

use std::{
    io, mem,
    os::{fd::AsFd, unix::process::CommandExt},
    time::{Duration, Instant},
};

use tokio::{
    process::Command,
    sync::{mpsc::UnboundedReceiver, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    event::Event,
    handover::{self, Will, WorkerEstate},
    launcher::Launcher,
    slot::Life,
    spawn::{Process, Released},
};
use crate::{
    admin::{Network, Outcome, Server, SocketFile},
    config::{
        Loaded, Problems,
        change::{self, Change},
    },
};

/// How long a new binary may take to look at the configuration.
const ASKING: Duration = Duration::from_secs(30);

/// How long operators' answers may still be written before the launcher is replaced.
const FAREWELL: Duration = Duration::from_millis(500);

type Answer = Option<oneshot::Sender<Outcome>>;

/// How far the launcher is on its way to being succeeded.
#[derive(Debug, Default)]
pub(super) enum Succession {
    /// Nobody wants to.
    #[default]
    None,
    /// The new binary is asked; these wait for what comes of it.
    Asking(JoinHandle<Result<(), String>>, Vec<Answer>),
    /// It can, as soon as the fleet is calm.
    Due(Vec<Answer>),
}

impl Succession {
    fn is_due(&self) -> bool {
        matches!(self, Self::Due(_))
    }

    /// What the new binary answers; never where none is asked. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Result<(), String> {
        match self {
            Self::Asking(task, _) => task.await.unwrap_or_else(|error| Err(error.to_string())),
            Self::None | Self::Due(_) => std::future::pending().await,
        }
    }
}

impl<L: FnMut() -> Result<Loaded, Problems>> Launcher<L> {
    /// Asks the binary that is on disk now whether it can take over.
    pub(super) fn ask_successor(&mut self, answer: Answer) {
        if let Succession::Asking(_, answers) | Succession::Due(answers) = &mut self.succession {
            answers.push(answer);
            return;
        }
        let refused = match (self.load)() {
            Err(problems) => Some(Outcome::Invalid(problems.to_string())),
            Ok(new) => match change::between(&self.loaded.settings, &new.settings) {
                Change::Refused(keys) => {
                    Some(Outcome::Failed(format!("these keys need a new start: {}", keys.join(", "))))
                }
                Change::Nothing | Change::Roll | Change::Swap => None,
            },
        };
        if let Some(outcome) = refused {
            tracing::error!(reason = %outcome.text(), "rolling restart refused");
            self.audience.reloaded(outcome, answer);
            return;
        }
        tracing::info!("another binary is there: it is asked whether it can take over");
        let asking = tokio::spawn(ask(self.origin.checking()));
        self.succession = Succession::Asking(asking, vec![answer]);
    }

    /// The binary has answered.
    pub(super) fn asked(&mut self, answer: Result<(), String>) {
        let Succession::Asking(_, answers) = mem::take(&mut self.succession) else { return };
        match answer {
            Ok(()) if !self.fleet.is_ending() => self.succession = Succession::Due(answers),
            Ok(()) => {}
            Err(reason) => self.refuse_successor(&reason, answers),
        }
    }

    fn refuse_successor(&mut self, reason: &str, answers: Vec<Answer>) {
        tracing::error!(reason, "the new binary cannot take over: the old launcher and its workers go on");
        for answer in answers {
            let text = format!("the new binary cannot take over, the old one goes on: {reason}");
            self.audience.reloaded(Outcome::Failed(text), answer);
        }
    }

    /// Whether the new binary can be put in the place of this one now.
    pub(super) fn may_hand_over(&self) -> bool {
        self.succession.is_due() && self.fleet.is_calm()
    }

    /// Puts the new binary in the place of this one. Returns when that is not possible, or not yet. Signals have to be
    /// held ([`crate::control::signals::hold`]), so that none is lost with this program.
    pub(super) async fn hand_over(&mut self, told: &mut UnboundedReceiver<Event>, server: &Server) {
        let Succession::Due(answers) = mem::take(&mut self.succession) else { return };
        // Whoever waits is sent to ask the successor.
        let number = self.audience.reloads() + 1;
        for answer in answers.into_iter().flatten() {
            let _ = answer.send(Outcome::Continues(number));
        }
        server.rest(FAREWELL).await;
        while let Ok(event) = told.try_recv() {
            self.hear(event);
        }
        let released = if self.fleet.is_calm() { self.release().await } else { None };
        match released {
            // What was said meanwhile is heard first.
            Some(released) if told.is_empty() => {
                let error = self.execute(&released, server);
                self.resume(released);
                self.refuse_successor(&error.to_string(), vec![None]);
            }
            Some(released) => {
                self.resume(released);
                self.succession = Succession::Due(Vec::new());
            }
            None if self.fleet.is_ending() => {}
            None => self.succession = Succession::Due(Vec::new()),
        }
    }

    /// Attends to no worker any more; none when one of them cannot be let go, and then to all others again.
    async fn release(&mut self) -> Option<Vec<(Life, Released)>> {
        let mut released = Vec::new();
        let mut is_complete = true;
        for (life, running) in &mut self.processes {
            let Some(process) = running.process.take() else { continue };
            match process.release(*life, &self.events).await {
                Some(worker) => released.push((*life, worker)),
                None => is_complete = false,
            }
        }
        if is_complete {
            return Some(released);
        }
        self.resume(released);
        None
    }

    /// Attends to workers again.
    fn resume(&mut self, released: Vec<(Life, Released)>) {
        for (life, worker) in released {
            let Some(running) = self.processes.get_mut(&life) else { continue };
            match Process::attend(life, worker, &self.events) {
                Ok(process) => running.process = Some(process),
                Err(error) => tracing::error!(%error, "a worker is lost"),
            }
        }
    }

    /// Executes the new binary. Returns only when that fails.
    fn execute(&self, released: &[(Life, Released)], server: &Server) -> io::Error {
        let doors = server.doors();
        let socket = doors.socket.as_ref().map(SocketFile::listener).transpose();
        let network = doors.network.as_ref().map(Network::listener).transpose();
        let (admin, network) = match (socket, network) {
            (Ok(admin), Ok(network)) => (admin, network),
            (Err(error), _) | (_, Err(error)) => return error,
        };
        let workers = released.iter().filter_map(|(life, worker)| {
            let running = self.processes.get(life)?;
            Some(WorkerEstate {
                life: life.0,
                pid: worker.child.pid()?,
                channel: handover::number(&worker.channel),
                received: worker.channel.received().to_vec(),
                seat: running.seat.index(),
                slot: running.slot,
                generation: running.generation(),
                before: *running.before(),
            })
        });
        let sockets = self.sockets.all();
        let now = Instant::now();
        let will = Will {
            version: handover::version(),
            configuration: self.configuration.clone(),
            log_level: self.diagnostics.wished_level(),
            process_count: self.loaded.settings.runtime.process_count.get(),
            addresses: self.sockets.addresses().to_vec(),
            tls: self.sockets.tls().to_vec(),
            are_shared: self.sockets.are_shared(),
            sockets: sockets.iter().map(|sockets| sockets.iter().map(handover::number).collect()).collect(),
            memory: handover::number(&self.memory),
            admin: admin.as_ref().map(handover::number),
            network: network.as_ref().map(handover::number),
            fleet: self.fleet.leave(now),
            audience: self.audience.leave(),
            reporter: self.reporter.leave(now),
            workers: workers.collect(),
        };
        let mut kept = vec![self.memory.as_fd()];
        kept.extend(sockets.iter().flatten().map(AsFd::as_fd));
        kept.extend(admin.iter().map(AsFd::as_fd));
        kept.extend(network.iter().map(AsFd::as_fd));
        kept.extend(released.iter().map(|(_, worker)| worker.channel.as_fd()));
        tracing::info!(workers = will.workers.len(), "the new binary takes over");
        let execute = || -> io::Result<()> {
            let file = handover::write(&will)?;
            handover::pass_on(&kept, true)?;
            let mut command = self.origin.succeeding();
            Err(command.env(handover::VARIABLE, handover::number(&file).to_string()).exec())
        };
        let error = execute().err().unwrap_or_else(|| io::Error::other("nothing happened"));
        // The old program goes on as if nothing had been.
        let _ = handover::pass_on(&kept, false);
        error
    }
}

/// Has the new binary look at the configuration and at what it would inherit.
async fn ask(mut command: Command) -> Result<(), String> {
    let output = match timeout(ASKING, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("it does not answer within {ASKING:?}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if said.is_empty() { output.status.to_string() } else { said })
}
