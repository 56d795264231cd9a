//! Request targets and `Host`: what the origin sees of them, and which are refused (C1-C15).

use std::net::IpAddr;

use crate::support::{Config, Mode, NameServer, Origin, Proxy, Reply, eventually, head, in_every_mode};

in_every_mode! {
    c1_host_is_made_from_the_target,
    c2_empty_path_becomes_a_slash,
    c3_options_without_path_becomes_asterisk,
    c4_host_must_be_there_once_and_valid,
    c5_empty_host_is_refused,
    c6_userinfo_goes_nowhere,
    c7_target_is_not_normalised,
    c8_bytes_that_no_target_may_hold_are_refused,
    c9_ports_are_strict,
    c10_trailing_dot_is_absolute,
    c11_own_listeners_are_not_dialled,
    c11_own_wildcard_listener_is_not_dialled_by_any_address,
    c12_origin_form_is_not_forwarded,
    c13_other_schemes_are_refused,
    c14_too_large_heads_are_answered,
    c15_methods_are_forwarded_as_they_are,
}

fn c1_host_is_made_from_the_target(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let answer =
        proxy.exchange(head(&[format!("GET {} HTTP/1.1", origin.url("/x?y")), "Host: evil.test".to_owned()]));
    answer.expect_ok("ok");
    let request = origin.request_at(0).head;
    assert_eq!(request.start(), "GET /x?y HTTP/1.1");
    assert_eq!(request.all("host"), [origin.authority()]);
    assert!(!request.mentions("evil"), "{request:?}");
}

fn c2_empty_path_becomes_a_slash(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    for (path, expected) in [("?q=1", "/?q=1"), ("", "/"), ("?", "/?")] {
        client.send(origin.get(path, &[]));
        client.answer().expect_ok("ok");
        assert_eq!(origin.requests().last().unwrap().head.target(), expected);
    }
}

fn c3_options_without_path_becomes_asterisk(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    for (path, expected) in [("", "*"), ("/", "/"), ("/a", "/a"), ("?q", "/?q")] {
        client.send(origin.request("OPTIONS", path, &[]));
        client.answer().expect_ok("ok");
        let request = origin.requests().pop().unwrap().head;
        assert_eq!(request.start(), format!("OPTIONS {expected} HTTP/1.1"));
        assert_eq!(request.all("host"), [origin.authority()]);
    }
}

fn c4_host_must_be_there_once_and_valid(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let get = format!("GET {} HTTP/1.1", origin.url("/"));
    let two = [get.as_str(), "Host: a.test", "Host: a.test"];
    let cases: [&[&str]; 6] = [
        &[&get],
        &two,
        &[&get, "Host: a b"],
        &[&get, "Host: a.test, b.test"],
        &[&get, "Host: a.test/x"],
        &[&get, "Host: u@a.test"],
    ];
    for case in cases {
        let answer = proxy.exchange(head(case));
        answer.expect_own(&[400]);
    }
    assert_eq!(origin.connections(), 0);
    let lines = proxy.access_lines_at_least(cases.len());
    assert!(lines.iter().all(|line| line["status"] == 400), "{lines:?}");
}

fn c5_empty_host_is_refused(mode: Mode) {
    let proxy = Proxy::new(mode);
    for start in ["GET http:///x HTTP/1.1", "GET http://:80/x HTTP/1.1", "CONNECT :443 HTTP/1.1"] {
        proxy.exchange(head(&[start, "Host: a.test"])).expect_own(&[400]);
    }
}

fn c6_userinfo_goes_nowhere(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let request = head(&[
        format!("GET http://user:geheim@{}/ HTTP/1.1", origin.authority()),
        format!("Host: {}", origin.authority()),
    ]);
    let answer = proxy.exchange(request);
    if answer.status() != 400 {
        answer.expect_ok("ok");
        let request = origin.request_at(0).head;
        assert_eq!(request.all("host"), [origin.authority()]);
        assert!(!request.mentions("geheim"), "{request:?}");
    }
    proxy.access_lines_at_least(1);
    assert!(!proxy.all_logs().contains("geheim"), "{}", proxy.all_logs());
}

fn c7_target_is_not_normalised(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for target in ["/%7Ea/../b//c;d?x=%2F+%20&y=a|b^c{}", "//a", "/./..//?", "/a#b?c", "/%zz%", "/?a?b=/?/"] {
        // A fragment has no business in a target: refusing it is as good as carrying it unchanged.
        let answer = proxy.exchange(origin.get(target, &[]));
        if target.contains('#') && answer.status() == 400 {
            continue;
        }
        answer.expect_ok("ok");
        assert_eq!(origin.requests().last().unwrap().head.target(), target);
    }
}

fn c8_bytes_that_no_target_may_hold_are_refused(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut count = 0;
    for byte in [b'"', b'<', b'>', b'`', 0x80, 0xe9, 0xff] {
        for part in ["/", "/?"] {
            let mut request = format!("GET {}", origin.url(part)).into_bytes();
            request.push(byte);
            request
                .extend_from_slice(&head(&[" HTTP/1.1".to_owned(), format!("Host: {}", origin.authority())]));
            let answer = proxy.exchange(request);
            assert_eq!(answer.status(), 400, "byte {byte:#x} in {part}: {answer:?}");
            answer.expect_own(&[400]);
            count += 1;
        }
    }
    assert_eq!(origin.connections(), 0);
    let lines = proxy.access_lines_at_least(count);
    assert!(lines.iter().all(|line| line["status"] == 400), "{lines:?}");
}

fn c9_ports_are_strict(mode: Mode) {
    let proxy = Proxy::new(mode);
    for authority in ["127.0.0.1:99999", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:-1", "127.0.0.1:+80"] {
        let start = format!("GET http://{authority}/ HTTP/1.1");
        proxy.exchange(head(&[start.as_str(), "Host: a.test"])).expect_own(&[400]);
    }
    // Nothing need listen there: the log says which port was meant.
    proxy.exchange(head(&["GET http://127.0.0.77:/dflt HTTP/1.1", "Host: 127.0.0.77"]));
    let line = proxy.access_line(|line| line["path"] == "/dflt");
    assert_eq!(line["port"], 80, "{line}");
}

fn c10_trailing_dot_is_absolute(mode: Mode) {
    let origin = Origin::ok();
    let names = NameServer::start(&[("a.test", Reply::Addresses(vec![IpAddr::from([127, 0, 0, 1])]))]);
    let proxy = Config::new(mode).set("dns.servers", names.servers()).start();
    let authority = format!("a.test.:{}", origin.port());
    proxy
        .exchange(head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")]))
        .expect_ok("ok");
    assert_eq!(origin.request_at(0).head.all("host"), [authority]);
    proxy.exchange(head(&["GET http://missing.test./ HTTP/1.1", "Host: missing.test."])).expect_own(&[502]);
    let questions = names.questions();
    assert!(questions.iter().all(|name| name == "a.test." || name == "missing.test."), "{questions:?}");
}

fn c11_own_listeners_are_not_dialled(mode: Mode) {
    let proxy = Proxy::new(mode);
    let port = proxy.addr().port();
    for (number, host) in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"].iter().enumerate() {
        let start = format!("GET http://{host}:{port}/own HTTP/1.1");
        let answer = proxy.exchange(head(&[start, format!("Host: {host}:{port}")]));
        assert!(answer.body.complete, "{answer:?}");
        // A request that went round would have a line a lap.
        let lines = proxy.access_lines_at_least(number + 1);
        assert_eq!(lines.len(), number + 1, "{host}: {lines:?}");
    }
    let answer =
        proxy.exchange(head(&[format!("CONNECT 127.0.0.1:{port} HTTP/1.1"), "Host: a.test".to_owned()]));
    assert_ne!(answer.status(), 200, "a tunnel to itself");
}

fn c11_own_wildcard_listener_is_not_dialled_by_any_address(mode: Mode) {
    let proxy = Config::new(mode).set("listen_addr", "0.0.0.0:0").start();
    let port = proxy.addr().port();
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for (number, host) in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "localhost"].iter().enumerate() {
        let mut client = crate::support::Client::connect(to);
        client
            .send(head(&[format!("GET http://{host}:{port}/own HTTP/1.1"), format!("Host: {host}:{port}")]));
        assert!(client.answer().body.complete);
        let lines = proxy.access_lines_at_least(number + 1);
        assert_eq!(lines.len(), number + 1, "{host}: {lines:?}");
    }
}

fn c12_origin_form_is_not_forwarded(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let answer =
        proxy.exchange(head(&["GET /x HTTP/1.1".to_owned(), format!("Host: {}", origin.authority())]));
    assert!(matches!(answer.status(), 400 | 404), "{answer:?}");
    assert_eq!(origin.connections(), 0);
}

fn c13_other_schemes_are_refused(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for scheme in ["ftp", "file", "gopher", "ws"] {
        let answer = proxy.exchange(head(&[
            format!("GET {scheme}://{}/ HTTP/1.1", origin.authority()),
            format!("Host: {}", origin.authority()),
        ]));
        answer.expect_own(&[400, 501]);
    }
    assert_eq!(origin.connections(), 0);
}

fn c14_too_large_heads_are_answered(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let long = "x".repeat(70_000);
    let target = origin.get(&format!("/{long}"), &[]);
    let one_field = origin.get("/", &[&format!("X-Long: {long}")]);
    let line = format!("X-Part: {}", "y".repeat(1000));
    let many_fields = origin.get("/", &vec![line.as_str(); 70]);
    for (request, status) in [(target, 414), (many_fields, 431), (one_field, 431)] {
        let mut client = proxy.client();
        client.send_unwanted(request);
        client.answer().expect_own(&[status]);
        client.expect_end();
    }
    assert_eq!(origin.connections(), 0);
    let lines = proxy.access_lines_at_least(3);
    let mut statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [414, 431, 431]);
}

fn c15_methods_are_forwarded_as_they_are(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for method in ["FOO", "get", "PROPFIND", "M-SEARCH", "a!#$%&'*+-.^_`|~1"] {
        proxy.exchange(origin.request(method, "/m", &[])).expect_ok("ok");
        let start = origin.requests().pop().unwrap().head.start().to_owned();
        assert_eq!(start, format!("{method} /m HTTP/1.1"));
    }
    let logged = eventually("each method has its line", || {
        let methods: Vec<_> = proxy.access_lines().iter().map(|line| line["method"].clone()).collect();
        (methods.len() >= 5).then_some(methods)
    });
    assert!(logged.contains(&"get".into()) && logged.contains(&"FOO".into()), "{logged:?}");
}
