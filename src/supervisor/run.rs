//! The launcher's own life: events go to the fleet, and what the fleet decides is done.

use std::{
    collections::HashMap,
    fs::File,
    io,
    time::{Duration, Instant},
};

use rustix::fs::MemfdFlags;
use tokio::{
    runtime::Builder,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    audience::{Audience, Goal},
    event::{Action, Command, Ending, Event, Reach},
    fleet::Fleet,
    report::{Circumstances, Reporter, Running},
    slot::{Life, Status},
    sockets::Sockets,
    spawn::Origin,
};
use crate::{
    admin::{self, Ask, Outcome, Server, SocketFile},
    config::{
        Loaded, Problems,
        change::{self, Change},
        settings::MAX_PROCESSES,
    },
    control::{
        Assignment, Configuration, Order,
        notify::Notifier,
        signals::{Signal, Signals},
    },
    shared_memory::Segment,
    telemetry::diagnostics::Diagnostics,
};

/// How often time passes for the fleet.
const TICK: Duration = Duration::from_millis(100);

/// How long an operator's answers may still be written when everything else has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the service manager waits for beyond the drain deadline.
const MARGIN: Duration = Duration::from_secs(10);

/// Lives that can overlap in one slot before seats run out: old workers may drain for long.
const LIVES_PER_SLOT: usize = 4;

/// What an instance is made from.
#[derive(Debug)]
pub struct Instance<L> {
    /// The configuration in force.
    pub loaded: Loaded,
    /// The flags of the command line: key and value.
    pub flags: Vec<(String, String)>,
    /// The listening sockets, one a slot.
    pub sockets: Sockets,
    /// What the launcher itself logs.
    pub diagnostics: Diagnostics,
    /// Where operators ask.
    pub socket: Option<SocketFile>,
    /// Who is told by sd_notify.
    pub notifier: Notifier,
    /// Reads the configuration again.
    pub load: L,
}

/// Keeps workers alive until a signal stops the instance.
///
/// # Errors
///
/// When the launcher itself cannot do its work.
pub fn run<L: FnMut() -> Result<Loaded, Problems>>(instance: Instance<L>) -> io::Result<Ending> {
    let slots = instance.loaded.settings.runtime.process_count.get();
    tracing::info!(processes = slots, "Starting multi-process mode");
    for address in instance.sockets.addresses() {
        tracing::info!(addr = %address, "listening");
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(oversee(instance, slots))
}

async fn oversee<L: FnMut() -> Result<Loaded, Problems>>(
    mut instance: Instance<L>,
    slots: usize,
) -> io::Result<Ending> {
    let mut signals = Signals::new()?;
    let (desk, mut asks) = admin::desk();
    let server = instance.socket.take().map(|socket| Server::start(socket, desk.clone())).transpose()?;
    let (events, mut told) = unbounded_channel();
    let mut launcher = Launcher::new(instance, slots, events)?;
    let actions = launcher.fleet.begin(Instant::now());
    launcher.perform(actions);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = launcher.audience.notifier().watchdog().map(interval);
    let ending = loop {
        tokio::select! {
            Some(event) = told.recv() => launcher.hear(event),
            signal = signals.next() => launcher.obey(signal),
            ask = asks.next() => launcher.answer(ask),
            _ = tick.tick() => launcher.hear(Event::Tick),
            () = due(&mut watchdog) => launcher.audience.notifier().alive(),
        }
        if let Some(ending) = launcher.fleet.ending() {
            break ending;
        }
    };
    let cut = launcher.fleet.cut();
    launcher.audience.ended(cut);
    if let Some(server) = server {
        server.finish(FAREWELL).await;
    }
    tracing::info!(cut, "stopped");
    Ok(ending)
}

/// The next tick; never where there is nothing to tick.
async fn due(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// What is asked for beside another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// Nothing: who can take it as he is stays.
    Changes,
    /// New workers, whatever has changed.
    Workers,
}

struct Launcher<L> {
    fleet: Fleet,
    loaded: Loaded,
    configuration: Configuration,
    /// What was in force before a configuration for which workers are being replaced.
    previous: Option<(Loaded, Configuration)>,
    sockets: Sockets,
    origin: Origin,
    segment: Segment,
    /// Seats that nobody has.
    free_seats: Vec<usize>,
    processes: HashMap<Life, Running>,
    events: UnboundedSender<Event>,
    audience: Audience,
    reporter: Reporter,
    diagnostics: Diagnostics,
    load: L,
}

impl<L: FnMut() -> Result<Loaded, Problems>> Launcher<L> {
    fn new(instance: Instance<L>, slots: usize, events: UnboundedSender<Event>) -> io::Result<Self> {
        let Instance { loaded, flags, sockets, diagnostics, socket: _, notifier, load } = instance;
        let seats = MAX_PROCESSES * LIVES_PER_SLOT;
        let memory = File::from(rustix::fs::memfd_create("rust-forward-proxy", MemfdFlags::CLOEXEC)?);
        let segment = Segment::create(&memory, seats).map_err(io::Error::other)?;
        let supervision = loaded.settings.supervision.clone();
        let lends = !sockets.are_shared();
        Ok(Self {
            fleet: Fleet::new(supervision, slots, MAX_PROCESSES, lends, Instant::now()),
            configuration: Configuration { generation: 1, file: loaded.file.clone(), flags },
            loaded,
            previous: None,
            sockets,
            origin: Origin::new(memory)?,
            segment,
            free_seats: (0..seats).rev().collect(),
            processes: HashMap::new(),
            events,
            audience: Audience::new(notifier),
            reporter: Reporter::new(Instant::now()),
            diagnostics,
            load,
        })
    }

    fn hear(&mut self, event: Event) {
        match &event {
            Event::Exited(life, _) => {
                if let Some(running) = self.processes.remove(life) {
                    let seat = running.seat.index();
                    self.segment.release(seat);
                    self.free_seats.push(seat);
                }
            }
            Event::Reloaded(life, generation, Ok(())) => {
                if let Some(running) = self.processes.get_mut(life) {
                    running.reloaded(*generation);
                }
            }
            Event::Command(Command::Drain | Command::Stop) if !self.fleet.is_ending() => {
                self.audience.stopping(self.loaded.settings.supervision.shutdown_timeout + MARGIN);
            }
            _ => {}
        }
        let now = Instant::now();
        let actions = self.fleet.handle(event, now, jitter());
        self.perform(actions);
        self.reporter.look(now, &self.segment, &mut self.processes);
        self.audience.looked(self.fleet.size(), self.fleet.summary());
    }

    /// What an operator has asked over the socket.
    fn answer(&mut self, ask: Ask) {
        let (command, answer) = match ask {
            Ask::Command(command, answer) => (command, answer),
            Ask::Status(answer) => {
                // Nobody may wait any more.
                let _ = answer.send(self.status());
                return;
            }
        };
        if self.fleet.is_ending() && command != admin::Command::Stop {
            let _ = answer.send(Outcome::Failed("the instance is stopping".into()));
            return;
        }
        match command {
            admin::Command::Reload => self.reload(Renewal::Changes, Some(answer)),
            admin::Command::ReopenLogs => {
                let _ = answer.send(match self.reopen_logs() {
                    Ok(()) => Outcome::Done("log files are opened again".into()),
                    Err(error) => Outcome::Failed(format!("logging.file: {error}")),
                });
            }
            admin::Command::Restart => self.reload(Renewal::Workers, Some(answer)),
            admin::Command::Scale(workers) => {
                // It is asked for first, for the instance may be complete as it is.
                let actions = self.fleet.handle(
                    Event::Command(Command::ScaleTo(workers.get())),
                    Instant::now(),
                    jitter(),
                );
                self.audience.wait(Goal::Size, Some(answer));
                self.perform(actions);
                self.audience.looked(self.fleet.size(), self.fleet.summary());
            }
            admin::Command::Stop => {
                self.audience.wait(Goal::End, Some(answer));
                if !self.fleet.is_ending() {
                    self.hear(Event::Command(Command::Drain));
                }
            }
        }
    }

    fn status(&self) -> admin::Status {
        let circumstances = Circumstances {
            segment: &self.segment,
            generation: self.configuration.generation,
            listeners: self.sockets.addresses(),
            last_reload: self.audience.last_reload(),
        };
        self.reporter.report(Instant::now(), &self.fleet, &self.processes, &circumstances)
    }

    fn obey(&mut self, signal: Signal) {
        let command = match signal {
            Signal::Stop => Command::Drain,
            Signal::Quit => Command::Stop,
            Signal::Restart => {
                self.reload(Renewal::Workers, None);
                return;
            }
            Signal::MoreWorkers => Command::ScaleBy(1),
            Signal::FewerWorkers => Command::ScaleBy(-1),
            Signal::ReopenLogs => {
                // It is in the log if it failed.
                let _ = self.reopen_logs();
                return;
            }
            Signal::Reload => {
                self.reload(Renewal::Changes, None);
                return;
            }
        };
        self.hear(Event::Command(command));
    }

    fn reopen_logs(&mut self) -> io::Result<()> {
        let reopened = self.diagnostics.reopen();
        if let Err(error) = &reopened {
            tracing::error!(%error, "logging.file cannot be opened again: the old one is still written");
        }
        self.hear(Event::Command(Command::ReopenLogs));
        reopened
    }

    /// Reads the configuration again and puts it in force. Who waits for the outcome is answered when it is known.
    fn reload(&mut self, renewal: Renewal, answer: Option<oneshot::Sender<Outcome>>) {
        if self.fleet.is_ending() {
            tracing::warn!("the instance is stopping: nothing is reloaded any more");
            return;
        }
        self.audience.reloading();
        let (command, goal, text) = match self.replace_configuration(renewal) {
            Ok(replaced) => replaced,
            Err(outcome) => {
                let message = match renewal {
                    Renewal::Changes => "reload refused",
                    Renewal::Workers => "rolling restart refused",
                };
                tracing::error!(reason = outcome.text(), "{message}");
                self.audience.reloaded(outcome, answer);
                return;
            }
        };
        match goal {
            Some(goal) => self.audience.wait_for_reload(goal, text, answer),
            None => self.audience.reloaded(Outcome::Done(text), answer),
        }
        self.hear(Event::Command(command));
    }

    /// Reads the configuration again and puts it in force here: what the fleet has to do about it, what is to be waited
    /// for until it is in force everywhere, and what has changed.
    fn replace_configuration(
        &mut self,
        renewal: Renewal,
    ) -> Result<(Command, Option<Goal>, String), Outcome> {
        let new = (self.load)().map_err(|problems| Outcome::Invalid(problems.to_string()))?;
        for notice in &new.notices {
            tracing::warn!("{notice}");
        }
        let (old, settings) = (&self.loaded.settings, &new.settings);
        let changed = change::differing(old, settings).join(", ");
        let reach = match (renewal, change::between(old, settings)) {
            (_, Change::Refused(keys)) => {
                return Err(Outcome::Failed(format!("these keys need a new start: {}", keys.join(", "))));
            }
            (Renewal::Workers, _) => Reach::NewWorkers,
            (Renewal::Changes, Change::Nothing) => {
                tracing::info!("reload applied: nothing is different");
                Reach::Nobody
            }
            (Renewal::Changes, Change::Roll) => {
                tracing::info!("reload applied: new workers are needed");
                Reach::NewWorkers
            }
            (Renewal::Changes, Change::Swap) => Reach::Everybody,
        };
        if (old.logging != settings.logging || old.log_level != settings.log_level)
            && let Err(error) = self.diagnostics.replace(&settings.logging, &settings.log_level)
        {
            return Err(Outcome::Failed(error.to_string()));
        }
        let workers = settings.runtime.process_count.get();
        let workers = (old.runtime.process_count.get() != workers).then_some(workers);
        let settings = Box::new(new.settings.supervision.clone());
        let generation = self.configuration.generation + u64::from(!changed.is_empty());
        let flags = self.configuration.flags.clone();
        let configuration = Configuration { generation, file: new.file.clone(), flags };
        let old = (
            std::mem::replace(&mut self.loaded, new),
            std::mem::replace(&mut self.configuration, configuration),
        );
        if reach == Reach::NewWorkers && !changed.is_empty() && self.previous.is_none() {
            self.previous = Some(old);
        }
        let (goal, text) = match reach {
            Reach::Nobody => (None, "nothing is different".into()),
            Reach::Everybody => (Some(Goal::Generation(generation)), format!("in force: {changed}")),
            Reach::NewWorkers => {
                let text = match renewal {
                    Renewal::Changes => format!("in force, with new workers: {changed}"),
                    Renewal::Workers if changed.is_empty() => "every worker is new".into(),
                    Renewal::Workers => format!("every worker is new; in force: {changed}"),
                };
                (Some(self.audience.next_rollout(self.fleet.is_rolling())), text)
            }
        };
        let command = if renewal == Renewal::Workers && changed.is_empty() {
            Command::Restart
        } else {
            Command::Reload { settings, workers, reach, generation }
        };
        Ok((command, goal, text))
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(life, slot) => {
                    if let Err(error) = self.spawn(life, slot) {
                        let status = Status { code: Some(1), text: format!("could not be started: {error}") };
                        // It cannot fail: the other end is in hand as long as anything is performed.
                        let _ = self.events.send(Event::Exited(life, status));
                    }
                }
                Action::Lend(life, slot) => match self.sockets.of_slot(slot) {
                    Ok(sockets) => {
                        tracing::debug!(slot, "sockets lent");
                        self.tell_with(life, Order::Lend { slot, sockets: sockets.len() }, sockets);
                    }
                    Err(error) => tracing::error!(slot, %error, "the sockets of a slot cannot be lent"),
                },
                Action::TakeBack(life, slot) => self.tell(life, Order::TakeBack { slot }),
                Action::Ping(life) => self.tell(life, Order::Ping),
                Action::Reload(life) => {
                    let configuration = Box::new(self.configuration.clone());
                    self.tell(life, Order::Reload(configuration));
                }
                Action::ReopenLogs(life) => self.tell(life, Order::ReopenLogs),
                Action::Drain(life) => self.tell(life, Order::Drain),
                Action::Stop(life) => self.tell(life, Order::Stop),
                Action::Kill(life) => {
                    if let Some(running) = self.processes.get(&life) {
                        running.process.kill();
                    }
                }
                Action::Up => self.audience.up(),
                Action::Reloaded(generation, all_do) => self.audience.generation(generation, all_do),
                Action::RolledOut(is_complete) => {
                    self.audience.rolled_out(is_complete);
                    if let Some((loaded, configuration)) = self.previous.take()
                        && !is_complete
                    {
                        tracing::error!("reload refused: new workers do not start with it");
                        let generation = self.configuration.generation + 1;
                        self.loaded = loaded;
                        self.configuration = Configuration { generation, ..configuration };
                    }
                }
                Action::CloseSockets => self.sockets.close(),
            }
        }
    }

    fn spawn(&mut self, life: Life, slot: usize) -> io::Result<()> {
        let sockets = self.sockets.of_slot(slot)?;
        let seat = self.free_seats.pop().ok_or_else(|| {
            io::Error::other("too many workers are still draining: there is no seat in shared memory")
        })?;
        let place = self.segment.seat(seat).expect("free seats are seats of the segment");
        let assignment = Assignment {
            index: slot,
            seat,
            listeners: self.sockets.addresses().to_vec(),
            sockets: sockets.len(),
            configuration: self.configuration.clone(),
        };
        match self.origin.spawn(life, assignment, sockets, &self.events) {
            Ok(process) => {
                let generation = self.configuration.generation;
                self.processes.insert(life, Running::new(process, place, generation));
                self.reporter.seated(seat);
                Ok(())
            }
            Err(error) => {
                self.free_seats.push(seat);
                Err(error)
            }
        }
    }

    fn tell(&self, life: Life, order: Order) {
        self.tell_with(life, order, Vec::new());
    }

    fn tell_with(&self, life: Life, order: Order, descriptors: Vec<std::os::fd::OwnedFd>) {
        if let Some(running) = self.processes.get(&life) {
            running.process.tell(order, descriptors);
        }
    }
}

/// A number from 0 to 1 that differs from slot to slot and from time to time.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos());
    f64::from(nanos % 1_000) / 1_000.0
}
