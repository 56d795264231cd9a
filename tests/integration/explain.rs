//! What would become of a request: `explain`.

use serde_json::json;

use crate::support::{Config, Finished, Mode, Origin, in_every_mode};

in_every_mode! {
    what_is_left_is_told_of_the_instance_that_runs,
}

const USERS: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";

fn config() -> Config {
    Config::new(Mode::SingleThreaded)
        .set("access.clients", vec!["loopback", "198.51.100.0/24"])
        .set("access.destinations.deny", vec!["special", "@ads"])
        .file("ads", "ads.test # all of them\n.track.test\n")
}

#[track_caller]
fn explain(config: Config, arguments: &[&str]) -> Finished {
    let finished =
        arguments.iter().fold(config.arg("explain"), |config, argument| config.arg(argument)).run();
    assert_eq!(finished.code(), 0, "{finished:?}");
    finished
}

#[test]
fn which_rule_decides() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["http://a.test/x?y"],
            &[
                "GET http://a.test:80/x?y from 127.0.0.1, on this host",
                "access.local_client_bypass: it may pass",
                "decided upon when it is dialled",
                "direct",
                "none concerns it",
                "it may pass",
            ],
        ),
        (
            &["http://a.test/", "--client", "192.0.2.1"],
            &["access.clients: this client is not served: 403", "it is refused"],
        ),
        (
            &["http://ads.test/", "--client", "198.51.100.7"],
            &["access.destinations.deny[ads.test]: this host", "it is refused"],
        ),
        (&["https://x.track.test/"], &["CONNECT x.track.test:443", "access.destinations.deny[.track.test]"]),
        (
            &["--connect", "a.test:25", "--client", "198.51.100.7"],
            &["CONNECT a.test:25", "access.connect_ports: CONNECT to this port"],
        ),
        (
            &["http://10.0.0.1/", "--client", "198.51.100.7"],
            &["access.destinations.deny[special]: this address", "502"],
        ),
        (&["http://a.test/", "--user", "ann"], &["nobody has to log in, and ann cannot"]),
    ];
    for (arguments, expected) in cases {
        let said = explain(config(), arguments).stdout;
        for expected in *expected {
            assert!(said.contains(expected), "{arguments:?}: {expected:?} is not in\n{said}");
        }
    }
    let with_users = || config().set("access.users_file", "users").file("users", USERS);
    for (arguments, expected) in [
        (&["http://a.test/"][..], "407, access.users_file"),
        (&["http://a.test/", "--user", "bob"], "there is no bob"),
        (&["http://a.test/", "--user", "ann"], "it may pass"),
    ] {
        let said = explain(with_users(), arguments).stdout;
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("$5$"), "{said}");
    }
    let report = explain(config().set("access.mode", "report"), &["http://ads.test/"]).stdout;
    assert!(report.contains("it passes, for access.mode is report"), "{report}");
}

#[test]
fn what_cannot_be_explained_is_said() {
    for (arguments, expected) in [
        (&["example.com"][..], "example.com"),
        (&["http://a b/"], "byte 0x20"),
        (&["--connect", "a.test"], "a.test"),
        (&["http://a.test/", "--method", "a b"], "is no method"),
        (&[], "required"),
    ] {
        let config = arguments.iter().fold(config().arg("explain"), |config, argument| config.arg(argument));
        let finished = config.run();
        assert_eq!(finished.code(), 64, "{arguments:?} {finished:?}");
        assert!(finished.stderr.contains(expected), "{finished:?}");
    }
}

fn what_is_left_is_told_of_the_instance_that_runs(mode: Mode) {
    let proxy = Config::new(mode)
        .set(
            "rate_limit.limits",
            json!([
                { "name": "day", "key": "client_ip", "rate": "3/d", "burst": 3 },
                { "name": "posts", "key": "global", "rate": "1/d", "match": { "methods": ["POST"] } },
            ]),
        )
        .start();
    let origin = Origin::ok();
    let explain = || proxy.operate(&["explain", &origin.url("/")]).stdout;
    assert!(explain().contains("day of client:127.0.0.1; 3/d, burst 3, 3 left"), "{}", explain());
    for left in ["2 left", "1 left", "0 left: 429"] {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
        let said = explain();
        assert!(said.contains(left) && !said.contains("posts"), "{left}: {said}");
    }
    assert!(explain().contains("it is refused"), "{}", explain());
    let other = proxy.operate(&["explain", &origin.url("/"), "--client", "127.0.0.9"]).stdout;
    assert!(other.contains("3 left"), "{other}");
}
