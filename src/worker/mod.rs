//! One serving process: `assemble` builds everything and starts nothing, `run` gives it a runtime and lives its
//! life. A worker of a launcher and a process that runs alone are the same but for their `overseer`. Its
//! `acceptors` take connections, for slots that have nobody as well; `live` is what a reload swaps.

mod acceptors;
mod assemble;
mod live;
mod overseer;
mod run;

pub use assemble::AssembleError;
#[cfg(unix)]
pub use run::{Assigned, run_assigned};
pub use run::{WorkerError, run_alone};
