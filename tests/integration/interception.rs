//! `interception`: tunnels to listed hosts are opened, and what is inside passes as requests (opt-in, own authority).

use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use bytes::Bytes;
use http::{Request, Version};
use tokio_rustls::rustls::{ClientConnection, pki_types::ServerName};

use crate::support::{
    Authority, Config, End, H2Proxy, Mode, Proxy, SecureOrigin,
    h2_client::{send_all, take},
    in_every_mode, secure,
};

in_every_mode! {
    what_is_inside_passes_as_requests,
    an_origin_that_is_not_who_it_should_be_is_told_inside,
    a_reload_lists_other_hosts,
}

/// `ann` with `secret`, as SHA-crypt.
const ANN: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";

fn create(config: &Config) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"))
        .args(["ca", "create"])
        .current_dir(config.folder().path())
        .env_clear()
        .output()
        .expect("the binary runs")
}

/// Intercepts `localhost`, and trusts origins that `authority` has signed.
fn intercepting(config: Config, authority: &Authority) -> Config {
    assert!(create(&config).status.success());
    config
        .file("origin-ca.pem", &authority.pem())
        .set("upstream.tls.ca_path", "origin-ca.pem")
        .set("interception.hosts", vec!["localhost"])
        .set("interception.ca_cert_path", "ca.pem")
        .set("interception.ca_key_path", "ca-key.pem")
}

fn origin(authority: &Authority) -> SecureOrigin {
    SecureOrigin::ok(&authority.server(&["localhost", "127.0.0.1"]))
}

/// By who trusts the proxy's authority.
#[track_caller]
fn fetch(proxy: &Proxy, arguments: &[&str]) -> String {
    let ca = proxy.folder().path().join("ca.pem");
    proxy.curl(&[&["--cacert", ca.to_str().unwrap()], arguments].concat())
}

fn what_is_inside_passes_as_requests(mode: Mode) {
    let authority = Authority::new();
    let origin = origin(&authority);
    let proxy = intercepting(Config::new(mode).one_worker(), &authority).start();
    let name = origin.authority("localhost");
    let [one, other] = ["/a?b", "/c"].map(|path| format!("https://{name}{path}"));
    assert_eq!(fetch(&proxy, &["--http1.1", &one, &other]), "okok");
    // One tunnel, and two requests in it.
    let lines = proxy.access_lines_at_least(3);
    let seen: Vec<_> = lines.iter().map(|line| (&line["method"], &line["scheme"], &line["status"])).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(seen.contains(&(&"CONNECT".into(), &serde_json::Value::Null, &200.into())), "{seen:?}");
    let inside: Vec<_> = lines.iter().filter(|line| line["method"] == "GET").collect();
    assert_eq!(inside.len(), 2, "{lines:?}");
    for line in inside {
        assert_eq!((&line["host"], &line["scheme"]), (&"localhost".into(), &"https".into()), "{line}");
    }
    assert_eq!(proxy.access_line(|line| line["method"] == "CONNECT")["close"], "intercepted");
    let explained = proxy.operate(&["explain", "--connect", &name]);
    assert!(explained.stdout.contains("interception.hosts"), "{explained:?}");
    let heads = origin.heads();
    assert!(heads[0].starts_with("GET /a?b HTTP/1.1\r\nhost: localhost:"), "{heads:?}");
    assert!(heads[0].contains("via: 1.1 px"), "{heads:?}");
    // Who speaks HTTP/2 may do so inside, too.
    let url = format!("https://{name}/d");
    assert_eq!(fetch(&proxy, &["--http2", "-w", " %{http_version}", &url]), "ok 2");
    let line = proxy.access_line(|line| line["path"] == "/d");
    assert_eq!((&line["proto"], &line["scheme"]), (&"HTTP/2.0".into(), &"https".into()), "{line}");
    assert!(origin.heads().iter().any(|head| head.contains("via: 2 px")), "{:?}", origin.heads());
    // By SOCKS5 just as well.
    let ca = proxy.folder().path().join("ca.pem");
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--cacert", ca.to_str().unwrap()])
        .args(["-x", &format!("socks5h://{}", proxy.addr()), &format!("https://{name}/socks")])
        .env_clear()
        .output()
        .expect("there is curl");
    assert_eq!(output.stdout, b"ok", "{output:?}");
    proxy.access_line(|line| line["path"] == "/socks" && line["scheme"] == "https");
    // The certificate of the origin itself is never seen, and who trusts that only is not served.
    let origin_ca = proxy.folder().path().join("origin-ca.pem");
    let refused = proxy.try_curl(&["--cacert", origin_ca.to_str().unwrap(), &one]);
    assert_eq!(refused.status.code(), Some(60), "{refused:?}");
    let line = proxy.access_line(|line| line["error"] == "tls_alert_received");
    assert_eq!((&line["method"], &line["close"]), (&"CONNECT".into(), &"client".into()), "{line}");
    // Another name of the same host is not listed.
    let other = format!("https://{}/", origin.authority("127.0.0.1"));
    assert_eq!(proxy.curl(&["--cacert", origin_ca.to_str().unwrap(), &other]), "ok");
}

fn an_origin_that_is_not_who_it_should_be_is_told_inside(mode: Mode) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let proxy = intercepting(Config::new(mode), &authority).start();
    for (origin, cause) in [
        (origin(&stranger), "is signed by nobody"),
        (SecureOrigin::ok(&authority.expired(&["localhost"])), "has expired"),
        (SecureOrigin::ok(&authority.server(&["other.test"])), "is for another name"),
    ] {
        let url = format!("https://{}/", origin.authority("localhost"));
        for (version, line) in [("--http1.1", "HTTP/1.1 502"), ("--http2", "HTTP/2 502")] {
            let answer = fetch(&proxy, &["-i", version, &url]);
            let head = answer.rsplit_once(line).expect(line).1;
            assert!(head.contains("error=tls_certificate_error") && head.contains(cause), "{answer}");
        }
        assert!(origin.heads().is_empty());
    }
}

fn a_reload_lists_other_hosts(mode: Mode) {
    let authority = Authority::new();
    let origin = origin(&authority);
    let config = intercepting(Config::new(mode), &authority);
    let proxy = config.set("interception.exempt", vec!["localhost"]).start();
    let url = format!("https://{}/", origin.authority("localhost"));
    let origin_ca = proxy.folder().path().join("origin-ca.pem");
    assert_eq!(proxy.curl(&["--cacert", origin_ca.to_str().unwrap(), &url]), "ok");
    let path = proxy.folder().path().join("config.yml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("exempt: [\"localhost\"]", "exempt: []")).unwrap();
    let reloaded = proxy.operate(&["reload"]);
    assert_eq!(reloaded.code(), 0, "{reloaded:?}");
    assert!(reloaded.stdout.contains("interception.exempt"), "{reloaded:?}");
    assert_eq!(fetch(&proxy, &[&url]), "ok");
}

/// Inside a tunnel there are requests for its host, and requests only.
#[test]
fn nothing_else_goes_through_the_tunnel() {
    let authority = Authority::new();
    let origin = origin(&authority);
    let proxy = intercepting(Config::new(Mode::MultiThreaded), &authority).start();
    let name = origin.authority("localhost");
    let url = format!("https://{name}/");
    for host in ["other.test", "localhost", "localhost:1"] {
        let answer = fetch(&proxy, &["--http1.1", "-i", "-H", &format!("Host: {host}"), &url]);
        assert!(answer.contains("HTTP/1.1 421 "), "{host}: {answer}");
        let answer = fetch(&proxy, &["--http2", "-i", "-H", &format!("Host: {host}"), &url]);
        assert!(answer.contains("HTTP/2 421 "), "{host}: {answer}");
    }
    let plain = format!("http://{name}/");
    for target in ["https://other.test/", &plain] {
        let answer = fetch(&proxy, &["--http1.1", "-i", "--request-target", target, &url]);
        assert!(answer.contains("HTTP/1.1 421 "), "{target}: {answer}");
    }
    for target in [format!("https://{name}/x"), "/y".into()] {
        assert_eq!(fetch(&proxy, &["--http1.1", "--request-target", &target, &url]), "ok");
    }
    let answer = fetch(&proxy, &["--http1.1", "-i", "-X", "CONNECT", "--request-target", &name, &url]);
    assert!(answer.contains("HTTP/1.1 400 "), "{answer}");
    assert_eq!(origin.heads().len(), 2);
    // What is no TLS is not tunnelled.
    let mut client = proxy.client();
    client.tunnel(&name);
    client.send_unwanted("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (bytes, _) = client.read_to_end();
    assert!(!String::from_utf8_lossy(&bytes).contains("HTTP"), "{}", bytes.escape_ascii());
    proxy.access_line(|line| line["error"] == "tls_protocol_error");
    // Who does not wait for the answer is served as well: the first bytes of TLS stand behind the request.
    let mut eager = proxy.client();
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    eager.send([format!("CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes(), hello].concat());
    assert_eq!(eager.head().status(), 200);
    let (bytes, end) = eager.read_to_end();
    assert_eq!((bytes.first(), end), (Some(&0x15), End::Fin), "an alert: {}", bytes.escape_ascii());
}

/// Who has opened the tunnel is who sends the requests in it, and rules are asked again for each.
#[test]
fn users_and_limits_hold_inside() {
    let authority = Authority::new();
    let origin = origin(&authority);
    let proxy = intercepting(Config::new(Mode::MultiThreaded), &authority)
        .set("access.users_file", "users")
        .file("users", ANN)
        .set(
            "rate_limit.limits",
            serde_json::json!([{ "name": "gets", "key": "user", "rate": "2/h", "burst": 2, "match": { "methods": ["GET"] } }]),
        )
        .start();
    let url = format!("https://{}/", origin.authority("localhost"));
    let status =
        |arguments: &[&str]| fetch(&proxy, &[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat());
    let as_ann = ["--proxy-user", "ann:secret", &url];
    assert_eq!([status(&as_ann), status(&as_ann), status(&as_ann)], ["200", "200", "429"]);
    let line = proxy.access_line(|line| line["status"] == 429);
    assert_eq!((&line["user"], &line["method"]), (&"ann".into(), &"GET".into()), "{line}");
    assert!(!proxy.try_curl(&["-k", &url]).status.success(), "nobody opens a tunnel without a password");
}

/// A tunnel on a stream of HTTP/2 is no way around it.
#[test]
fn streams_of_http2_are_opened_too() {
    let authority = Authority::new();
    let origin = origin(&authority);
    let config = intercepting(Config::new(Mode::MultiThreaded), &authority);
    let proxy = H2Proxy::start(config.set("access.connect_ports", Vec::<u16>::new()));
    let request = Request::connect(origin.authority("localhost")).version(Version::HTTP_2).body(()).unwrap();
    proxy.client().run(async |send| {
        let mut send = send.ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
        send_all(&mut stream, Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"), false).await.unwrap();
        assert_eq!(take(&mut answer.into_body(), 7).await[0], 0x15, "an alert");
    });
    assert!(origin.heads().is_empty());
    proxy.proxy.access_line(|line| line["error"] == "tls_protocol_error");
}

/// All of it: TLS with the origin's name inside a stream, and requests in it.
#[test]
fn requests_pass_inside_streams_of_http2() {
    let authority = Authority::new();
    let origin = origin(&authority);
    let config = intercepting(Config::new(Mode::MultiThreaded), &authority);
    let own = config.folder().read("ca.pem");
    let proxy = H2Proxy::start(config);
    let name = origin.authority("localhost");
    let request = Request::connect(&name).version(Version::HTTP_2).body(()).unwrap();
    let client = proxy.client();
    client.run(async |send| {
        let mut send = send.ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
        let mut body = answer.into_body();
        let localhost = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(secure::client(&own, None), localhost).unwrap();
        for path in ["/a?b", "/c"] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
            tls.writer().write_all(head.as_bytes()).unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\nok") {
                // What TLS has to say goes into the stream, and what comes out of the stream is for TLS to read.
                let mut records = Vec::new();
                while tls.wants_write() {
                    tls.write_tls(&mut records).unwrap();
                }
                send_all(&mut stream, records.into(), false).await.unwrap();
                let data = body.data().await.expect("the stream goes on").expect("the stream is well");
                body.flow_control().release_capacity(data.len()).unwrap();
                let mut data = &data[..];
                while !data.is_empty() {
                    tls.read_tls(&mut data).unwrap();
                    let state = tls.process_new_packets().expect("it is signed by the proxy's authority");
                    let from = got.len();
                    got.resize(from + state.plaintext_bytes_to_read(), 0);
                    tls.reader().read_exact(&mut got[from..]).unwrap();
                }
            }
            assert!(got.starts_with(b"HTTP/1.1 200 "), "{}", got.escape_ascii());
        }
    });
    let heads = origin.heads();
    assert!(
        heads[0].starts_with("GET /a?b HTTP/1.1\r\n") && heads[1].starts_with("GET /c HTTP/1.1\r\n"),
        "{heads:?}"
    );
    for path in ["/a", "/c"] {
        let is_it = |line: &serde_json::Value| line["path"].as_str().is_some_and(|it| it.starts_with(path));
        let line = proxy.proxy.access_line(is_it);
        assert_eq!((&line["scheme"], &line["host"]), (&"https".into(), &"localhost".into()), "{line}");
    }
    let line = proxy.proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!((&line["proto"], &line["close"]), (&"HTTP/2.0".into(), &"intercepted".into()), "{line}");
}

#[test]
fn an_authority_is_made_and_kept() {
    let authority = Authority::new();
    let config = Config::new(Mode::SingleThreaded);
    let made = create(&config);
    assert!(made.status.success(), "{made:?}");
    let key = config.folder().path().join("ca-key.pem");
    let text = std::fs::read_to_string(&key).unwrap();
    assert!(text.contains("PRIVATE KEY") && !String::from_utf8_lossy(&made.stdout).contains("PRIVATE"));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    // Nothing that exists is overwritten, and nothing is left of what could not be done.
    let again = create(&config);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("ca-key.pem exists"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), text);
    std::fs::remove_file(&key).unwrap();
    let again = create(&config);
    assert!(String::from_utf8_lossy(&again.stderr).contains("ca.pem exists"), "{again:?}");
    assert!(!key.exists());

    let config = intercepting(Config::new(Mode::SingleThreaded), &authority).arg("check");
    assert_eq!(config.run().code(), 0);
    let key = config.folder().path().join("ca-key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = config.run();
    assert_eq!(refused.code(), 78);
    assert!(refused.output().contains("interception.ca_key_path") && refused.output().contains("chmod 600"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    // No certificate of a server signs anything.
    let server = authority.server(&["a.test"]);
    let config = config.file("ca.pem", &server.cert).file("ca-key.pem", &server.key);
    let refused = config.run();
    assert_eq!(refused.code(), 78);
    assert!(refused.output().contains("cannot be an authority"), "{refused:?}");
    let config = Config::new(Mode::SingleThreaded).set("interception.hosts", vec!["a.test"]).arg("check");
    assert!(config.run().output().contains("all or none"));
}
