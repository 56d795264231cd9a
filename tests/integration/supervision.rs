//! The launcher and its workers: whatever happens to a worker, a client that connects is served.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Config, Load, Mode, Origin, Proxy, at_full_size, eventually, pause, process, within};

/// Respawns are not what these are about: none is put off or refused.
fn workers(count: usize) -> Config {
    Config::new(Mode::MultiProcess)
        .set("runtime.process_count", count)
        .set("supervision.restart_delay", "10ms")
        .set("supervision.restart_delay_max", "20ms")
        .set("supervision.respawn_threshold", 1000)
}

/// Waits until the log has said this so many times.
#[track_caller]
fn said(proxy: &Proxy, message: &str, times: usize) {
    eventually(&format!("the log says `{message}` {times} times"), || {
        (proxy.log_lines(message).len() >= times).then_some(())
    });
}

/// A connection whose request is sent and not yet answered.
fn asking(proxy: &Proxy, origin: &Origin) -> crate::support::Client {
    let mut client = proxy.client();
    client.send(origin.get("/", &["Connection: close"]));
    client
}

#[test]
fn what_is_queued_when_a_worker_is_killed_is_served() {
    let proxy = workers(2).set("supervision.heartbeat_timeout", "60s").start();
    let origin = Origin::ok();
    let victim = proxy.serving_all(2)[0];
    // It accepts nothing any more; for now, nobody else accepts from its socket.
    process::signal(victim, Signal::SIGSTOP);
    let mut clients: Vec<_> = (0..40).map(|_| asking(&proxy, &origin)).collect();
    process::signal(victim, Signal::SIGKILL);
    let begun = Instant::now();
    for client in &mut clients {
        client.answer().expect_ok("ok");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn workers_that_are_killed_lose_only_what_they_had_accepted() {
    let proxy = workers(4).start();
    let origin = Origin::ok();
    let load = Load::start(&proxy, &origin, 4);
    let kills = at_full_size(25, 100);
    for kill in 0..kills {
        load.go_on(30);
        let workers = proxy.serving_all(4);
        process::signal(workers[kill % 4], Signal::SIGKILL);
    }
    load.go_on(100);
    let tally = load.finish();
    assert!(tally.refused.is_empty(), "{tally:?}");
    // Each of the four clients may have had its only connection with the victim.
    assert!(tally.broken.len() <= kills, "{tally:?}");
    tally.expect_no_long_wait();
    proxy.serving_all(4);
    // Every connection that the clients made was accepted by some worker: none was lost in a queue.
    let status = proxy.operate(&["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["totals"]["connections_total"], tally.answered + tally.broken.len(), "{tally:?}");
    assert_eq!(status["totals"]["restarts"], kills);
}

#[test]
fn a_worker_that_hangs_is_helped_out_and_replaced() {
    let proxy = workers(2).set("supervision.heartbeat_timeout", "2s").start();
    let origin = Origin::ok();
    let victim = proxy.serving_all(2)[0];
    process::signal(victim, Signal::SIGSTOP);
    let begun = Instant::now();
    while process::is_alive(victim) {
        assert!(begun.elapsed() < Duration::from_secs(3), "it is still there after {:?}", begun.elapsed());
        let asked = Instant::now();
        asking(&proxy, &origin).answer().expect_ok("ok");
        assert!(asked.elapsed() < Duration::from_secs(1), "a client waited for {:?}", asked.elapsed());
    }
    assert!(begun.elapsed() > Duration::from_secs(1), "killed too early");
    assert!(proxy.log_line("worker exited").contains("slot=0"), "{}", proxy.log());
    proxy.serving_all(2);
}

#[test]
fn rolling_restarts_lose_nothing() {
    let proxy = workers(3).start();
    let (origin, echo) = (Origin::ok(), Origin::echo());
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    let files = process::open_files(proxy.pid());
    let load = Load::start(&proxy, &origin, 4);
    let first = proxy.serving_all(3);
    let memory = process::resident(proxy.pid());
    for round in 1..=at_full_size(8, 50) {
        proxy.signal(Signal::SIGUSR2);
        said(&proxy, "rolling restart finished", round);
        load.go_on(20);
    }
    tunnel.send("still here");
    assert_eq!(tunnel.read_exact(10), b"still here", "the tunnel lives in the worker that it had");
    load.finish().expect_no_failure();
    drop(tunnel);
    let last = proxy.serving_all(3);
    assert!(last.iter().all(|pid| !first.contains(pid)), "{first:?} {last:?}");
    eventually("the launcher holds no more than before", || {
        (process::open_files(proxy.pid()) <= files).then_some(())
    });
    let grown = process::resident(proxy.pid()).saturating_sub(memory);
    assert!(grown <= 2 << 20, "the launcher has grown by {grown} bytes");
}

#[test]
fn a_second_request_for_a_rolling_restart_is_queued_once() {
    let proxy = workers(4).start();
    for _ in 0..6 {
        proxy.signal(Signal::SIGUSR2);
    }
    said(&proxy, "rolling restart finished", 1);
    within(Duration::from_secs(1), || proxy.log_lines("rolling restart finished").len() > 2);
    assert!(proxy.log_lines("rolling restart finished").len() <= 2, "{}", proxy.log());
}

#[test]
fn an_old_worker_is_ended_at_the_deadline() {
    let proxy = workers(1).set("supervision.shutdown_timeout", "1s").start();
    let echo = Origin::echo();
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    let old = proxy.serving_all(1)[0];
    proxy.signal(Signal::SIGUSR2);
    let (_, _) = tunnel.read_to_end();
    eventually("the old worker is gone", || (!process::is_alive(old)).then_some(()));
    eventually("it has said what it cut", || proxy.log().contains("cut=1").then_some(()));
}

#[test]
fn the_number_of_workers_follows_the_operator() {
    let proxy = workers(4).start();
    let origin = Origin::ok();
    let load = Load::start(&proxy, &origin, 4);
    for (signal, steps, count) in [(Signal::SIGTTIN, 4, 8), (Signal::SIGTTOU, 9, 1), (Signal::SIGTTIN, 3, 4)]
    {
        for step in 0..steps {
            let said_before = proxy.log_lines("number of workers changed").len();
            proxy.signal(signal);
            // The same signal twice at once is one signal.
            let is_last = signal == Signal::SIGTTOU && step + 1 >= 8;
            if !is_last {
                said(&proxy, "number of workers changed", said_before + 1);
            }
        }
        proxy.serving_all(count.max(1));
        load.go_on(100);
    }
    load.finish().expect_no_failure();
}

#[test]
fn a_slot_that_is_given_up_is_served_by_others_until_it_is_tried_again() {
    let proxy = workers(2)
        .set("supervision.restart_delay_max", "10ms")
        .set("supervision.respawn_threshold", 2)
        .start();
    let origin = Origin::ok();
    let keeper = proxy.serving_all(2)[1];
    let given_up = within(Duration::from_secs(20), || {
        for worker in proxy.serving().into_iter().filter(|&pid| pid != keeper) {
            process::signal(worker, Signal::SIGKILL);
        }
        !proxy.log_lines("worker given up").is_empty()
    });
    assert!(given_up, "{}", proxy.log());
    assert_eq!(proxy.serving(), [keeper]);
    for _ in 0..40 {
        asking(&proxy, &origin).answer().expect_ok("ok");
    }
    proxy.signal(Signal::SIGHUP);
    proxy.serving_all(2);
}

#[test]
fn with_no_worker_left_the_program_ends_with_3() {
    let mut proxy = workers(1).set("supervision.max_restarts", 0).start();
    process::signal(proxy.serving_all(1)[0], Signal::SIGKILL);
    assert_eq!(proxy.wait_exit(Duration::from_secs(10)).code(), Some(3), "{}", proxy.log());
}

#[test]
fn the_end_during_a_back_off_starts_nobody() {
    let mut proxy = workers(1)
        .set("supervision.restart_delay", "10s")
        .set("supervision.restart_delay_max", "10s")
        .start();
    for deaths in 1..=2 {
        process::signal(proxy.serving_all(1)[0], Signal::SIGKILL);
        said(&proxy, "worker respawn scheduled", deaths);
    }
    let started = proxy.log_lines("Child process").len();
    proxy.stop();
    assert_eq!(proxy.log_lines("Child process").len(), started);
}

#[test]
fn a_tunnel_survives_the_launcher_until_the_deadline() {
    let mut proxy = workers(1).set("supervision.shutdown_timeout", "1s").start();
    let echo = Origin::echo();
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    let worker = proxy.serving_all(1)[0];
    proxy.signal(Signal::SIGKILL);
    proxy.wait_exit(Duration::from_secs(5));
    tunnel.send("hello");
    assert_eq!(tunnel.read_exact(5), b"hello");
    eventually("nobody listens", || TcpStream::connect(proxy.addr()).err());
    eventually("the worker is gone", || (!process::is_alive(worker)).then_some(()));
}

#[test]
fn a_launcher_that_sleeps_blames_nobody() {
    let proxy = workers(2).set("supervision.heartbeat_timeout", "1s").start();
    let before = proxy.serving_all(2);
    proxy.signal(Signal::SIGSTOP);
    pause(Duration::from_millis(2500));
    proxy.signal(Signal::SIGCONT);
    pause(Duration::from_millis(1000));
    assert_eq!(proxy.serving(), before, "{}", proxy.log());
}
