//! The order in which slots get new workers. Pure.
//!
//! One slot at a time; a request that comes while one runs is remembered once, however often it comes.

use std::collections::VecDeque;

/// Slots that are to get a new worker.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    left: VecDeque<usize>,
    current: Option<usize>,
    is_wanted_again: bool,
}

impl Rollout {
    /// Begins with these slots, or remembers to when one runs. Whether it begins.
    pub(super) fn begin(&mut self, slots: impl IntoIterator<Item = usize>) -> bool {
        if self.is_running() {
            self.want_again();
            return false;
        }
        self.is_wanted_again = false;
        self.left = slots.into_iter().collect();
        true
    }

    /// Whether a slot is being renewed, or is to be.
    pub(super) fn is_running(&self) -> bool {
        self.current.is_some() || !self.left.is_empty()
    }

    /// The slot that is being renewed.
    pub(super) fn current(&self) -> Option<usize> {
        self.current
    }

    /// The slot that was being renewed is done. The next one, if there is one.
    pub(super) fn advance(&mut self) -> Option<usize> {
        self.current = self.left.pop_front();
        self.current
    }

    /// This slot is not to be renewed any more.
    pub(super) fn skip(&mut self, slot: usize) {
        self.left.retain(|left| *left != slot);
    }

    /// Ends it where it is.
    pub(super) fn abort(&mut self) {
        self.left.clear();
        self.current = None;
    }

    /// Remembers that it is to begin when it can.
    pub(super) fn want_again(&mut self) {
        self.is_wanted_again = true;
    }

    /// Whether it was asked for again while it ran; forgets it.
    pub(super) fn take_wanted_again(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted_again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_and_once_more() {
        let mut rollout = Rollout::default();
        assert!(rollout.begin(0..3));
        assert_eq!(rollout.advance(), Some(0));
        assert!(!rollout.begin(0..3) && !rollout.begin(0..3));
        rollout.skip(1);
        assert_eq!((rollout.advance(), rollout.advance()), (Some(2), None));
        assert!(!rollout.is_running());
        assert!(rollout.take_wanted_again() && !rollout.take_wanted_again());
    }

    #[test]
    fn a_failure_ends_it() {
        let mut rollout = Rollout::default();
        rollout.begin(0..3);
        rollout.advance();
        rollout.abort();
        assert!(!rollout.is_running() && rollout.current().is_none());
    }
}
