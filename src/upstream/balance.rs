//! Which server gets a request. Pure but for the turn that [`Rotation`] remembers.
//!
//! Must not know whether a server is well: who is not is no candidate. What has to do with load is a matter of shares: so many
//! requests in flight for so much weight. A server is preferred to the one whose turn it is only when it would have no more to do
//! for its weight afterwards than that one has now, so that as long as all is well requests are spread by weight, and what is slow
//! gets fewer.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use super::lot;
use crate::{config::settings::Balance, net::authority::Host};

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

    /// The place among `candidates` of the one whose turn it is.
    fn next(&self, candidates: &[Candidate]) -> Option<usize> {
        let mut credits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut best, mut all) = (None, 0);
        for (at, candidate) in candidates.iter().enumerate() {
            let credit = &mut credits[candidate.index];
            *credit += i64::from(candidate.weight);
            all += i64::from(candidate.weight);
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((at, *credit));
            }
        }
        let (at, _) = best?;
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
        Balance::RoundRobin => rotation.next(candidates)?,
        Balance::Random => by_lot(candidates, None, draw())?,
        Balance::LeastConnections => least(candidates, rotation.next(candidates)?),
        Balance::PowerOfTwo => {
            let first = by_lot(candidates, None, draw())?;
            match by_lot(candidates, Some(first), draw()) {
                Some(second) => better(candidates, first, second),
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

/// The least loaded one, unless the one whose turn it is does as well.
fn least(candidates: &[Candidate], turn: usize) -> usize {
    let load = |one: &Candidate, other: &Candidate| u64::from(one.in_flight) * u64::from(other.weight);
    let by_load = |a: &usize, b: &usize| {
        let (a, b) = (&candidates[*a], &candidates[*b]);
        load(a, b).cmp(&load(b, a))
    };
    let best = (0..candidates.len()).min_by(by_load).unwrap_or(turn);
    if is_less_loaded(&candidates[best], &candidates[turn]) { best } else { turn }
}

/// Of two, the first unless the second has less to do, or has as much to do and is twice as fast.
fn better(candidates: &[Candidate], first: usize, second: usize) -> usize {
    let (one, other) = (&candidates[first], &candidates[second]);
    if is_less_loaded(other, one) {
        return second;
    }
    let knows_both = one.latency > 0 && other.latency > 0;
    let is_faster = knows_both && u64::from(other.latency) * 2 < u64::from(one.latency);
    if is_faster && !is_less_loaded(one, other) { second } else { first }
}

/// Whether `other`, with one request more, would have no more to do for its weight than `one` has now.
fn is_less_loaded(other: &Candidate, one: &Candidate) -> bool {
    (u64::from(other.in_flight) + 1) * u64::from(one.weight)
        <= u64::from(one.in_flight) * u64::from(other.weight)
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
