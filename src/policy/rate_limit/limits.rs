//! The limits of the configuration, and which of them concern a request.
//!
//! Must not know what is left of them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroU32,
};

use super::{bandwidth::Bandwidth, gcra::Limit, key::BucketKey};
use crate::{
    config::settings::{LimitKey, LimitSettings, Rate, RateLimitSettings},
    policy::{facts::Facts, matcher::Matcher, verdict::RuleName},
};

/// The key of the list, in front of the name of each rule here.
pub const LIMITS: &str = "rate_limit.limits";

/// The limits, in the order of the configuration. Immutable: a reload builds others.
#[derive(Debug)]
pub struct Limits {
    rules: Vec<LimitRule>,
}

/// One limit.
#[derive(Debug)]
pub struct LimitRule {
    /// As it is called in the configuration.
    pub name: String,
    /// `rate_limit.limits[name]`.
    pub rule: RuleName,
    /// Tells its buckets from those of others, by its name: a limit that another is put in front of keeps its buckets.
    pub id: u64,
    /// How many requests.
    pub rate: Option<Limit>,
    /// The same as it is written.
    pub written_rate: Option<Rate>,
    /// How many bytes.
    pub bandwidth: Option<Bandwidth>,
    /// How many requests at a time.
    pub concurrent_requests: Option<NonZeroU32>,
    /// How many tunnels at a time.
    pub concurrent_tunnels: Option<NonZeroU32>,
    key: LimitKey,
    matcher: Matcher,
}

impl Limits {
    /// From the settings.
    pub fn new(settings: &RateLimitSettings) -> Self {
        Self { rules: settings.limits.iter().map(LimitRule::new).collect() }
    }

    /// Those that concern a request, each with the key of its bucket. Allocates nothing.
    pub fn concerning<'a>(
        &'a self,
        facts: &'a Facts<'a>,
    ) -> impl Iterator<Item = (&'a LimitRule, BucketKey<'a>)> {
        self.rules
            .iter()
            .filter(|rule| rule.matcher.matches(facts))
            .filter_map(|rule| Some((rule, BucketKey::of(rule.key, facts)?)))
    }

    /// All of them.
    pub fn rules(&self) -> &[LimitRule] {
        &self.rules
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl LimitRule {
    fn new(settings: &LimitSettings) -> Self {
        let LimitSettings { name, key, rate, bandwidth, concurrent_requests, concurrent_tunnels, conditions } =
            settings;
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self {
            name: name.clone(),
            rule: RuleName::entry(format!("{LIMITS}[{name}]").into()),
            id: hasher.finish(),
            rate: rate.map(|(rate, burst)| Limit::new(rate, burst)),
            written_rate: rate.map(|(rate, _)| rate),
            bandwidth: bandwidth.map(Bandwidth::new),
            concurrent_requests: *concurrent_requests,
            concurrent_tunnels: *concurrent_tunnels,
            key: *key,
            matcher: Matcher::new(conditions.clone()),
        }
    }

    /// How many of this kind may be at a time.
    pub const fn concurrent(&self, is_tunnel: bool) -> Option<NonZeroU32> {
        if is_tunnel { self.concurrent_tunnels } else { self.concurrent_requests }
    }
}
