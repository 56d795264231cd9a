//! Which way out a request takes, and what is different on it (`routes`, `default_route`).

use std::net::IpAddr;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Config, Mode, NameServer, Origin, Proxy, head, in_every_mode};

in_every_mode! {
    the_first_route_that_matches_is_taken,
    every_condition_counts,
    what_is_denied_is_told_by_its_rule,
    a_route_that_reports_is_told_and_not_taken,
    where_nothing_is_refused_no_route_refuses,
    fields_are_set_and_removed,
    fields_cannot_be_smuggled,
    a_route_has_its_own_limits_and_deadlines,
    a_reload_swaps_routes,
    requests_in_origin_form_go_to_origins,
    who_is_not_served_gets_no_origin_either,
}

/// `one.test` and everything else of the kind are names of this host.
fn names() -> NameServer {
    let names = ["one.test", "two.test", "a.two.test", "api-1.two.test"];
    let loopback = || crate::support::Reply::Addresses(vec![IpAddr::from([127, 0, 0, 1])]);
    NameServer::start(&names.map(|name| (name, loopback())))
}

fn start(mode: Mode, names: &NameServer, routes: Value) -> Proxy {
    Config::new(mode).set("dns.servers", names.servers()).set("routes", routes).start()
}

/// A request for a path of this host, at the port of `origin`.
fn request(method: &str, host: &str, origin: &Origin, path: &str, fields: &[&str]) -> Vec<u8> {
    let authority = format!("{host}:{}", origin.port());
    let mut lines = vec![format!("{method} http://{authority}{path} HTTP/1.1"), format!("Host: {authority}")];
    lines.extend(fields.iter().map(|&field| field.to_owned()));
    head(&lines)
}

fn get(host: &str, origin: &Origin) -> Vec<u8> {
    request("GET", host, origin, "/", &[])
}

fn the_first_route_that_matches_is_taken(mode: Mode) {
    let (names, origin) = (names(), Origin::ok());
    let routes = json!([
        { "match": { "hosts": ["a.two.test"] }, "via": "direct" },
        { "name": "pattern", "match": { "hosts": ["api-*.two.test"] }, "via": "deny" },
        { "name": "below", "match": { "hosts": [".two.test"] }, "via": "deny" },
    ]);
    let proxy = start(mode, &names, routes);
    for host in ["one.test", "two.test", "a.two.test", "A.Two.Test."] {
        proxy.exchange(get(host, &origin)).expect_ok("ok");
    }
    for (host, rule) in [("api-1.two.test", "routes[pattern]"), ("x.two.test", "routes[below]")] {
        let answer = proxy.exchange(get(host, &origin));
        answer.expect_error(403, "http_request_denied");
        assert_eq!(answer.proxy_status()[0].parameters["details"], rule);
    }
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!(line["route"], "direct", "{line}");
    assert!(names.questions().iter().all(|name| !name.starts_with("api-")), "{:?}", names.questions());
}

fn every_condition_counts(mode: Mode) {
    let (names, origin, other) = (names(), Origin::ok(), Origin::ok());
    let deny = |name: &str, condition: &str, value: Value| json!({ "name": name, "via": "deny", "match": { condition: value } });
    let routes = json!([
        deny("methods", "methods", json!(["DELETE", "PATCH"])),
        deny("ports", "ports", json!([other.port()])),
        deny("paths", "paths", json!(["/private/"])),
        deny("clients", "clients", json!(["127.0.0.9"])),
        deny("tunnels", "schemes", json!(["connect"])),
        deny("nets", "hosts", json!(["127.0.0.0/8"])),
    ]);
    let proxy = start(mode, &names, routes);
    for (method, path) in
        [("GET", "/"), ("POST", "/private"), ("delete", "/x/private/"), ("GET", "?/private/")]
    {
        proxy.exchange(request(method, "one.test", &origin, path, &["Content-Length: 0"])).expect_ok("ok");
    }
    let denied = |rule: &str, mut client: Client, bytes: Vec<u8>| {
        client.send(bytes);
        let answer = client.answer();
        answer.expect_error(403, "http_request_denied");
        assert_eq!(answer.proxy_status()[0].parameters["details"], format!("routes[{rule}]"));
    };
    let nobody: &[&str] = &[];
    denied("methods", proxy.client(), request("DELETE", "one.test", &origin, "/", nobody));
    denied("ports", proxy.client(), get("one.test", &other));
    denied("paths", proxy.client(), request("GET", "one.test", &origin, "/private/x?y", nobody));
    let other_client = Client::connect_from(IpAddr::from([127, 0, 0, 9]), proxy.addr());
    denied("clients", other_client, get("one.test", &origin));
    let connect = [format!("CONNECT one.test:{} HTTP/1.1", origin.port()), "Host: one.test".to_owned()];
    denied("tunnels", proxy.client(), head(&connect));
    denied("nets", proxy.client(), origin.get("/", nobody));
    assert_eq!(other.connections(), 0);
}

fn what_is_denied_is_told_by_its_rule(mode: Mode) {
    let (names, origin) = (names(), Origin::ok());
    let proxy = Config::new(mode)
        .with_admin()
        .set("dns.servers", names.servers())
        .set("routes", json!([{ "match": { "hosts": ["one.test"] }, "via": "direct" }]))
        .set("default_route", "deny")
        .start();
    proxy.exchange(get("one.test", &origin)).expect_ok("ok");
    proxy.exchange(get("two.test", &origin)).expect_error(403, "http_request_denied");
    let line = proxy.access_line(|line| line["status"] == 403);
    assert_eq!((&line["rule"], &line["route"]), (&json!("default_route"), &Value::Null), "{line}");
    let metrics = proxy.admin().get("/metrics").1;
    assert!(metrics.contains("forward_proxy_denied_total{rule=\"default_route\"} 1"), "{metrics}");
}

fn a_route_that_reports_is_told_and_not_taken(mode: Mode) {
    let (names, origin) = (names(), Origin::ok());
    let routes =
        json!([{ "name": "soon", "match": { "hosts": ["one.test"] }, "via": "deny", "mode": "report" }]);
    let proxy = start(mode, &names, routes);
    proxy.exchange(get("one.test", &origin)).expect_ok("ok");
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!((&line["rule"], &line["route"]), (&json!("routes[soon]"), &json!("direct")), "{line}");
    assert!(proxy.log_line("would be refused").contains("routes[soon]"), "{}", proxy.log());
    // A way that is to be opened, where all others are closed.
    let routes =
        json!([{ "name": "new", "match": { "hosts": ["one.test"] }, "via": "direct", "mode": "report" }]);
    let closed = Config::new(mode).set("routes", routes).set("default_route", "deny").start();
    closed.exchange(get("one.test", &origin)).expect_error(403, "http_request_denied");
    let told = closed.log_line("would take this way");
    assert!(told.contains("routes[new]") && told.contains("via=direct"), "{told}");
    let line = closed.access_line(|line| line["status"] == 403);
    assert_eq!(line["rule"], "default_route", "{line}");
}

fn where_nothing_is_refused_no_route_refuses(mode: Mode) {
    let (names, origin) = (names(), Origin::ok());
    let proxy = Config::new(mode)
        .set("dns.servers", names.servers())
        .set("access.mode", "report")
        .set("default_route", "deny")
        .start();
    proxy.exchange(get("one.test", &origin)).expect_ok("ok");
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!((&line["rule"], &line["route"]), (&json!("default_route"), &json!("direct")), "{line}");
}

/// Users `ann` and the password `secret`.
const USERS: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";

fn with_fields(mode: Mode, names: &NameServer) -> Config {
    let headers = json!({
        "set": { "X-Client": "ip=$client_ip;", "X-User": "$user", "X-Id": "${request_id}$$" },
        "remove": ["Cookie", "X-Secret"],
    });
    Config::new(mode)
        .set("dns.servers", names.servers())
        .set("routes", json!([{ "match": { "hosts": ["one.test"] }, "via": "direct", "headers": headers }]))
}

fn fields_are_set_and_removed(mode: Mode) {
    let (names, origin) = (names(), Origin::ok());
    let proxy = with_fields(mode, &names).start();
    proxy
        .exchange(request("GET", "one.test", &origin, "/", &["cookie: a=b", "X-User: root", "Accept: x"]))
        .expect_ok("ok");
    let got = origin.request_at(0).head;
    assert_eq!(got.all("x-client"), ["ip=127.0.0.1;"], "{got:?}");
    assert_eq!(got.all("cookie").len() + got.all("x-user").len(), 0, "{got:?}");
    assert_eq!(got.all("accept"), ["x"], "{got:?}");
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!(got.all("x-id"), [format!("{}$", line["id"].as_str().unwrap())], "{got:?}");
    // Another route, another origin's business.
    proxy.exchange(request("GET", "two.test", &origin, "/", &["cookie: a=b"])).expect_ok("ok");
    let got = origin.request_at(1).head;
    assert_eq!((got.all("cookie"), got.all("x-client").len()), (vec!["a=b".to_owned()], 0), "{got:?}");
}

fn fields_cannot_be_smuggled(mode: Mode) {
    let (names, origin) = (names(), Origin::ok());
    let proxy = with_fields(mode, &names).start();
    let fields = [
        "X-Client: ip=10.0.0.1;",
        "x_client: ip=10.0.0.2;",
        "X-SECRET: 1",
        "Connection: x-client, x-id",
        "Transfer-Encoding: chunked",
        "TE: trailers",
    ];
    let mut bytes = request("POST", "one.test", &origin, "/", &fields);
    bytes.extend_from_slice(
        b"2\r\nab\r\n0\r\nX-Client: ip=10.0.0.3;\r\nx_user: root\r\nX-Secret: 2\r\nX-Fine: 1\r\n\r\n",
    );
    proxy.exchange(bytes).expect_ok("ok");
    origin.request_at(0);
    let received = String::from_utf8(origin.received(0)).unwrap().to_ascii_lowercase();
    assert!(received.contains("x-client: ip=127.0.0.1;\r\n") && received.contains("x-id: "), "{received}");
    for smuggled in ["10.0.0.", "x_client", "x-secret", "root"] {
        assert!(!received.contains(smuggled), "{smuggled}: {received}");
    }
    assert!(received.contains("x-fine: 1"), "{received}");
}

#[test]
fn fields_tell_of_users() {
    let (names, origin) = (names(), Origin::ok());
    let proxy = with_fields(Mode::SingleThreaded, &names)
        .set("access.users_file", "users")
        .file("users", USERS)
        .start();
    let fields = ["Proxy-Authorization: Basic YW5uOnNlY3JldA==", "X-User: root"];
    let answer = proxy.exchange(request("GET", "one.test", &origin, "/", &fields));
    answer.expect_ok("ok");
    assert_eq!(origin.request_at(0).head.all("x-user"), ["ann"]);
}

fn a_route_has_its_own_limits_and_deadlines(mode: Mode) {
    let (names, silent, origin) = (names(), Origin::silent(), Origin::ok());
    let routes = json!([
        { "name": "hasty", "match": { "hosts": ["one.test"] }, "via": "direct",
          "limits": { "max_body_size": 3 }, "timeouts": { "response_head": "300ms", "tunnel_idle": "300ms" } },
    ]);
    let proxy = start(mode, &names, routes);
    proxy.exchange(get("one.test", &silent)).expect_error(504, "http_response_timeout");
    let post = |host: &str, body: &str| {
        let mut bytes = request("POST", host, &origin, "/", &[&format!("Content-Length: {}", body.len())]);
        bytes.extend_from_slice(body.as_bytes());
        proxy.exchange(bytes)
    };
    post("one.test", "abc").expect_ok("ok");
    let refused = post("one.test", "abcd");
    refused.expect_error(413, "http_request_error");
    assert!(refused.text().contains("limits.max_body_size of routes[hasty]"), "{}", refused.text());
    post("two.test", "abcd").expect_ok("ok");
    let mut chunked = request("POST", "one.test", &origin, "/", &["Transfer-Encoding: chunked"]);
    chunked.extend_from_slice(b"4\r\nabcd\r\n0\r\n\r\n");
    proxy.exchange(chunked).expect_error(413, "http_request_error");
    let echo = Origin::echo();
    let mut tunnel = proxy.client();
    tunnel.tunnel(&format!("one.test:{}", echo.port()));
    tunnel.expect_end();
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!((&line["close"], &line["route"]), (&json!("tunnel_idle"), &json!("direct")), "{line}");
}

fn a_reload_swaps_routes(mode: Mode) {
    let (names, origin) = (names(), Origin::ok());
    let proxy = start(mode, &names, json!([{ "match": { "hosts": ["one.test"] }, "via": "deny" }]));
    let mut client = proxy.client();
    client.send(get("two.test", &origin));
    client.answer().expect_ok("ok");
    let text = proxy.folder().read("config.yml");
    proxy.folder().write("config.yml", text.replace("one.test", "two.test"));
    proxy.signal(Signal::SIGHUP);
    proxy.log_line("reload applied");
    proxy.exchange(get("one.test", &origin)).expect_ok("ok");
    client.send(get("two.test", &origin));
    client.answer().expect_error(403, "http_request_denied");
}

#[test]
fn a_route_that_can_never_match_is_refused_by_the_name_of_what_hides_it() {
    let routes = |routes: Value| Config::new(Mode::SingleThreaded).set("routes", routes).arg("check").run();
    let hidden = routes(json!([
        { "name": "all", "match": { "hosts": [".test"] }, "via": "deny" },
        { "match": { "hosts": ["a.test"], "ports": [80] }, "via": "direct" },
        { "match": { "ports": [80] }, "via": "direct" },
    ]));
    assert_eq!(hidden.code(), 78, "{hidden:?}");
    assert!(hidden.output().contains("routes[1] can never match: routes[all], which"), "{hidden:?}");
    assert!(!hidden.output().contains("routes[2]"), "{hidden:?}");
    let nobody = routes(json!([{ "via": "corp" }]));
    assert_eq!(nobody.code(), 78, "{nobody:?}");
    assert!(nobody.output().contains("routes[0].via: found \"corp\""), "{nobody:?}");
    let fine = routes(json!([{ "match": { "hosts": ["a.test"] }, "via": "deny" }, { "via": "direct" }]));
    assert_eq!(fine.code(), 0, "{fine:?}");
}

#[test]
fn the_way_is_explained() {
    let config = || {
        Config::new(Mode::SingleThreaded)
            .set(
                "upstreams",
                json!([{ "name": "corp", "kind": "proxy", "servers": [
                    { "url": "http://ann:secret@192.0.2.1:3128", "weight": 2 }, { "url": "socks5://192.0.2.2" }] }]),
            )
            .set(
                "routes",
                json!([
                    { "name": "soon", "match": { "hosts": ["a.test"] }, "via": "deny", "mode": "report" },
                    { "name": "far", "match": { "hosts": ["a.test"] }, "via": "corp", "timeouts": { "connect": "2s" },
                      "limits": { "max_body_size": "1MiB" }, "headers": { "set": { "X-A": "1" }, "remove": ["Cookie"] } },
                    { "match": { "schemes": ["connect"] }, "via": "deny" },
                ]),
            )
            .arg("explain")
    };
    for (target, expected) in [
        (
            "http://a.test/",
            &[
                "corp, by routes[far]: over one of its parents",
                "http://192.0.2.1:3128 (weight 2), socks5://192.0.2.2:1080",
                "connect 2s, response_head 30s, body_idle 1m; request bodies up to 1MiB",
                "sets X-A",
                "removes Cookie",
                "routes[soon] only reports: would be denied",
                "it may pass",
            ][..],
        ),
        ("http://b.test/", &["direct, by default_route: to the host itself", "request bodies of any size"]),
        ("https://a.test/", &["over one of its parents", "connect 2s, tunnel_idle 15m"]),
        ("https://b.test/", &["none, by routes[2]: denied", "routes[2]: requests such as", "it is refused"]),
    ] {
        let said = config().arg(target).run();
        assert_eq!(said.code(), 0, "{said:?}");
        for expected in expected {
            assert!(said.stdout.contains(expected), "{target}: {expected:?} is not in\n{}", said.stdout);
        }
        assert!(!said.stdout.contains("secret"), "{}", said.stdout);
    }
}

/// A request for a path of the proxy itself, as a web server gets it.
fn plain(method: &str, path: &str, fields: &[&str]) -> Vec<u8> {
    let first = format!("{method} {path} HTTP/1.1");
    let lines: Vec<_> = std::iter::once(first.as_str()).chain(fields.iter().copied()).collect();
    head(&lines)
}

/// Behind it is a group of one server, for the paths of an interface.
fn in_front_of(mode: Mode, app: &Origin) -> Config {
    Config::new(mode)
        .set("upstreams", json!([{ "name": "app", "kind": "origin", "servers": [{ "url": app.url("") }] }]))
        .set(
            "routes",
            json!([
                { "match": { "hosts": ["app.test"], "paths": ["/api/admin"] }, "via": "deny" },
                { "match": { "hosts": ["app.test", "127.0.0.1"], "paths": ["/api/"] }, "via": "app" },
            ]),
        )
}

fn requests_in_origin_form_go_to_origins(mode: Mode) {
    let app = Origin::ok();
    let proxy = in_front_of(mode, &app).start();
    proxy.exchange(plain("GET", "/api/x?y", &["Host: app.test"])).expect_ok("ok");
    let got = app.request_at(0).head;
    assert_eq!((got.target(), got.one("host")), ("/api/x?y", Some("app.test".to_owned())), "{got:?}");
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!((&line["route"], &line["host"]), (&json!("app"), &json!("app.test")), "{line}");
    assert_eq!(
        (&line["port"], &line["upstream"]),
        (&json!(proxy.addr().port()), &json!(app.authority())),
        "{line}"
    );
    // The same by the address of the proxy, with a body, and in absolute-form.
    let own = format!("Host: {}", proxy.addr());
    let mut post = plain("POST", "/api/x", &[&own, "Content-Length: 2"]);
    post.extend_from_slice(b"ab");
    proxy.exchange(post).expect_ok("ok");
    assert_eq!(app.request_at(1).head.one("host"), Some(proxy.addr().to_string()));
    proxy
        .exchange(head(&["PUT http://app.test/api/y HTTP/1.1", "Host: app.test", "Content-Length: 0"]))
        .expect_ok("ok");
    // Whatever else is asked of the proxy, it answers itself.
    for (path, host, status) in
        [("/api", "Host: app.test", 404), ("/api/x", "Host: other.test", 404), ("/", "Host: app.test", 200)]
    {
        let answer = proxy.exchange(plain("GET", path, &[host]));
        assert_eq!(answer.status(), status, "{path} {host}");
    }
    proxy.exchange(b"GET /api/x HTTP/1.0\r\n\r\n").expect_error(404, "http_request_error");
    assert_eq!(app.requests().len(), 3);
}

fn who_is_not_served_gets_no_origin_either(mode: Mode) {
    let app = Origin::ok();
    let config = in_front_of(mode, &app).set("access.clients", vec!["127.0.0.1"]);
    let proxy = config.set("access.local_client_bypass", false).start();
    proxy.exchange(plain("GET", "/api/x", &["Host: app.test"])).expect_ok("ok");
    let mut stranger = Client::connect_from(IpAddr::from([127, 0, 0, 9]), proxy.addr());
    stranger.send(plain("GET", "/api/x", &["Host: app.test"]));
    stranger.answer().expect_error(403, "http_request_denied");
    // A route that is denied in front of it is nobody's.
    let denied = proxy.exchange(plain("GET", "/api/admin", &["Host: app.test"]));
    denied.expect_own(&[403, 404]);
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn origins_are_for_who_logs_in() {
    let app = Origin::ok();
    let proxy = in_front_of(Mode::SingleThreaded, &app)
        .set("access.users_file", "users")
        .file("users", USERS)
        .start();
    let anybody = proxy.exchange(plain("GET", "/api/x", &["Host: app.test"]));
    anybody.expect_error(407, "http_request_denied");
    let as_ann = ["Host: app.test", "Proxy-Authorization: Basic YW5uOnNlY3JldA=="];
    proxy.exchange(plain("GET", "/api/x", &as_ann)).expect_ok("ok");
    assert_eq!(app.request_at(0).head.all("proxy-authorization").len(), 0);
}
