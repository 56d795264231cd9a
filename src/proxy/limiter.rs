//! Whether there is enough left for a request: the limits that concern it, asked of the memory that all workers share, or of a
//! store that several machines share.
//!
//! Must not know what an answer looks like. Every limit must let a request pass. One that refuses takes nothing, and what
//! others have given by then is given back at once: for that moment, of microseconds, others may miss it. A store decides upon
//! all rates of a request in one step, so there nothing is taken in vain.

mod pace;
mod store;

use std::sync::Arc;

pub(super) use self::pace::Pace;
pub use self::store::{BadStore, Store};
use crate::{
    config::settings::{Rate, RateLimitSettings},
    policy::{
        Facts, RuleName,
        rate_limit::{Bandwidth, BucketKey, Decision, LimitRule, Limits, ticks},
    },
    shared_memory::{Hold, Seat, Tally, clock},
};

/// The limits of one generation of the configuration.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    seat: Seat,
    store: Option<Arc<Store>>,
    /// How often each has refused, in the order of the limits.
    refused: Vec<Tally>,
}

/// What a request may use until it ends.
#[derive(Debug, Default)]
pub struct Grant {
    _holds: Vec<Hold>,
    /// How fast its bytes may move.
    pub(super) pace: Option<Pace>,
}

/// A limit that does not let a request pass.
#[derive(Debug)]
pub struct Limited {
    /// `rate_limit.limits[name]`.
    pub rule: RuleName,
    /// Its name.
    pub name: String,
    /// Requests, and seconds, as they are written; none where it is about how many there are at a time.
    pub policy: Option<(u32, u64)>,
    /// When it is worth another try, in whole seconds.
    pub retry_after: u64,
}

/// What is to be said of a limit that concerns a request.
#[derive(Debug)]
pub struct LimitState {
    /// Its name.
    pub name: String,
    /// Whose bucket it is.
    pub key: String,
    /// The rate, the burst, and what is left.
    pub rate: Option<(Rate, u32, Decision)>,
    /// Bytes in a second.
    pub bandwidth: Option<u64>,
    /// How many there are, and may be.
    pub concurrent: Option<(u64, u32)>,
}

/// What the words of one table are for: the keys of what is counted differently must differ.
#[derive(Clone, Copy, Debug)]
enum Use {
    Rate,
    Bytes,
    Requests,
    Tunnels,
}

impl Limiter {
    /// The limits of the settings; none when there are none. `count` gives a counter for the name of a limit.
    pub fn new(
        settings: &RateLimitSettings,
        seat: Seat,
        store: Option<Arc<Store>>,
        count: impl Fn(&str) -> Tally,
    ) -> Option<Self> {
        let limits = Limits::new(settings);
        let refused = limits.rules().iter().map(|rule| count(&rule.name)).collect();
        (!limits.is_empty()).then_some(Self { limits, seat, store, refused })
    }

    /// What this request may use. Waits for a store, for its deadline at most.
    ///
    /// # Errors
    ///
    /// The first limit that does not let it pass; then it is counted there.
    pub async fn admit(&self, facts: &Facts<'_>) -> Result<Grant, Limited> {
        let is_kept_here = match &self.store {
            Some(store) => !self.ask(store, facts).await?,
            None => true,
        };
        let mut grant = Grant::default();
        for (rule, key) in self.limits.concerning(facts) {
            if let Some(most) = rule.concurrent(facts.is_tunnel()) {
                let what = if facts.is_tunnel() { Use::Tunnels } else { Use::Requests };
                match self.seat.try_hold(self.hash(rule, &key, what), most.get()) {
                    Some(hold) => grant._holds.push(hold),
                    None => return Err(self.refuse(facts, rule, is_kept_here, None)),
                }
            }
            if let Some(bandwidth) = rule.bandwidth {
                let pace = grant.pace.get_or_insert_with(|| Pace::new(self.seat.segment().rates()));
                pace.add(bandwidth, self.hash(rule, &key, Use::Bytes));
            }
            if is_kept_here
                && let Some(decision) = self.take(rule, &key)
                && !decision.allowed
            {
                return Err(self.refuse(facts, rule, true, Some(decision)));
            }
        }
        Ok(grant)
    }

    /// The state of each limit that concerns a request. Takes nothing.
    pub fn look(&self, facts: &Facts<'_>) -> Vec<LimitState> {
        let segment = self.seat.segment();
        let state = |(rule, key): (&LimitRule, BucketKey<'_>)| {
            let decision = rule.rate.map(|limit| {
                let word = segment.rates().peek(self.hash(rule, &key, Use::Rate)).unwrap_or(0);
                (limit.burst().get(), limit.step(word, clock::now(), 0))
            });
            let what = if facts.is_tunnel() { Use::Tunnels } else { Use::Requests };
            LimitState {
                name: rule.name.clone(),
                key: key.to_string(),
                rate: rule
                    .written_rate
                    .zip(decision)
                    .map(|(written, (burst, decision))| (written, burst, decision)),
                bandwidth: rule.bandwidth.map(Bandwidth::bytes_per_second),
                concurrent: rule
                    .concurrent(facts.is_tunnel())
                    .map(|most| (segment.held(self.hash(rule, &key, what)), most.get())),
            }
        };
        self.limits.concerning(facts).map(state).collect()
    }

    /// Takes one request from a bucket, if it has one.
    fn take(&self, rule: &LimitRule, key: &BucketKey<'_>) -> Option<Decision> {
        let limit = rule.rate?;
        let now = clock::now();
        let mut decision = None;
        let hash = self.hash(rule, key, Use::Rate);
        // Whether it was left or changed, what was said last is what counts.
        let _ = self.seat.segment().rates().update(hash, ticks(now), |word| {
            let said = limit.step(word, now, 1);
            decision = Some(said);
            (said.word != word).then_some(said.word)
        });
        decision
    }

    /// Whether a store has decided, and lets the request pass.
    async fn ask(&self, store: &Store, facts: &Facts<'_>) -> Result<bool, Limited> {
        let asked = self.limits.concerning(facts).filter_map(|(rule, key)| Some((rule, rule.rate?, key)));
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return Ok(true);
        }
        let buckets = asked.iter().map(|(rule, limit, key)| (format!("{}:{key}", rule.name), *limit));
        match store.take(buckets.collect()).await {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(refused)) => {
                let rule =
                    asked.get(refused.index).map_or_else(|| &self.limits.rules()[0], |(rule, ..)| rule);
                self.count(rule);
                Err(limited(rule, refused.retry_after))
            }
        }
    }

    /// `refusing` does not let it pass: gives back what those in front of it have given.
    fn refuse(
        &self,
        facts: &Facts<'_>,
        refusing: &LimitRule,
        is_kept_here: bool,
        decision: Option<Decision>,
    ) -> Limited {
        let before = self.limits.concerning(facts).take_while(|(rule, _)| !std::ptr::eq(*rule, refusing));
        for (rule, key) in before.filter(|_| is_kept_here) {
            let Some(limit) = rule.rate else { continue };
            let hash = self.hash(rule, &key, Use::Rate);
            let _ = self
                .seat
                .segment()
                .rates()
                .update(hash, ticks(clock::now()), |word| Some(limit.give_back(word, 1)));
        }
        self.count(refusing);
        limited(refusing, decision.map_or(1, Decision::retry_after_seconds))
    }

    fn count(&self, rule: &LimitRule) {
        let at = self.limits.rules().iter().position(|other| std::ptr::eq(other, rule));
        if let Some(tally) = at.and_then(|at| self.refused.get(at)) {
            tally.add();
        }
    }

    fn hash(&self, rule: &LimitRule, key: &BucketKey<'_>, what: Use) -> u64 {
        key.hash64(self.seat.segment().seed(), rule.id.wrapping_add(what as u64))
    }
}

fn limited(rule: &LimitRule, retry_after: u64) -> Limited {
    let policy = rule.written_rate.map(|rate| (rate.count().get(), rate.period().as_secs()));
    Limited { rule: rule.rule.clone(), name: rule.name.clone(), policy, retry_after: retry_after.max(1) }
}
