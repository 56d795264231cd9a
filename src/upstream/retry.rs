//! When a request may be sent a second time. Pure.
//!
//! RFC 9110 section 9.2.2: a proxy must not repeat a request that is not idempotent by itself. The one exception is
//! a request of which the origin cannot have seen a byte.

use http::Method;

/// What is known of an attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The connection had carried a request before: an origin may close it at any time.
    pub reused: bool,
    /// Not a byte of the request was written.
    pub unsent: bool,
    /// The origin says that it has done nothing with the request.
    pub unprocessed: bool,
    /// A byte of a response came.
    pub response_begun: bool,
    /// The request's body is still whole: it has none, or nothing was taken from it.
    pub body_whole: bool,
}

/// Whether the same request may be sent again, once, on a new connection.
#[must_use]
pub fn may_repeat(attempt: Attempt<'_>) -> bool {
    !attempt.response_begun
        && attempt.body_whole
        && (attempt.unprocessed || (attempt.reused && (attempt.unsent || attempt.method.is_idempotent())))
}

/// Whether the same request may be given to another server of its group, when this one has closed the connection.
#[must_use]
pub fn may_move(attempt: Attempt<'_>) -> bool {
    may_repeat(Attempt { reused: true, ..attempt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_only_what_cannot_do_harm() {
        let get = Attempt {
            method: &Method::GET,
            reused: true,
            unsent: false,
            unprocessed: false,
            response_begun: false,
            body_whole: true,
        };
        let post = Attempt { method: &Method::POST, ..get };
        for (name, attempt, expected) in [
            ("idempotent on a connection that was idle", get, true),
            ("POST that may have arrived", post, false),
            ("POST that cannot have arrived", Attempt { unsent: true, ..post }, true),
            ("a new connection", Attempt { reused: false, ..get }, false),
            ("POST that was not processed", Attempt { reused: false, unprocessed: true, ..post }, true),
            ("its body is spent", Attempt { unprocessed: true, body_whole: false, ..post }, false),
            ("an answer had begun", Attempt { response_begun: true, ..get }, false),
            ("the body is spent", Attempt { method: &Method::PUT, body_whole: false, ..get }, false),
        ] {
            assert_eq!(may_repeat(attempt), expected, "{name}");
        }
    }
}
