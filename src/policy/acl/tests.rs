//! The order of the rules, and what each of them names.

use http::Method;

use super::*;
use crate::{
    config::{
        self, Sources,
        settings::{AskedBy, GroupPlace, RouteVia, Settings},
    },
    net::authority::Authority,
};

fn all_settings(text: &str) -> Settings {
    let sources = Sources { text: Some(("c.yml".into(), text.into())), ..Sources::default() };
    config::load(&sources).unwrap().settings
}

/// None, and `direct`.
fn routes() -> Routes {
    Routes::new(&all_settings(""))
}

fn settings() -> AccessSettings {
    AccessSettings {
        mode: AccessMode::Enforce,
        clients: vec![NetPattern::Set(NetSet::Loopback)],
        deny: vec![NetSet::Special.into()].into(),
        allow: DestinationList::default(),
        connect_ports: vec![443],
        users_file: None,
        realm: String::new(),
        local_client_bypass: true,
    }
}

fn net(text: &str) -> DestinationPattern {
    DestinationPattern::Net(NetPattern::Prefix(text.parse().unwrap()))
}

fn host(name: &str) -> DestinationPattern {
    DestinationPattern::Host(name.to_owned())
}

fn suffix(name: &str) -> DestinationPattern {
    DestinationPattern::Suffix(name.to_owned())
}

/// A request, and the rule that decides: `+rule` for a permit, `-rule kind` for a refusal.
type Case = (&'static str, &'static str, bool, &'static str, &'static str);

const LOCAL: (&str, bool) = ("127.0.0.1", true);
const REMOTE: (&str, bool) = ("198.51.100.7", false);

#[track_caller]
fn decide(policy: &Policy, client: (&str, bool), method: &str, target: &str) -> Result<Permit, Refusal> {
    let authority = Authority::parse(target, None).unwrap();
    policy.decide(&Facts {
        client: client.0.parse().unwrap(),
        client_is_local: client.1,
        method: &Method::from_bytes(method.as_bytes()).unwrap(),
        asked_by: if method == "CONNECT" { AskedBy::Connect } else { AskedBy::Http },
        authority: &authority,
        user: None,
        path: None,
    })
}

#[track_caller]
fn assert_verdicts(policy: &Policy, cases: &[Case]) {
    for (client, method, is_local, target, expected) in cases {
        let found = match decide(policy, (client, *is_local), method, target) {
            Ok(permit) => format!("+{}", permit.rule),
            Err(refusal) => format!("-{} {:?}", refusal.rule, refusal.kind),
        };
        assert_eq!(found, *expected, "{method} {target} from {client}");
    }
}

#[test]
fn with_the_defaults_a_client_on_this_host_can_do_everything_and_no_other_anything() {
    let policy = Policy::new(&settings(), routes(), &OwnListeners::new(vec![]));
    assert_verdicts(
        &policy,
        &[
            ("127.0.0.1", "GET", true, "a.test:80", "+access.local_client_bypass"),
            ("::1", "CONNECT", true, "a.test:25", "+access.local_client_bypass"),
            ("127.0.0.1", "GET", true, "127.0.0.1:9000", "+access.local_client_bypass"),
            ("127.0.0.1", "GET", true, "10.0.0.1:80", "+access.local_client_bypass"),
            ("127.0.0.1", "GET", true, "192.0.2.1:80", "+access.local_client_bypass"),
            ("203.0.113.5", "GET", true, "a.test:80", "+access.local_client_bypass"),
            ("::ffff:127.0.0.1", "GET", true, "a.test:80", "+access.local_client_bypass"),
            ("203.0.113.5", "GET", false, "a.test:80", "-access.clients Client"),
            ("2002:7f00:1::1", "GET", false, "a.test:80", "-access.clients Client"),
            ("10.0.0.1", "CONNECT", false, "a.test:443", "-access.clients Client"),
        ],
    );
    assert!(policy.admit("127.0.0.1".parse().unwrap(), true).is_ok());
    assert!(policy.admit("10.0.0.1".parse().unwrap(), false).is_err());
}

#[test]
fn other_clients_are_held_to_ports_names_and_addresses() {
    let access = AccessSettings {
        clients: vec![NetPattern::Prefix("198.51.100.0/24".parse().unwrap())],
        deny: vec![net("203.0.113.0/24"), NetSet::Special.into(), host("ads.test"), suffix("ads.test")]
            .into(),
        allow: vec![net("10.1.0.0/16"), host("good.ads.test"), suffix("inside.test")].into(),
        connect_ports: vec![8443, 443],
        ..settings()
    };
    let policy = Policy::new(&access, routes(), &OwnListeners::new(vec![]));
    let client = "198.51.100.7";
    assert_verdicts(
        &policy,
        &[
            (client, "GET", false, "a.test:8080", "+access.clients"),
            (client, "CONNECT", false, "a.test:443", "+access.clients"),
            (client, "CONNECT", false, "a.test:8443", "+access.clients"),
            (client, "CONNECT", false, "a.test:25", "-access.connect_ports ConnectPort"),
            (client, "CONNECT", false, "host.inside.test:25", "-access.connect_ports ConnectPort"),
            (client, "GET", false, "ads.test:80", "-access.destinations.deny[ads.test] DestinationName"),
            (client, "GET", false, "ADS.test:80", "-access.destinations.deny[ads.test] DestinationName"),
            (client, "GET", false, "ads.test.:80", "-access.destinations.deny[ads.test] DestinationName"),
            (client, "GET", false, "x.y.ads.test:80", "-access.destinations.deny[.ads.test] DestinationName"),
            (client, "GET", false, "good.ads.test:80", "+access.destinations.allow[good.ads.test]"),
            (client, "GET", false, "host.inside.test:80", "+access.destinations.allow[.inside.test]"),
            (client, "GET", false, "inside.test:80", "+access.clients"),
            (client, "GET", false, "127.0.0.1:80", "-access.destinations.deny[special] DestinationAddress"),
            (client, "CONNECT", false, "[::1]:443", "-access.destinations.deny[special] DestinationAddress"),
            (
                client,
                "CONNECT",
                false,
                "[::ffff:10.0.0.1]:443",
                "-access.destinations.deny[special] DestinationAddress",
            ),
            (client, "GET", false, "10.1.2.3:80", "+access.clients"),
            (
                client,
                "GET",
                false,
                "203.0.113.9:80",
                "-access.destinations.deny[203.0.113.0/24] DestinationAddress",
            ),
            (client, "GET", false, "8.8.8.8:53", "+access.clients"),
            ("127.0.0.1", "GET", true, "a.test:80", "-access.clients Client"),
        ],
    );
}

#[test]
fn the_bypass_lifts_sets_and_ports_and_nothing_that_was_written_on_purpose() {
    let access = AccessSettings {
        deny: vec![NetSet::Special.into(), NetSet::Metadata.into(), net("10.9.0.0/16"), host("ads.test")]
            .into(),
        ..settings()
    };
    let policy = Policy::new(&access, routes(), &OwnListeners::new(vec![]));
    assert_verdicts(
        &policy,
        &[
            ("127.0.0.1", "CONNECT", true, "10.0.0.1:22", "+access.local_client_bypass"),
            (
                "127.0.0.1",
                "GET",
                true,
                "10.9.0.1:80",
                "-access.destinations.deny[10.9.0.0/16] DestinationAddress",
            ),
            (
                "127.0.0.1",
                "GET",
                true,
                "169.254.169.254:80",
                "-access.destinations.deny[metadata] DestinationAddress",
            ),
            ("127.0.0.1", "GET", true, "ads.test:80", "-access.destinations.deny[ads.test] DestinationName"),
        ],
    );
    let without = Policy::new(
        &AccessSettings { local_client_bypass: false, ..access },
        routes(),
        &OwnListeners::new(vec![]),
    );
    assert_verdicts(
        &without,
        &[
            ("127.0.0.1", "GET", true, "a.test:80", "+access.clients"),
            (
                "127.0.0.1",
                "GET",
                true,
                "127.0.0.1:80",
                "-access.destinations.deny[special] DestinationAddress",
            ),
            ("127.0.0.1", "CONNECT", true, "a.test:22", "-access.connect_ports ConnectPort"),
        ],
    );
}

#[test]
fn what_is_dialled_is_checked_again() {
    let access = AccessSettings {
        clients: vec![net_of("198.51.100.0/24")],
        allow: vec![suffix("inside.test")].into(),
        ..settings()
    };
    let own = OwnListeners::new(vec!["127.0.0.1:8080".parse().unwrap()]);
    let policy = Policy::new(&access, routes(), &own);
    let refuses = |permit: &Permit, address: &str| {
        permit.reach.filter.as_ref().is_some_and(|filter| filter.check(address.parse().unwrap()).is_err())
    };
    let remote = decide(&policy, REMOTE, "GET", "a.test:80").unwrap();
    assert!(refuses(&remote, "10.0.0.1") && refuses(&remote, "::1") && !refuses(&remote, "8.8.8.8"));
    let excepted = decide(&policy, REMOTE, "GET", "x.inside.test:80").unwrap();
    assert!(!refuses(&excepted, "10.0.0.1"), "an exception by name is one from the addresses, too");
    let local = Policy::new(&settings(), routes(), &own);
    let local = decide(&local, LOCAL, "GET", "a.test:80").unwrap();
    assert!(!refuses(&local, "10.0.0.1") && !refuses(&local, "127.0.0.1"));
    for permit in [&remote, &excepted, &local] {
        assert!(permit.reach.own.owns("127.0.0.1:8080".parse().unwrap()), "never to our own listeners");
        assert_eq!(permit.would_refuse_address("10.0.0.1".parse().unwrap()), None);
    }
    let special = NetPattern::Set(NetSet::Special);
    assert_eq!(policy.address_rule(&special).as_str(), "access.destinations.deny[special]");
    assert_eq!(policy.address_rule(&net_of("10.0.0.0/8")).as_str(), "access.destinations.deny[10.0.0.0/8]");
}

#[test]
fn report_refuses_nothing_and_says_what_it_would() {
    let access = AccessSettings {
        mode: AccessMode::Report,
        clients: vec![net_of("198.51.100.0/24")],
        deny: vec![NetSet::Special.into(), host("ads.test")].into(),
        ..settings()
    };
    let policy = Policy::new(&access, routes(), &OwnListeners::new(vec!["127.0.0.1:8080".parse().unwrap()]));
    let cases = [
        (LOCAL, "GET", "a.test:80", "access.clients"),
        (REMOTE, "CONNECT", "a.test:25", "access.connect_ports"),
        (REMOTE, "GET", "ads.test:80", "access.destinations.deny[ads.test]"),
        (REMOTE, "GET", "10.0.0.1:80", "access.destinations.deny[special]"),
    ];
    for (client, method, target, rule) in cases {
        let permit = decide(&policy, client, method, target).unwrap();
        assert_eq!(permit.rule.as_str(), "access.mode");
        assert_eq!(permit.would_refuse.unwrap().rule.as_str(), rule);
        assert!(permit.reach.filter.is_none() && permit.reach.own.owns("127.0.0.1:8080".parse().unwrap()));
    }
    let permit = decide(&policy, REMOTE, "GET", "a.test:80").unwrap();
    assert!(permit.would_refuse.is_none() && permit.reach.filter.is_none());
    let refusal = permit.would_refuse_address("10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(
        (refusal.rule.as_str(), refusal.kind),
        ("access.destinations.deny[special]", RefusalKind::DestinationAddress)
    );
    assert_eq!(permit.would_refuse_address("8.8.8.8".parse().unwrap()), None);
    assert!(policy.admit("203.0.113.5".parse().unwrap(), false).is_ok());
}

fn net_of(text: &str) -> NetPattern {
    NetPattern::Prefix(text.parse().unwrap())
}

/// `+rule way`, or `-rule kind`, and what a route would have done.
fn verdict(policy: &Policy, client: (&str, bool), method: &str, target: &str) -> String {
    match decide(policy, client, method, target) {
        Ok(permit) => {
            let would =
                permit.would_route.map(|action| format!(", not {}", action.rule())).unwrap_or_default();
            let filtered = if permit.reach.filter.is_some() { " filtered" } else { "" };
            format!("+{} {}{filtered}{would}", permit.rule, permit.route.way)
        }
        Err(refusal) => format!("-{} {:?}", refusal.rule, refusal.kind),
    }
}

#[test]
fn a_way_out_does_not_lead_around_the_rules() {
    let text = "routes:\n  - { name: no, match: { hosts: [no.test] }, via: deny }\n  - { name: told, match: { hosts: [told.test] }, via: deny, mode: report }\n\
                \x20 - { name: app, match: { hosts: [app.test, 127.0.0.1, bad.test] }, via: direct }\n  - { name: corp, match: { hosts: [far.test, 10.0.0.1] }, via: direct }\n";
    let mut written = all_settings(text);
    let group = |name: &str, index| GroupPlace { name: name.into(), index };
    written.routes[2].via = RouteVia::Origin(group("app", 0));
    written.routes[3].via = RouteVia::Proxy(group("corp", 1));
    let access = AccessSettings {
        clients: vec![NetPattern::Prefix("198.51.100.0/24".parse().unwrap())],
        deny: vec![NetSet::Special.into(), host("bad.test")].into(),
        ..settings()
    };
    let policy = Policy::new(&access, Routes::new(&written), &OwnListeners::new(vec![]));
    for (client, method, target, expected) in [
        (REMOTE, "GET", "a.test:80", "+access.clients direct filtered"),
        (REMOTE, "GET", "no.test:80", "-routes[no] Route"),
        (REMOTE, "GET", "told.test:80", "+access.clients direct filtered, not routes[told]"),
        // Who is not served is not served on any way, and what nobody may tunnel to is nothing for a group.
        (("192.0.2.1", false), "GET", "app.test:80", "-access.clients Client"),
        (REMOTE, "CONNECT", "app.test:25", "-access.connect_ports ConnectPort"),
        (REMOTE, "CONNECT", "far.test:25", "-access.connect_ports ConnectPort"),
        // The operator's own addresses are dialled.
        (REMOTE, "GET", "app.test:80", "+access.clients app"),
        (REMOTE, "GET", "far.test:80", "+access.clients corp"),
        // An address in the target is gone to by a parent, and is a mere name for origins.
        (REMOTE, "GET", "10.0.0.1:80", "-access.destinations.deny[special] DestinationAddress"),
        (REMOTE, "GET", "127.0.0.1:80", "+access.clients app"),
        (REMOTE, "GET", "bad.test:80", "-access.destinations.deny[bad.test] DestinationName"),
    ] {
        assert_eq!(verdict(&policy, client, method, target), expected, "{method} {target}");
    }
    let access = AccessSettings { mode: AccessMode::Report, ..access };
    let policy = Policy::new(&access, Routes::new(&written), &OwnListeners::new(vec![]));
    for (client, target, expected) in [
        (REMOTE, "no.test:80", "+access.clients direct, not routes[no]"),
        (("192.0.2.1", false), "app.test:80", "+access.mode app"),
    ] {
        assert_eq!(verdict(&policy, client, "GET", target), expected, "{target}");
    }
}
