//! An access record as one line, appended to a buffer: [`Format`] names the forms.
//!
//! Whatever bytes a client sent, a line is one line of its syntax, and at most [`MAX_LINE`] long: what one `write` to a
//! pipe keeps together. Nothing is allocated: this runs once for every request. A query is not shown unless the record
//! says so, and no form has a field for a credential, a cookie or a body.

mod clf;
mod format;
mod json;
mod squid;

pub use format::{Format, MAX_LINE};
