//! Which route is taken, and how few are looked at.

use http::Method;

use super::*;
use crate::{
    config::{
        self, Sources,
        settings::{AskedBy, Conditions, DestinationPattern, GroupPlace, Wildcard},
    },
    net::{authority::Authority, filter::NetPattern},
};

fn settings(routes: &str) -> Settings {
    let sources = Sources { text: Some(("c.yml".into(), routes.into())), ..Sources::default() };
    config::load(&sources).unwrap_or_else(|problems| panic!("{problems}")).settings
}

fn with_facts<T>(target: &str, method: &str, user: Option<&str>, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let is_tunnel = method == Method::CONNECT;
    let authority = Authority::parse(target, Some(80)).unwrap();
    ask(&Facts {
        client: [10, 1, 2, 3].into(),
        client_is_local: false,
        method: &method,
        asked_by: if is_tunnel { AskedBy::Connect } else { AskedBy::Http },
        authority: &authority,
        user,
        path: (!is_tunnel).then_some(b"/api/x".as_slice()),
    })
}

/// The rule that decides, and the one that would.
fn found(routes: &Routes, target: &str, method: &str, refuses: bool) -> String {
    with_facts(target, method, None, |facts| {
        let Routed { action, reported } = routes.find(facts, refuses);
        let told = reported.map(|action| format!(", not {}", action.rule())).unwrap_or_default();
        let deny = if matches!(action, Action::Deny(_)) { "-" } else { "+" };
        format!("{deny}{}{told}", action.rule())
    })
}

#[test]
fn the_first_that_matches_is_taken() {
    let routes = Routes::new(&settings(
        "routes:\n  - { name: exact, match: { hosts: [x.b.test] }, via: deny }\n  - { name: wild, match: { hosts: [\"*.b.test\"] }, via: direct }\n\
         \x20 - { name: ports, match: { ports: [81] }, via: deny }\n  - { name: deep, match: { hosts: [.a.b.test] }, via: direct }\n\
         \x20 - { name: below, match: { hosts: [.b.test] }, via: deny }\n  - { name: nets, match: { hosts: [10.0.0.0/8, \"2001:db8::/32\", \"::ffff:192.0.2.0/120\"] }, via: deny }\n\
         \x20 - { name: loop, match: { hosts: [loopback] }, via: deny }\n  - { name: www, match: { hosts: [\"www.*\"] }, via: deny }\n\
         \x20 - { name: tunnels, match: { schemes: [connect] }, via: deny }\n",
    ));
    for (target, method, expected) in [
        ("x.b.test:80", "GET", "-routes[exact]"),
        ("x.b.test.:81", "GET", "-routes[exact]"),
        ("y.b.test:81", "GET", "+routes[wild]"),
        ("y.x.b.test:81", "GET", "-routes[ports]"),
        ("y.x.b.test:80", "GET", "-routes[below]"),
        ("a.b.test:80", "GET", "+routes[wild]"),
        ("x.a.b.test:80", "GET", "+routes[deep]"),
        ("x.a.b.test:81", "GET", "-routes[ports]"),
        ("b.test:80", "GET", "+default_route"),
        ("b.test:80", "CONNECT", "-routes[tunnels]"),
        ("www.test:80", "GET", "-routes[www]"),
        ("10.9.9.9:80", "GET", "-routes[nets]"),
        ("[2001:db8::1]:80", "GET", "-routes[nets]"),
        ("192.0.2.5:80", "GET", "-routes[nets]"),
        ("[::ffff:10.0.0.1]:80", "GET", "-routes[nets]"),
        ("127.0.0.1:80", "GET", "-routes[loop]"),
        ("8.8.8.8:81", "GET", "-routes[ports]"),
        ("8.8.8.8:80", "GET", "+default_route"),
    ] {
        assert_eq!(found(&routes, target, method, true), expected, "{method} {target}");
    }
}

#[test]
fn what_only_reports_is_told_and_not_done() {
    let text = "routes:\n  - { name: a, match: { hosts: [.test] }, via: deny, mode: report }\n  - { name: b, match: { ports: [80] }, via: direct, mode: report }\n\
                \x20 - { name: c, match: { hosts: [.test], methods: [GET] }, via: deny }\ndefault_route: deny\n";
    let routes = Routes::new(&settings(text));
    for (target, method, refuses, expected) in [
        ("x.test:80", "GET", true, "-routes[c], not routes[a]"),
        ("x.test:80", "PUT", true, "-default_route, not routes[a]"),
        ("x.com:80", "GET", true, "-default_route, not routes[b]"),
        ("x.com:81", "GET", true, "-default_route"),
        // Nothing is refused.
        ("x.test:80", "GET", false, "+default_route, not routes[a]"),
        ("x.com:81", "GET", false, "+default_route, not default_route"),
    ] {
        assert_eq!(found(&routes, target, method, refuses), expected, "{method} {target} {refuses}");
    }
}

#[test]
fn a_route_has_what_holds_for_all_but_for_what_it_says() {
    let text = "limits: { max_body_size: 7 }\ntimeouts: { connect: 7s, body_idle: 8s }\n\
                routes: [{ match: { ports: [80] }, via: direct, limits: { max_body_size: 0 }, timeouts: { connect: 1s }, headers: { remove: [Cookie] } }]\n";
    let routes = Routes::new(&settings(text));
    let route = |target: &str| {
        with_facts(target, "GET", None, |facts| match routes.find(facts, true).action {
            Action::Take(route) => Arc::clone(route),
            Action::Deny(rule) => panic!("{rule}"),
        })
    };
    let (special, usual) = (route("a.test:80"), route("a.test:81"));
    assert_eq!((special.max_body_size, usual.max_body_size), (0, 7));
    let seconds = |route: &Route| (route.timeouts.connect.as_secs(), route.timeouts.body_idle.as_secs());
    assert_eq!((seconds(&special), seconds(&usual)), ((1, 8), (7, 8)));
    assert!(special.edits.as_ref().is_some_and(|edits| edits.takes(b"cookie")) && usual.edits.is_none());
    assert_eq!((&*usual.way, usual.via, usual.rule.as_str()), ("direct", Via::Direct, "default_route"));
}

#[test]
fn who_may_be_behind_the_proxy() {
    let mut settings = settings(
        "routes:\n  - { match: { ports: [81] }, via: deny }\n  - { match: { methods: [GET], hosts: [a.test] }, via: deny, mode: report }\n\
         \x20 - { match: { hosts: [b.test] }, via: deny }\n  - { match: { hosts: [a.test, b.test] }, via: deny }\n",
    );
    assert!(!Routes::new(&settings).serve_origins());
    let group = GroupPlace { name: "app".into(), index: 0 };
    settings.routes[3].via = RouteVia::Origin(group.clone());
    settings.routes[2].conditions.users = vec!["ann".into()];
    let may = |settings: &Settings, target: &str| {
        with_facts(target, "GET", None, |facts| Routes::new(settings).may_be_for_origins(facts))
    };
    assert!(may(&settings, "a.test"));
    assert!(may(&settings, "b.test"), "not ann");
    assert!(!may(&settings, "a.test:81"));
    assert!(!may(&settings, "c.test"));
    settings.default_route = RouteVia::Origin(group);
    assert!(may(&settings, "c.test"));
}

/// Each by its own host, and some for all.
fn many(count: usize) -> Routes {
    let mut settings = settings("");
    let host = |index: usize| DestinationPattern::Host(format!("host-{index}.example-{}.com", index % 977));
    settings.routes = (0..count)
        .map(|index| {
            let conditions = match index % 1_000 {
                999 => Conditions { ports: vec![1], ..Conditions::default() },
                998 => Conditions {
                    wildcards: vec![Wildcard::parse("*.wild.test").unwrap()],
                    ..Conditions::default()
                },
                997 => Conditions {
                    hosts: vec![DestinationPattern::Net(NetPattern::Prefix("10.0.0.0/8".parse().unwrap()))],
                    ..Conditions::default()
                },
                _ => Conditions { hosts: vec![host(index)], ..Conditions::default() },
            };
            RouteSettings {
                name: None,
                conditions,
                via: RouteVia::Deny,
                reports_only: false,
                headers: FieldSettings::default(),
                max_body_size: None,
                timeouts: settings::RouteTimeouts::default(),
            }
        })
        .collect();
    Routes::new(&settings)
}

#[test]
fn ten_thousand_routes_by_host_are_not_looked_at() {
    let routes = many(10_000);
    for (target, expected, looked_at) in [
        ("host-5000.example-115.com:80", "-routes[5000]", 11),
        ("nobody.test:80", "+default_route", 10),
        ("a.wild.test:80", "-routes[998]", 20),
        ("10.1.1.1:80", "-routes[997]", 20),
        ("11.1.1.1:80", "+default_route", 10),
    ] {
        assert_eq!(found(&routes, target, "GET", true), expected, "{target}");
        let count = with_facts(target, "GET", None, |facts| routes.candidates(&facts.authority.host).count());
        assert_eq!(count, looked_at, "{target}");
    }
}
