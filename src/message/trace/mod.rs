//! The marks that a message carries of the proxies it has passed, and ours among them.
//!
//! Must not know where the message goes. Marks are appended after the hop-by-hop fields are gone, so that no client can
//! have ours removed, and existing ones keep their order.
//!
//! - [`via`]: who forwarded it, and whether that was us already (RFC 9110 7.6.3, 7.6).
//! - [`max_forwards`]: how many more may (RFC 9110 7.6.2).
//! - [`client_address`]: whom it came from (RFC 7239), where that is wanted.
//! - [`request_id`]: what we call it in our logs.
//! - [`trace_context`]: which trace its client says it belongs to (W3C Trace Context).

mod client_address;
mod max_forwards;
mod request_id;
mod trace_context;
mod via;

pub use client_address::ClientAddress;
pub use max_forwards::{BadMaxForwards, Hops, may_be_reflected, take_hop};
pub use request_id::RequestId;
pub use trace_context::TraceParent;
pub use via::{BadPseudonym, Pseudonym};
