//! CONNECT: whom it may reach, what passes, and how it ends (C59-C63, C65).

use std::{
    io::Write,
    net::{Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use crate::support::{
    Config, End, Mode, NameServer, Origin, Proxy, eventually, head, in_every_mode, pause, process, within,
};

in_every_mode! {
    c59_only_host_and_port_are_taken,
    c60_tunnel_carries_bytes_that_came_early,
    c60_ipv6_literals_are_taken,
    c61_everything_is_delivered_before_the_end,
    c61_half_close_of_the_client_passes,
    c61_half_close_of_the_origin_passes,
    c61_resets_pass_both_ways,
    c61_descriptors_go_back_to_where_they_were,
    c62_port_that_is_not_allowed_is_refused_without_look_up,
    c63_what_follows_a_refused_connect_is_not_parsed,
    c65_length_on_connect_means_nothing_or_is_refused,
}

fn c59_only_host_and_port_are_taken(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::echo());
    let port = origin.port();
    let targets = [
        "a.test".to_owned(),
        "a.test:".to_owned(),
        "a.test:0".to_owned(),
        "a.test:99999".to_owned(),
        "a.test:x".to_owned(),
        "http://a.test:443".to_owned(),
        "/".to_owned(),
        "*".to_owned(),
        "u@a.test:443".to_owned(),
        format!("127.0.0.1:{port}/"),
        format!("127.0.0.1:{port}?q"),
        format!("127.0.0.1:{port}#f"),
        format!("u:p@127.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("[127.0.0.1]:{port}"),
        format!("[::1%lo]:{port}"),
    ];
    for target in &targets {
        let mut client = proxy.client();
        client.send(head(&[format!("CONNECT {target} HTTP/1.1"), "Host: a.test".to_owned()]));
        let answer = client.answer();
        assert_eq!(answer.status(), 400, "{target}: {answer:?}");
        answer.expect_own(&[400]);
        client.expect_end();
    }
    assert_eq!(origin.connections(), 0);
    let lines = proxy.access_lines_at_least(targets.len());
    assert!(lines.iter().all(|line| line["status"] == 400), "{lines:?}");
}

fn c60_tunnel_carries_bytes_that_came_early(mode: Mode) {
    let (proxy, origin) = (Proxy::new(mode), Origin::echo());
    let mut client = proxy.client();
    client.send(format!("CONNECT {} HTTP/1.1\r\nHost: other.test:1\r\n\r\n0123456789", origin.authority()));
    let answer = client.answer_to("CONNECT");
    assert!(answer.head.start().starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(!answer.head.has("content-length") && !answer.head.has("transfer-encoding"), "{answer:?}");
    assert_eq!(client.read_exact(10), b"0123456789");
    assert_eq!(origin.received(0), b"0123456789");
    client.send("more");
    assert_eq!(client.read_exact(4), b"more");
    client.finish();
    client.expect_fin();
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&14.into(), &14.into()), "{line}");
}

fn c60_ipv6_literals_are_taken(mode: Mode) {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: this host has no IPv6");
        return;
    }
    let proxy = Proxy::new(mode);
    let origin = Origin::on(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), crate::support::Conn::echo);
    let mut client = proxy.client();
    client.tunnel(&format!("[::1]:{}", origin.port()));
    client.send("six");
    assert_eq!(client.read_exact(3), b"six");
}

fn c61_everything_is_delivered_before_the_end(mode: Mode) {
    let proxy = Proxy::new(mode);
    let size = 1 << 20;
    let origin = Origin::start(move |conn| {
        conn.write(vec![b'x'; size])?;
        conn.finish()?;
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    // The client is slow: nothing is read until the origin has nothing more to say for a while.
    pause(Duration::from_millis(200));
    assert_eq!(client.read_exact(size).len(), size);
    client.finish();
    client.expect_fin();
    assert_eq!(origin.end_of(0), End::Fin);
}

fn c61_half_close_of_the_client_passes(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        let (bytes, end) = conn.read_to_end()?;
        assert_eq!(end, End::Fin);
        pause(Duration::from_millis(200));
        conn.write(bytes)?;
        conn.finish()
    });
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    client.send("asked and done");
    client.finish();
    assert_eq!(client.read_exact(14), b"asked and done");
    client.expect_fin();
}

fn c61_half_close_of_the_origin_passes(mode: Mode) {
    let proxy = Proxy::new(mode);
    let origin = Origin::start(|conn| {
        conn.finish()?;
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    client.expect_fin();
    client.send("still heard");
    client.finish();
    assert_eq!(origin.end_of(0), End::Fin);
    assert_eq!(origin.received(0), b"still heard");
}

fn c61_resets_pass_both_ways(mode: Mode) {
    let (proxy, echo) = (Proxy::new(mode), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&echo.authority());
    client.send("x");
    client.read_exact(1);
    client.reset();
    let ended = within(Duration::from_secs(5), || echo.end_so_far(0).is_some());
    assert!(ended, "the origin did not hear of the reset");

    let resetting = Origin::start(|conn| {
        conn.read_exact(1)?;
        conn.reset_on_close();
        Ok(())
    });
    let mut client = proxy.client();
    client.tunnel(&resetting.authority());
    client.send("x");
    client.set_deadline(Duration::from_secs(5));
    client.expect_end();
}

fn c61_descriptors_go_back_to_where_they_were(mode: Mode) {
    let proxy = Config::new(mode).one_worker().start();
    let origin = Origin::echo();
    let worker = proxy.serving_all(1)[0];
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    drop(client);
    proxy.access_lines_at_least(1);
    let before = process::open_files(worker);
    for round in 0..20 {
        let mut client = proxy.client();
        client.tunnel(&origin.authority());
        client.send("x");
        client.read_exact(1);
        match round % 3 {
            0 => client.reset(),
            1 => drop(client),
            _ => {
                client.finish();
                client.expect_fin();
            }
        }
    }
    eventually("the descriptors are closed", || (process::open_files(worker) <= before).then_some(()));
}

fn c62_port_that_is_not_allowed_is_refused_without_look_up(mode: Mode) {
    let names = NameServer::with_loopback("a.test");
    let proxy = Config::new(mode).without_bypass().set("dns.servers", names.servers()).start();
    let mut client = proxy.client();
    client.send(head(&["CONNECT a.test:25 HTTP/1.1", "Host: a.test:25"]));
    client.answer().expect_error(403, "http_request_denied");
    client.expect_end();
    assert_eq!(names.questions(), [""; 0]);
    let line = proxy.access_line(|line| line["method"] == "CONNECT");
    assert_eq!(line["status"], 403);
    assert!(line["rule"].is_string(), "{line}");
}

fn c63_what_follows_a_refused_connect_is_not_parsed(mode: Mode) {
    let origin = Origin::ok();
    let proxy =
        Config::new(mode).without_bypass().set("access.destinations.deny", vec!["denied.test"]).start();
    for target in ["denied.test:443", "127.0.0.1:1", "broken", "a.test:0"] {
        let mut bytes = head(&[format!("CONNECT {target} HTTP/1.1"), format!("Host: {target}")]);
        bytes.extend_from_slice(&origin.get("/secret", &[]));
        let mut client = proxy.client();
        client.send(bytes);
        let answer = client.answer();
        assert!(answer.status() >= 400, "{answer:?}");
        client.expect_end();
    }
    assert_eq!(origin.connections(), 0);
    let lines = proxy.access_lines_at_least(4);
    assert!(lines.iter().all(|line| line["method"] != "GET"), "{lines:?}");
}

fn c65_length_on_connect_means_nothing_or_is_refused(mode: Mode) {
    let proxy = Proxy::new(mode);
    for field in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let origin = Origin::echo();
        let mut client = proxy.client();
        client.send(format!("CONNECT {} HTTP/1.1\r\nHost: a.test\r\n{field}\r\n\r\n", origin.authority()));
        let answer = client.answer_to("CONNECT");
        if answer.status() != 200 {
            answer.expect_own(&[400]);
            client.expect_end();
            assert_eq!(origin.connections(), 0);
            continue;
        }
        client.stream().write_all(b"5\r\nhello").unwrap();
        assert_eq!(client.read_exact(8), b"5\r\nhello");
        assert_eq!(origin.received(0), b"5\r\nhello");
    }
}
