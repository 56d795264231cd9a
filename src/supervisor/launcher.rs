//! The launcher's own state: events go to the fleet, and what the fleet decides is done.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    audience::Audience,
    event::{Action, Command, Event},
    fleet::Fleet,
    handover::Estate,
    offspring::Offspring,
    report::{Circumstances, Reporter, Running},
    run::{Instance, Start},
    slot::{Life, Status},
    sockets::Sockets,
    spawn::{Origin, Process, Released},
    succession::Succession,
};
use crate::{
    admin::{self, Doors, GroupStatus, HostNames, Network, SocketFile},
    config::{Loaded, Problems, settings::MAX_PROCESSES},
    control::{Assignment, Configuration, Order, channel::Channel, notify::Notifier},
    shared_memory::Segment,
    telemetry::diagnostics::Diagnostics,
    upstream::survey,
};

/// What the service manager waits for beyond the drain deadline.
const MARGIN: Duration = Duration::from_secs(10);

/// Lives that can overlap in one slot before seats run out: old workers may drain for long.
const LIVES_PER_SLOT: usize = 4;

/// What goes on in the place of another launcher.
struct Heir<L> {
    loaded: Loaded,
    configuration: Configuration,
    origin: Origin,
    diagnostics: Diagnostics,
    notifier: Notifier,
    load: L,
}

/// The launcher: what it keeps, and what it does with it.
pub(super) struct Launcher<L> {
    pub(super) fleet: Fleet,
    pub(super) loaded: Loaded,
    pub(super) configuration: Configuration,
    /// What was in force before a configuration for which workers are being replaced.
    pub(super) previous: Option<(Loaded, Configuration)>,
    pub(super) sockets: Sockets,
    pub(super) origin: Origin,
    pub(super) memory: File,
    pub(super) segment: Segment,
    /// Seats that nobody has.
    pub(super) free_seats: Vec<usize>,
    pub(super) processes: HashMap<Life, Running>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) audience: Audience,
    pub(super) reporter: Reporter,
    pub(super) succession: Succession,
    pub(super) diagnostics: Diagnostics,
    pub(super) load: L,
}

impl<L: FnMut() -> Result<Loaded, Problems>> Launcher<L> {
    /// What `instance` says, and the doors for operators.
    pub(super) fn new(instance: Instance<L>, events: UnboundedSender<Event>) -> io::Result<(Self, Doors)> {
        let Instance { loaded, flags, start, diagnostics, notifier, load, arguments, check } = instance;
        let now = Instant::now();
        let configuration =
            Configuration { generation: 1, file: loaded.file.clone(), files: loaded.files.clone(), flags };
        let origin = Origin::new(arguments, check)?;
        let seats = MAX_PROCESSES * LIVES_PER_SLOT;
        let (sockets, doors) = match start {
            Start::Anew { sockets, doors } => (sockets, doors),
            Start::Inherited(estate) => {
                let instance = Heir { loaded, configuration, origin, diagnostics, notifier, load };
                return Self::inherit(*estate, instance, events);
            }
        };
        let slots = loaded.settings.runtime.process_count.get();
        tracing::info!(processes = slots, "Starting multi-process mode");
        for address in sockets.addresses() {
            let tls = sockets.tls().contains(address);
            tracing::info!(addr = %address, tls, "listening");
        }
        let (segment, memory) = Segment::shared(seats).map_err(io::Error::other)?;
        let supervision = loaded.settings.supervision.clone();
        let lends = !sockets.are_shared();
        let launcher = Self {
            fleet: Fleet::new(supervision, slots, MAX_PROCESSES, lends, now),
            configuration,
            loaded,
            previous: None,
            sockets,
            origin,
            memory,
            segment,
            free_seats: (0..seats).rev().collect(),
            processes: HashMap::new(),
            events,
            audience: Audience::new(notifier),
            reporter: Reporter::new(now),
            succession: Succession::None,
            diagnostics,
            load,
        };
        Ok((launcher, doors))
    }

    /// Goes on where another launcher has ended.
    fn inherit(estate: Estate, heir: Heir<L>, events: UnboundedSender<Event>) -> io::Result<(Self, Doors)> {
        let Heir { loaded, mut configuration, origin, diagnostics, notifier, load } = heir;
        let Estate { will, memory, sockets, admin, network, channels } = estate;
        // A program that does not know the level logs as its configuration says.
        let _ = diagnostics.wish_level(will.log_level.as_deref());
        let now = Instant::now();
        let settings = &loaded.settings;
        let old = will.configuration;
        let is_same = old.file == configuration.file && old.flags == configuration.flags;
        configuration.generation = old.generation + u64::from(!is_same);
        let segment = Segment::open(&memory).map_err(io::Error::other)?;
        let sockets = Sockets::inherit(settings, will.addresses, will.tls, sockets, will.are_shared);
        let supervision = settings.supervision.clone();
        let fleet = Fleet::inherit(will.fleet, supervision, MAX_PROCESSES, !will.are_shared, now);
        let path = settings.admin.socket_path.as_deref();
        let names = HostNames::new(settings.admin.host_names.clone());
        let doors = Doors {
            socket: admin.zip(path).map(|(listener, path)| SocketFile::adopt(listener, path)).transpose()?,
            network: network.map(|listener| Network::adopt(listener, names)).transpose()?,
        };
        let mut processes = HashMap::new();
        for (worker, channel) in will.workers.into_iter().zip(channels) {
            let life = Life(worker.life);
            let channel = Channel::resume(channel, worker.received);
            let seat = segment.seat(worker.seat).ok_or_else(|| io::Error::other("a worker has no seat"))?;
            let child = Offspring::adopt(worker.pid)?;
            let process = Process::attend(life, Released { child, channel }, &events)?;
            processes
                .insert(life, Running::inherit(process, seat, worker.slot, worker.generation, worker.before));
        }
        let taken: HashSet<_> = processes.values().map(|running| running.seat.index()).collect();
        let workers = settings.runtime.process_count.get();
        let mut launcher = Self {
            fleet,
            configuration,
            previous: None,
            sockets,
            origin,
            memory,
            free_seats: (0..segment.seats()).rev().filter(|seat| !taken.contains(seat)).collect(),
            processes,
            events,
            audience: Audience::inherit(will.audience, notifier),
            reporter: Reporter::inherit(&will.reporter, now, &segment),
            segment,
            succession: Succession::None,
            diagnostics,
            load,
            loaded,
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workers = launcher.processes.len(),
            "launcher replaced"
        );
        if will.process_count != workers {
            launcher.hear(Event::Command(Command::ScaleTo(workers)));
        }
        Ok((launcher, doors))
    }

    /// Starts the first workers, or goes on where the last launcher has ended.
    pub(super) fn begin(&mut self) {
        if !self.fleet.is_up() {
            let actions = self.fleet.begin(Instant::now());
            self.perform(actions);
            return;
        }
        // The workers are those of the launcher that was here before.
        let goal = self.audience.next_rollout(false);
        self.audience.wait_for_reload(goal, "the launcher and every worker are new".into(), None);
        self.hear(Event::Command(Command::Restart));
    }

    /// What is to be done now and then.
    pub(super) fn tend(&self) {
        if !self.sockets.tls().is_empty() {
            self.segment.tend_ticket_keys();
        }
    }

    /// Something has happened.
    pub(super) fn hear(&mut self, event: Event) {
        match &event {
            Event::Exited(life, _) => {
                if let Some(running) = self.processes.remove(life) {
                    let seat = running.seat.index();
                    self.reporter.left(&running);
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

    pub(super) fn status(&self) -> admin::Status {
        let circumstances = Circumstances {
            segment: &self.segment,
            generation: self.configuration.generation,
            listeners: self.sockets.addresses(),
            tls_listeners: self.sockets.tls(),
            last_reload: self.audience.last_reload(),
            reloads: self.audience.reloads(),
            groups: GroupStatus::of(survey(&self.loaded.settings.upstreams, &self.segment)),
        };
        self.reporter.report(Instant::now(), &self.fleet, &self.processes, &circumstances)
    }

    pub(super) fn perform(&mut self, actions: Vec<Action>) {
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
                    if let Some(process) =
                        self.processes.get(&life).and_then(|running| running.process.as_ref())
                    {
                        process.kill();
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
            tls: self.sockets.tls().to_vec(),
            sockets: sockets.len(),
            log_level: self.diagnostics.wished_level(),
            configuration: self.configuration.clone(),
        };
        match self.origin.spawn(life, assignment, &self.memory, sockets, &self.events) {
            Ok(process) => {
                let generation = self.configuration.generation;
                self.processes.insert(life, Running::new(process, place, slot, generation));
                self.reporter.seated(seat);
                Ok(())
            }
            Err(error) => {
                self.free_seats.push(seat);
                Err(error)
            }
        }
    }

    pub(super) fn tell(&self, life: Life, order: Order) {
        self.tell_with(life, order, Vec::new());
    }

    fn tell_with(&self, life: Life, order: Order, descriptors: Vec<std::os::fd::OwnedFd>) {
        if let Some(process) = self.processes.get(&life).and_then(|running| running.process.as_ref()) {
            process.tell(order, descriptors);
        }
    }
}

/// A number from 0 to 1 that differs from slot to slot and from time to time.
pub(super) fn jitter() -> f64 {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos());
    f64::from(nanos % 1_000) / 1_000.0
}
