//! One serving process: [`mod@assemble`] builds everything and starts nothing, [`mod@run`] gives it a runtime and lives its
//! life. A worker of a launcher and a process that runs alone are the same but for their [`overseer`]; the latter has
//! an [`office`] for operators and the service manager. Its [`acceptors`] take connections, for slots that have nobody
//! as well; [`live`] is what a reload swaps; [`affinity`] keeps who serves on a core.

mod acceptors;
mod affinity;
mod assemble;
mod live;
mod office;
mod overseer;
mod run;

pub use affinity::{AffinityError, pin};
pub use assemble::{AssembleError, Assembled, assemble};
pub use run::{Alone, WorkerError, run_alone};
#[cfg(unix)]
pub use run::{Assigned, run_assigned};
