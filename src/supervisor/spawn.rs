//! One worker process: the same binary once more, with a control channel as its standard input.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::Command,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};

use super::{event::Event, handover, offspring::Offspring, slot::Life};
use crate::{
    control::{
        Assignment, Order, Report,
        channel::{Channel, Receiver, Sender},
        notify,
    },
    net::inherit,
};

/// How long a process whose channel has ended may take to end, and a channel whose process has.
const PARTING: Duration = Duration::from_secs(2);

/// A worker that has been started. Dropping it lets the worker go: it finds the end of its channel.
#[derive(Debug)]
pub(super) struct Process {
    pid: Option<u32>,
    orders: UnboundedSender<(Order, Vec<OwnedFd>)>,
    demands: UnboundedSender<Demand>,
    writer: JoinHandle<Option<Sender>>,
    attendant: JoinHandle<Option<(Offspring, Receiver)>>,
}

/// A worker that nobody attends to for now.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) child: Offspring,
    pub(super) channel: Channel,
}

/// What is demanded of who attends to a worker.
#[derive(Clone, Copy, Debug)]
enum Demand {
    Kill,
    LetGo,
}

/// What every worker is made from, and a launcher that succeeds this one.
#[derive(Debug)]
pub(super) struct Origin {
    program: PathBuf,
    arguments: Vec<OsString>,
    check: Vec<OsString>,
}

impl Origin {
    /// The program that runs now, by its path: an upgrade puts another file there, and that is then started. `arguments` are
    /// those it was started with, its name first, and `check` those that have it check its configuration, without.
    pub(super) fn new(arguments: Vec<OsString>, check: Vec<OsString>) -> io::Result<Self> {
        Ok(Self { program: program()?, arguments, check })
    }

    /// Whether another program is under its path by now.
    pub(super) fn has_changed(&self) -> bool {
        let identity = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
        };
        let running = identity(Path::new("/proc/self/exe"));
        running.is_some_and(|running| identity(&self.program).is_some_and(|there| there != running))
    }

    /// The command that has the program that is there now check the configuration.
    pub(super) fn checking(&self) -> Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.check).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = Command::from(bare(command));
        command.kill_on_drop(true);
        command
    }

    /// The command that puts the program that is there now in the place of this one. What systemd says to this process is
    /// for it, but for sockets, which it has from us.
    pub(super) fn succeeding(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        let mut arguments = self.arguments.iter();
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments);
        for name in inherit::VARIABLES {
            command.env_remove(name);
        }
        command
    }

    /// Starts a worker and tells it what it is to be. What becomes of it is told to `events`. Inside a runtime.
    pub(super) fn spawn(
        &self,
        life: Life,
        assignment: Assignment,
        memory: &File,
        sockets: Vec<OwnedFd>,
        events: &UnboundedSender<Event>,
    ) -> io::Result<Process> {
        let (ours, theirs) = Channel::pair()?;
        let mut command = std::process::Command::new(&self.program);
        let mut name = OsString::from("rust-forward-proxy: worker ");
        name.push(assignment.index.to_string());
        command
            .arg0(name)
            .env("PROXY_PROCESS_INDEX", assignment.index.to_string())
            .env("PROXY_GENERATION", assignment.configuration.generation.to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        let mut command = Command::from(bare(command));
        let child = command.kill_on_drop(true).spawn()?;
        // The command holds the worker's end open.
        drop(command);
        let mut descriptors = vec![memory.as_fd().try_clone_to_owned()?];
        descriptors.extend(sockets);
        let process =
            Process::attend(life, Released { child: Offspring::Born(child), channel: ours }, events)?;
        process.tell(Order::Assign(Box::new(assignment)), descriptors);
        Ok(process)
    }
}

/// Without what is said to this process alone.
fn bare(mut command: std::process::Command) -> std::process::Command {
    for name in notify::VARIABLES.into_iter().chain(inherit::VARIABLES).chain([handover::VARIABLE]) {
        command.env_remove(name);
    }
    command
}

impl Process {
    /// Attends to a worker: sends what it is told, and tells `events` what it reports. Inside a runtime.
    ///
    /// # Errors
    ///
    /// The runtime's.
    pub(super) fn attend(
        life: Life,
        released: Released,
        events: &UnboundedSender<Event>,
    ) -> io::Result<Self> {
        let Released { child, channel } = released;
        let pid = child.pid();
        let (receiver, sender) = channel.split()?;
        let (demands, demanded) = unbounded_channel();
        let (orders, queue) = unbounded_channel();
        let writer = tokio::spawn(write(queue, sender));
        let attendant = tokio::spawn(attend(life, child, receiver, demanded, events.clone()));
        Ok(Self { pid, orders, demands, writer, attendant })
    }

    /// Its number, for the operator.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Queues an order, and descriptors to hand over with it. One that is gone gets nothing.
    pub(super) fn tell(&self, order: Order, descriptors: Vec<OwnedFd>) {
        let _ = self.orders.send((order, descriptors));
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        let _ = self.demands.send(Demand::Kill);
    }

    /// Sends what is queued and attends to it no more. None when it has ended or does not listen; then it is killed, and
    /// `events` are told of its end as ever.
    pub(super) async fn release(self, life: Life, events: &UnboundedSender<Event>) -> Option<Released> {
        let Self { orders, demands, writer, mut attendant, .. } = self;
        drop(orders);
        let _ = demands.send(Demand::LetGo);
        let (sender, attended) = tokio::join!(timeout(PARTING, writer), &mut attendant);
        let (mut child, receiver) = attended.ok()??;
        if let Ok(Ok(Some(sender))) = sender
            && let Ok(channel) = Channel::join(receiver, sender)
        {
            return Some(Released { child, channel });
        }
        child.kill();
        let events = events.clone();
        tokio::spawn(async move {
            let _ = events.send(Event::Exited(life, child.wait().await));
        });
        None
    }
}

/// Sends what is queued. A worker that does not read makes the queue wait, nobody else.
async fn write(mut queue: UnboundedReceiver<(Order, Vec<OwnedFd>)>, mut sender: Sender) -> Option<Sender> {
    while let Some((order, descriptors)) = queue.recv().await {
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        sender.send(&order, &descriptors).await.ok()?;
    }
    Some(sender)
}

/// Passes on what a worker reports, to the last word, and that it has ended; or gives it back when it is let go.
async fn attend(
    life: Life,
    mut child: Offspring,
    mut reports: Receiver,
    mut demands: UnboundedReceiver<Demand>,
    events: UnboundedSender<Event>,
) -> Option<(Offspring, Receiver)> {
    let status = loop {
        tokio::select! {
            report = reports.next::<Report>() => match report {
                Some(report) => pass_on(life, report, &events),
                None => {
                    // It is about to exit, or does not speak our language.
                    if timeout(PARTING, child.wait()).await.is_err() {
                        child.kill();
                    }
                    break child.wait().await;
                }
            },
            status = child.wait() => {
                let rest = async {
                    while let Some(report) = reports.next::<Report>().await {
                        pass_on(life, report, &events);
                    }
                };
                let _ = timeout(PARTING, rest).await;
                break status;
            }
            Some(demand) = demands.recv() => match demand {
                Demand::Kill => child.kill(),
                Demand::LetGo => return Some((child, reports)),
            },
        }
    };
    let _ = events.send(Event::Exited(life, status));
    None
}

fn pass_on(life: Life, report: Report, events: &UnboundedSender<Event>) {
    let _ = events.send(match report {
        Report::Ready => Event::Ready(life),
        Report::Pong => Event::Pong(life),
        Report::Applied { generation } => Event::Reloaded(life, generation, Ok(())),
        Report::Refused { generation, reason } => Event::Reloaded(life, generation, Err(reason)),
        Report::Leaving { cut } => Event::Leaving(life, cut),
    });
}

fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    // Linux says so of a file that was replaced since it was started.
    let text = program.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| program.clone(), |path| Path::new(path).to_owned()))
}
