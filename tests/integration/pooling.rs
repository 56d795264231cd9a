//! Connections to origins: kept, used again, never trusted too far (C54, C58).

use std::{io, time::Duration};

use crate::support::{Config, Mode, Origin, Proxy, eventually, in_every_mode, pause};

in_every_mode! {
    connections_to_an_origin_are_used_again,
    connections_of_one_client_serve_another,
    connections_that_the_origin_closes_are_not_used_again,
    idle_connections_are_closed_after_the_idle_timeout,
    max_idle_per_host_is_kept,
    c54_post_on_a_dying_connection_is_sent_once,
    c54_get_on_a_dying_connection_is_retried_once,
    c54_a_new_connection_that_dies_is_not_retried,
    c54_get_with_a_body_on_a_dying_connection_is_not_sent_twice,
    c58_unsolicited_response_never_reaches_anyone,
}

/// A proxy whose pool is one pool.
fn one_pool(mode: Mode) -> Proxy {
    Config::new(mode).one_worker().start()
}

fn connections_to_an_origin_are_used_again(mode: Mode) {
    let (proxy, origin) = (one_pool(mode), Origin::ok());
    let mut client = proxy.client();
    for _ in 0..5 {
        client.send(origin.get("/", &[]));
        client.answer().expect_ok("ok");
    }
    assert_eq!(origin.connections(), 1);
    let lines = proxy.access_lines_at_least(5);
    let reused: Vec<_> = lines.iter().map(|line| line["reused"] == true).collect();
    assert_eq!(reused, [false, true, true, true, true], "{lines:?}");
}

fn connections_of_one_client_serve_another(mode: Mode) {
    let (proxy, origin) = (one_pool(mode), Origin::ok());
    for _ in 0..5 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    assert_eq!(origin.connections(), 1);
}

fn connections_that_the_origin_closes_are_not_used_again(mode: Mode) {
    let proxy = one_pool(mode);
    for response in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::answering(response);
        for number in 0..3 {
            proxy.exchange(origin.get("/", &[])).expect_ok("ok");
            origin.end_of(number);
        }
        assert_eq!(origin.connections(), 3, "{response}");
    }
}

fn idle_connections_are_closed_after_the_idle_timeout(mode: Mode) {
    let proxy = Config::new(mode).one_worker().set("upstream.idle_timeout", "200ms").start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    origin.end_of(0);
    // What the origin says of its own patience holds when it is shorter.
    let proxy = one_pool(mode);
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok");
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    origin.end_of(0);
}

fn max_idle_per_host_is_kept(mode: Mode) {
    let proxy = Config::new(mode).one_worker().set("upstream.max_idle_per_host", 2).start();
    let origin = Origin::ok();
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    // All six are under way together when each has sent its head and none its body.
    let request = origin.request("POST", "/", &["Content-Length: 1"]);
    for client in &mut clients {
        client.send(&request);
    }
    eventually("six connections at once", || (origin.connections() == 6).then_some(()));
    for client in &mut clients {
        client.send("x");
    }
    for client in &mut clients {
        client.answer().expect_ok("ok");
    }
    eventually("four of six are closed", || {
        let closed = (0..6).filter(|&index| origin.end_so_far(index).is_some()).count();
        (closed == 4).then_some(())
    });
}

/// Serves the first request of the first connection; takes the second and closes without an answer, and
/// serves what comes on other connections.
fn dying() -> Origin {
    Origin::start(|conn| {
        conn.read_request()?;
        conn.answer("first")?;
        conn.read_request()?;
        if conn.index == 0 {
            return Ok(());
        }
        conn.answer("second")
    })
}

fn c54_post_on_a_dying_connection_is_sent_once(mode: Mode) {
    let (proxy, origin) = (one_pool(mode), dying());
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("first");
    let mut request = origin.request("POST", "/post", &["Content-Length: 5"]);
    request.extend_from_slice(b"hello");
    client.send(request);
    client.answer().expect_error(502, "connection_terminated");
    let posts = origin.requests().iter().filter(|request| request.head.target() == "/post").count();
    assert_eq!(posts, 1, "{:?}", origin.requests());
}

fn c54_get_on_a_dying_connection_is_retried_once(mode: Mode) {
    let (proxy, origin) = (one_pool(mode), dying());
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("first");
    client.send(origin.get("/again", &[]));
    // The second connection's first answer.
    client.answer().expect_ok("first");
    let tries: Vec<_> = origin.requests().iter().map(|request| request.connection).collect();
    assert_eq!(tries, [0, 0, 1]);
}

fn c54_a_new_connection_that_dies_is_not_retried(mode: Mode) {
    let proxy = one_pool(mode);
    let origin = Origin::start(|conn| {
        conn.read_request()?;
        Ok(())
    });
    proxy.exchange(origin.get("/", &[])).expect_error(502, "connection_terminated");
    assert_eq!(origin.requests().len(), 1, "{:?}", origin.requests());
}

fn c54_get_with_a_body_on_a_dying_connection_is_not_sent_twice(mode: Mode) {
    let (proxy, origin) = (one_pool(mode), dying());
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    client.answer().expect_ok("first");
    let mut request = origin.get("/body", &["Content-Length: 5"]);
    request.extend_from_slice(b"hello");
    client.send(request);
    // A body that was streamed is gone. Where none of it was, a second try may be whole.
    let answer = client.answer();
    if answer.status() != 502 {
        answer.expect_ok("first");
        assert_eq!(origin.requests().last().unwrap().body.bytes, b"hello");
    }
}

fn c58_unsolicited_response_never_reaches_anyone(mode: Mode) {
    let proxy = one_pool(mode);
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    // In the same segment as the answer, and later, on the idle connection.
    for late in [false, true] {
        let origin = Origin::start(move |conn| -> io::Result<()> {
            conn.read_request()?;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if conn.index > 0 {
                conn.write(answer)?;
            } else if late {
                conn.write(answer)?;
                pause(Duration::from_millis(100));
                conn.write(poison)?;
            } else {
                conn.write(format!("{answer}{poison}"))?;
            }
            conn.read_to_end().map(drop)
        });
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
        origin.end_of(0);
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
        assert_eq!(origin.connections(), 2);
    }
}
