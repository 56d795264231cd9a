//! What the RFCs say of a message that passes a proxy.
//!
//! Pure: no sockets, no configuration, no clock. A message comes in as bytes or as a header map, a fact or a
//! changed header map goes out, and what must not pass is an error that knows its status.
//!
//! In the order in which a request meets them:
//!
//! 1. [`head`] finds the end of a request head in the bytes of a connection and judges it as a whole, in front of
//!    hyper, so that a malformed head gets our answer and a line in the log. It leans on [`framing`], which says
//!    which length rule holds, and on [`target`], which tells the four forms of a request-target apart.
//! 2. [`framing::ChunkScan`] follows a chunked body through the same bytes, so that the next head is found where
//!    it is, and nowhere else.
//! 3. [`hop_by_hop`] takes away what was meant for us only.
//! 4. [`trace`] leaves our mark: `Via`, the client's address where it is wanted, one hop fewer; and recognises
//!    that mark when a request comes round again.
//!
//! The response goes back through 3 and 4, after [`framing::response_framing`] has said what its body is.

pub mod body;
pub mod field;
pub mod framing;
pub mod head;
pub mod hop_by_hop;
mod list;
pub mod onward;
pub mod response_head;
pub mod target;
pub mod trace;
