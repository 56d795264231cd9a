//! The numbers of one worker's life. Plain atomics: written by one process, read by all.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Upper bounds of the latency histogram's buckets, in milliseconds; one more bucket holds the rest.
pub const LATENCY_BOUNDS_MS: [u64; 15] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// How many durations fell into each bucket, and their sum.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Histogram {
    /// One more than there are bounds.
    pub buckets: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
    /// In microseconds.
    pub sum_micros: AtomicU64,
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&self, micros: u64) {
        let bucket = LATENCY_BOUNDS_MS.partition_point(|bound| bound * 1000 < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The counters of one seat. Aligned so that two workers never write to one cache line, prefetched neighbours included.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Counters {
    /// Requests that were answered, by method and class of status code, in the orders of `telemetry::names`.
    pub requests: [[AtomicU64; 5]; 10],
    /// How long they took.
    pub durations: Histogram,
    /// Failures, by their number in `telemetry::names::ProxyErrorType`.
    pub errors: [AtomicU64; 32],
    /// Client connections that were taken.
    pub connections_total: AtomicU64,
    /// Client connections that are open.
    pub connections_active: AtomicI64,
    /// TLS handshakes with clients, by how they ended, in the order of `telemetry::names`.
    pub handshakes: [AtomicU64; 4],
    /// Tunnels that were opened.
    pub tunnels_total: AtomicU64,
    /// Tunnels that are open.
    pub tunnels_active: AtomicI64,
    /// Content from clients, in bytes.
    pub bytes_in: AtomicU64,
    /// Content to clients, in bytes.
    pub bytes_out: AtomicU64,
    /// Connections to origins that were made.
    pub upstream_connects: AtomicU64,
    /// Connections to origins that could not be made.
    pub upstream_connect_failures: AtomicU64,
    /// Requests that went out on a connection that was kept.
    pub upstream_reused: AtomicU64,
    /// Requests that were sent twice.
    pub upstream_retries: AtomicU64,
    /// Connections to origins that carry a request; tunnels are not among them.
    pub upstream_active: AtomicI64,
    /// Connections to origins that are kept for the next request.
    pub upstream_idle: AtomicI64,
    /// Names that DNS was asked for.
    pub dns_lookups: AtomicU64,
    /// Names that DNS could not resolve.
    pub dns_failures: AtomicU64,
    /// Lines of the access log that were lost.
    pub access_log_dropped: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for micros in [0, 999, 1_000, 1_001, 60_000_000, 60_000_001] {
            histogram.add(micros);
        }
        let counts: Vec<_> = histogram.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        assert_eq!((counts[0], counts[1], counts[14], counts[15]), (3, 1, 1, 1));
    }

    #[test]
    fn seats_do_not_share_cache_lines() {
        assert_eq!(size_of::<Counters>() % 128, 0);
        assert_eq!(align_of::<Counters>(), 128);
    }
}
