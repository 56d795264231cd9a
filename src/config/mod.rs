//! The configuration: `config.yml`, the environment over it, the flags over both.
//!
//! Three stages: what was written (`*File`, all optional, unknown keys refused), what is meant
//! ([`Settings`]), and what runs, which other rooms build from their section. Knows `net`'s address types only.

pub mod settings;

pub use settings::Settings;
