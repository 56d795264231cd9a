//! One worker process: the same binary once more, with a control channel as its standard input.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use super::{
    event::Event,
    slot::{Life, Status},
};
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
    kill: UnboundedSender<()>,
}

/// What every worker is made from.
#[derive(Debug)]
pub(super) struct Origin {
    program: PathBuf,
    /// The shared memory.
    memory: File,
}

impl Origin {
    /// The program that runs now, by its path: an upgrade puts another file there, and that is then started.
    pub(super) fn new(memory: File) -> io::Result<Self> {
        Ok(Self { program: program()?, memory })
    }

    /// Starts a worker and tells it what it is to be. What becomes of it is told to `events`. Inside a runtime.
    pub(super) fn spawn(
        &self,
        life: Life,
        assignment: Assignment,
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
        for name in notify::VARIABLES.into_iter().chain(inherit::VARIABLES) {
            command.env_remove(name);
        }
        let mut command = Command::from(command);
        let child = command.kill_on_drop(true).spawn()?;
        let pid = child.id();
        // The command holds the worker's end open.
        drop(command);
        let (receiver, sender) = ours.split()?;
        let (kill, killed) = unbounded_channel();
        let (orders, queue) = unbounded_channel();
        let mut descriptors = vec![self.memory.as_fd().try_clone_to_owned()?];
        descriptors.extend(sockets);
        // It cannot fail: the other end of the queue is in hand.
        let _ = orders.send((Order::Assign(Box::new(assignment)), descriptors));
        tokio::spawn(write(queue, sender));
        tokio::spawn(attend(life, child, receiver, killed, events.clone()));
        Ok(Process { pid, orders, kill })
    }
}

impl Process {
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
        let _ = self.kill.send(());
    }
}

/// Sends what is queued. A worker that does not read makes the queue wait, nobody else.
async fn write(mut queue: UnboundedReceiver<(Order, Vec<OwnedFd>)>, mut sender: Sender) {
    while let Some((order, descriptors)) = queue.recv().await {
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        if sender.send(&order, &descriptors).await.is_err() {
            return;
        }
    }
}

/// Passes on what a worker reports, to the last word, and that it has ended.
async fn attend(
    life: Life,
    mut child: Child,
    mut reports: Receiver,
    mut killed: UnboundedReceiver<()>,
    events: UnboundedSender<Event>,
) {
    let status = loop {
        tokio::select! {
            report = reports.next::<Report>() => match report {
                Some(report) => pass_on(life, report, &events),
                None => {
                    // It is about to exit, or does not speak our language.
                    if timeout(PARTING, child.wait()).await.is_err() {
                        let _ = child.start_kill();
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
            Some(()) = killed.recv() => {
                let _ = child.start_kill();
            }
        }
    };
    let _ = events.send(Event::Exited(life, ended(status)));
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

fn ended(status: io::Result<ExitStatus>) -> Status {
    match status {
        Ok(status) => {
            let text = status.code().map_or_else(|| status.to_string(), |code| code.to_string());
            Status { code: status.code(), text }
        }
        Err(error) => Status { code: None, text: error.to_string() },
    }
}

fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    // Linux says so of a file that was replaced since it was started.
    let text = program.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| program.clone(), |path| Path::new(path).to_owned()))
}
