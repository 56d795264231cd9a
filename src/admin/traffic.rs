//! What passed through the instance since it began, as `/status` tells it. Numbers that only rise, but for the two of
//! connections: who wants to know how fast they rise looks twice.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

use crate::{
    shared_memory::{Counters, LATENCY_BOUNDS_MS, Segment},
    telemetry::names::{CODE_CLASSES, ProxyErrorType, tally},
};

/// Sums over all workers there ever were. A part that another version does not know is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Answered requests, by class of the status code: `2xx` and so on.
    pub requests: BTreeMap<String, u64>,
    /// Failures by their names in RFC 9209; those that happened.
    pub errors: BTreeMap<String, u64>,
    /// What rules have refused, or would have in `access.mode: report`, by the rule; those that have.
    pub denied: BTreeMap<String, u64>,
    /// What limits have refused, by the limit; those that have.
    pub rate_limited: BTreeMap<String, u64>,
    /// How long requests took; tunnels are not in it.
    pub latency: Latency,
    /// Content from clients, in bytes.
    pub bytes_in: u64,
    /// Content to clients, in bytes.
    pub bytes_out: u64,
    /// Connections to origins.
    pub upstream: UpstreamTraffic,
    /// Names that were asked for, and those of them that could not be resolved.
    pub dns_lookups: u64,
    /// See above.
    pub dns_failures: u64,
    /// Lines of the access log that were lost.
    pub access_log_dropped: u64,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Upper bounds, in milliseconds.
    pub bounds_ms: Vec<u64>,
    /// How many were within each bound and not within the one before; one more for the rest.
    pub counts: Vec<u64>,
    /// Of all, in milliseconds.
    pub sum_ms: f64,
}

/// Connections to origins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamTraffic {
    /// That were made.
    pub connects: u64,
    /// That could not be made.
    pub connect_failures: u64,
    /// Requests that went out on a kept one.
    pub reused: u64,
    /// Requests that went out a second time.
    pub retries: u64,
    /// That carry a request now; tunnels are not among them.
    pub active: u64,
    /// That are kept for the next request.
    pub idle: u64,
}

impl Traffic {
    /// The sums over these counters.
    pub fn of<'a>(counters: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut sum = Self {
            requests: CODE_CLASSES.map(|class| (class.to_owned(), 0)).into(),
            latency: Latency {
                bounds_ms: LATENCY_BOUNDS_MS.to_vec(),
                counts: vec![0; LATENCY_BOUNDS_MS.len() + 1],
                sum_ms: 0.0,
            },
            ..Self::default()
        };
        let (mut active, mut idle) = (0, 0);
        for counters in counters {
            sum.add(counters);
            active += level(&counters.upstream_active);
            idle += level(&counters.upstream_idle);
        }
        sum.upstream.active = u64::try_from(active).unwrap_or(0);
        sum.upstream.idle = u64::try_from(idle).unwrap_or(0);
        sum
    }

    /// The same with what rules and limits have refused, which is counted under their names.
    #[must_use]
    pub fn with_refusals(mut self, segment: &Segment) -> Self {
        self.denied = segment.tallies(tally::DENIED).into_iter().collect();
        self.rate_limited = segment.tallies(tally::RATE_LIMITED).into_iter().collect();
        self
    }

    fn add(&mut self, counters: &Counters) {
        for (class, name) in CODE_CLASSES.into_iter().enumerate() {
            let count: u64 = counters.requests.iter().map(|method| load(&method[class])).sum();
            *self.requests.entry(name.to_owned()).or_default() += count;
        }
        for (error, count) in ProxyErrorType::ALL.into_iter().zip(counters.errors.iter().map(load)) {
            if count > 0 {
                *self.errors.entry(error.name().to_owned()).or_default() += count;
            }
        }
        for (sum, count) in self.latency.counts.iter_mut().zip(&counters.durations.buckets) {
            *sum += load(count);
        }
        self.latency.sum_ms += load(&counters.durations.sum_micros) as f64 / 1e3;
        self.bytes_in += load(&counters.bytes_in);
        self.bytes_out += load(&counters.bytes_out);
        self.upstream.connects += load(&counters.upstream_connects);
        self.upstream.connect_failures += load(&counters.upstream_connect_failures);
        self.upstream.reused += load(&counters.upstream_reused);
        self.upstream.retries += load(&counters.upstream_retries);
        self.dns_lookups += load(&counters.dns_lookups);
        self.dns_failures += load(&counters.dns_failures);
        self.access_log_dropped += load(&counters.access_log_dropped);
    }

    /// Requests that were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Failures of any kind.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Latency {
    /// What so great a share of the durations was within, in milliseconds: inside a bucket, taken to be spread evenly.
    /// None where nothing was measured; the last bound for what was beyond it.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        if all == 0 {
            return None;
        }
        let wanted = share * all as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, bound) in self.counts.iter().zip(&self.bounds_ms) {
            let (count, bound) = (*count as f64, *bound as f64);
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (bound - lower) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            below += count;
            lower = bound;
        }
        Some(lower)
    }

    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().enumerate();
        let counts =
            counts.map(|(at, count)| count.saturating_sub(earlier.counts.get(at).copied().unwrap_or(0)));
        Self {
            bounds_ms: self.bounds_ms.clone(),
            counts: counts.collect(),
            sum_ms: (self.sum_ms - earlier.sum_ms).max(0.0),
        }
    }
}

fn load(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

fn level(number: &AtomicI64) -> i64 {
    number.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_over_all_and_a_level_is_not_below_zero() {
        let seats: [Counters; 2] = Default::default();
        for (number, seat) in (1..).zip(&seats) {
            seat.requests[0][1].store(number, Ordering::Relaxed);
            seat.requests[5][1].store(10 * number, Ordering::Relaxed);
            seat.errors[ProxyErrorType::DnsError as usize].store(number, Ordering::Relaxed);
            seat.durations.add(500);
            seat.upstream_idle.store(-7, Ordering::Relaxed);
        }
        let sum = Traffic::of(&seats);
        assert_eq!((sum.answered(), sum.requests["2xx"], sum.requests["5xx"], sum.failed()), (33, 33, 0, 3));
        assert_eq!(sum.errors, BTreeMap::from([("dns_error".to_owned(), 3)]));
        assert_eq!((sum.latency.counts[0], sum.latency.sum_ms, sum.upstream.idle), (2, 1.0, 0));
        let json = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<Traffic>(&json).unwrap(), sum);
        assert_eq!(serde_json::from_str::<Traffic>("{}").unwrap(), Traffic::default());
    }

    #[test]
    fn quantiles_lie_inside_their_buckets() {
        let latency = |counts: &[u64]| Latency {
            bounds_ms: vec![1, 2, 5],
            counts: counts.to_vec(),
            ..Latency::default()
        };
        for (counts, share, expected) in [
            (&[0, 0, 0, 0][..], 0.5, None),
            (&[10, 0, 0, 0], 0.5, Some(0.5)),
            (&[0, 10, 0, 0], 0.5, Some(1.5)),
            (&[50, 40, 10, 0], 0.95, Some(3.5)),
            (&[50, 0, 0, 50], 0.99, Some(5.0)),
            (&[1, 0, 0, 0], 1.0, Some(1.0)),
        ] {
            assert_eq!(latency(counts).quantile(share), expected, "{counts:?} {share}");
        }
        assert_eq!(latency(&[5, 5, 5, 5]).since(&latency(&[1, 5, 9, 0])).counts, [4, 0, 0, 5]);
    }
}
