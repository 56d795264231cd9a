//! Who accepts for a slot that has no worker: the sockets of a slot that is vacant are lent to a worker that lives, and returned
//! when the slot has one again. So whatever queues there is served at once.

use tokio::sync::mpsc::UnboundedSender;

use super::slot::{Loan, News};

/// All loans of the instance.
#[derive(Debug)]
pub(super) struct Loans {
    slots: Vec<Place>,
    /// Every worker accepts for every slot anyway.
    needless: bool,
}

#[derive(Debug)]
struct Place {
    tell: UnboundedSender<Loan>,
    ready: bool,
    /// Who accepts for it.
    lent_to: Option<usize>,
}

impl Loans {
    /// For slots that are told by these senders.
    pub(super) fn new(tell: Vec<UnboundedSender<Loan>>, needless: bool) -> Self {
        let place = |tell| Place { tell, ready: false, lent_to: None };
        Self { slots: tell.into_iter().map(place).collect(), needless }
    }

    /// Something has become of a slot.
    pub(super) fn hear(&mut self, slot: usize, news: News) {
        if self.needless {
            return;
        }
        match news {
            News::Ready => {
                self.slots[slot].ready = true;
                if let Some(other) = self.slots[slot].lent_to.take() {
                    let _ = self.slots[other].tell.send(Loan::Return(slot));
                }
            }
            News::Vacant => {
                self.slots[slot].ready = false;
                // What it had been lent is without anybody again.
                for place in &mut self.slots {
                    place.lent_to = place.lent_to.filter(|other| *other != slot);
                }
            }
            News::FailedAtFirst(_) | News::GivenUp | News::Ended { .. } => {}
        }
        self.lend();
    }

    /// Finds somebody for every vacant slot, as long as somebody is there.
    fn lend(&mut self) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].ready || self.slots[slot].lent_to.is_some() {
                continue;
            }
            let burden =
                |other: usize| self.slots.iter().filter(|place| place.lent_to == Some(other)).count();
            let ready = (0..self.slots.len()).filter(|other| self.slots[*other].ready);
            let Some(other) = ready.min_by_key(|other| burden(*other)) else { return };
            if self.slots[other].tell.send(Loan::Lend(slot)).is_ok() {
                self.slots[slot].lent_to = Some(other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn instance(slots: usize) -> (Loans, Vec<UnboundedReceiver<Loan>>) {
        let (tell, told) = (0..slots).map(|_| unbounded_channel()).unzip();
        (Loans::new(tell, false), told)
    }

    fn all(told: &mut UnboundedReceiver<Loan>) -> Vec<Loan> {
        std::iter::from_fn(|| told.try_recv().ok()).collect()
    }

    #[test]
    fn a_vacant_slot_is_lent_and_returned() {
        let (mut loans, mut told) = instance(3);
        for slot in 0..3 {
            loans.hear(slot, News::Ready);
        }
        for told in &mut told {
            all(told);
        }
        loans.hear(1, News::Vacant);
        assert_eq!(all(&mut told[0]), [Loan::Lend(1)]);
        loans.hear(1, News::Ready);
        assert_eq!(all(&mut told[0]), [Loan::Return(1)]);
        assert_eq!(all(&mut told[2]), []);
    }

    #[test]
    fn loans_are_shared_out_and_pass_on_when_the_borrower_dies() {
        let (mut loans, mut told) = instance(4);
        for slot in 0..4 {
            loans.hear(slot, News::Ready);
        }
        for told in &mut told {
            all(told);
        }
        loans.hear(0, News::Vacant);
        loans.hear(1, News::Vacant);
        assert_eq!((all(&mut told[2]), all(&mut told[3])), (vec![Loan::Lend(0)], vec![Loan::Lend(1)]));
        assert_eq!(all(&mut told[1]), [Loan::Lend(0)], "which has died since");
        loans.hear(2, News::GivenUp);
        loans.hear(2, News::Vacant);
        assert_eq!(all(&mut told[3]), [Loan::Lend(0), Loan::Lend(2)]);
    }
}
