//! HTTP/2 to origins (RFC 9113), and to servers of groups that are reached with TLS.
//!
//! There is one path of a request through this proxy, and it speaks HTTP/1.1 in bytes. So a stream of HTTP/2 is made to look like a
//! connection that carries one request: what is written to a `carriage` is a request of HTTP/1.1, what is read from it is the
//! response. There `outgoing` turns bytes into frames and `incoming` frames into bytes, as they are asked for, in the words of
//! [`message::http2`](crate::message::http2). There is no task between the two and no buffer beyond the windows: what a client does not take is not
//! read from its origin. This is the mirror image of what `server` does for clients.
//!
//! What streams share is a `session`: a connection, moved by a task of its own (`drive`) over a `wire`. `sessions` is the pool's kind of
//! them: it knows of each origin whether it speaks HTTP/2, which sessions have room, and who is connecting. Requests that come together to an origin
//! of which nothing is known wait for the first of them: if it finds HTTP/2, one connection is enough for all, and if not, the others
//! have lost one handshake, once. `bounds` says how much of everything there may be.
//!
//! The invariant of the room: what did not end in order is never seen to. A request ends with END_STREAM when it is complete, and
//! with RST_STREAM in any other case; a response is whole when the origin has said END_STREAM, and a reset is an error to
//! whoever reads or writes, never an end.

mod bounds;
mod carriage;
mod drive;
mod fault;
mod incoming;
mod outgoing;
mod session;
mod sessions;
mod wire;

pub(super) use fault::StreamFault;
pub(super) use session::{OpenStream, Session};
pub use sessions::{Approach, Dialling};
pub(super) use sessions::{Keeping, Sessions};
