//! What the fleet is told, and what it wants done. Words only.

use super::slot::{Life, Status};
use crate::config::settings::SupervisionSettings;

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As asked.
    Stopped,
    /// A worker could not start at first; its exit status, where it had one.
    FirstStartFailed(Option<i32>),
    /// No slot has a worker any more.
    NoWorkers,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A worker accepts.
    Ready(Life),
    /// A worker lives.
    Pong(Life),
    /// A worker has put this generation in force, or has not, for that reason.
    Reloaded(Life, u64, Result<(), String>),
    /// A worker is about to leave and had to cut so many tunnels.
    Leaving(Life, u64),
    /// A process is gone, or could not be started.
    Exited(Life, Status),
    /// Some time has passed.
    Tick,
    /// The operator wishes something.
    Command(Command),
}

/// What an operator can wish of an instance.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Finish what is in flight and stop; the second time, stop at once.
    Drain,
    /// Stop at once.
    Stop,
    /// Give every slot a new worker.
    Restart,
    /// One worker more, or fewer.
    ScaleBy(isize),
    /// So many workers.
    ScaleTo(usize),
    /// So many workers, where that changes; these settings; and who is to know.
    Reload { settings: Box<SupervisionSettings>, workers: Option<usize>, reach: Reach, generation: u64 },
    /// Open the log files again.
    ReopenLogs,
}

/// Whom a new configuration concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nobody: nothing is different.
    Nobody,
    /// Every worker, as it is.
    Everybody,
    /// New workers only.
    NewWorkers,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a process for this slot.
    Spawn(Life, usize),
    /// Ask whether it lives.
    Ping(Life),
    /// Hand it the sockets of a slot.
    Lend(Life, usize),
    /// Let it leave the sockets of a slot.
    TakeBack(Life, usize),
    /// Hand it the configuration that is in force.
    Reload(Life),
    /// Let it open its log files again.
    ReopenLogs(Life),
    /// Let it finish and leave.
    Drain(Life),
    /// Let it leave at once.
    Stop(Life),
    /// Kill it.
    Kill(Life),
    /// The first workers are ready.
    Up,
    /// Every worker uses this generation of the configuration, or not every one.
    Reloaded(u64, bool),
    /// Every slot has a new worker, or not every one.
    RolledOut(bool),
    /// Nobody accepts any more.
    CloseSockets,
}
