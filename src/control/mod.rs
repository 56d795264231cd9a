//! How a process is told what to do: [`signals`] from its operator, [`Order`]s from its launcher over a [`channel`].

#[cfg(unix)]
pub mod channel;
mod message;
#[cfg(unix)]
pub mod notify;
#[cfg(not(unix))]
#[path = "no_notify.rs"]
pub mod notify;
#[cfg(unix)]
pub mod privileges;
pub mod signals;

pub use message::{Assignment, Configuration, Order, Report};
