//! The configuration: `config.yml`, the environment over it, the flags over both.
//!
//! Three stages: what was written, a `tree` in which every value knows its place; what is meant, the [`settings`], which
//! `read` makes of it with a `reader` that collects every [`problem`]; and what runs, which other rooms build from
//! their section. `keys` is the list of all there is to say and of what is not built yet, [`mod@load`] the way from sources to
//! settings, and [`show`] the way back. `usable` looks at the files that settings name, and [`change`] says what it takes to
//! go from one configuration to the next. `files` reads the files that the configuration names; [`users`] understands the users file and [`password_hash`] what stands in it,
//! [`tls`] certificates and keys. Of `net` it knows addresses, and what a certificate is.

mod access;
pub mod change;
pub mod conditions;
mod files;
mod interception;
mod keys;
mod listen;
pub mod load;
pub mod password_hash;
pub mod problem;
pub mod rate;
pub mod rate_limit;
mod read;
mod reader;
pub mod routes;
mod section;
pub mod settings;
pub mod show;
pub mod tls;
mod tree;
mod upstreams;
mod usable;
pub mod users;
mod value;

pub use load::{Loaded, Sources, load, load_what_can_be};
pub use problem::{Origin, Problem, Problems};
pub use reader::InForce;
pub use settings::Settings;
pub use tls::outlook;
pub use usable::examine;
