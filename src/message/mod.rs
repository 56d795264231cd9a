//! What the RFCs say of a message that passes a proxy.
//!
//! Pure: no sockets, no configuration, no clock. A message comes in as bytes, facts or the bytes for the next hop go out, and what
//! must not pass is an error that knows its status. Nothing is decoded that is only passed on: a head is copied line by line. One
//! part, [`http2::sender`], holds a stream of frames; what carries them, it does not know.
//!
//! In the order in which a request meets them:
//!
//! 1. [`head`] finds the end of a request head in the bytes of a connection and judges it as a whole, so that a malformed head
//!    gets our answer and a line in the log. It leans on [`framing`], which says which length rule holds, and on [`target`],
//!    which tells the four forms of a request-target apart. Where its lines are, and what they mean to us, is in [`field`].
//! 2. [`hop_by_hop`] says which of them were meant for us only, and [`trace`] which marks are to be left: `Via`, the client's
//!    address where it is wanted, one hop fewer; and it recognises that mark when a request comes round again.
//! 3. [`onward`] writes the head that the next one gets, with the [`edits`] that the operator wants.
//! 4. [`body`] takes the content out of the framing it came in, and puts it into the one it leaves in;
//!    [`framing::ChunkScan`] follows chunks, so that the next head is found where it is, and nowhere else.
//!
//! The response, read by [`response_head`], goes back through 2 to 4. To and from origins that speak it, [`http2`] says both in other words. Who asks for a tunnel by [`socks`] meets none of that.

pub mod body;
pub mod edits;
pub mod field;
pub mod framing;
pub mod head;
pub mod hop_by_hop;
pub mod http2;
mod list;
pub mod onward;
pub mod response_head;
pub mod socks;
pub mod target;
pub mod trace;
