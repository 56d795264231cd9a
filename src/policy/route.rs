//! Which way out: the first route whose conditions hold, or `default_route`.
//!
//! Must not know how a group is reached, nor what is sent. What a route says is put together with what holds for all when it
//! is built, so that nobody who has one looks elsewhere for a limit or a deadline. Asking allocates nothing, and looks only at
//! routes that may be for the host ([`hosts`]): ten thousand others cost nothing.
//!
//! A route that only reports is never taken: the first one whose conditions hold is told, and the search goes on.

mod hosts;

use std::{sync::Arc, time::Duration};

use self::hosts::Hosts;
use super::{facts::Facts, matcher::Matcher, verdict::RuleName};
use crate::{
    config::settings::{self, FieldSettings, RouteSettings, RouteVia, Settings},
    message::edits::{FieldEdits, FieldSet, ValuePart},
    net::authority::Host,
};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// To the host itself.
    Direct,
    /// To the host, over the parents of the group at this place in `upstreams`.
    Proxy(usize),
    /// To the origins of the group at this place in `upstreams`, whatever the host is called.
    Origin(usize),
}

/// The way that a request takes, and what holds on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it goes.
    pub via: Via,
    /// `direct`, or the name of the group.
    pub way: Box<str>,
    /// `routes[name]`, `routes[3]` or `default_route`.
    pub rule: RuleName,
    /// Request bodies, in bytes; 0 = unlimited.
    pub max_body_size: u64,
    /// The route itself says so.
    pub has_own_max_body_size: bool,
    /// Every wait.
    pub timeouts: Timeouts,
    /// What is changed of the fields of a forwarded request; none = nothing.
    pub edits: Option<FieldEdits>,
}

/// The waits of a route, its own or those that hold for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution and dial together.
    pub connect: Duration,
    /// End of the request to the head of the response.
    pub response_head: Duration,
    /// No progress in a body, either way.
    pub body_idle: Duration,
    /// A tunnel in which nothing moves.
    pub tunnel_idle: Duration,
}

/// What a route says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This rule refuses it.
    Deny(RuleName),
    /// It takes this way.
    Take(Arc<Route>),
}

impl Action {
    /// The rule that says so.
    #[must_use]
    pub fn rule(&self) -> &RuleName {
        match self {
            Self::Deny(rule) => rule,
            Self::Take(route) => &route.rule,
        }
    }
}

/// What becomes of a request, and what would have by a route that only reports.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// What is done.
    pub action: &'a Action,
    /// What is told.
    pub reported: Option<&'a Action>,
}

impl Routed<'_> {
    /// What is told, for a verdict.
    pub(super) fn would_route(&self) -> Option<Box<Action>> {
        self.reported.map(|action| Box::new(action.clone()))
    }
}

/// All routes of one generation of the configuration. Immutable: a reload builds others.
#[derive(Debug)]
pub struct Routes {
    rules: Vec<Rule>,
    hosts: Hosts,
    default: Action,
    /// Where refusing is only reported, `default_route` leads here.
    open: Action,
    serves_origins: bool,
}

#[derive(Debug)]
struct Rule {
    matcher: Matcher,
    action: Action,
    reports_only: bool,
}

impl Routes {
    /// From the settings, which are checked already.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut hosts = Hosts::default();
        let mut rules = Vec::with_capacity(settings.routes.len());
        for (index, route) in settings.routes.iter().enumerate() {
            hosts.add(index, &route.conditions);
            rules.push(Rule {
                matcher: Matcher::new(route.conditions.clone()),
                action: action(settings, RuleName::entry(route.title(index).into()), &route.via, Some(route)),
                reports_only: route.reports_only,
            });
        }
        hosts.finish();
        let default = action(settings, DEFAULT, &settings.default_route, None);
        let serves_origins =
            is_origin(&default) || rules.iter().any(|rule| !rule.reports_only && is_origin(&rule.action));
        let open = match &default {
            Action::Take(_) => default.clone(),
            Action::Deny(_) => action(settings, DEFAULT, &RouteVia::Direct, None),
        };
        Self { rules, hosts, default, open, serves_origins }
    }

    /// The way of a request. `refuses` is false where nothing is refused: then what would be is only reported.
    pub fn find(&self, facts: &Facts<'_>, refuses: bool) -> Routed<'_> {
        let mut reported = None;
        for rule in self.candidates(&facts.authority.host).filter(|rule| rule.matcher.matches(facts)) {
            let is_told_only = rule.reports_only || (!refuses && matches!(rule.action, Action::Deny(_)));
            if !is_told_only {
                return Routed { action: &rule.action, reported };
            }
            reported = reported.or(Some(&rule.action));
        }
        match &self.default {
            Action::Deny(_) if !refuses => {
                Routed { action: &self.open, reported: reported.or(Some(&self.default)) }
            }
            default => Routed { action: default, reported },
        }
    }

    /// Whether a request that is addressed to the proxy itself may be for the origins behind it, once it is known who sends
    /// it. False costs nothing where there are none.
    pub fn may_be_for_origins(&self, facts: &Facts<'_>) -> bool {
        if !self.serves_origins {
            return false;
        }
        for rule in self.candidates(&facts.authority.host) {
            if rule.reports_only || !rule.matcher.matches_for_somebody(facts) {
                continue;
            }
            if is_origin(&rule.action) {
                return true;
            }
            if !rule.matcher.asks_for_users() {
                return false;
            }
        }
        is_origin(&self.default)
    }

    /// Whether there is a way to origins behind the proxy at all.
    #[must_use]
    pub fn serve_origins(&self) -> bool {
        self.serves_origins
    }

    /// The routes that may be for the host, in order.
    fn candidates<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Rule> + use<'a> {
        // Most have none, and the name is not taken apart for that.
        let found = (!self.rules.is_empty()).then(|| self.hosts.candidates(host));
        found.into_iter().flatten().map(|index| &self.rules[index as usize])
    }
}

fn action(settings: &Settings, rule: RuleName, via: &RouteVia, route: Option<&RouteSettings>) -> Action {
    let target = match via {
        RouteVia::Deny => return Action::Deny(rule),
        RouteVia::Direct => Via::Direct,
        RouteVia::Proxy(group) => Via::Proxy(group.index),
        RouteVia::Origin(group) => Via::Origin(group.index),
    };
    let own = route.map(|route| route.timeouts.clone()).unwrap_or_default();
    let all = &settings.timeouts;
    let max_body_size = route.and_then(|route| route.max_body_size);
    Action::Take(Arc::new(Route {
        via: target,
        way: via.name().into(),
        rule,
        max_body_size: max_body_size.unwrap_or(settings.limits.max_body_size),
        has_own_max_body_size: max_body_size.is_some(),
        timeouts: Timeouts {
            connect: own.connect.unwrap_or(all.connect),
            response_head: own.response_head.unwrap_or(all.response_head),
            body_idle: own.body_idle.unwrap_or(all.body_idle),
            tunnel_idle: own.tunnel_idle.unwrap_or(all.tunnel_idle),
        },
        edits: route.map(|route| edits(&route.headers)).filter(|edits| !edits.is_empty()),
    }))
}

fn edits(settings: &FieldSettings) -> FieldEdits {
    let part = |part: &settings::ValuePart| match part {
        settings::ValuePart::ClientIp => ValuePart::ClientIp,
        settings::ValuePart::RequestId => ValuePart::RequestId,
        settings::ValuePart::Text(text) => ValuePart::Text(text.as_str().into()),
        settings::ValuePart::User => ValuePart::User,
    };
    let set = settings.set.iter().map(|field| FieldSet {
        name: field.name.as_str().into(),
        value: field.value.iter().map(part).collect(),
    });
    FieldEdits {
        set: set.collect(),
        remove: settings.remove.iter().map(|name| name.as_str().into()).collect(),
    }
}

fn is_origin(action: &Action) -> bool {
    matches!(action, Action::Take(route) if matches!(route.via, Via::Origin(_)))
}

const DEFAULT: RuleName = RuleName::key("default_route");

#[cfg(test)]
mod tests;
