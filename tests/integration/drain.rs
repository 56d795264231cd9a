//! The end: TERM and INT drain, a second one does not wait, tunnels are cut at the deadline.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Config, Mode, Origin, PATIENCE, Proxy, eventually, in_every_mode};

in_every_mode! {
    term_finishes_what_is_in_flight,
    int_drains_as_term_does,
    draining_takes_no_new_connections,
    idle_connections_end_at_once,
    a_client_that_has_just_connected_is_served,
    a_second_signal_stops_at_once,
    quit_stops_at_once,
    tunnels_are_cut_at_the_deadline,
    a_tunnel_that_ends_lets_the_drain_end,
}

/// An origin that answers when the test has let it.
fn waiting_origin() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |conn| {
        conn.read_request()?;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")?;
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        conn.write("lf")?;
        conn.read_to_end().map(drop)
    });
    (origin, go)
}

fn term_finishes_what_is_in_flight(mode: Mode) {
    finishes(mode, Signal::SIGTERM);
}

fn int_drains_as_term_does(mode: Mode) {
    finishes(mode, Signal::SIGINT);
}

fn finishes(mode: Mode, signal: Signal) {
    let mut proxy = Proxy::new(mode);
    let (origin, go) = waiting_origin();
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    assert_eq!(client.head().status(), 200);
    proxy.signal(signal);
    proxy.log_line("draining");
    assert!(proxy.is_running());
    go.send(()).unwrap();
    assert_eq!(client.read_exact(4), b"half");
    client.expect_end();
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0), "{}", proxy.log());
    assert!(!proxy.log_lines("stopped").is_empty(), "{}", proxy.log());
    // The line of the last request is written before the end.
    assert_eq!(proxy.access_lines().len(), 1);
}

fn draining_takes_no_new_connections(mode: Mode) {
    let mut proxy = Proxy::new(mode);
    let (origin, go) = waiting_origin();
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    client.head();
    proxy.signal(Signal::SIGTERM);
    eventually("the port is closed", || TcpStream::connect(proxy.addr()).is_err().then_some(()));
    go.send(()).unwrap();
    client.read_exact(4);
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
}

fn idle_connections_end_at_once(mode: Mode) {
    let (mut proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut used = proxy.client();
    used.send(origin.get("/", &[]));
    used.answer().expect_ok("ok");
    let mut fresh = proxy.client();
    let start = Instant::now();
    proxy.stop();
    assert!(start.elapsed() < Duration::from_secs(10), "idle connections held it up");
    used.expect_end();
    fresh.expect_end();
}

fn a_client_that_has_just_connected_is_served(mode: Mode) {
    let (mut proxy, origin) = (Proxy::new(mode), Origin::ok());
    let mut fresh = proxy.client();
    proxy.signal(Signal::SIGTERM);
    proxy.log_line("draining");
    fresh.send(origin.get("/", &[]));
    fresh.answer().expect_ok("ok");
    fresh.expect_end();
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0), "{}", proxy.log());
}

fn a_second_signal_stops_at_once(mode: Mode) {
    let (mut proxy, origin) = (Proxy::new(mode), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    proxy.signal(Signal::SIGTERM);
    proxy.log_line("draining");
    assert!(proxy.is_running());
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(Duration::from_secs(10)).code(), Some(0), "{}", proxy.log());
    client.expect_end();
}

fn quit_stops_at_once(mode: Mode) {
    let (mut proxy, origin) = (Proxy::new(mode), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    proxy.signal(Signal::SIGQUIT);
    assert_eq!(proxy.wait_exit(Duration::from_secs(10)).code(), Some(0), "{}", proxy.log());
    client.expect_end();
}

fn tunnels_are_cut_at_the_deadline(mode: Mode) {
    let mut proxy = Config::new(mode).set("supervision.shutdown_timeout", "1s").start();
    let origin = Origin::echo();
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    let start = Instant::now();
    proxy.signal(Signal::SIGTERM);
    proxy.log_line("draining");
    // Until then it lives.
    client.send("still");
    assert_eq!(client.read_exact(5), b"still");
    client.expect_end();
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0), "{}", proxy.log());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    let last = proxy.log().lines().last().unwrap().to_owned();
    assert!(last.contains("stopped") && last.contains('1'), "the last line tells how many were cut: {last}");
    assert_eq!(proxy.access_lines().len(), 1, "the tunnel has its line");
}

fn a_tunnel_that_ends_lets_the_drain_end(mode: Mode) {
    let (mut proxy, origin) = (Proxy::new(mode), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    proxy.signal(Signal::SIGTERM);
    proxy.log_line("draining");
    client.finish();
    client.expect_fin();
    assert_eq!(proxy.wait_exit(Duration::from_secs(10)).code(), Some(0), "{}", proxy.log());
}
