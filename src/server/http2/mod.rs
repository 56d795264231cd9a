//! HTTP/2 to clients (RFC 9113), and what WebSockets need of it (RFC 8441).
//!
//! There is one path of a request through this proxy, and it speaks HTTP/1.1 in bytes. So a stream of HTTP/2 is made to look like a
//! connection that carries one request: `request` writes the head that an HTTP/1.1 client would have sent, `carriage` is a
//! [`Stream`](crate::net::stream::Stream) whose bytes are that head's body on the way in and the answer on the way out, and
//! there `incoming` and `outgoing` turn frames into bytes and bytes into frames as they are asked for. There is no buffer
//! between the two and no task: what a peer does not take is not read from the other one.
//!
//! `connection` is what streams share: it takes them, has each served as a `stream`, and ends with them, with a `farewell`. `tally`
//! counts them, `frames` those that were opened, `watch` knows the deadlines, and `bounds` says how much of everything there may be.
//!
//! The invariant of the room: what did not end in order is never seen to. A stream ends with END_STREAM when its message is
//! complete, and with RST_STREAM in any other case; a reset by the client is an error to whoever reads or writes, never an end.

mod bounds;
mod carriage;
mod connection;
mod farewell;
mod frames;
mod incoming;
mod outgoing;
pub mod request;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod watch;

pub(super) use connection::serve;
pub use request::StreamFault;
