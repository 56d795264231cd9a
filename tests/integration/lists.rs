//! Lists that are read from files (`"@file"`).
//!
//! The long one has 20,000 names, and 100,000 with `RFP_BIG=1` in the environment: a debug build takes its time.

use std::time::{Duration, Instant};

use crate::support::{Config, Mode, NameServer, Origin, Proxy, at_full_size, head, in_every_mode};

in_every_mode! {
    names_of_a_file_are_refused,
    a_reload_reads_lists_again,
    clients_of_a_file_are_served,
    a_hundred_thousand_names,
}

fn get(proxy: &Proxy, origin: &Origin, host: &str) -> u16 {
    let authority = format!("{host}:{}", origin.port());
    proxy
        .exchange(head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")]))
        .status()
}

fn names_of_a_file_are_refused(mode: Mode) {
    let (names, origin) = (NameServer::with_loopback("good.test"), Origin::ok());
    let proxy = Config::new(mode)
        .without_bypass()
        .set("dns.servers", names.servers())
        .set("access.destinations.deny", vec!["written.test", "@ads.txt"])
        .file("ads.txt", "# advertising\nads.test\n.track.test # and all below\n198.51.100.0/24\n")
        .start();
    for host in ["ads.test", "ADS.test.", "a.b.track.test", "written.test"] {
        assert_eq!(get(&proxy, &origin, host), 403, "{host}");
    }
    assert_eq!([get(&proxy, &origin, "198.51.100.7"), get(&proxy, &origin, "good.test")], [502, 200]);
    for rule in ["[ads.test]", "[.track.test]", "[198.51.100.0/24]", "[written.test]"] {
        proxy.access_line(|line| line["rule"] == format!("access.destinations.deny{rule}"));
    }
}

fn a_reload_reads_lists_again(mode: Mode) {
    let (names, origin) = (NameServer::with_loopback("a.test"), Origin::ok());
    let proxy = Config::new(mode)
        .set("dns.servers", names.servers())
        .set("access.destinations.deny", vec!["@deny"])
        .file("deny", "b.test\n")
        .start();
    assert_eq!(get(&proxy, &origin, "a.test"), 200);
    proxy.folder().write("deny", "a.test\n");
    assert_eq!(get(&proxy, &origin, "a.test"), 200);
    let reloaded = proxy.operate(&["reload"]);
    assert_eq!(reloaded.code(), 0, "{reloaded:?}");
    assert!(reloaded.stdout.contains("access.destinations.deny"), "{reloaded:?}");
    assert_eq!(get(&proxy, &origin, "a.test"), 403);
    proxy.folder().write("deny", "c.test\n*.wrong.test\n");
    let refused = proxy.operate(&["reload"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert!(refused.output().contains("deny:2: access.destinations.deny"), "{refused:?}");
    assert_eq!(get(&proxy, &origin, "a.test"), 403);
}

fn clients_of_a_file_are_served(mode: Mode) {
    let config = |clients: &str| {
        Config::new(mode)
            .set("access.local_client_bypass", false)
            .set("access.clients", "@clients")
            .file("clients", clients)
    };
    let origin = Origin::ok();
    let served = config("127.0.0.0/8\n").set("access.destinations.allow", vec!["127.0.0.1"]).start();
    assert_eq!(get(&served, &origin, "127.0.0.1"), 200);
    assert_eq!(get(&config("192.0.2.0/24\n").start(), &origin, "127.0.0.1"), 403);
}

fn a_hundred_thousand_names(mode: Mode) {
    let count = at_full_size(20_000, 100_000);
    let list: String =
        (0..count).map(|number| format!("host{number}.example{}.test\n", number % 977)).collect();
    let config = Config::new(mode).set("access.destinations.deny", vec!["@many"]).file("many", &list);
    let (proxy, origin) = (config.start(), Origin::ok());
    assert_eq!(get(&proxy, &origin, &format!("host{}.example{}.test", count - 1, (count - 1) % 977)), 403);
    assert_eq!(get(&proxy, &origin, "127.0.0.1"), 200);
    // Somebody else is served while a list is read again.
    proxy.folder().write("many", format!("{list}127.0.0.1\n"));
    let begun = Instant::now();
    let reloaded = proxy.operate(&["reload"]);
    assert_eq!(reloaded.code(), 0, "{reloaded:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(get(&proxy, &origin, "127.0.0.1"), 502);
}
