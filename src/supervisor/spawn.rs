//! One worker process: the same binary once more, with a control channel as its standard input.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use super::sockets::Sockets;
use crate::control::{
    Assignment, Order,
    channel::{self, Receiver, Sender},
};

/// A worker that has been started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) reports: Receiver,
    pub(super) orders: Sender,
}

/// What every worker is made from.
#[derive(Debug)]
pub(super) struct Origin {
    program: PathBuf,
    pub(super) generation: u64,
    /// The shared memory.
    pub(super) memory: std::fs::File,
}

impl Origin {
    /// The program that runs now, by its path: an upgrade puts another file there, and that is then started.
    pub(super) fn new(memory: std::fs::File) -> io::Result<Self> {
        Ok(Self { program: program()?, generation: 1, memory })
    }
}

/// Starts a worker and tells it what it is to be.
pub(super) async fn spawn(origin: &Origin, assignment: Assignment, sockets: &Sockets) -> io::Result<Process> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = std::process::Command::new(&origin.program);
    let mut name = OsString::from("rust-forward-proxy: worker ");
    name.push(assignment.index.to_string());
    command
        .arg0(name)
        .env("PROXY_PROCESS_INDEX", assignment.index.to_string())
        .env("PROXY_GENERATION", origin.generation.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut command = Command::from(command);
    let child = command.kill_on_drop(true).spawn()?;
    // The command holds the worker's end open.
    drop(command);
    let slot = assignment.index;
    let mut descriptors = vec![origin.memory.as_fd()];
    descriptors.extend(sockets.of_slot(slot));
    let (reports, mut orders) = channel::split(ours)?;
    orders.send_with(&Order::Assign(assignment), &descriptors).await?;
    Ok(Process { child, reports, orders })
}

fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    // Linux says so of a file that was replaced since it was started.
    let text = program.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| program.clone(), |path| Path::new(path).to_owned()))
}
