//! Who accepts from the sockets of a slot whose own worker does not. Pure.
//!
//! A socket of the launcher gets connections whether anybody accepts them or not. So every socket has somebody, as
//! long as one worker is well: first its own, else the one with the fewest sockets of others.

use std::collections::BTreeSet;

use super::{
    event::Action,
    slot::{Life, Slot},
};

/// Lends what nobody accepts from, and takes back what is not needed any more. `well` are workers that accept.
pub(super) fn lend(slots: &mut [Slot], well: &BTreeSet<Life>) -> Vec<Action> {
    let is_well = |life: Option<Life>| life.is_some_and(|life| well.contains(&life));
    let mut actions = Vec::new();
    for index in 0..slots.len() {
        let (borrower, serves) = (slots[index].lent_to, is_well(slots[index].current));
        let to = if serves {
            None
        } else if is_well(borrower) {
            borrower
        } else {
            let loans = |life: &&Life| slots.iter().filter(|slot| slot.lent_to == Some(**life)).count();
            // One that does not answer is better than nobody: it may only be slow.
            well.iter().min_by_key(loans).copied().or(borrower)
        };
        if to == borrower {
            continue;
        }
        actions.extend(borrower.map(|borrower| Action::TakeBack(borrower, index)));
        actions.extend(to.map(|to| Action::Lend(to, index)));
        slots[index].lent_to = to;
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(current: &[Option<u64>]) -> Vec<Slot> {
        current.iter().map(|life| Slot { current: life.map(Life), ..Slot::default() }).collect()
    }

    #[test]
    fn loans_are_spread_and_end() {
        let mut slots = slots(&[Some(0), Some(1), None, None]);
        let both = BTreeSet::from([Life(0), Life(1)]);
        assert_eq!(lend(&mut slots, &both), [Action::Lend(Life(0), 2), Action::Lend(Life(1), 3)]);
        assert_eq!(lend(&mut slots, &both), []);
        slots[2].current = Some(Life(2));
        assert_eq!(lend(&mut slots, &both), [], "it is not ready yet");
        let three = BTreeSet::from([Life(0), Life(1), Life(2)]);
        assert_eq!(lend(&mut slots, &three), [Action::TakeBack(Life(0), 2)]);
    }

    #[test]
    fn a_borrower_that_hangs_loses_its_loans() {
        let mut slots = slots(&[Some(0), Some(1), None]);
        let both = BTreeSet::from([Life(0), Life(1)]);
        assert_eq!(lend(&mut slots, &both), [Action::Lend(Life(0), 2)]);
        let moved = [Action::Lend(Life(1), 0), Action::TakeBack(Life(0), 2), Action::Lend(Life(1), 2)];
        assert_eq!(lend(&mut slots, &BTreeSet::from([Life(1)])), moved);
        assert_eq!(lend(&mut slots, &BTreeSet::new()), [], "there is nobody better");
        assert_eq!(slots[2].lent_to, Some(Life(1)));
    }
}
