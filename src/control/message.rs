//! What a launcher says to a worker, and a worker to its launcher.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// A configuration as the launcher has read it. A worker reads no file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Counts the configurations that were in force.
    pub generation: u64,
    /// The file and its text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// The files that it names, lists and the users file, and their texts.
    #[serde(default)]
    pub files: Vec<(PathBuf, String)>,
    /// The launcher's flags: key and value.
    pub flags: Vec<(String, String)>,
}

/// What a worker is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The slot's index.
    pub index: usize,
    /// The seat in the shared memory.
    pub seat: usize,
    /// Where the instance listens, ports resolved.
    pub listeners: Vec<SocketAddr>,
    /// Those of them where clients speak TLS.
    #[serde(default)]
    pub tls: Vec<SocketAddr>,
    /// How many listening sockets come along, after the shared memory.
    pub sockets: usize,
    /// What an operator wants logged, where that is not what the configuration says.
    pub log_level: Option<String>,
    /// What to do.
    pub configuration: Configuration,
}

/// Launcher to worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Begin. The first order; the shared memory and the slot's sockets come along.
    Assign(Box<Assignment>),
    /// Log at this level; none = at that of the configuration.
    LogLevel(Option<String>),
    /// Accept for another slot as well, whose sockets come along.
    Lend {
        /// The other slot.
        slot: usize,
        /// How many sockets.
        sockets: usize,
    },
    /// The other slot accepts by itself again.
    TakeBack {
        /// The other slot.
        slot: usize,
    },
    /// Put another configuration in force.
    Reload(Box<Configuration>),
    /// Open the log files again.
    ReopenLogs,
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
    /// A configuration is in force.
    Applied {
        /// Which.
        generation: u64,
    },
    /// A configuration cannot be put in force; the old one still is.
    Refused {
        /// Which.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// Leaving, after this many tunnels had to be cut.
    Leaving {
        /// How many.
        cut: u64,
    },
}
