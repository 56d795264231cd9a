//! Keeps N workers alive. Never policy, upstream or proxy; never traffic.
//!
//! [`sockets`] are bound before anything is spawned and are never closed while the instance lives. Each [`slot`] is a
//! place for one worker, and sees to it that there is one, by the rules of [`respawn`]; [`loans`] sees to it that nobody
//! waits at a slot that has none; [`spawn`] makes a process and hands
//! it what it needs; [`mod@run`] starts the slots, listens to the operator and ends it all.

mod loans;
mod respawn;
mod run;
mod slot;
mod sockets;
mod spawn;

pub use run::{Ending, run};
pub use sockets::Sockets;
