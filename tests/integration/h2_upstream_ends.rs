//! How connections of HTTP/2 to origins end, what becomes of the requests on them, and who else is reached with it.

use std::time::Duration;

use h2::Reason;

use crate::support::{
    Answer, Authority, Client, Config, H2Origin, H2Proxy, Mode, Proxy, SecureOrigin, eventually, h2_client,
    h2_frames::{OriginFrames, h2},
    h2_origin::answer,
    in_every_mode, metrics,
};

in_every_mode! {
    what_was_refused_is_sent_again,
    what_was_refused_twice_is_told,
    what_the_origin_has_not_got_to_is_sent_again,
    what_it_has_got_to_is_not,
    http1_that_is_required_is_spoken,
    a_farewell_is_respected,
    an_end_that_comes_late_is_awaited,
    what_is_idle_is_closed,
    an_origin_that_is_gone_without_a_word,
    a_reload_retires_what_was_verified_before,
    an_expired_certificate_is_told,
    servers_of_a_group,
    through_a_parent,
    from_clients_of_http2,
    inside_tunnels,
}

fn trusting(config: Config, authority: &Authority) -> Config {
    config.file("origin-ca.pem", &authority.pem()).set("upstream.tls.ca_path", "origin-ca.pem")
}

fn ask(client: &mut Client, method: &str, url: &str) {
    client.send(format!("{method} {url} HTTP/1.1\r\nHost: other\r\nContent-Length: 0\r\n\r\n"));
}

fn get(proxy: &Proxy, url: &str) -> Answer {
    let mut client = proxy.client();
    ask(&mut client, "GET", url);
    client.answer()
}

fn what_was_refused_is_sent_again(mode: Mode) {
    let authority = Authority::new();
    let refused = std::sync::atomic::AtomicBool::new(false);
    let origin = H2Origin::start(&authority.server(&["localhost"]), move |mut asked| {
        let refuses = asked.path() == "/" && !refused.swap(true, std::sync::atomic::Ordering::SeqCst);
        async move {
            if refuses {
                asked.respond.send_reset(Reason::REFUSED_STREAM);
                return Ok(());
            }
            asked.answer("ok").await
        }
    });
    let proxy = trusting(Config::new(mode).one_worker().with_admin(), &authority).start();
    let mut client = proxy.client();
    // It is not idempotent, but nothing was done with it.
    ask(&mut client, "POST", &origin.url("/"));
    client.answer().expect_ok("ok");
    assert_eq!(origin.requests().len(), 2);
    let numbers = metrics(&proxy);
    assert_eq!(numbers["forward_proxy_upstream_retries_total"], 1.0, "{numbers:?}");
}

fn what_was_refused_twice_is_told(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |mut asked| {
        asked.respond.send_reset(Reason::REFUSED_STREAM);
        Ok(())
    });
    let proxy = trusting(Config::new(mode), &authority).start();
    get(&proxy, &origin.url("/")).expect_error(502, "connection_terminated");
    assert_eq!(origin.requests().len(), 2);
}

/// An origin whose first connection says farewell when it has got two requests, and whose others answer.
fn leaving(authority: &Authority, last: u32) -> SecureOrigin {
    let signed = authority.server(&["localhost"]);
    let visits = std::sync::atomic::AtomicUsize::new(0);
    SecureOrigin::start(h2(&signed), move |conn, heads| {
        let visit = visits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut frames = OriginFrames::greet(conn)?;
        if visit == 0 {
            let first = frames.request()?;
            heads.lock().unwrap().push("first".into());
            let second = frames.request()?;
            heads.lock().unwrap().push("second".into());
            assert_eq!((first, second), (1, 3));
            frames.goaway(last, Reason::NO_ERROR)?;
            if last >= 1 {
                frames.answer(1)?;
            }
            return if last >= 3 { Ok(()) } else { frames.next().map(drop) };
        }
        loop {
            let stream = frames.request()?;
            heads.lock().unwrap().push("again".into());
            frames.answer(stream)?;
        }
    })
}

/// Two requests on one connection of such an origin.
fn two_posts(proxy: &Proxy, origin: &SecureOrigin) -> [Answer; 2] {
    let url = format!("https://{}/", origin.authority("localhost"));
    let [mut first, mut second] = [proxy.client(), proxy.client()];
    ask(&mut first, "POST", &url);
    eventually("the first one is there", || (origin.heads().len() == 1).then_some(()));
    ask(&mut second, "POST", &url);
    [first.answer(), second.answer()]
}

fn what_the_origin_has_not_got_to_is_sent_again(mode: Mode) {
    let authority = Authority::new();
    let origin = leaving(&authority, 1);
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    for answer in two_posts(&proxy, &origin) {
        answer.expect_ok("ok");
    }
    assert_eq!(origin.heads(), ["first", "second", "again"]);
}

fn what_it_has_got_to_is_not(mode: Mode) {
    let authority = Authority::new();
    let origin = leaving(&authority, 3);
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let [first, second] = two_posts(&proxy, &origin);
    first.expect_ok("ok");
    second.expect_error(502, "connection_terminated");
    assert_eq!(origin.heads(), ["first", "second"]);
}

fn http1_that_is_required_is_spoken(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |mut asked| {
        asked.respond.send_reset(Reason::HTTP_1_1_REQUIRED);
        Ok(())
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    for _ in 0..3 {
        get(&proxy, &origin.url("/")).expect_ok("one");
    }
    assert_eq!((origin.requests().len(), origin.http1()), (1, 1));
}

/// An origin that answers what is asked for `/slow` when it is let on, and everything else at once.
fn slow_in_one(authority: &Authority) -> H2Origin {
    H2Origin::start(&authority.server(&["localhost"]), async |asked| {
        if asked.path() == "/slow" {
            asked.held().await;
        }
        asked.answer("ok").await
    })
}

fn a_farewell_is_respected(mode: Mode) {
    let authority = Authority::new();
    let origin = slow_in_one(&authority);
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let mut client = proxy.client();
    ask(&mut client, "GET", &origin.url("/slow"));
    eventually("it is being served", || (origin.serving() == 1).then_some(()));
    origin.say_farewell();
    // What comes later goes elsewhere; until it is known, it may be on its way, and is sent again then.
    eventually("there is another connection", || {
        get(&proxy, &origin.url("/")).expect_ok("ok");
        (origin.connections() == 2).then_some(())
    });
    origin.let_on(1);
    client.answer().expect_ok("ok");
    eventually("the first one is closed", || (origin.open() == 1).then_some(()));
}

fn an_end_that_comes_late_is_awaited(mode: Mode) {
    let authority = Authority::new();
    let (tell, told) = std::sync::mpsc::channel();
    let origin = H2Origin::start(&authority.server(&["localhost"]), move |asked| {
        let tell = tell.clone();
        async move {
            let mut stream = asked.begin(&[("content-length", "2")])?;
            h2_client::send_all(&mut stream, "ok".into(), false).await?;
            let reset = std::future::poll_fn(|cx| stream.poll_reset(cx));
            let was_reset = tokio::time::timeout(Duration::from_millis(300), reset).await.is_ok();
            let _ = tell.send(was_reset);
            stream.send_data(bytes::Bytes::new(), true)
        }
    });
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        ask(&mut client, "GET", &origin.url("/"));
        client.answer().expect_ok("ok");
    }
    for _ in 0..3 {
        assert!(!told.recv_timeout(Duration::from_secs(10)).unwrap(), "a stream that is complete was reset");
    }
    assert_eq!(origin.connections(), 1);
}

fn what_is_idle_is_closed(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.server(&["localhost"]));
    let config = Config::new(mode).one_worker().with_admin().set("upstream.idle_timeout", "1s");
    let proxy = trusting(config, &authority).start();
    get(&proxy, &origin.url("/")).expect_ok("ok");
    assert_eq!(origin.open(), 1);
    eventually("it is closed", || (origin.open() == 0).then_some(()));
    let open = || {
        let numbers = metrics(&proxy);
        let levels = numbers.iter().filter(|(key, _)| key.starts_with("forward_proxy_upstream_connections{"));
        levels.map(|(_, value)| value).sum::<f64>()
    };
    eventually("it is in no number", || (open() == 0.0).then_some(()));
    get(&proxy, &origin.url("/")).expect_ok("ok");
    assert_eq!(origin.connections(), 2);
}

fn an_origin_that_is_gone_without_a_word(mode: Mode) {
    let authority = Authority::new();
    let visits = std::sync::atomic::AtomicUsize::new(0);
    let origin = SecureOrigin::start(h2(&authority.server(&["localhost"])), move |conn, heads| {
        let visit = visits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut frames = OriginFrames::greet(conn)?;
        heads.lock().unwrap().push(visit.to_string());
        let stream = frames.request()?;
        frames.answer(stream)?;
        if visit > 0 {
            return frames.next().map(drop);
        }
        // It reads no more, and answers neither requests nor PINGs.
        loop {
            std::thread::park();
        }
    });
    let config =
        Config::new(mode).one_worker().set("timeouts.response_head", "1s").set("timeouts.connect", "1s");
    let proxy = trusting(config, &authority).start();
    let url = format!("https://{}/", origin.authority("localhost"));
    get(&proxy, &url).expect_ok("ok");
    get(&proxy, &url).expect_error(504, "http_response_timeout");
    // It was asked whether it is there still, and then given up.
    eventually("another connection is made", || (get(&proxy, &url).status() == 200).then_some(()));
    // On a busy machine another one may not be in time, either.
    assert!(origin.heads().len() >= 2, "{:?}", origin.heads());
}

fn a_reload_retires_what_was_verified_before(mode: Mode) {
    let authority = Authority::new();
    let origin = slow_in_one(&authority);
    let proxy = trusting(Config::new(mode).one_worker(), &authority).start();
    let mut client = proxy.client();
    ask(&mut client, "GET", &origin.url("/slow"));
    eventually("it is being served", || (origin.serving() == 1).then_some(()));
    // Nobody is trusted now but somebody else.
    std::fs::write(proxy.folder().path().join("origin-ca.pem"), Authority::new().pem()).unwrap();
    assert_eq!(proxy.operate(&["reload"]).code(), 0);
    get(&proxy, &origin.url("/")).expect_error(502, "tls_certificate_error");
    // What was begun is answered, and then the connection has nothing more to do.
    origin.let_on(1);
    client.answer().expect_ok("ok");
    eventually("it is closed", || (origin.open() == 0).then_some(()));
}

fn an_expired_certificate_is_told(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.expired(&["localhost"]));
    let proxy = trusting(Config::new(mode), &authority).start();
    // Those who wait for the first get its answer too, each by itself.
    let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    for client in &mut clients {
        ask(client, "GET", &origin.url("/"));
    }
    for client in &mut clients {
        let answer = client.answer();
        answer.expect_error(502, "tls_certificate_error");
        assert!(answer.text().contains("has expired"), "{answer:?}");
    }
}

fn servers_of_a_group(mode: Mode) {
    let authority = Authority::new();
    let good = H2Origin::start(&authority.server(&["localhost"]), async |asked| {
        let host = asked.head.uri().authority().map(ToString::to_string).unwrap_or_default();
        asked.answer(host).await
    });
    let refusing = H2Origin::start(&authority.server(&["localhost"]), async |mut asked| {
        asked.respond.send_reset(Reason::REFUSED_STREAM);
        Ok(())
    });
    let servers = [&good, &refusing]
        .map(|origin| serde_json::json!({ "url": format!("https://{}", origin.authority("localhost")) }));
    let group = serde_json::json!([{ "name": "g", "kind": "origin", "servers": servers }]);
    let config = Config::new(mode).one_worker().set("default_route", "g").set("upstreams", group);
    let proxy = trusting(config, &authority).start();
    let mut client = proxy.client();
    for name in ["one.test", "two.test", "one.test", "two.test"] {
        ask(&mut client, "POST", &format!("http://{name}/"));
        client.answer().expect_ok(name);
    }
    assert_eq!(good.connections(), 1);
    assert!(refusing.requests().len() >= 2, "it had its turn");
}

fn through_a_parent(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.server(&["localhost"]));
    let parent = Config::new(mode).one_worker().start();
    let group = serde_json::json!([{ "name": "p", "kind": "proxy", "servers": [{ "url": parent.url() }] }]);
    let config = Config::new(mode).one_worker().set("default_route", "p").set("upstreams", group);
    let proxy = trusting(config, &authority).start();
    let mut client = proxy.client();
    for _ in 0..3 {
        ask(&mut client, "GET", &origin.url("/"));
        client.answer().expect_ok("ok");
    }
    get(&proxy, &origin.url("/")).expect_ok("ok");
    assert_eq!((origin.connections(), origin.requests().len()), (1, 4));
}

fn from_clients_of_http2(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::start(&authority.server(&["localhost"]), async |asked| {
        let (request, respond) = asked.read().await?;
        answer(respond, request.body).await
    });
    let proxy = H2Proxy::start(trusting(Config::new(mode).one_worker(), &authority));
    let client = proxy.client();
    let url = origin.url("/echo");
    client.run(async |send| {
        let mut send = send.ready().await.unwrap();
        let request = http::Request::post(url).body(()).unwrap();
        let (response, mut stream) = send.send_request(request, false).unwrap();
        h2_client::send_all(&mut stream, vec![7; 300_000].into(), true).await.unwrap();
        let answer = h2_client::read(response.await.unwrap()).await.unwrap();
        assert_eq!((answer.status(), answer.body.len()), (200, 300_000));
    });
    assert_eq!(origin.requests()[0].headers()["via"].to_str().unwrap(), "2 px");
}

fn inside_tunnels(mode: Mode) {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.server(&["localhost"]));
    let config = trusting(Config::new(mode).one_worker(), &authority);
    let created = std::process::Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"))
        .args(["ca", "create"])
        .current_dir(config.folder().path())
        .env_clear()
        .status();
    assert!(created.unwrap().success());
    let config = config
        .set("interception.hosts", vec!["localhost"])
        .set("interception.ca_cert_path", "ca.pem")
        .set("interception.ca_key_path", "ca-key.pem");
    let proxy = config.start();
    let ca = proxy.folder().path().join("ca.pem");
    let [one, other] = ["/a", "/b"].map(|path| origin.url(path));
    assert_eq!(proxy.curl(&["--cacert", ca.to_str().unwrap(), &one, &other]), "okok");
    assert_eq!((origin.connections(), origin.requests().len()), (1, 2));
}

#[test]
fn a_tunnel_is_what_the_client_makes_of_it() {
    let authority = Authority::new();
    let origin = H2Origin::ok(&authority.server(&["localhost"]));
    let proxy = trusting(Config::new(Mode::SingleThreaded), &authority).start();
    let ca = proxy.folder().path().join("origin-ca.pem");
    let arguments = ["--http2", "-w", "%{http_version}", "--cacert", ca.to_str().unwrap(), &origin.url("/")];
    assert_eq!(proxy.curl(&arguments), "ok2");
    let arguments = ["--http1.1", "--cacert", ca.to_str().unwrap(), &origin.url("/")];
    assert_eq!(proxy.curl(&arguments), "one");
}
