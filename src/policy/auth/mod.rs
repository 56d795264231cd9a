//! Who is it: Basic credentials against the users of the users file (RFC 7617, RFC 9110 section 11).
//!
//! Must not know connections, threads or answers. Three steps, so that the slow one can be taken off the request path:
//!
//! 1. [`Credentials::from_header`] reads `Proxy-Authorization`, [`token`] what of it is the same however it is written.
//! 2. [`Remembered::recall`] knows which tokens have been verified lately: a hash and a look-up.
//! 3. [`Users::verify`] takes as long as the users file wants a guess to take, for users that do not exist, too; whoever
//!    calls it does so where that hurts nobody, and so many at once as it can afford. A success is
//!    [`Remembered::remember`]ed.
//!
//! Identity is of a request, never of a connection. Passwords are in no `Debug`, no error and no table.

mod credentials;
mod hash_line;
mod remembered;
mod users;
mod verifier;

pub use credentials::{BadCredentials, Credentials, token};
pub use hash_line::{HashLineError, hash_line};
pub use remembered::Remembered;
pub use users::Users;
