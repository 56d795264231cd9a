//! One serving process: [`assemble`] builds everything and starts nothing, [`mod@run`] gives it a runtime and lives its
//! life. A worker of a launcher and a process that runs alone are the same but for who tells them what to do.

mod assemble;
mod run;

pub use assemble::AssembleError;
#[cfg(unix)]
pub use run::run_assigned;
pub use run::{WorkerError, run_alone};
