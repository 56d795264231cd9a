//! Which server gets a request. Pure but for the turn that [`Rotation`] remembers.
//!
//! Must not know whether a server is well: who is not is no candidate. What has to do with load is a matter of shares: of all
//! requests in flight, each server's share is that of its weight. One is preferred to the one whose turn it is only when that one
//! has a whole request more of its share than it: so as long as all is well requests are spread by weight, however few they are,
//! and what is slow gets fewer.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use super::lot;
use crate::{config::settings::Balance, net::authority::Host};

/// So many whole rounds can a server be owed, or owe.
const MOST_CREDIT: i64 = 4;

/// Latencies that differ by less, in microseconds, say nothing of servers.
const NOISE: u32 = 5_000;

/// A server that may get the request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Candidate {
    /// Its place in the group.
    pub(super) index: usize,
    /// Its share beside those of the others; not 0.
    pub(super) weight: u32,
    /// Requests that it has.
    pub(super) in_flight: u32,
    /// How long it takes to answer, in microseconds; 0 = not known.
    pub(super) latency: u32,
    /// What it is called by.
    pub(super) name: u64,
}

/// What of a request a choice may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Trait<'a> {
    /// Whose it is.
    pub client: IpAddr,
    /// What it asks for.
    pub host: &'a Host,
}

/// Whose turn it is: the smooth weighted round robin of nginx.
#[derive(Debug)]
pub(super) struct Rotation(Mutex<Box<[i64]>>);

impl Rotation {
    /// For so many servers.
    pub(super) fn new(servers: usize) -> Self {
        Self(Mutex::new(vec![0; servers].into()))
    }

    /// The place among `candidates` of the one that gets it: the one whose turn it is, unless `choose`, who is told how much
    /// each has to its credit as well, says another. Who gets it pays.
    fn take(
        &self,
        candidates: &[Candidate],
        choose: impl FnOnce(usize, &dyn Fn(usize) -> i64) -> usize,
    ) -> Option<usize> {
        let mut credits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: i64 = candidates.iter().map(|candidate| i64::from(candidate.weight)).sum();
        let mut turn = None;
        for (at, candidate) in candidates.iter().enumerate() {
            let credit = &mut credits[candidate.index];
            // Who is passed over for long is not owed all of it.
            *credit = (*credit + i64::from(candidate.weight)).clamp(-MOST_CREDIT * all, MOST_CREDIT * all);
            if turn.is_none_or(|(_, most)| *credit > most) {
                turn = Some((at, *credit));
            }
        }
        let at = choose(turn?.0, &|at: usize| credits[candidates[at].index]);
        credits[candidates[at].index] -= all;
        Some(at)
    }
}

/// The place in its group of the server that gets the request; none where nobody is to be had.
pub(super) fn choose(
    balance: Balance,
    candidates: &[Candidate],
    rotation: &Rotation,
    request: Trait<'_>,
    draw: impl Fn() -> u64,
) -> Option<usize> {
    let at = match balance {
        Balance::RoundRobin => rotation.take(candidates, |turn, _| turn)?,
        Balance::Random => by_lot(candidates, None, draw())?,
        Balance::LeastConnections => {
            rotation.take(candidates, |turn, credit| least(candidates, turn, credit))?
        }
        Balance::PowerOfTwo => {
            let first = by_lot(candidates, None, draw())?;
            match by_lot(candidates, Some(first), draw()) {
                Some(second) => better(candidates, first, second, draw()),
                None => first,
            }
        }
        Balance::ClientHash => rendezvous(candidates, client_name(request.client))?,
        Balance::HostHash => rendezvous(candidates, host_name(request.host))?,
    };
    Some(candidates[at].index)
}

/// By lot and weight, one of those that are not `except`.
fn by_lot(candidates: &[Candidate], except: Option<usize>, lot: u64) -> Option<usize> {
    let those = || candidates.iter().enumerate().filter(|(at, _)| Some(*at) != except);
    let all: u64 = those().map(|(_, candidate)| u64::from(candidate.weight)).sum();
    // The high half of the product: a share of the sum, without the bias of a remainder.
    let mut at = ((u128::from(lot) * u128::from(all)) >> 64) as u64;
    those().find_map(|(place, candidate)| match at.checked_sub(candidate.weight.into()) {
        Some(rest) => {
            at = rest;
            None
        }
        None => Some(place),
    })
}

/// How requests in flight are shared.
struct Shares {
    weights: i64,
    in_flight: i64,
}

impl Shares {
    fn of(candidates: &[Candidate]) -> Self {
        let sum =
            |of: fn(&Candidate) -> u32| candidates.iter().map(|candidate| i64::from(of(candidate))).sum();
        Self { weights: sum(|candidate| candidate.weight), in_flight: sum(|candidate| candidate.in_flight) }
    }

    /// How much more than its share a server has, in requests times all weights.
    fn excess(&self, of: &Candidate) -> i64 {
        i64::from(of.in_flight) * self.weights - self.in_flight * i64::from(of.weight)
    }

    /// How many whole requests less of its share `other` has than `one`.
    fn gain(&self, one: &Candidate, other: &Candidate) -> i64 {
        (self.excess(one) - self.excess(other)).div_euclid(self.weights.max(1))
    }
}

/// The least loaded one, unless the one whose turn it is does as well. Of those that do as well as each other, the one that is
/// owed the most.
fn least(candidates: &[Candidate], turn: usize, credit: &dyn Fn(usize) -> i64) -> usize {
    let shares = Shares::of(candidates);
    // Shares of unequal servers are no whole numbers: one request more or less says nothing then.
    let enough =
        if candidates.iter().all(|candidate| candidate.weight == candidates[turn].weight) { 1 } else { 2 };
    let better = |at: &usize| shares.gain(&candidates[turn], &candidates[*at]) >= enough;
    let better = (0..candidates.len()).filter(better);
    better.min_by_key(|at| (shares.excess(&candidates[*at]), -credit(*at))).unwrap_or(turn)
}

/// Of two, the first unless the second has less to do; or, where one is twice as fast as the other, the one that would be done
/// first with what it has.
fn better(candidates: &[Candidate], first: usize, second: usize, lot: u64) -> usize {
    let (one, other) = (&candidates[first], &candidates[second]);
    let (slow, fast) = (one.latency.max(other.latency), one.latency.min(other.latency));
    let is_better = if fast > 0 && slow / 2 > fast && slow - fast >= NOISE {
        let wait = |of: &Candidate, beside: &Candidate| {
            (u128::from(of.in_flight) + 1) * u128::from(of.latency) * u128::from(beside.weight)
        };
        wait(other, one) < wait(one, other)
    } else {
        let shares = Shares::of(candidates);
        // A light server is the second more often than the first. That it differs by no more than what comes and goes is not to
        // make it get more than its share: then it is taken as often as the other way round.
        let (not_first, not_second) =
            (shares.weights - i64::from(one.weight), shares.weights - i64::from(other.weight));
        match shares.gain(one, other) {
            ..1 => false,
            1 => {
                (u128::from(lot) * not_second.unsigned_abs() as u128) >> 64
                    < u128::from(not_first.unsigned_abs())
            }
            2.. => true,
        }
    };
    if is_better { second } else { first }
}

/// Weighted rendezvous: each key has its own order of the servers, in which nobody moves when another one goes.
fn rendezvous(candidates: &[Candidate], key: u64) -> Option<usize> {
    let distance = |candidate: &Candidate| {
        // From 0 (not included) to 1.
        let share = ((lot::mix(key ^ candidate.name) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -share.ln() / f64::from(candidate.weight)
    };
    let ordered = candidates.iter().enumerate().map(|(at, candidate)| (at, distance(candidate)));
    ordered.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
}

fn client_name(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => lot::name(&address.octets()),
        IpAddr::V6(address) => lot::name(&address.octets()),
    }
}

fn host_name(host: &Host) -> u64 {
    match host {
        Host::Name(name) => lot::name(name.strip_suffix('.').unwrap_or(name).as_bytes()),
        Host::V4(address) => lot::name(&address.octets()),
        Host::V6(address) => lot::name(&address.octets()),
    }
}

#[cfg(test)]
mod tests;
