//! HTTP/2 to origins: by ALPN, one connection for many requests, and nothing that a client could tell from HTTP/1.1.

use std::{thread, time::Duration};

use bytes::Bytes;
use h2::Reason;
use http::StatusCode;

use crate::support::{
    Answer, Authority, Client, Config, H2Origin, Mode, Proxy, SecureOrigin, eventually,
    h2_client::send_all,
    h2_origin::{answer, response, trailers},
    in_every_mode, metrics, process,
};

in_every_mode! {
    requests_share_a_connection,
    bodies_both_ways,
    trailers_both_ways,
    responses_without_content,
    interim_responses,
    a_hundred_at_once_share_one_connection,
    as_many_as_the_origin_allows,
    what_is_reset_is_not_complete,
    an_early_answer_is_passed_on,
    where_nothing_is_kept,
    a_request_that_is_not_complete_is_reset,
    upgrades_go_over_http1,
    origins_without_it_are_as_before,
    it_can_be_switched_off,
    who_is_slow_holds_up_nobody,
}

fn trusting(config: Config, authority: &Authority) -> Config {
    config.file("origin-ca.pem", &authority.pem()).set("upstream.tls.ca_path", "origin-ca.pem")
}

/// A proxy of one worker, and an origin that it trusts and that answers with `ok`.
fn pair(mode: Mode) -> (Proxy, H2Origin) {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.server(&["localhost", "127.0.0.1"]));
    (trusting(Config::new(mode).one_worker(), &authority).start(), origin)
}

fn get(proxy: &Proxy, origin: &H2Origin, path: &str) -> Answer {
    let mut client = proxy.client();
    ask(&mut client, origin, path);
    client.answer()
}

fn ask(client: &mut Client, origin: &H2Origin, path: &str) {
    client.send(format!("GET {} HTTP/1.1\r\nHost: other\r\n\r\n", origin.url(path)));
}

fn requests_share_a_connection(mode: Mode) {
    let (proxy, origin) = pair(mode);
    let mut client = proxy.client();
    for path in ["/a?b", "/c", "/d"] {
        client.send(format!(
            "GET {} HTTP/1.1\r\nHost: other\r\nX-Case: Kept\r\nConnection: x-mine\r\nX-Mine: 1\r\nTE: trailers\r\nCookie: a=1; b=2\r\n\r\n",
            origin.url(path)
        ));
        let answer = client.answer();
        answer.expect_ok("ok");
        assert_eq!(answer.head.one("content-length").as_deref(), Some("2"));
    }
    get(&proxy, &origin, "/e").expect_ok("ok");
    assert_eq!((origin.connections(), origin.http1()), (1, 0));
    let requests = origin.requests();
    assert_eq!(requests.len(), 4);
    let first = &requests[0];
    assert_eq!(first.uri().to_string(), origin.url("/a?b"));
    let fields = first.headers();
    assert_eq!(fields["x-case"], "Kept");
    assert_eq!(
        (&fields["cookie"], &fields["te"]),
        (&"a=1; b=2".parse().unwrap(), &"trailers".parse().unwrap())
    );
    assert!(fields["via"].to_str().unwrap().starts_with("1.1 px"), "{fields:?}");
    for absent in ["x-mine", "connection", "host"] {
        assert!(!fields.contains_key(absent), "{fields:?}");
    }
    let line = proxy.access_line(|line| line["path"] == "/c");
    assert_eq!(
        (&line["scheme"], &line["reused"], &line["status"]),
        (&"https".into(), &true.into(), &200.into())
    );
    let line = proxy.access_line(|line| line["reused"] == false);
    assert!(line["path"].as_str().unwrap().starts_with("/a"), "{line}");
}

const LONG: usize = 3 << 20;

fn bodies_both_ways(mode: Mode) {
    let authority = Authority::new();
    let signed = authority.server(&["localhost"]);
    let origin = H2Origin::start(&signed, async |asked| {
        if asked.path() == "/endless" {
            let mut stream = asked.begin(&[])?;
            for part in ["one", "two"] {
                send_all(&mut stream, part.into(), false).await?;
            }
            return send_all(&mut stream, vec![b'x'; LONG].into(), true).await;
        }
        let length = asked.head.headers().get("content-length").cloned();
        let (request, respond) = asked.read().await?;
        let said = format!("{length:?} ");
        answer(respond, Bytes::from([said.as_bytes(), &request.body].concat())).await
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let mut client = proxy.client();
    client.set_deadline(Duration::from_secs(30));
    let url = origin.url("/echo");
    // Nothing, little, and much, whose length is told; then in chunks.
    for size in [0, 5, LONG] {
        client.send(format!("POST {url} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"));
        let body = vec![b'y'; size];
        client.send(&body);
        let expected = format!("Some(\"{size}\") {}", String::from_utf8(body).unwrap());
        assert!(client.answer().text() == expected, "{size}");
    }
    client.send(format!("PUT {url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"));
    client.answer().expect_ok("None abcde");
    ask(&mut client, &origin, "/endless");
    let answer = client.answer();
    assert_eq!(answer.head.one("transfer-encoding").as_deref(), Some("chunked"));
    assert!(answer.text().len() == LONG + 6 && answer.text().starts_with("onetwoxx"));
    assert_eq!(origin.connections(), 1);
}

fn trailers_both_ways(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |asked| {
        let (request, mut respond) = asked.read().await?;
        let sum = request.trailers.and_then(|trailers| trailers.get("x-sum").cloned());
        let head = response(StatusCode::OK, &[]);
        let mut stream = respond.send_response(head, false)?;
        send_all(&mut stream, format!("{sum:?}").into(), false).await?;
        stream.send_trailers(trailers("x-end", "all"))
    });
    let proxy = trusting(Config::new(mode), &authority).start();
    let mut client = proxy.client();
    client.send(format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
        origin.url("/")
    ));
    let answer = client.answer();
    answer.expect_ok("Some(\"7\")");
    assert_eq!(answer.body.trailers, ["x-end: all"], "{answer:?}");
}

fn responses_without_content(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |mut asked| {
        let (status, fields) = match asked.path() {
            "/204" => (StatusCode::NO_CONTENT, &[][..]),
            "/304" => (StatusCode::NOT_MODIFIED, &[("content-length", "9"), ("etag", "x")][..]),
            "/head" => (StatusCode::OK, &[("content-length", "9")][..]),
            "/unknown" => (StatusCode::OK, &[][..]),
            "/odd" => (StatusCode::from_u16(599).unwrap(), &[][..]),
            _ => (StatusCode::OK, &[("x-empty", "")][..]),
        };
        asked.respond.send_response(response(status, fields), true).map(drop)
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let mut client = proxy.client();
    for (method, path, status, length) in [
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, Some("9")),
        ("HEAD", "/head", 200, Some("9")),
        ("HEAD", "/unknown", 200, None),
        ("GET", "/odd", 599, Some("0")),
        ("GET", "/empty", 200, Some("0")),
    ] {
        client.send(format!("{method} {} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url(path)));
        let answer = client.answer_to(method);
        assert_eq!(
            (answer.status(), answer.head.one("content-length").as_deref()),
            (status, length),
            "{path}"
        );
        assert_eq!(answer.text(), "", "{path}");
    }
    assert_eq!(origin.connections(), 1);
}

fn interim_responses(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |mut asked| {
        if asked.path() == "/flood" {
            for _ in 0..100 {
                asked.respond.send_informational(response(StatusCode::PROCESSING, &[]))?;
            }
            return asked.answer("never").await;
        }
        asked.respond.send_informational(response(StatusCode::EARLY_HINTS, &[("link", "</a>")]))?;
        asked.respond.send_informational(response(StatusCode::CONTINUE, &[]))?;
        let (request, respond) = asked.read().await?;
        answer(respond, request.body).await
    });
    let proxy = trusting(Config::new(mode), &authority).start();
    let mut client = proxy.client();
    client.send(format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        origin.url("/")
    ));
    let hints = client.head();
    assert_eq!((hints.status(), hints.one("link").as_deref()), (103, Some("</a>")));
    assert_eq!(client.head().status(), 100);
    client.send("abc");
    client.answer().expect_ok("abc");
    assert_eq!(origin.requests()[0].headers()["expect"], "100-continue");
    get(&proxy, &origin, "/flood").expect_error(502, "http_protocol_error");
}

fn a_hundred_at_once_share_one_connection(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |asked| {
        asked.held().await;
        asked.answer("ok").await
    });
    let proxy = trusting(Config::new(mode).one_worker().with_admin(), &authority).start();
    // Nothing is known of the origin when they begin.
    let mut clients: Vec<_> = (0..100).map(|_| proxy.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        ask(client, &origin, &format!("/{index}"));
    }
    let busy = |metrics: &std::collections::BTreeMap<String, f64>| (levels(metrics).0 == 1.0).then_some(());
    eventually("one connection is in use", || busy(&metrics(&proxy)));
    eventually("all are being served", || (origin.serving() == 100).then_some(()));
    origin.let_on(100);
    for client in &mut clients {
        client.answer().expect_ok("ok");
    }
    assert_eq!(origin.connections(), 1);
    eventually("it is kept", || (levels(&metrics(&proxy)) == (0.0, 1.0)).then_some(()));
    let numbers = metrics(&proxy);
    let count = |name: &str| {
        numbers.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum::<f64>()
    };
    assert_eq!(count("forward_proxy_upstream_connects_total"), 1.0, "{numbers:?}");
}

/// Connections to origins that are in use, and those that are kept.
fn levels(metrics: &std::collections::BTreeMap<String, f64>) -> (f64, f64) {
    let sum = |state: &str| {
        let found = metrics
            .iter()
            .filter(|(key, _)| key.starts_with("forward_proxy_upstream_connections{") && key.contains(state));
        found.map(|(_, value)| value).sum()
    };
    (sum("active"), sum("idle"))
}

fn as_many_as_the_origin_allows(mode: Mode) {
    let authority = Authority::new();
    let set = |builder: &mut h2::server::Builder| {
        builder.max_concurrent_streams(4);
    };
    let origin = H2Origin::start_with(&authority.server(&["localhost"]), set, async |asked| {
        asked.held().await;
        asked.answer("ok").await
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let mut clients: Vec<_> = (0..40).map(|_| proxy.client()).collect();
    for client in &mut clients {
        ask(client, &origin, "/");
    }
    eventually("all are being served", || (origin.serving() == 40).then_some(()));
    origin.let_on(40);
    for client in &mut clients {
        client.answer().expect_ok("ok");
    }
    // The h2 crate refuses what is too much: nothing was sent twice.
    assert_eq!(origin.requests().len(), 40);
    assert!((10..=20).contains(&origin.connections()), "{}", origin.connections());
}

fn what_is_reset_is_not_complete(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |mut asked| {
        let path = asked.path().to_owned();
        if path == "/before" {
            asked.respond.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
        let fields: &[_] = if path == "/length" { &[("content-length", "100")] } else { &[] };
        let held = asked.held();
        let mut stream = asked.begin(fields)?;
        send_all(&mut stream, "some".into(), false).await?;
        held.await;
        stream.send_reset(if path == "/calm" { Reason::NO_ERROR } else { Reason::INTERNAL_ERROR });
        Ok(())
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    for path in ["/length", "/chunked", "/calm"] {
        let mut client = proxy.client();
        ask(&mut client, &origin, path);
        let head = client.head();
        assert_eq!(head.status(), 200);
        origin.let_on(1);
        let (rest, _) = client.read_to_end();
        assert!(
            rest.len() < 30 && !rest.ends_with(b"0\r\n\r\n"),
            "{path}: {}",
            String::from_utf8_lossy(&rest)
        );
        let line = proxy.access_line(|line| line["path"] == path);
        assert_eq!(line["error"], "http_response_incomplete", "{line}");
    }
    get(&proxy, &origin, "/before").expect_error(502, "connection_terminated");
    assert_eq!(origin.connections(), 1, "only streams were reset");
    // Who resets a stream is there, and would do so again.
    assert_eq!(origin.requests().iter().filter(|request| request.uri().path() == "/before").count(), 1);
}

fn an_early_answer_is_passed_on(mode: Mode) {
    let authority = Authority::new();
    // It reads nothing, and says with NO_ERROR that nobody wants more.
    let origin =
        H2Origin::start(&authority.server(&["localhost"]), async |asked| asked.answer("early").await);
    let proxy = trusting(Config::new(mode), &authority).start();
    let mut client = proxy.client();
    client.send(format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n", origin.url("/")));
    client.send_unwanted(vec![b'x'; 4 << 20]);
    client.answer().expect_ok("early");
}

fn where_nothing_is_kept(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.server(&["localhost"]));
    let config = Config::new(mode).one_worker().set("upstream.max_idle_per_host", 0);
    let proxy = trusting(config, &authority).start();
    for _ in 0..3 {
        get(&proxy, &origin, "/").expect_ok("ok");
    }
    assert_eq!(origin.connections(), 3);
    eventually("they are closed", || (origin.open() == 0).then_some(()));
}

fn a_request_that_is_not_complete_is_reset(mode: Mode) {
    let authority = Authority::new();
    let (tell, told) = std::sync::mpsc::channel();
    let origin = H2Origin::start(&authority.server(&["localhost"]), move |asked| {
        let tell = tell.clone();
        async move {
            let read = asked.read().await.map(|(request, _)| request.body);
            let _ = tell.send(read.map_err(|error| error.reason()));
            Ok(())
        }
    });
    let proxy = trusting(Config::new(mode), &authority).start();
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut client = proxy.client();
        client.send(format!("POST {} HTTP/1.1\r\nHost: x\r\n{framing}", origin.url("/")));
        eventually("it is being served", || (origin.serving() == 1).then_some(()));
        client.reset();
        let end = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(end, Err(Some(Reason::CANCEL)));
    }
}

fn upgrades_go_over_http1(mode: Mode) {
    let (proxy, origin) = pair(mode);
    get(&proxy, &origin, "/").expect_ok("ok");
    let mut client = proxy.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        origin.url("/chat")
    ));
    assert_eq!(client.head().status(), 101);
    client.send("ping");
    assert_eq!(client.read_exact(4), b"ping");
    assert_eq!((origin.connections(), origin.http1()), (1, 1));
    get(&proxy, &origin, "/").expect_ok("ok");
}

fn origins_without_it_are_as_before(mode: Mode) {
    let authority = Authority::new();
    let origin = SecureOrigin::ok(&authority.server(&["localhost"]));
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let name = origin.authority("localhost");
    let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for round in 0..2 {
        for client in &mut clients {
            client.send(format!("GET https://{name}/{round} HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        }
        for client in &mut clients {
            client.answer().expect_ok("ok");
        }
    }
    let lines = proxy.access_lines_at_least(40);
    assert!(lines.iter().filter(|line| line["reused"] == true).count() >= 15, "{lines:?}");
}

fn it_can_be_switched_off(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.server(&["localhost"]));
    let config = trusting(Config::new(mode), &authority).set("upstream.tls.http2", false);
    get(&config.start(), &origin, "/").expect_ok("one");
    assert_eq!((origin.connections(), origin.http1()), (0, 1));
}

fn who_is_slow_holds_up_nobody(mode: Mode) {
    const MUCH: usize = 16 << 20;
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |asked| {
        let content = if asked.path() == "/much" { vec![b'x'; MUCH] } else { b"ok".to_vec() };
        asked.answer(content).await
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    get(&proxy, &origin, "/").expect_ok("ok");
    let memory = || proxy.serving().iter().map(|&pid| process::resident(pid)).sum::<u64>();
    let before = memory();
    // Nobody takes any of it.
    let mut slow: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut slow {
        ask(client, &origin, "/much");
    }
    eventually("all are being served", || (origin.most() >= 20).then_some(()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    get(&proxy, &origin, "/").expect_ok("ok");
                }
            });
        }
    });
    assert_eq!((origin.connections(), origin.serving()), (1, 20));
    // For each a window, and what was read of it.
    let grown = memory().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes more than before");
    // They go on where they were.
    let mut last = slow.pop().unwrap();
    last.set_deadline(Duration::from_secs(30));
    assert_eq!(last.answer().text().len(), MUCH);
}
