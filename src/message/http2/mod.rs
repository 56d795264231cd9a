//! Messages in the words of HTTP/2, and in the lines of HTTP/1.1 (RFC 9113 section 8).
//!
//! The path of a request speaks HTTP/1.1. What goes to an origin that speaks HTTP/2 is written in lines first, and [`request`] takes those
//! apart again; what comes from there is written in lines by [`response`], and judged as any other head after that. The
//! content behind either, to an origin or to a client, leaves by a [`sender`].

pub mod request;
pub mod response;
pub mod sender;
