//! What is written of each request and tunnel, and what is never written.

use serde_json::Value;

use crate::support::{Config, Mode, Origin, Proxy, eventually, head, in_every_mode};

in_every_mode! {
    a_line_has_every_field,
    a_tunnel_has_one_line_when_it_ends,
    refused_and_malformed_requests_have_a_line,
    no_secret_is_in_any_log,
    the_query_is_kept_when_asked,
    the_access_log_may_go_to_standard_output_or_nowhere,
    diagnostics_go_to_the_file_with_pids,
    diagnostics_may_be_json,
    a_client_that_leaves_has_a_line,
}

const FIELDS: [&str; 23] = [
    "ts",
    "id",
    "worker",
    "client",
    "user",
    "method",
    "scheme",
    "host",
    "port",
    "path",
    "proto",
    "status",
    "error",
    "rule",
    "route",
    "upstream",
    "reused",
    "bytes_in",
    "bytes_out",
    "dns_ms",
    "connect_ms",
    "ttfb_ms",
    "duration_ms",
];

#[track_caller]
fn expect_fields(line: &Value) {
    for field in FIELDS.iter().chain(&["close"]) {
        assert!(line.get(field).is_some(), "no {field}: {line}");
    }
    let ts = line["ts"].as_str().unwrap();
    let form = ts.len() == 24 && ts.ends_with('Z') && ts.as_bytes()[10] == b'T' && ts.as_bytes()[19] == b'.';
    assert!(form, "not RFC 3339 with milliseconds: {ts}");
    assert!(line["id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
}

fn a_line_has_every_field(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    let mut post = origin.request("POST", "/path?secret=1", &["Content-Length: 5"]);
    post.extend_from_slice(b"hello");
    client.send(post);
    client.answer().expect_ok("ok");
    let line = proxy.access_lines_at_least(1).remove(0);
    expect_fields(&line);
    assert_eq!(line["client"], client.local_addr().to_string(), "{line}");
    assert_eq!(line["method"], "POST");
    assert_eq!(line["scheme"], "http");
    assert_eq!(line["host"], "127.0.0.1");
    assert_eq!(line["port"], origin.port());
    let path = line["path"].as_str().unwrap();
    assert!(path.starts_with("/path") && !path.contains("secret"), "{line}");
    assert_eq!(line["proto"], "HTTP/1.1");
    assert_eq!(line["status"], 200);
    assert_eq!(line["error"], Value::Null);
    assert_eq!(line["upstream"], origin.authority());
    assert_eq!(line["reused"], false);
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &2.into()), "{line}");
    assert!(line["ttfb_ms"].is_number() && line["duration_ms"].is_number(), "{line}");
    assert_eq!(line["worker"].is_number(), mode == Mode::MultiProcess, "{line}");
}

fn a_tunnel_has_one_line_when_it_ends(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    client.send("hello");
    client.read_exact(5);
    assert!(proxy.access_lines().is_empty());
    client.finish();
    client.expect_fin();
    let line = proxy.access_lines_at_least(1).remove(0);
    expect_fields(&line);
    assert_eq!((&line["method"], &line["status"]), (&"CONNECT".into(), &200.into()), "{line}");
    assert_eq!((&line["host"], &line["port"]), (&"127.0.0.1".into(), &origin.port().into()), "{line}");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &5.into()), "{line}");
    assert_eq!(line["upstream"], origin.authority());
    assert_eq!(proxy.access_lines().len(), 1);
}

fn refused_and_malformed_requests_have_a_line(mode: Mode) {
    let proxy = Proxy::new(mode);
    for bytes in
        ["nonsense\r\n\r\n", "CONNECT nowhere HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\n\r\n"]
    {
        let mut client = proxy.client();
        client.send_unwanted(bytes);
        client.answer();
    }
    for line in proxy.access_lines_at_least(3) {
        expect_fields(&line);
        assert!(line["error"].is_string(), "{line}");
    }
    // What is no request is told as far as it was understood, on one line.
    proxy.access_line(|line| line["path"].as_str().is_some_and(|path| path.contains("nonsense")));
}

fn no_secret_is_in_any_log(mode: Mode) {
    let proxy = Config::new(mode).set("log_level", "trace").start();
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nSet-Cookie: geheim=1\r\nContent-Length: 6\r\n\r\ngeheim");
    let mut client = proxy.client();
    let fields = [
        "Authorization: Basic geheim",
        "Proxy-Authorization: Basic geheim",
        "Cookie: a=geheim",
        "Content-Length: 6",
    ];
    let mut post = origin.request("POST", "/?token=geheim", &fields);
    post.extend_from_slice(b"geheim");
    client.send(post);
    client.answer().expect_ok("geheim");
    for bad in [
        "GET http://ann:geheim@127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "CONNECT ann:geheim@127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\nCookie: geheim\r\nAuthorization: geheim\rx\r\n\r\n",
        "GET  http://ann:geheim@127.0.0.1/?geheim HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ] {
        proxy.exchange(bad).expect_own(&[400]);
    }
    proxy.access_lines_at_least(5);
    let logs = proxy.all_logs();
    let told: Vec<_> = logs.lines().filter(|line| line.contains("geheim")).collect();
    assert!(told.is_empty(), "{told:?}");
}

fn the_query_is_kept_when_asked(mode: Mode) {
    let proxy = Config::new(mode).set("access_log.query", "keep").start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/a?b=c", &[])).expect_ok("ok");
    assert_eq!(proxy.access_lines_at_least(1)[0]["path"], "/a?b=c");
}

fn the_access_log_may_go_to_standard_output_or_nowhere(mode: Mode) {
    let origin = Origin::ok();
    let proxy = Config::new(mode).set("access_log.file", Value::Null).start();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let mut proxy = proxy;
    proxy.stop();
    assert_eq!(proxy.folder().read("logs/access.log"), "");

    let mut proxy = Config::new(mode).set("access_log.file", "-").start();
    proxy.exchange(origin.get("/out", &[])).expect_ok("ok");
    let line =
        eventually("standard output has the line", || proxy.stdout().lines().next().map(str::to_owned));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["path"], "/out");
    proxy.stop();
}

fn diagnostics_go_to_the_file_with_pids(mode: Mode) {
    let proxy = Proxy::new(mode);
    let file = eventually("the file says ready", || {
        Some(proxy.folder().read("logs/proxy.log")).filter(|text| text.contains("ready"))
    });
    assert!(file.lines().all(|line| line.contains("pid=")), "{file}");
    assert!(!file.contains('\u{1b}'), "colours in a file: {file}");
    let quiet = Config::new(mode).set("logging.file", Value::Null).start();
    assert_eq!(quiet.folder().read("logs/proxy.log"), "");
}

fn diagnostics_may_be_json(mode: Mode) {
    let proxy = Config::new(mode).set("logging.format", "json").start();
    for line in proxy.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["message"].is_string() && line["pid"].is_number() && line["level"].is_string(),
            "{line}"
        );
    }
}

fn a_client_that_leaves_has_a_line(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::silent());
    let mut client = proxy.client();
    client.send(origin.get("/left", &[]));
    eventually("the origin has the request", || (!origin.received(0).is_empty()).then_some(()));
    // A FIN alone would only say that the client has no more to ask.
    client.reset();
    let line = proxy.access_line(|line| line["path"] == "/left");
    expect_fields(&line);
    origin.end_of(0);
    // Nor does half a request go unseen.
    let mut client = proxy.client();
    client.send("GET http://a.test/half HTTP/1.1\r\nHost: a.te");
    drop(client);
    proxy.access_lines_at_least(2);
    proxy.exchange(head(&["GET / HTTP/1.1", "Host: a"]));
}
