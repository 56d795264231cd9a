//! What went wrong on the way to an origin and back.

use thiserror::Error;

use crate::{
    message::response_head::ResponseHeadError,
    net::{dial::DialError, tls::TlsError},
};

/// A failure of the upstream side, before the response was complete.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// No connection could be made.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS has failed, or ended it.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The origin closed the connection before it had sent a complete head.
    #[error("the origin closed the connection before its response")]
    Terminated,
    /// The origin has given up the request (HTTP/2 only).
    #[error("the origin cancelled the request before its response")]
    Reset,
    /// The origin says that it has done nothing with the request (HTTP/2 only).
    #[error("the origin did not take the request")]
    Unprocessed,
    /// What the origin sent is not a response.
    #[error("the origin's response cannot be understood")]
    Malformed,
    /// The head of the response is over its bounds.
    #[error("the origin's response head is too large")]
    HeadTooLarge,
    /// No response came in time.
    #[error("the origin did not answer within timeouts.response_head")]
    HeadTimeout,
    /// The client has closed its side and the response did not come in time for one that may be gone.
    #[error("the client closed its connection before the response")]
    ClientGone,
    /// The origin took nothing of the request for too long.
    #[error("the origin took nothing of the request for timeouts.body_idle")]
    BodyTimeout,
    /// The origin's connection switched protocols without having been asked to.
    #[error("the origin switched to a protocol that was not asked for")]
    UpgradeFailed,
}

impl UpstreamError {
    /// Whether the connection has ended, and nothing else is wrong: the same request may do better elsewhere.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Terminated | Self::Reset | Self::Unprocessed)
    }
}

impl From<ResponseHeadError> for UpstreamError {
    fn from(error: ResponseHeadError) -> Self {
        match error {
            ResponseHeadError::Malformed => Self::Malformed,
            ResponseHeadError::TooLarge => Self::HeadTooLarge,
        }
    }
}
