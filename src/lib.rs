//! An HTTP forward proxy.
//!
//! A [`launch`]er reads a configuration and becomes either a [`supervisor`] or a [`worker`]. A worker is a [`server`]
//! that hands each request to the [`proxy`]. The proxy asks [`policy`], borrows a connection from [`upstream`], and
//! tells [`telemetry`].
//!
//! # The floors
//!
//! An import goes down only, and strangers on one floor do not meet; `scripts/check_floors.sh` sees to it.
//!
//! ```text
//! 6   main  cli  launch
//! 5   supervisor          worker
//! 4   admin               proxy
//! 3   policy   upstream   server   control
//! 2   telemetry
//! 1   config   message   shared_memory
//! 0   net
//! ```
//!
//! # The words
//!
//! | idea | name |
//! | --- | --- |
//! | what was written / what is meant | `*File` / `*Settings` |
//! | a worker's place among N; its life | `Slot`, `SlotState` |
//! | configuration in force | `Generation` |
//! | launcher to worker / worker to launcher / operator's wish | `Order` / `Report` / `Command` |
//! | stop taking, finish what is there | `Drain` |
//! | host and port | `Authority` |
//! | one request and its answer | `Exchange` |
//! | allowed, and by which rule / not | `Permit` / `Refusal` |
//! | which addresses may be reached | `Reach` |
//! | connections kept / one borrowed | `Pool` / `Lease` |
//! | servers that do the same / one request's way among them / its time with one | `Group` / `Choice` / `Turn` |
//! | the way out, and what holds on it | `Route` |
//! | whose fault | `Blame` |

pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod launch;
pub mod message;
pub mod net;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod shared_memory;
#[cfg(unix)]
pub mod supervisor;
pub mod telemetry;
pub mod upstream;
pub mod worker;
