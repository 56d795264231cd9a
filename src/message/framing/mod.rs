//! Where a message ends (RFC 9112 6 and 7).
//!
//! Two readers who disagree about that are how requests are smuggled, so there is one rule here: what the RFC
//! leaves open is refused in a request, and made unambiguous, or refused, in a response. [`request`] and [`response`] say
//! which length rule holds; [`chunk_scan`] walks over a chunked body without keeping any of it.

mod chunk_scan;
mod length;
mod request;
mod response;

pub use chunk_scan::{ChunkError, ChunkLimits, ChunkScan, Fed, Piece};
pub use request::{Framing, FramingError, check_host, request_framing};
pub use response::{ResponseBody, ResponseError, ResponseFraming, response_framing};
