//! Words of rates: nothing is lost, and nobody gets another's.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use crate::shared_memory::Segment;

/// A key in the group with this number.
fn key(group: u64, number: u64) -> u64 {
    (number + 1) << 12 | group
}

/// Two mappings of one memory, as two processes have them.
fn mappings() -> [Segment; 2] {
    let file = tempfile::tempfile().unwrap();
    let made = Segment::create(&file, 1).unwrap();
    let opened = Segment::open(&file).unwrap();
    [made, opened]
}

#[test]
fn a_word_is_kept_and_left() {
    let rates = Segment::private(1).unwrap().rates();
    assert_eq!(rates.peek(7), None);
    assert_eq!(rates.update(7, 100, |word| (word == 100).then_some(150)), Ok(100));
    assert_eq!(rates.update(7, 120, |_| None), Err(150));
    assert_eq!(rates.update(7 + (1 << 12), 120, |word| Some(word + 1)), Ok(120), "of the same group");
    assert_eq!(rates.update(8, 120, |word| Some(word + 1)), Ok(120), "of another group");
    assert_eq!((rates.peek(7), rates.peek(8)), (Some(150), Some(121)));
}

#[test]
fn the_stalest_goes() {
    let rates = Segment::private(1).unwrap().rates();
    for number in 0..16 {
        // Number 5 is the one that is full again first.
        let until = if number == 5 { 1_001 } else { 2_000 + number };
        assert_eq!(rates.update(key(9, number), 1_000, |_| Some(until)), Ok(1_000));
    }
    assert_eq!(rates.update(key(9, 16), 1_500, |word| Some(word + 10)), Ok(1_500));
    for number in (0..16).filter(|number| *number != 5) {
        assert_eq!(rates.peek(key(9, number)), Some(2_000 + number));
    }
    assert_eq!(rates.peek(key(9, 5)), None);
}

#[test]
fn no_update_is_lost() {
    const KEYS: u64 = 40_000;
    let mappings = mappings();
    thread::scope(|scope| {
        for worker in 0..8 {
            let rates = mappings[worker % 2].rates();
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    // A few that everybody wants, and many that come and stay.
                    let number = if round % 2 == 0 { round % 6 } else { round };
                    rates
                        .update(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0, |word| Some(word + 1))
                        .unwrap();
                }
            });
        }
    });
    let rates = mappings[0].rates();
    let total: u64 =
        (0..KEYS).filter_map(|number| rates.peek(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).sum();
    assert_eq!(total, 8 * 20_000);
}

/// Far more keys than fit into one group, all at once: each word says whose it is.
#[test]
fn nobody_gets_the_word_of_another() {
    const FRESH: u64 = 1;
    let mappings = mappings();
    let evictions = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..8_usize {
            let (rates, evictions) = (mappings[worker % 2].rates(), &evictions);
            scope.spawn(move || {
                let mut chance = worker as u64 + 1;
                for _ in 0..40_000 {
                    chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let number = (chance >> 33) % 40;
                    let update = rates.update(key(3, number), FRESH, |word| {
                        assert!(word == FRESH || word >> 32 == number + 1, "{number} gets {word:x}");
                        Some(if word == FRESH { (number + 1) << 32 } else { word + 1 })
                    });
                    evictions.fetch_add(u64::from(update == Ok(FRESH)), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(evictions.into_inner() > 1_000, "keys had to go");
    // Each of those that are left is there once: a second cell would come to light when the first is gone.
    let rates = mappings[0].rates();
    assert_eq!((0..40).filter(|number| rates.peek(key(3, *number)).is_some()).count(), 16);
}
