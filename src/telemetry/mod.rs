//! What this process says about itself. Plain facts; no proxy types.
//!
//! [`diagnostics`] is for the operator who asks what the process is doing, [`access_log`] for who asks what became of a
//! request: an [`access_record`] of each, formatted by [`access_format`], written by a thread of its own into a
//! [`log_file`]. [`names`] holds the words that logs, metrics and answers share, and
//! [`memory`] how much of it a process has.

pub mod access_format;
pub mod access_log;
pub mod access_record;
pub mod diagnostics;
pub mod log_file;
pub mod memory;
pub mod names;
