//! How a process is told what to do: [`signals`] from its operator, [`Order`]s from its launcher over a [`channel`].

#[cfg(unix)]
pub mod channel;
mod message;
pub mod signals;

pub use message::{Assignment, Order, Report};
