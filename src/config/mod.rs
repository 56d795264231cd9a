//! The configuration: `config.yml`, the environment over it, the flags over both.
//!
//! Three stages: what was written, a [`tree`] in which every value knows its place; what is meant, the [`settings`], which
//! [`read`] makes of it with a [`reader`] that collects every [`problem`]; and what runs, which other rooms build from
//! their section. [`keys`] is the list of all there is to say, [`load`] the way from sources to settings, and [`show`] the way
//! back. Knows `net`'s address types only.

mod keys;
pub mod load;
pub mod problem;
mod read;
mod reader;
pub mod settings;
pub mod show;
mod tree;

pub use load::{Loaded, Sources, load};
pub use problem::{Origin, Problem, Problems};
pub use reader::InForce;
pub use settings::Settings;
