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
//! next in a rolling restart, [`lending`] who accepts where nobody else does. These are pure. [`mod@run`] is the loop in
//! which the [`launcher`] hears of everything and does what is decided, with the [`sockets`] that are bound before anything
//! is spawned and are never closed while the instance lives; [`wishes`] are what operators want of it. [`spawn`] makes a
//! process of the binary that is on disk, or attends to an [`offspring`] that was there before. Operators and the service
//! manager are its [`audience`]; [`report`] tells them how it is, and [`metrics`] what has passed through it and why workers were
//! [`replaced`]. In [`succession`] another binary takes its place
//! under its number, and finds in the [`handover`] what it needs to go on.

mod audience;
mod event;
mod fleet;
pub mod handover;
mod launcher;
mod lending;
mod metrics;
mod offspring;
mod replaced;
mod report;
mod respawn;
mod rollout;
mod run;
mod slot;
mod sockets;
mod spawn;
mod succession;
mod wishes;

pub use event::Ending;
pub use run::{Instance, Start, run};
pub use sockets::Sockets;
