//! Which way a request takes, by which route, and what holds on it.

use crate::{
    config::{
        settings::{AccessMode, GroupKind, GroupSettings, Settings},
        show::{show_duration, show_size},
    },
    policy::{
        Facts, Policy, Route, Via,
        route::{Action, Routed},
    },
};

/// What is to be said of it, line by line: the way first.
pub(super) fn lines(settings: &Settings, policy: &Policy, facts: &Facts<'_>) -> Vec<String> {
    let Routed { action, reported } =
        policy.routes().find(facts, settings.access.mode == AccessMode::Enforce);
    let mut lines = match action {
        Action::Deny(rule) => vec![format!("none, by {rule}: denied")],
        Action::Take(route) => taken(settings, route, facts),
    };
    match reported {
        None => {}
        Some(Action::Deny(rule)) => lines.push(format!("{rule} only reports: would be denied")),
        Some(Action::Take(route)) => {
            lines.push(format!("{} only reports: would go to {}", route.rule, route.way));
        }
    }
    lines
}

fn taken(settings: &Settings, route: &Route, facts: &Facts<'_>) -> Vec<String> {
    let by = &route.rule;
    let group = match route.via {
        Via::Direct => None,
        Via::Proxy(index) | Via::Origin(index) => settings.upstreams.get(index),
    };
    let mut lines = match group {
        None => vec![format!("direct, by {by}: to the host itself")],
        Some(group) => {
            let what = match group.kind {
                GroupKind::Proxy => "over one of its parents",
                GroupKind::Origin => "to one of its servers",
            };
            vec![format!("{}, by {by}: {what}", route.way), servers(group)]
        }
    };
    let waits = &route.timeouts;
    let connect = show_duration(waits.connect);
    if facts.is_tunnel() {
        lines.push(format!("connect {connect}, tunnel_idle {}", show_duration(waits.tunnel_idle)));
        return lines;
    }
    let most = match route.max_body_size {
        0 => "of any size".to_owned(),
        most => format!("up to {}", show_size(most)),
    };
    lines.push(format!(
        "connect {connect}, response_head {}, body_idle {}; request bodies {most}",
        show_duration(waits.response_head),
        show_duration(waits.body_idle)
    ));
    if let Some(edits) = &route.edits {
        let set: Vec<_> = edits.set.iter().map(|field| &*field.name).collect();
        for (what, names) in [("sets", set.join(", ")), ("removes", edits.remove.join(", "))] {
            if !names.is_empty() {
                lines.push(format!("{what} {names}"));
            }
        }
    }
    lines
}

/// Without credentials.
fn servers(group: &GroupSettings) -> String {
    let servers: Vec<_> = group
        .servers
        .iter()
        .map(|server| match server.weight.get() {
            1 => server.name(),
            weight => format!("{} (weight {weight})", server.name()),
        })
        .collect();
    format!("servers {}", servers.join(", "))
}
