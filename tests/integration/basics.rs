//! What a newcomer does in the first minute: curl for http and https, forms, uploads, many at once.

use std::thread;

use crate::support::{Config, Mode, Origin, Proxy, TlsOrigin, head, in_every_mode};

in_every_mode! {
    curl_gets_http,
    curl_gets_https,
    curl_posts_and_uploads,
    curl_keeps_the_connection,
    curl_tells_why_not,
    get_and_post_by_hand,
    many_clients_at_once,
    every_listen_address_serves,
}

fn curl_gets_http(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    assert_eq!(proxy.curl(&[&origin.url("/a?b=c")]), "ok");
    assert_eq!(origin.request_at(0).head.start(), "GET /a?b=c HTTP/1.1");
    let line = proxy.access_line(|line| line["status"] == 200);
    assert_eq!((&line["method"], &line["scheme"]), (&"GET".into(), &"http".into()), "{line}");
}

fn curl_gets_https(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), TlsOrigin::start());
    let certificate = origin.certificate();
    let page = proxy.curl(&["--cacert", certificate.to_str().unwrap(), &origin.url("/")]);
    assert!(page.contains("Cipher"), "{page}");
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!((&line["host"], &line["port"]), (&"localhost".into(), &origin.port().into()), "{line}");
    assert!(line["bytes_out"].as_u64() > Some(500), "{line}");
}

fn curl_posts_and_uploads(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        loop {
            let head = conn.read_head()?;
            if head.lists("expect", "100-continue") {
                conn.write("HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let body = conn.read_body(&head, false)?;
            conn.answer(format!("{} {}", head.start(), body.bytes.len()))?;
        }
    });
    assert_eq!(proxy.curl(&["-d", "name=value", &origin.url("/form")]), "POST /form HTTP/1.1 10");
    let file = proxy.folder().write("upload", vec![b'x'; 3_000_000]);
    let file = file.to_str().unwrap();
    assert_eq!(proxy.curl(&["-T", file, &origin.url("/put")]), "PUT /put HTTP/1.1 3000000");
    let chunked = ["-T", file, "-H", "Transfer-Encoding: chunked", &origin.url("/put")];
    assert_eq!(proxy.curl(&chunked), "PUT /put HTTP/1.1 3000000");
    assert_eq!(proxy.curl(&["-X", "DELETE", &origin.url("/gone")]), "DELETE /gone HTTP/1.1 0");
}

fn curl_keeps_the_connection(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let output = proxy.try_curl(&["-v", &origin.url("/1"), &origin.url("/2"), &origin.url("/3")]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "okokok");
    let told = String::from_utf8_lossy(&output.stderr).matches("Re-using existing connection").count();
    assert_eq!(told, 2, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(origin.connections(), 1);
}

fn curl_tells_why_not(mode: Mode) {
    let proxy = Proxy::new(mode);
    let text = proxy.curl(&["-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:1/"]);
    assert_eq!(text, "502");
    let output = proxy.try_curl(&["-w", "%{http_connect}", "https://127.0.0.1:1/"]);
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "502");
}

fn get_and_post_by_hand(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send(origin.get("/x", &["Accept: */*", "User-Agent: test"]));
        client.answer().expect_ok("ok");
        let mut post = origin.request("POST", "/y", &["Content-Type: text/plain", "Content-Length: 5"]);
        post.extend_from_slice(b"hello");
        client.send(post);
        client.answer().expect_ok("ok");
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 6);
    assert_eq!(requests[0].head.list("user-agent"), "test");
    assert!(!requests[0].head.has("content-length"), "{:?}", requests[0]);
    assert_eq!(requests[1].body.bytes, b"hello");
    assert_eq!(requests[1].head.list("content-type"), "text/plain");
}

fn many_clients_at_once(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut client = proxy.client();
                    for _ in 0..5 {
                        client.send(origin.get("/", &[]));
                        client.answer().expect_ok("ok");
                    }
                }
            });
        }
    });
    let lines = proxy.access_lines_at_least(800);
    assert_eq!(lines.len(), 800);
    assert_eq!(origin.requests().len(), 800);
    let mut ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 800, "request ids are not unique");
}

fn every_listen_address_serves(mode: Mode) {
    let proxy = Config::new(mode).set("listen_addr", vec!["127.0.0.1:0", "127.0.0.2:0"]).start();
    let origin = Origin::ok();
    let listening = crate::support::eventually("two addresses are logged", || {
        let lines = proxy.log_lines("listening");
        (lines.len() >= 2).then_some(lines)
    });
    for host in ["127.0.0.1:", "127.0.0.2:"] {
        let line = listening.iter().find(|line| line.contains(host)).unwrap();
        let port =
            line.split(host).nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect::<String>();
        let mut client = crate::support::Client::connect(format!("{host}{port}").parse().unwrap());
        client.send(origin.get("/", &[]));
        client.answer().expect_ok("ok");
        client.send(head(&["GET / HTTP/1.1".to_owned(), format!("Host: {host}{port}")]));
        assert_eq!(client.answer().status(), 200);
    }
}
