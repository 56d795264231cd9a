//! The launcher's own life: events go to the fleet, and what the fleet decides is done.

use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Builder,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::{MissedTickBehavior, interval},
};

use super::{
    event::{Action, Command, Ending, Event, Reach},
    fleet::Fleet,
    slot::{Life, Status},
    sockets::Sockets,
    spawn::{Origin, Process},
};
use crate::{
    config::{
        Loaded, Problems,
        change::{self, Change},
    },
    control::{
        Assignment, Configuration, Order,
        signals::{Signal, Signals},
    },
    shared_memory::Segment,
    telemetry::diagnostics::Diagnostics,
};

/// How often time passes for the fleet.
const TICK: Duration = Duration::from_millis(100);

/// Slots that the instance can grow to, unless it begins with more.
const MAX_SLOTS: usize = 128;

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
    instance: Instance<L>,
    slots: usize,
) -> io::Result<Ending> {
    let mut signals = Signals::new()?;
    let (events, mut told) = unbounded_channel();
    let mut launcher = Launcher::new(instance, slots, events)?;
    let actions = launcher.fleet.begin(Instant::now());
    launcher.perform(actions);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(event) = told.recv() => launcher.hear(event),
            signal = signals.next() => launcher.obey(signal),
            _ = tick.tick() => launcher.hear(Event::Tick),
        }
        if let Some(ending) = launcher.fleet.ending() {
            tracing::info!(cut = launcher.fleet.cut(), "stopped");
            return Ok(ending);
        }
    }
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
    processes: HashMap<Life, (Process, usize)>,
    events: UnboundedSender<Event>,
    diagnostics: Diagnostics,
    load: L,
}

impl<L: FnMut() -> Result<Loaded, Problems>> Launcher<L> {
    fn new(instance: Instance<L>, slots: usize, events: UnboundedSender<Event>) -> io::Result<Self> {
        let Instance { loaded, flags, sockets, diagnostics, load } = instance;
        let max_slots = MAX_SLOTS.max(slots);
        let seats = max_slots * LIVES_PER_SLOT;
        let (segment, memory) = Segment::shared(seats).map_err(io::Error::other)?;
        let supervision = loaded.settings.supervision.clone();
        let lends = !sockets.are_shared();
        Ok(Self {
            fleet: Fleet::new(supervision, slots, max_slots, lends, Instant::now()),
            configuration: Configuration { generation: 1, file: loaded.file.clone(), flags },
            loaded,
            previous: None,
            sockets,
            origin: Origin::new(memory)?,
            segment,
            free_seats: (0..seats).rev().collect(),
            processes: HashMap::new(),
            events,
            diagnostics,
            load,
        })
    }

    fn hear(&mut self, event: Event) {
        if let Event::Exited(life, _) = &event
            && let Some((_, seat)) = self.processes.remove(life)
        {
            self.segment.release(seat);
            self.free_seats.push(seat);
        }
        let actions = self.fleet.handle(event, Instant::now(), jitter());
        self.perform(actions);
    }

    fn obey(&mut self, signal: Signal) {
        let command = match signal {
            Signal::Stop => Command::Drain,
            Signal::Quit => Command::Stop,
            Signal::Restart => Command::Restart,
            Signal::MoreWorkers => Command::ScaleBy(1),
            Signal::FewerWorkers => Command::ScaleBy(-1),
            Signal::ReopenLogs => {
                if let Err(error) = self.diagnostics.reopen() {
                    tracing::error!(%error, "logging.file cannot be opened again: the old one is still written");
                }
                Command::ReopenLogs
            }
            Signal::Reload => match self.reload() {
                Some(command) => command,
                None => return,
            },
        };
        self.hear(Event::Command(command));
    }

    /// Reads the configuration again and puts it in force here; what the fleet has to do about it.
    fn reload(&mut self) -> Option<Command> {
        let new = match (self.load)() {
            Ok(new) => new,
            Err(problems) => {
                tracing::error!(reason = %problems, "reload refused");
                return None;
            }
        };
        for notice in &new.notices {
            tracing::warn!("{notice}");
        }
        let (old, settings) = (&self.loaded.settings, &new.settings);
        let reach = match change::between(old, settings) {
            Change::Nothing => {
                tracing::info!("reload applied: nothing is different");
                Reach::Nobody
            }
            Change::Refused(keys) => {
                let reason = format!("these keys need a new start: {}", keys.join(", "));
                tracing::error!(reason, "reload refused");
                return None;
            }
            Change::Roll => {
                tracing::info!("reload applied: new workers are needed");
                Reach::NewWorkers
            }
            Change::Swap => Reach::Everybody,
        };
        if (old.logging != settings.logging || old.log_level != settings.log_level)
            && let Err(error) = self.diagnostics.replace(&settings.logging, &settings.log_level)
        {
            tracing::error!(reason = %error, "reload refused");
            return None;
        }
        let workers = settings.runtime.process_count.get();
        let workers = (old.runtime.process_count.get() != workers).then_some(workers);
        let settings = Box::new(new.settings.supervision.clone());
        let generation = self.configuration.generation + u64::from(reach != Reach::Nobody);
        let flags = self.configuration.flags.clone();
        let configuration = Configuration { generation, file: new.file.clone(), flags };
        let old = (
            std::mem::replace(&mut self.loaded, new),
            std::mem::replace(&mut self.configuration, configuration),
        );
        if reach == Reach::NewWorkers && self.previous.is_none() {
            self.previous = Some(old);
        }
        Some(Command::Reload { settings, workers, reach, generation })
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
                    if let Some((process, _)) = self.processes.get(&life) {
                        process.kill();
                    }
                }
                Action::RolledOut(is_complete) => {
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
        let assignment = Assignment {
            index: slot,
            seat,
            listeners: self.sockets.addresses().to_vec(),
            sockets: sockets.len(),
            configuration: self.configuration.clone(),
        };
        match self.origin.spawn(life, assignment, sockets, &self.events) {
            Ok(process) => {
                self.processes.insert(life, (process, seat));
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
        if let Some((process, _)) = self.processes.get(&life) {
            process.tell(order, descriptors);
        }
    }
}

/// A number from 0 to 1 that differs from slot to slot and from time to time.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos());
    f64::from(nanos % 1_000) / 1_000.0
}
