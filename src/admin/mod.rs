//! The operator's endpoint: what can be asked of a running instance, and how.
//!
//! A [`Command`] or the wish for a [`Status`] goes through a [`Desk`] to the one loop that runs the instance, which takes
//! it out of its [`Asks`] and answers when the outcome is known. A [`Server`] lets a desk be reached by HTTP through its
//! [`Doors`]: a `SocketFile` that only its owner can open, for everything, and a [`Network`] socket for those who only look, which
//! answers to its own [`HostNames`] alone. What each request gets is in `answer`: the page of `dashboard`, the script of `pac`, the
//! JSON of a [`Status`] with its [`Traffic`] and the servers of each [group](GroupStatus). `client` is the other end, for the commands of the command line; [`table`] shows a
//! status to a person. Must not know how anything is done.

mod answer;
mod ask;
#[cfg(unix)]
pub mod client;
mod command;
mod dashboard;
mod groups;
mod host_names;
mod network;
mod pac;
mod server;
#[cfg(unix)]
mod socket_file;
mod status;
pub mod table;
mod traffic;

pub use ask::{Ask, Asks, Desk, desk};
pub use command::{Command, CommandError, LevelWish, Outcome};
pub use groups::{GroupStatus, ServerStatus};
pub use host_names::HostNames;
pub use network::Network;
pub use server::{Doors, Server};
#[cfg(unix)]
pub use socket_file::{SocketFile, SocketFileError};
pub use status::{LastReload, Rate, Status, Totals, WorkerState, WorkerStatus};
pub use traffic::{Latency, Traffic, UpstreamTraffic};
