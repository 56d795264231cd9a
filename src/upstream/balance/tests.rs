//! How each way of choosing spreads requests.

use std::{collections::VecDeque, net::Ipv4Addr};

use super::*;

const WEIGHTS: [u32; 3] = [5, 3, 2];

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let named = |(index, weight): (usize, &u32)| Candidate {
        index,
        weight: *weight,
        name: lot::name(format!("http://10.0.0.{index}").as_bytes()),
        ..Candidate::default()
    };
    weights.iter().enumerate().map(named).collect()
}

fn request(client: u32, host: &Host) -> Trait<'_> {
    Trait { client: Ipv4Addr::from(client).into(), host }
}

fn a_host(number: u32) -> Host {
    Host::Name(format!("h{number}.test").into())
}

/// How many of `count` requests each server gets, when `width` are on their way at a time and server i answers after `times[i]`
/// steps.
fn spread(balance: Balance, weights: &[u32], width: usize, times: &[u32], count: u32) -> Vec<u32> {
    let (mut all, rotation) = (candidates(weights), Rotation::new(weights.len()));
    let (mut on_way, mut got) = (VecDeque::<(u32, usize)>::new(), vec![0; weights.len()]);
    for (now, number) in (0..count).enumerate() {
        let now = now as u32;
        while on_way.len() >= width {
            // Whoever is due first is done first.
            let (at, _) = on_way.iter().enumerate().min_by_key(|(_, (due, _))| *due).unwrap();
            let (_, index) = on_way.remove(at).unwrap();
            all[index].in_flight -= 1;
        }
        let host = a_host(number);
        let index = choose(balance, &all, &rotation, request(number, &host), lot::draw).unwrap();
        all[index].in_flight += 1;
        all[index].latency = times[index] * 1_000;
        got[index] += 1;
        on_way.push_back((now + times[index] * width as u32, index));
    }
    got
}

#[test]
fn each_server_gets_its_share() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::Random,
        Balance::PowerOfTwo,
        Balance::ClientHash,
        Balance::HostHash,
    ] {
        for width in [1, 7, 40] {
            let got = spread(balance, &WEIGHTS, width, &[1, 1, 1], 100_000);
            for (got, weight) in got.iter().zip(WEIGHTS) {
                let share = f64::from(*got) / 100_000.0;
                assert!(
                    (share - f64::from(weight) / 10.0).abs() < 0.02,
                    "{balance:?}, {width}: {got:?} for {weight}"
                );
            }
        }
    }
}

#[test]
fn in_turn_is_smooth() {
    let (all, rotation, host) = (candidates(&[5, 1, 1]), Rotation::new(3), a_host(0));
    let got: Vec<_> = (0..7)
        .map(|_| choose(Balance::RoundRobin, &all, &rotation, request(0, &host), lot::draw).unwrap())
        .collect();
    assert_eq!(got, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn what_is_slow_gets_little() {
    for balance in [Balance::LeastConnections, Balance::PowerOfTwo] {
        let got = spread(balance, &[1, 1, 1, 1], 16, &[1, 1, 1, 10], 40_000);
        assert!(got[3] < 2_000, "{balance:?}: {got:?}");
    }
}

#[test]
fn the_less_loaded_is_taken() {
    let rotation = Rotation::new(3);
    for (weights, in_flight, expected) in [
        ([1, 1, 1], [3, 2, 6], 1),
        ([1, 1, 2], [5, 3, 3], 2),
        ([1, 1, 2], [0, 3, 5], 0),
        ([1, 1, 1], [0, 1, 1], 0),
    ] {
        let mut all = candidates(&weights);
        for (candidate, count) in all.iter_mut().zip(in_flight) {
            candidate.in_flight = count;
        }
        for _ in 0..8 {
            let host = a_host(0);
            let got = choose(Balance::LeastConnections, &all, &rotation, request(0, &host), lot::draw);
            assert_eq!(got, Some(expected), "{in_flight:?}");
        }
    }
}

#[test]
fn only_the_keys_of_a_server_that_goes_move() {
    let all = candidates(&[1; 8]);
    let rotation = Rotation::new(8);
    let mut moved = 0;
    for number in 0..8_000 {
        let host = a_host(number);
        for balance in [Balance::ClientHash, Balance::HostHash] {
            let of = |those: &[Candidate]| {
                choose(balance, those, &rotation, request(number, &host), lot::draw).unwrap()
            };
            let (before, after) = (of(&all), of(&all[..7]));
            assert!(before == 7 || before == after, "{number} had no reason to move");
            moved += u32::from(before == 7);
        }
    }
    assert!((1_800..2_200).contains(&moved), "{moved} of 16000");
}

#[test]
fn nobody_is_nobody() {
    let host = a_host(0);
    for balance in [Balance::RoundRobin, Balance::Random, Balance::PowerOfTwo, Balance::HostHash] {
        let rotation = Rotation::new(1);
        assert_eq!(choose(balance, &[], &rotation, request(0, &host), lot::draw), None);
        assert_eq!(choose(balance, &candidates(&[1]), &rotation, request(0, &host), lot::draw), Some(0));
    }
}
