//! Counts of what is held: never more than the limit, and nothing left over.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use crate::shared_memory::{Hold, Seat, Segment};

fn seats(count: usize) -> (Segment, Vec<Seat>) {
    let segment = Segment::private(count).unwrap();
    let seats = (0..count).map(|index| segment.seat(index).unwrap()).collect();
    (segment, seats)
}

fn key(group: u64, number: u64) -> u64 {
    (number + 1) << 12 | group
}

#[test]
fn a_limit_holds_over_seats() {
    let (segment, seats) = seats(2);
    let mut holds: Vec<_> = (0..3).map(|count| seats[count % 2].try_hold(7, 3).unwrap()).collect();
    assert!(seats.iter().all(|seat| seat.try_hold(7, 3).is_none()));
    assert!(seats[0].try_hold(8, 3).is_some(), "another key has its own");
    assert_eq!(segment.held(7), 3);
    holds.pop();
    assert_eq!(segment.held(7), 2);
    let again = seats[1].try_hold(7, 3).unwrap();
    assert!(seats[0].try_hold(7, 3).is_none());
    assert!(seats[0].try_hold(7, 4).is_some(), "a limit can be raised");
    assert!(seats[0].try_hold(7, 1).is_none(), "and lowered below what is held");
    drop((holds, again));
    assert_eq!((segment.held(7), segment.held(8)), (0, 0));
}

#[test]
fn the_dead_give_back_what_they_held() {
    let (segment, seats) = seats(3);
    let mut kept = Vec::new();
    for number in 0..100 {
        for seat in &seats {
            kept.push((seat.index(), number, seat.try_hold(key(number % 10, number), 4).unwrap()));
        }
    }
    // A process that is killed drops nothing.
    let (dead, living): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(seat, ..)| *seat == 1);
    dead.into_iter().for_each(std::mem::forget);
    segment.release(1);
    assert!((0..100).all(|number| segment.held(key(number % 10, number)) == 2));
    let new = seats[1].try_hold(key(0, 0), 3).unwrap();
    assert!(seats[0].try_hold(key(0, 0), 3).is_none());
    drop((living, new));
    segment.release(0);
    assert!((0..100).all(|number| segment.held(key(number % 10, number)) == 0));
}

#[test]
fn who_finds_no_room_is_not_limited() {
    let (segment, seats) = seats(1);
    let full: Vec<_> = (0..16).map(|number| seats[0].try_hold(key(4, number), 1).unwrap()).collect();
    let over: Vec<Hold> = (0..3).map(|_| seats[0].try_hold(key(4, 16), 1).unwrap()).collect();
    assert!(seats[0].try_hold(key(4, 3), 1).is_none(), "those who have room are");
    drop(over);
    assert!((0..16).all(|number| segment.held(key(4, number)) == 1));
    drop(full);
    let room = seats[0].try_hold(key(4, 16), 1).unwrap();
    assert!(seats[0].try_hold(key(4, 16), 1).is_none());
    drop(room);
}

/// More keys than a group has cells come and go at once, on all seats.
#[test]
fn never_more_than_the_limit_and_nothing_left_over() {
    const KEYS: usize = 14;
    const MOST: u32 = 3;
    let file = tempfile::tempfile().unwrap();
    let mappings = [Segment::create(&file, 8).unwrap(), Segment::open(&file).unwrap()];
    let held = [const { AtomicU32::new(0) }; KEYS];
    let refused = AtomicU32::new(0);
    thread::scope(|scope| {
        for worker in 0..8_usize {
            let seat = mappings[worker % 2].seat(worker).unwrap();
            let (held, refused) = (&held, &refused);
            scope.spawn(move || {
                let mut chance = worker as u64 + 1;
                let mut mine = Vec::new();
                for round in 0..40_000_u64 {
                    chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Strangers that hold nothing for long make keys move.
                    drop(seat.try_hold(key(6, 100 + round % 50), 1));
                    let number = (chance >> 33) as usize % KEYS;
                    if mine.len() < 8 && chance >> 63 == 0 {
                        if let Some(hold) = seat.try_hold(key(6, number as u64), MOST) {
                            if hold.is_counted() {
                                let now = held[number].fetch_add(1, Ordering::SeqCst) + 1;
                                assert!(now <= MOST, "{number} holds {now}");
                                mine.push((number, hold));
                            }
                        } else {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    } else if !mine.is_empty() {
                        let (number, hold) = mine.swap_remove(chance as usize % mine.len());
                        held[number].fetch_sub(1, Ordering::SeqCst);
                        drop(hold);
                    }
                }
                for (number, hold) in mine {
                    held[number].fetch_sub(1, Ordering::SeqCst);
                    drop(hold);
                }
            });
        }
    });
    assert!(refused.into_inner() > 100, "limits were met");
    let all = (0..KEYS as u64).chain(100..150);
    assert!(all.into_iter().all(|number| mappings[0].held(key(6, number)) == 0));
    for seat in 0..8 {
        mappings[1].release(seat);
    }
    let seat = mappings[0].seat(0).unwrap();
    let full: Vec<_> = (0..MOST).map(|_| seat.try_hold(key(6, 0), MOST).unwrap()).collect();
    assert!(seat.try_hold(key(6, 0), MOST).is_none());
    drop(full);
}
