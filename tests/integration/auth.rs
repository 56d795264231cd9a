//! Who the client is (C20, C66-C68, `access.users_file`).

use crate::support::{Answer, Config, Mode, Origin, Proxy, head, in_every_mode};

in_every_mode! {
    c20_credentials_for_the_proxy_are_consumed,
    c66_missing_and_wrong_credentials_are_challenged,
    c67_scheme_is_case_blind_and_passwords_may_hold_anything,
    c68_identity_is_not_bound_to_the_connection,
}

/// `ann` with `secret`, and `bob` with `pa:ss wörd`, as SHA-crypt.
const USERS: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n\
                     bob:$5$saltsalt$f3/UQ15npnSs4Vv7.Xos27TA1i1CpdMGT34D5fPQuj5\n";

fn with_users(mode: Mode) -> Proxy {
    Config::new(mode).set("access.users_file", "users").file("users", USERS).start()
}

#[track_caller]
fn expect_challenge(answer: &Answer) {
    answer.expect_own(&[407]);
    let challenges = answer.head.all("proxy-authenticate");
    assert_eq!(challenges, ["Basic realm=\"rust-forward-proxy\", charset=\"UTF-8\""]);
    assert!(!answer.head.has("www-authenticate"), "{answer:?}");
}

fn c20_credentials_for_the_proxy_are_consumed(mode: Mode) {
    let (proxy, origin) = (with_users(mode), Origin::ok());
    proxy.exchange(origin.get("/", &["Proxy-Authorization: Basic YW5uOnNlY3JldA=="])).expect_ok("ok");
    assert!(!origin.request_at(0).head.mentions("proxy-authorization"));
    assert_eq!(proxy.access_line(|line| line["status"] == 200)["user"], "ann");
}

fn c66_missing_and_wrong_credentials_are_challenged(mode: Mode) {
    let (proxy, origin) = (with_users(mode), Origin::ok());
    for fields in [
        &[] as &[&str],
        &["Proxy-Authorization: Basic YW5uOndyb25n"],
        &["Proxy-Authorization: Basic bm9ib2R5OnNlY3JldA=="],
        &["Proxy-Authorization: Basic !!!"],
        &["Proxy-Authorization: Basic YW5u"],
        &["Proxy-Authorization: Bearer abc"],
        &["Proxy-Authorization:"],
    ] {
        expect_challenge(&proxy.exchange(origin.get("/", fields)));
    }
    let mut client = proxy.client();
    client.send(head(&["CONNECT a.test:443 HTTP/1.1", "Host: a.test"]));
    expect_challenge(&client.answer());
    assert_eq!(origin.connections(), 0);
}

fn c67_scheme_is_case_blind_and_passwords_may_hold_anything(mode: Mode) {
    let (proxy, origin) = (with_users(mode), Origin::ok());
    proxy.exchange(origin.get("/", &["Proxy-Authorization: basic YW5uOnNlY3JldA=="])).expect_ok("ok");
    proxy.exchange(origin.get("/", &["Proxy-Authorization: BASIC Ym9iOnBhOnNzIHfDtnJk"])).expect_ok("ok");
}

fn c68_identity_is_not_bound_to_the_connection(mode: Mode) {
    let (proxy, origin) = (with_users(mode), Origin::ok());
    let mut client = proxy.client();
    client.send(origin.get("/", &["Proxy-Authorization: Basic YW5uOnNlY3JldA=="]));
    client.answer().expect_ok("ok");
    client.send(origin.get("/", &[]));
    expect_challenge(&client.answer());
}
