//! Why a stream has failed, as far as it matters to who asks for it.

use std::io;

use h2::Reason;
use thiserror::Error;

use crate::net::tls::TlsError;

/// What has happened to a stream.
#[derive(Clone, Debug, Error)]
pub(in crate::upstream) enum StreamFault {
    /// The origin says that it has done nothing with the request (RFC 9113 section 8.7), or was never sent it.
    #[error("the request was not processed")]
    Unprocessed,
    /// The same, and it wants it in HTTP/1.1.
    #[error("the request has to be sent in HTTP/1.1")]
    NeedsHttp1,
    /// What the origin has sent is not HTTP/2, or no response.
    #[error("the response is malformed")]
    Malformed,
    /// TLS has ended the session.
    #[error(transparent)]
    Tls(TlsError),
    /// The origin has reset the stream.
    #[error("the stream was reset")]
    Reset,
    /// The session has ended under it.
    #[error("the connection was closed")]
    Ended,
}

impl StreamFault {
    /// What an error of a stream means. `tls` is why TLS has ended the session, if it has.
    pub(super) fn of(error: &h2::Error, tls: Option<&TlsError>) -> Self {
        match error.reason() {
            Some(Reason::HTTP_1_1_REQUIRED) if error.is_remote() => Self::NeedsHttp1,
            // Streams that the origin has not got to when it says farewell, and no others.
            _ if error.is_remote() && error.is_go_away() => Self::Unprocessed,
            Some(Reason::REFUSED_STREAM) if error.is_remote() => Self::Unprocessed,
            _ if error.is_library() => Self::Malformed,
            _ if error.is_reset() => Self::Reset,
            _ => tls.filter(|_| error.is_io()).map_or(Self::Ended, |tls| Self::Tls(tls.clone())),
        }
    }

    /// What an error of a stream of bytes means, if it is one of these.
    pub(in crate::upstream) fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<StreamFault> for io::Error {
    fn from(fault: StreamFault) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, fault)
    }
}
