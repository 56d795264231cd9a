//! The section `routes`, and `default_route`: which way out a request takes, and what is different on it.
//!
//! Must not know how a route is found, nor how a group is reached. A route that can never be taken is a problem here, and not
//! a surprise later: [`hidden`] finds it.

mod fields;
mod hidden;

use std::time::Duration;

pub use self::fields::{FieldSettings, SetField, ValuePart};
use super::{
    conditions::{self, Conditions},
    read::{LONGEST_WAIT, SHORTEST},
    reader::{Reader, duration, quoted, size, text},
    section::Section,
    settings::{GroupKind, GroupSettings},
};

/// One route. The first whose conditions hold is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// What logs and answers call it; none = its place in the list.
    pub name: Option<String>,
    /// Which requests.
    pub conditions: Conditions,
    /// Where they go.
    pub via: RouteVia,
    /// What is only told, and not done.
    pub reports_only: bool,
    /// Fields of forwarded requests.
    pub headers: FieldSettings,
    /// Request bodies, in bytes; 0 = unlimited, none = as `limits` says.
    pub max_body_size: Option<u64>,
    /// Deadlines that are not those of `timeouts`.
    pub timeouts: RouteTimeouts,
}

/// `via` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteVia {
    /// To nowhere.
    Deny,
    /// To the host itself.
    Direct,
    /// To the hosts themselves, over a group of parents.
    Proxy(GroupPlace),
    /// To a group of origins, whatever the host is called.
    Origin(GroupPlace),
}

/// Which group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    /// What it is called.
    pub name: String,
    /// Its place in `upstreams`.
    pub index: usize,
}

impl RouteVia {
    /// As it is written.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Deny => "deny",
            Self::Direct => "direct",
            Self::Proxy(group) | Self::Origin(group) => &group.name,
        }
    }
}

/// `timeouts` of a route; none = as `timeouts` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// Name resolution and dial together.
    pub connect: Option<Duration>,
    /// End of the request to the head of the response.
    pub response_head: Option<Duration>,
    /// No progress in a body, either way.
    pub body_idle: Option<Duration>,
    /// A tunnel in which nothing moves.
    pub tunnel_idle: Option<Duration>,
}

impl RouteSettings {
    /// What logs and answers call the route at this place of the list: `routes[name]` or `routes[3]`.
    #[must_use]
    pub fn title(&self, index: usize) -> String {
        match &self.name {
            Some(name) => format!("routes[{name}]"),
            None => format!("routes[{index}]"),
        }
    }
}

/// More would be a list, which `access` has.
const MAX_ROUTES: usize = 20_000;

const KEY: &str = "routes";

/// The ways that groups are.
pub(super) fn ways(groups: &[GroupSettings]) -> Vec<RouteVia> {
    let way = |(index, group): (usize, &GroupSettings)| {
        let place = GroupPlace { name: group.name.clone(), index };
        match group.kind {
            GroupKind::Origin => RouteVia::Origin(place),
            GroupKind::Proxy => RouteVia::Proxy(place),
        }
    };
    groups.iter().enumerate().map(way).collect()
}

/// Reads `routes`, of which each may lead to one of these `groups`, too.
pub(super) fn read(reader: &mut Reader<'_>, groups: &[RouteVia]) -> Vec<RouteSettings> {
    let routes = reader.sections(KEY, MAX_ROUTES, |section| route(section, groups));
    let mut names = std::collections::HashSet::new();
    for name in routes.iter().filter_map(|route| route.name.as_deref()) {
        if !names.insert(name) {
            reader.problem(KEY, format!("{name:?} is the name of two routes; each name is accepted once"));
        }
    }
    // Of a list in which something is missing the places mean nothing.
    if !reader.problems.concern(KEY) {
        for text in hidden::find(&routes) {
            reader.problem(KEY, text);
        }
    }
    routes
}

/// Reads `default_route`.
pub(super) fn default(reader: &mut Reader<'_>, groups: &[RouteVia]) -> RouteVia {
    reader.read(
        "default_route",
        RouteVia::Direct,
        |via| quoted(via.name()),
        |value| via(&text(value).unwrap_or_default(), groups),
    )
}

fn route(section: &mut Section<'_, '_>, groups: &[RouteVia]) -> Option<RouteSettings> {
    let name = section.optional("name", |value| {
        text(value).filter(|name| is_name(name)).ok_or_else(|| {
            "1 to 64 letters, digits, '-', '_' and '.', a letter first, are accepted".to_owned()
        })
    });
    let conditions = conditions::read(section);
    let via = section.required("via", |value| via(&text(value).unwrap_or_default(), groups));
    let reports_only = section.optional("mode", |value| match text(value).as_deref() {
        Some("enforce") => Ok(false),
        Some("report") => Ok(true),
        _ => Err("accepted are enforce, report".to_owned()),
    });
    let headers = section.child("headers", fields::read).unwrap_or_default();
    let max_body_size = section
        .child("limits", |section| section.optional("max_body_size", |value| size(value, &(0..=u64::MAX))))
        .flatten();
    let timeouts = section.child("timeouts", timeouts).unwrap_or_default();
    Some(RouteSettings {
        name,
        conditions,
        via: via?,
        reports_only: reports_only.unwrap_or(false),
        headers,
        max_body_size,
        timeouts,
    })
}

fn timeouts(section: &mut Section<'_, '_>) -> RouteTimeouts {
    let mut wait = |name| section.optional(name, |value| duration(value, &(SHORTEST..=LONGEST_WAIT)));
    RouteTimeouts {
        connect: wait("connect"),
        response_head: wait("response_head"),
        body_idle: wait("body_idle"),
        tunnel_idle: wait("tunnel_idle"),
    }
}

fn via(text: &str, groups: &[RouteVia]) -> Result<RouteVia, String> {
    let all = || [RouteVia::Direct, RouteVia::Deny].iter().chain(groups);
    all().find(|via| via.name() == text).cloned().ok_or_else(|| {
        let names: Vec<_> = all().map(RouteVia::name).collect();
        format!("direct, deny or the name of a group of upstreams is accepted: {}", names.join(", "))
    })
}

/// So that it can stand in a label and a field, and is not taken for a place.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests;
