//! Requests to the proxy itself: a page that tells how to use it, and nothing else.

use crate::support::{Mode, Origin, Proxy, head, in_every_mode};

in_every_mode! {
    the_root_tells_how_to_use_it,
    everything_else_is_not_found,
    options_asterisk_is_answered_here,
    the_connection_goes_on,
}

fn local(proxy: &Proxy, start: &str) -> Vec<u8> {
    head(&[start.to_owned(), format!("Host: {}", proxy.addr())])
}

fn the_root_tells_how_to_use_it(mode: Mode) {
    let proxy = Proxy::new(mode);
    let answer = proxy.exchange(local(&proxy, "GET / HTTP/1.1"));
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains(&format!("curl -x {}", proxy.url())), "{}", answer.text());
    assert!(answer.head.list("content-type").starts_with("text/"), "{answer:?}");
    let answer = {
        let mut client = proxy.client();
        client.send(local(&proxy, "HEAD / HTTP/1.1"));
        client.answer_to("HEAD")
    };
    assert_eq!(answer.status(), 200);
    assert!(answer.head.has("content-length"), "{answer:?}");
    // As a web browser or curl without -x would ask.
    let output =
        std::process::Command::new("curl").env_clear().args(["-sS", "-i", &proxy.url()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("HTTP/1.1 200"));
}

fn everything_else_is_not_found(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    for start in
        ["GET /favicon.ico HTTP/1.1", "GET /x?y HTTP/1.1", "PUT /x HTTP/1.1", "GET //a.test/ HTTP/1.1"]
    {
        let answer = proxy.exchange(head(&[start.to_owned(), format!("Host: {}", origin.authority())]));
        answer.expect_own(&[404]);
    }
    assert_eq!(origin.connections(), 0);
    let lines = proxy.access_lines_at_least(4);
    assert!(lines.iter().all(|line| line["status"] == 404), "{lines:?}");
}

fn options_asterisk_is_answered_here(mode: Mode) {
    let proxy = Proxy::new(mode);
    let answer = proxy.exchange(local(&proxy, "OPTIONS * HTTP/1.1"));
    assert!(matches!(answer.status(), 200 | 204), "{answer:?}");
    let answer = proxy.exchange(local(&proxy, "GET * HTTP/1.1"));
    assert_eq!(answer.status(), 400, "{answer:?}");
}

fn the_connection_goes_on(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut client = proxy.client();
    client.send(local(&proxy, "GET / HTTP/1.1"));
    assert_eq!(client.answer().status(), 200);
    client.send(local(&proxy, "GET /missing HTTP/1.1"));
    assert_eq!(client.answer().status(), 404);
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("ok");
}
