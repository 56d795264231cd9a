//! The operator's endpoint: what can be asked of a running instance, and how.
//!
//! A [`Command`] or the wish for a [`Status`] goes through a [`Desk`] to the one loop that runs the instance, which takes
//! it out of its [`Asks`] and answers when the outcome is known. [`Server`] lets a desk be reached by HTTP over a
//! [`SocketFile`] that only its owner can open; [`client`] is the other end, for the commands of the command line; [`table`]
//! shows a status to a person. Must not know how anything is done.

mod ask;
#[cfg(unix)]
pub mod client;
mod command;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod socket_file;
mod status;
pub mod table;

pub use ask::{Ask, Asks, Desk, desk};
pub use command::{Command, CommandError, Outcome};
#[cfg(unix)]
pub use server::Server;
#[cfg(unix)]
pub use socket_file::{SocketFile, SocketFileError};
pub use status::{LastReload, Rate, Status, Totals, WorkerState, WorkerStatus};
