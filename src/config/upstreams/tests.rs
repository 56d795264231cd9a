//! Groups as they are written, and what is said of those that cannot be.

use super::*;
use crate::config::load::{Loaded, Sources, load};

fn loaded(text: &str) -> Result<Loaded, String> {
    let sources = Sources { text: Some(("c.yml".into(), text.into())), ..Sources::default() };
    load(&sources).map_err(|problems| problems.to_string())
}

#[test]
fn groups() {
    let text = "upstreams:\n\
        \x20 - name: corp\n    kind: proxy\n    balance: p2c\n\
        \x20   servers: [{ url: \"http://10.0.0.1:3128\", weight: 2 }, { url: \"socks5://us%3aer:p%40ss@parent.example\" }]\n\
        \x20   health_check: { interval: 5s, healthy_after: 4 }\n    ejection: { failures: 3, min_available: 0 }\n\
        \x20   retries: 2\n    retry_budget: 0.5\n    slow_start: 30s\n    bind_addr: 127.0.0.2\n    proxy_protocol: null\n\
        \x20 - { name: api, kind: origin, servers: [{ url: \"http://[::1]:81/\" }, { url: \"https://a.test\" }], proxy_protocol: v2, health_check: { path: /up, expected_status: [200, 300-302] } }\n";
    let found = loaded(text).unwrap();
    let [corp, api] = found.settings.upstreams.as_slice() else { panic!("{:?}", found.settings.upstreams) };
    assert_eq!(
        (corp.kind, corp.balance, corp.retries, corp.retry_budget),
        (GroupKind::Proxy, Balance::PowerOfTwo, 2, 0.5)
    );
    assert_eq!((corp.servers[0].weight.get(), corp.servers[0].name().as_str()), (2, "http://10.0.0.1:3128"));
    let socks = &corp.servers[1];
    assert_eq!((socks.scheme, socks.name().as_str()), (ServerScheme::Socks5, "socks5://parent.example:1080"));
    let credentials = socks.credentials.as_ref().unwrap();
    assert_eq!((&*credentials.user, &*credentials.password), ("us:er", "p@ss"));
    let check = corp.health_check.as_ref().unwrap();
    assert_eq!((check.interval, check.timeout, check.healthy_after.get()), (5 * SECOND, 2 * SECOND, 4));
    assert_eq!(
        (corp.ejection.failures, corp.ejection.min_available, corp.ejection.time),
        (3, 0.0, 10 * SECOND)
    );
    assert_eq!((corp.slow_start, corp.bind_addr), (30 * SECOND, "127.0.0.2".parse().ok()));
    assert_eq!((corp.proxy_protocol, api.proxy_protocol), (None, Some(proxy_protocol::Version::V2)));
    assert_eq!((api.balance, api.retries, api.retry_budget), (Balance::RoundRobin, 1, 0.2));
    assert_eq!(
        (api.servers[0].name(), api.servers[1].name()),
        ("http://[::1]:81".into(), "https://a.test:443".into())
    );
    assert_eq!(api.health_check.as_ref().unwrap().expected_status, [200..=200, 300..=302]);
    // Nothing shows the password.
    let shown = &found.in_force.iter().find(|value| value.key == "upstreams").unwrap().value;
    assert!(shown.contains("socks5://***@parent.example"), "{shown}");
    for text in [shown.clone(), format!("{:?}", found.settings)] {
        assert!(!text.contains("p@ss") && !text.contains("p%40ss"), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let all = loaded(
        "upstreams:\n  - { name: direct, kind: cache, balance: best, servers: [] }\n\
        \x20 - { name: a, kind: origin, servers: [{ url: \"http://u:secret@10.0.0.1\" }, { url: \"socks5://h\" }] }\n\
        \x20 - { name: b, kind: proxy, servers: [{ url: \"http://h/x\", weight: 0 }, { url: \"http://secret@h\" }, { url: \"ftp://h\" }, { url: \"http://a:secret%zz@h\" }, { weight: 1 }] }\n\
        \x20 - { name: c, kind: proxy, servers: [{ url: \"http://h\" }, { url: \"http://h:80\" }, { url: \"socks5://h\", colour: red }], retries: 11, retry_budget: 2 }\n\
        \x20 - { name: c, kind: proxy, servers: [{ url: \"socks5://h\" }], health_check: { interval: 1s, timeout: 2s, path: x, expected_status: 99 }, ejection: { time: 1m, max_time: 1s } }\n\
        \x20 - { name: d, kind: proxy, servers: [{ url: \"socks5://h\" }], health_check: { path: /x }, bind_addr: here, proxy_protocol: v1 }\n\
        \x20 - { name: c, kind: proxy, servers: [{ url: \"http://h\" }], proxy_protocol: v3 }\n",
    )
    .unwrap_err();
    for expected in [
        "c.yml:2: upstreams[0].name: found \"direct\"; 1 to 32 letters",
        "upstreams[0].kind: found \"cache\"; accepted are proxy, origin",
        "upstreams[0].balance: found \"best\"; accepted are round_robin",
        "upstreams[0].servers: found an empty list; at least one is accepted",
        "upstreams[1].servers[0].url: found \"http://***@10.0.0.1\"; name and password are for groups of kind proxy",
        "upstreams[1].servers[1].url: found \"socks5://h\"; socks5 is for groups of kind proxy",
        "upstreams[2].servers[0].url: found \"http://h/x\"; there is something behind the host",
        "upstreams[2].servers[0].weight: found 0; a whole number from 1 to 1000",
        "upstreams[2].servers[1].url: found \"http://***@h\"; a password is missing",
        "upstreams[2].servers[2].url: found \"ftp://h\"; a URL such as",
        "upstreams[2].servers[3].url: found \"http://***@h\"; the name or the password has a %",
        "upstreams[2].servers[4].url: is missing; a URL such as",
        "upstreams[3].servers: http://h:80 is there twice",
        "upstreams[3].servers[2].colour: unknown key; url, weight are accepted",
        "upstreams[3].retries: found 11; a whole number from 0 to 10",
        "upstreams[3].retry_budget: found 2; a share from 0.0",
        "upstreams[4].health_check.timeout: is longer than interval",
        "upstreams[4].health_check.path: found \"x\"; a path that begins with /",
        "upstreams[4].health_check.expected_status: found 99; a status code",
        "upstreams[4].ejection.max_time: is shorter than time",
        "upstreams[5].health_check: has a path, and socks5 servers answer no GET",
        "upstreams[5].proxy_protocol: is set in a group with socks5 servers",
        "upstreams[6].proxy_protocol: found \"v3\"; v1, v2 or null",
        "upstreams[5].bind_addr: found \"here\"; an address of this host",
        "upstreams: \"c\" is the name of two groups",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
    assert!(!all.contains("secret"), "{all}");
}

#[test]
fn there_is_room_for_so_many() {
    let servers = |from: u32, count: u32| {
        let urls: Vec<_> =
            (from..from + count).map(|port| format!("{{ url: \"http://h:{port}\" }}")).collect();
        urls.join(", ")
    };
    let all = loaded(&format!("upstreams: [{{ name: a, kind: proxy, servers: [{}] }}]\n", servers(1, 65)))
        .unwrap_err();
    assert!(all.contains("upstreams[0].servers: found 65 of them; 64 at most are accepted"), "{all}");
    let groups: Vec<_> = (0..5)
        .map(|group| format!("{{ name: g{group}, kind: proxy, servers: [{}] }}", servers(1, 60)))
        .collect();
    let all = loaded(&format!("upstreams: [{}]\n", groups.join(", "))).unwrap_err();
    assert!(all.contains("upstreams: found 300 servers in all groups; 256 at most"), "{all}");
}
