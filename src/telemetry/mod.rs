//! What this process says about itself. Plain facts; no proxy types.
//!
//! [`diagnostics`] is for the operator who asks what the process is doing: events become lines (`event_lines`) on the
//! `console` and in a file. [`access_log`] is for who asks what became of a request: an [`access_record`] of each, in one
//! of the forms of [`access_format`]. [`metrics`] sums what the workers counted, [`groups`] tells how servers are and [`process`] knows what they use
//! ([`memory`] above all), for who reads [`prometheus`]' text. [`names`] holds the words that all of them share.
//!
//! Nobody who serves waits for a disk: what goes to a [`log_file`] goes through a `spool`, which has bounded memory, a
//! thread of its own, and a count of the lines that it had to drop.

pub mod access_format;
pub mod access_log;
pub mod access_record;
mod append;
mod console;
pub mod diagnostics;
mod escape;
mod event_lines;
pub mod groups;
pub mod log_file;
pub mod memory;
pub mod metrics;
pub mod names;
pub mod process;
pub mod prometheus;
mod sample;
mod spool;
