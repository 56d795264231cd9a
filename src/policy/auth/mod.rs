//! Who is it: Basic credentials against a users file (RFC 7617, RFC 9110 11).
//!
//! Must not know connections, threads or answers. Three steps, so that the slow one can be taken off the request path:
//!
//! 1. [`Remembered::recall`] knows which values of `Proxy-Authorization` we have verified lately: a hash and a look-up.
//! 2. [`Credentials::from_header`] reads a new one.
//! 3. [`Users::verify`] takes as long as the users file wants a guess to take, for users that do not exist, too; whoever
//!    calls it does so where that hurts nobody, and so many at once as it can afford. A success is
//!    [`Remembered::remember`]ed.
//!
//! Identity is of a request, never of a connection. Passwords are in no `Debug`, no error and no table.

mod credentials;
mod htpasswd;
mod remembered;
mod verifier;

pub use credentials::{BadCredentials, Credentials};
pub use htpasswd::{BadLine, BadLineReason, BadUserName, HashLineError, Users, hash_line};
pub use remembered::Remembered;
pub use verifier::BadHash;
