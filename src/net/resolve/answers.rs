//! The answers to one question as they arrive: dialling must not wait for both families (RFC 8305 section 3).
//!
//! Must not know which family is wanted first. The invariant: all answers given are for one and the same name.

use std::{
    fmt,
    net::IpAddr,
    task::{Context, Poll},
    vec,
};

use hickory_resolver::proto::rr::Name;

use super::{Family, Question, ResolveError, Resolver};

/// A look-up on its way. Dropping it leaves other callers' questions for the same name alone.
pub struct Answers {
    resolver: Resolver,
    /// What is tried when the present name has no address.
    names: vec::IntoIter<Name>,
    questions: Vec<Question>,
    found: bool,
    /// Of the present name.
    error: Option<ResolveError>,
    /// Of the names before it.
    verdict: Option<ResolveError>,
}

impl Answers {
    pub(super) fn new(resolver: Resolver, names: Vec<Name>) -> Self {
        Self {
            resolver,
            names: names.into_iter(),
            questions: Vec::new(),
            found: false,
            error: None,
            verdict: None,
        }
    }

    /// The addresses of one family, then those of the other; none when there are no more. Never an empty list: what has no
    /// address is an error, once and instead of any answer.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<IpAddr>, ResolveError>>> {
        loop {
            let mut at = 0;
            while at < self.questions.len() {
                let Poll::Ready(answer) = self.questions[at].as_mut().poll(cx) else {
                    at += 1;
                    continue;
                };
                drop(self.questions.swap_remove(at));
                match answer {
                    Ok(addresses) => {
                        self.found = true;
                        return Poll::Ready(Some(Ok(addresses)));
                    }
                    Err(error) => self.keep_clearer(error),
                }
            }
            if !self.questions.is_empty() {
                return Poll::Pending;
            }
            if self.found {
                return Poll::Ready(None);
            }
            let Some(name) = self.next_name() else {
                self.found = true;
                return Poll::Ready(Some(Err(self.verdict.take().unwrap_or(ResolveError::BadName))));
            };
            self.questions = vec![
                self.resolver.question(name.clone(), Family::Ipv6),
                self.resolver.question(name, Family::Ipv4),
            ];
        }
    }

    /// Whether there has been an answer and nothing more will come.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.found && self.questions.is_empty()
    }

    fn next_name(&mut self) -> Option<Name> {
        let go_on = self.error.as_ref().is_none_or(lets_search_go_on);
        // That a server failed for one of the names says more than that the others do not exist.
        if !matches!(self.verdict, Some(ResolveError::Failed { .. } | ResolveError::Timeout)) {
            self.verdict = self.error.take().or_else(|| self.verdict.take());
        }
        if go_on { self.names.next() } else { None }
    }

    /// Of two failed questions for one name the one that says most: that there is no such name holds for both families, that
    /// it has no address only for the one.
    fn keep_clearer(&mut self, error: ResolveError) {
        let says = |error: &ResolveError| match error {
            ResolveError::NotFound { rcode: "NXDOMAIN" } => 3,
            ResolveError::Failed { .. } | ResolveError::BadName => 2,
            ResolveError::Timeout => 1,
            ResolveError::NotFound { .. } => 0,
        };
        if self.error.as_ref().is_none_or(|kept| says(kept) < says(&error)) {
            self.error = Some(error);
        }
    }
}

/// As getaddrinfo: a server that is silent for one name will be for the next.
fn lets_search_go_on(error: &ResolveError) -> bool {
    matches!(error, ResolveError::NotFound { .. } | ResolveError::Failed { rcode: Some("SERVFAIL") })
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("found", &self.found)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
