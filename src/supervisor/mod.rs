//! Keeps N workers alive. Never policy, upstream or proxy; never traffic.
//!
//! ```text
//!  signals ─┐            ┌── spawn: one process and its channel
//!  reports ─┼─> fleet ─> run
//!  deaths ──┘   (pure)   └── sockets: one a slot, never closed
//! ```
//!
//! [`fleet`] decides: an [`event`] goes in, with the time, and actions come out. It knows each [`slot`], who is in
//! it and who accepts for it meanwhile; [`respawn`] tells it whether a dead worker is replaced, [`rollout`] which slot is
//! next in a rolling restart, [`lending`] who accepts where nobody else does. These are pure. [`mod@run`] does what is
//! decided, with the [`sockets`] that are bound before anything is spawned and are never closed while the instance lives;
//! [`spawn`] makes a process and hands it what it needs. Operators and the service manager are its [`audience`], and
//! [`report`] tells them how it is.

mod audience;
mod event;
mod fleet;
mod lending;
mod report;
mod respawn;
mod rollout;
mod run;
mod slot;
mod sockets;
mod spawn;

pub use event::Ending;
pub use run::{Instance, run};
pub use sockets::Sockets;
