//! May this pass?
//!
//! Pure: [`Facts`] in, a verdict out. No clock, no socket, no name resolution; nothing of HTTP but the method. A decision
//! allocates nothing and costs the same whether a list has ten entries or a hundred thousand.
//!
//! The verdict is a [`Permit`] or a [`Refusal`], and both name the rule of the configuration that decided. A permit carries
//! the addresses that may be dialled (`reach`): a name is decided upon here, and the address that it stands for where
//! it is dialled, so that no answer of a name server can lead around the rules.
//!
//! [`acl`] holds the rules of the section `access` and the order they are asked in; [`names`] finds a host name in a list
//! by its labels. [`route`] says which way a request takes; [`matcher`] holds the conditions of routes and
//! limits; [`auth`] says who somebody is, [`rate_limit`] whether there is enough left for them. The last two are asked with
//! the time and the state as arguments.

pub mod acl;
pub mod auth;
pub mod facts;
pub mod matcher;
mod members;
mod names;
pub mod rate_limit;
pub mod route;
pub mod verdict;

pub use acl::Policy;
pub use facts::Facts;
pub use route::{Route, Routes, Via};
pub use verdict::{Permit, Refusal, RefusalKind, RuleName};
