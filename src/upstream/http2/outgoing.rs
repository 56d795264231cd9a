//! What is written for an origin in HTTP/1.1, as the frames of a stream.
//!
//! The head is collected until it is whole; what stands behind it is for a [`Sender`].

use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    Reason,
    client::{ResponseFuture, SendRequest},
};
use http::Method;

use super::bounds::SEND_BUFFER;
use crate::message::{
    head::find_end,
    http2::{
        request::{self, Content},
        sender::{SendError, Sender},
    },
};

/// The request on one stream.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// So much of the head is here.
    Head(SendRequest<Bytes>, Vec<u8>),
    /// The stream has begun.
    Content(Sender),
    /// It could not begin.
    Failed,
}

/// What has become of bytes that were to be written.
#[derive(Debug)]
pub(super) enum Written {
    /// So many were taken.
    Some(usize),
    /// So many were, and the stream has begun: this is where the response to such a request comes.
    Begun(usize, Method, ResponseFuture),
}

impl Outgoing {
    pub(super) fn new(send: SendRequest<Bytes>) -> Self {
        Self::Head(send, Vec::new())
    }

    /// Resets the stream.
    pub(super) fn reset(&mut self, reason: Reason) {
        if let Self::Content(sender) = self {
            sender.stream().send_reset(reason);
        }
    }

    /// Sends what there is room for, one byte of HTTP/1.1 at least.
    ///
    /// # Errors
    ///
    /// What has come of the content; that it is malformed where there is no stream, and there will be none.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<Written, SendError>> {
        match self {
            Self::Head(_, head) => Poll::Ready({
                let before = head.len();
                head.extend_from_slice(bytes);
                match find_end(head, before) {
                    Some(end) => self
                        .begin(end)
                        .map(|(method, response)| Written::Begun(end - before, method, response)),
                    None => Ok(Written::Some(bytes.len())),
                }
            }),
            Self::Content(sender) => sender.poll_write(cx, bytes).map_ok(Written::Some),
            Self::Failed => Poll::Ready(Err(SendError::Malformed)),
        }
    }

    /// Sends the head, which ends at `end` in what is here.
    fn begin(&mut self, end: usize) -> Result<(Method, ResponseFuture), SendError> {
        let Self::Head(mut send, mut head) = mem::replace(self, Self::Failed) else {
            return Err(SendError::Malformed);
        };
        head.truncate(end);
        let (request, content) = request::read(&head.into()).ok_or(SendError::Malformed)?;
        let method = request.method().clone();
        let (response, stream) = send.send_request(request, content == Content::None)?;
        *self = Self::Content(Sender::new(stream, content, SEND_BUFFER));
        Ok((method, response))
    }
}
