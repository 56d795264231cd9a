//! What a launcher says to a worker, and a worker to its launcher.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// What a worker is to be. The first order; the listening sockets and the shared memory come along with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The slot's index.
    pub index: usize,
    /// The seat in the shared memory.
    pub seat: usize,
    /// Where the instance listens, ports resolved.
    pub listeners: Vec<SocketAddr>,
    /// The configuration file as the launcher has read it.
    pub file: Option<(PathBuf, String)>,
    /// The launcher's flags: key, flag, value.
    pub flags: Vec<(String, String)>,
}

/// Launcher to worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Begin.
    Assign(Assignment),
    /// Accept on these sockets of another slot, too: it has no worker. They come along with the order.
    Lend {
        /// The other slot.
        slot: usize,
    },
    /// The other slot has a worker again: leave its sockets to it.
    Return {
        /// The other slot.
        slot: usize,
    },
    /// Stop accepting, finish what is there, leave.
    Drain,
    /// Leave at once.
    Stop,
    /// Say that you live.
    Ping,
}

/// Worker to launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Accepting.
    Ready,
    /// Alive.
    Pong,
    /// Leaving, after this many tunnels had to be cut.
    Leaving {
        /// How many.
        cut: u64,
    },
}
