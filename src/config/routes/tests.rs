//! What is read, what is refused, and which route hides another.

use super::*;
use crate::config::load::{Loaded, Sources, load};

fn loaded(text: &str) -> Result<Loaded, String> {
    let sources = Sources { text: Some(("c.yml".into(), text.into())), ..Sources::default() };
    load(&sources).map_err(|problems| problems.to_string())
}

#[test]
fn everything_that_a_route_says() {
    let text = "routes:\n  - name: api\n    match: { hosts: [\".internal\", \"api-*.test\", \"10.0.0.0/8\"], methods: [GET], ports: [80], \
                paths: [\"/api/\"], clients: [private], schemes: [http] }\n    via: direct\n    mode: report\n\
                \x20   headers: { set: { X-Client: \"$client_ip\", X-Flag: true }, remove: [Cookie] }\n\
                \x20   limits: { max_body_size: 1MiB }\n    timeouts: { connect: 1s, response_head: 2s, body_idle: 3s, tunnel_idle: 4s }\n\
                \x20 - { via: deny, match: { ports: [25] } }\ndefault_route: deny\n";
    let found = loaded(text).unwrap();
    let [api, mail] = found.settings.routes.as_slice() else { panic!("{:?}", found.settings.routes) };
    assert_eq!((api.title(0), mail.title(1)), ("routes[api]".into(), "routes[1]".into()));
    assert_eq!((api.conditions.hosts.len(), api.conditions.wildcards.len()), (2, 1));
    assert_eq!((&api.via, api.reports_only, api.max_body_size), (&RouteVia::Direct, true, Some(1 << 20)));
    assert_eq!(api.headers.set[0], SetField { name: "X-Client".into(), value: vec![ValuePart::ClientIp] });
    assert_eq!(api.headers.set[1].value, [ValuePart::Text("true".into())]);
    assert_eq!(api.headers.remove, ["Cookie"]);
    assert_eq!(api.timeouts.tunnel_idle, Some(Duration::from_secs(4)));
    assert_eq!((&mail.via, mail.reports_only), (&RouteVia::Deny, false));
    assert_eq!(found.settings.default_route, RouteVia::Deny);
    // What is shown can be read.
    let shown = found.in_force.iter().find(|value| value.key == "routes").unwrap();
    let again = loaded(&format!("routes: {}\n", shown.value)).unwrap();
    assert_eq!(again.settings.routes, found.settings.routes);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let all = loaded(
        "routes:\n  - { via: corp, name: 3, mode: maybe }\n  - { match: { schemes: [ftp], hosts: [\"*..x\"] } }\n\
         \x20 - { via: deny, headers: { set: { Host: a, X-A: \"$who\", x-b: \"\" }, remove: [te, \"a b\"] }, colour: red }\n\
         \x20 - { via: deny, limits: { max_body_size: many, rate: 1 }, timeouts: { connect: 0, client_idle: 1 } }\n\
         \x20 - { via: deny, headers: { set: { X-A: a, x-a: b }, remove: X-A } }\n  - many\ndefault_route: corp\n",
    )
    .unwrap_err();
    for expected in [
        "c.yml:2: routes[0].via: found \"corp\"; direct, deny or the name of a group of upstreams is accepted: direct, deny",
        "routes[0].name: found 3; 1 to 64 letters",
        "routes[0].mode: found \"maybe\"; accepted are enforce, report",
        "c.yml:3: routes[1].via: is missing",
        "routes[1].match.schemes: found \"ftp\"; accepted are http, https, connect",
        "routes[1].match.hosts: found \"*..x\"",
        "routes[2].headers.set: found \"Host\": \"a\"; host frames or routes a message",
        "routes[2].headers.set: found \"X-A\": \"$who\"; $who means nothing: $client_ip, $user, $request_id",
        "routes[2].headers.set: found \"x-b\": an empty text",
        "routes[2].headers.remove: found \"te\"; te frames or routes",
        "routes[2].headers.remove: found \"a b\"; the name of a header field",
        "routes[2].colour: unknown key",
        "routes[3].limits.max_body_size: found \"many\"",
        "routes[3].limits.rate: unknown key",
        "routes[3].timeouts.connect: found 0",
        "routes[3].timeouts.client_idle: unknown key",
        "routes[4].headers.set: has \"x-a\" twice",
        "routes[4].headers.remove: has \"X-A\", which is set, too",
        "routes[5]: found \"many\"; a section is accepted",
        "default_route: found \"corp\"",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
    let all = loaded("routes: [{ name: a, via: deny, match: { ports: 1 } }, { name: a, via: deny, match: { users: ann } }]\n").unwrap_err();
    assert!(all.contains("\"a\" is the name of two routes"), "{all}");
    let all = loaded("routes: [{ name: a, via: deny, match: { users: ann } }]\n").unwrap_err();
    assert!(all.contains("routes[a] asks for users, and access.users_file is null"), "{all}");
}

/// The conditions of two routes, and whether the first hides the second.
#[test]
fn a_route_that_hides_another() {
    let cases = [
        ("", "", true),
        ("", "ports: [80]", true),
        ("ports: [80]", "", false),
        ("ports: [80, 81]", "ports: [81]", true),
        ("ports: [80]", "ports: [80, 81]", false),
        ("methods: [GET, POST]", "methods: [POST]", true),
        ("methods: [GET]", "methods: [get]", false),
        ("methods: [CONNECT]", "schemes: [connect]", true),
        ("schemes: [connect]", "methods: [CONNECT]", true),
        ("schemes: [http, https]", "paths: [/a]", true),
        ("schemes: [http, https]", "methods: [GET]", true),
        ("schemes: [http]", "methods: [GET]", false),
        ("schemes: [http]", "schemes: [http]", true),
        ("schemes: [http]", "schemes: [http, connect]", false),
        ("schemes: [http, https, connect]", "", true),
        ("paths: [/api]", "paths: [/api/v1, /apiary]", true),
        ("paths: [/api/]", "paths: [/api]", false),
        ("paths: [/]", "schemes: [http]", true),
        ("paths: [/]", "", false),
        ("paths: [/]", "paths: [/a]", true),
        ("clients: [10.0.0.0/8]", "clients: [10.1.0.0/16, 10.2.3.4]", true),
        ("clients: [10.1.0.0/16]", "clients: [10.0.0.0/8]", false),
        ("clients: [private]", "clients: [10.1.0.0/16, private]", true),
        ("clients: [private]", "clients: [10.0.0.0/7]", false),
        ("clients: [special]", "clients: [private, loopback]", true),
        ("clients: [special]", "clients: [192.0.2.1]", true),
        ("clients: [special]", "clients: [\"0.0.0.0/0\"]", false),
        ("clients: [loopback]", "clients: [private]", false),
        ("clients: [\"0.0.0.0/0\"]", "", false),
        ("hosts: [a.test]", "hosts: [a.test]", true),
        ("hosts: [a.test]", "hosts: [A.TEST.], ports: [1]", true),
        ("hosts: [a.test]", "hosts: [b.test]", false),
        ("hosts: [a.test]", "hosts: [a.test, b.test]", false),
        ("hosts: [a.test, b.test]", "hosts: [b.test]", true),
        ("hosts: [.test]", "hosts: [a.test, .b.test, \"*.c.test\"]", true),
        ("hosts: [.test]", "hosts: [test]", false),
        ("hosts: [.a.test]", "hosts: [.test]", false),
        ("hosts: [.a.test]", "hosts: [xa.test]", false),
        ("hosts: [\"*.a.test\"]", "hosts: [b.a.test]", true),
        ("hosts: [\"*.a.test\"]", "hosts: [.a.test]", false),
        ("hosts: [\"*.a.test\"]", "hosts: [\"b-*.a.test\"]", true),
        ("hosts: [\"www.*\"]", "hosts: [www.test]", true),
        ("hosts: [\"www.*\"]", "hosts: [\"www.*\"]", true),
        ("hosts: [10.0.0.0/8]", "hosts: [10.0.0.1]", true),
        ("hosts: [10.0.0.0/8]", "hosts: [a.test]", false),
        ("hosts: [10.0.0.0/8, .test]", "hosts: [a.test, 10.0.0.1]", true),
        ("hosts: [.test], ports: [80]", "hosts: [a.test]", false),
        ("hosts: [.test], ports: [80]", "hosts: [a.test], ports: [80], methods: [GET]", true),
    ];
    for (earlier, later, is_hidden) in cases {
        let routes = |mode: &str| {
            let text = format!(
                "routes:\n  - {{ via: deny, match: {{ ports: [9] }} }}\n  - {{ via: deny, mode: {mode}, match: {{ {earlier} }} }}\n\
                 \x20 - {{ name: later, via: direct, match: {{ {later} }} }}\n"
            );
            loaded(&text).map(|_| ())
        };
        match routes("enforce") {
            Ok(()) => assert!(!is_hidden, "{earlier} hides {later}"),
            Err(all) => {
                let told =
                    "c.yml:1: routes: routes[later] can never match: routes[1], which stands in front of it";
                assert!(is_hidden && all.contains(told), "{earlier} - {later}: {all}");
            }
        }
        assert_eq!(routes("report"), Ok(()), "what only reports hides nothing: {earlier} {later}");
    }
}

#[test]
fn a_route_that_is_for_nothing() {
    for (conditions, expected) in [
        ("methods: [CONNECT], paths: [/]", "a tunnel has no path"),
        ("schemes: [connect], paths: [/]", "a tunnel has no path"),
        ("schemes: [connect], methods: [GET]", "CONNECT is the method of a tunnel"),
        ("schemes: [http], methods: [CONNECT]", "CONNECT is the method of a tunnel"),
    ] {
        let all = loaded(&format!("routes: [{{ via: deny, match: {{ {conditions} }} }}]\n")).unwrap_err();
        assert!(all.contains("routes[0] can never match") && all.contains(expected), "{conditions}: {all}");
    }
}

#[test]
fn thousands_are_compared_in_no_time() {
    let mut text = String::from("routes:\n");
    for index in 0..5_000 {
        text.push_str(&format!("  - {{ via: deny, match: {{ hosts: [host-{index}.example.com] }} }}\n"));
    }
    text.push_str("  - { via: deny, match: { hosts: [host-77.example.com], ports: [80] } }\n");
    let all = loaded(&text).unwrap_err();
    assert!(all.contains("routes[5000] can never match: routes[77],"), "{all}");
}
