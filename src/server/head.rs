//! The head of a request, kept as it came and as it was understood.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Version};
use tokio::time::Instant;

use crate::{
    message::{
        field::{Field, Fields, Name},
        framing::Framing,
        head::HeadFacts,
        target::{Scheme, Target},
    },
    net::authority::Authority,
};

/// A request-target that outlives the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestTarget {
    /// To be forwarded.
    Absolute {
        /// Http or https.
        scheme: Scheme,
        /// Where it goes.
        authority: Arc<Authority>,
        /// Path and query, byte for byte: empty, or begins with `/` or `?`.
        path_and_query: Bytes,
    },
    /// `CONNECT`.
    Authority(Arc<Authority>),
    /// Addressed to the proxy itself: the path and query.
    Origin(Bytes),
    /// Addressed to the proxy itself.
    Asterisk,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Request line and fields, byte for byte, up to and including the empty line.
    pub raw: Bytes,
    /// The method, its case kept.
    pub method: Method,
    /// Where it wants to go.
    pub target: RequestTarget,
    /// HTTP/1.0 or HTTP/1.1. With the first: no interim response, no keep-alive.
    pub version: Version,
    /// Which body follows.
    pub framing: Framing,
    /// Whether the client wants to send another request on the connection.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// When its first byte was there.
    pub started: Instant,
    fields: Fields,
}

impl RequestHead {
    /// The head of which `facts` were found in `raw`.
    pub(super) fn new(raw: &Bytes, facts: HeadFacts<'_>, started: Instant) -> Self {
        let target_end = facts.raw_target.end;
        let owned = |text: &str| raw.slice(target_end - text.len()..target_end);
        let target = match facts.target {
            Target::Absolute { scheme, authority, path_and_query } => RequestTarget::Absolute {
                scheme,
                authority: Arc::new(authority),
                path_and_query: owned(path_and_query),
            },
            Target::Authority(authority) => RequestTarget::Authority(Arc::new(authority)),
            Target::Origin(path) => RequestTarget::Origin(owned(path)),
            Target::Asterisk => RequestTarget::Asterisk,
        };
        Self {
            method: facts.method,
            target,
            version: facts.version,
            framing: facts.framing,
            keep_alive: facts.keep_alive,
            expects_continue: facts.expects_continue,
            started,
            fields: facts.fields,
            raw: raw.clone(),
        }
    }

    /// Whether the client speaks HTTP/1.0.
    #[must_use]
    pub fn is_http10(&self) -> bool {
        self.version == Version::HTTP_10
    }

    /// Its lines, in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.fields.of(&self.raw)
    }

    /// The values of the lines of this name.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.fields().filter(move |field| field.known == name).map(|field| field.value)
    }
}
