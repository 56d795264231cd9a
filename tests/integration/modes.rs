//! The three process models: who runs, what it is called, what it says, and what a death changes.

use std::{collections::HashSet, time::Duration};

use nix::sys::signal::Signal;

use crate::support::{Config, Mode, Origin, Proxy, eventually, in_every_mode, process, within};

in_every_mode! {
    the_processes_are_those_of_the_mode,
    nothing_is_left_after_the_end,
    an_idle_instance_is_small,
}

fn the_processes_are_those_of_the_mode(mode: Mode) {
    let proxy = Config::new(mode).set("runtime.process_count", 4).start();
    let children = match mode {
        Mode::MultiProcess => proxy.serving_all(4).len(),
        Mode::SingleThreaded | Mode::MultiThreaded => process::children(proxy.pid()).len(),
    };
    assert_eq!(children, if mode == Mode::MultiProcess { 4 } else { 0 });
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}

fn nothing_is_left_after_the_end(mode: Mode) {
    let mut proxy = Proxy::new(mode);
    let family = process::family(proxy.pid());
    proxy.stop();
    assert!(!family.iter().any(|&pid| process::is_alive(pid)), "{family:?}");
    assert!(!proxy.log_lines("stopped").is_empty(), "{}", proxy.log());
    // The port is free.
    std::net::TcpListener::bind(proxy.addr()).unwrap();
}

/// The figures are for an optimised build; this holds one that is not, most of which is its code, to three times as much.
fn an_idle_instance_is_small(mode: Mode) {
    let proxy = Proxy::new(mode);
    let factor = if cfg!(debug_assertions) { 3 } else { 1 };
    let mebibytes = |pid| process::resident(pid) >> 20;
    for worker in proxy.serving() {
        assert!(mebibytes(worker) < 12 * factor, "worker: {} MiB", mebibytes(worker));
    }
    if mode == Mode::MultiProcess {
        assert!(mebibytes(proxy.pid()) < 8 * factor, "launcher: {} MiB", mebibytes(proxy.pid()));
    }
}

fn four_workers() -> Proxy {
    Config::new(Mode::MultiProcess).set("runtime.process_count", 4).start()
}

#[test]
fn workers_are_told_apart_by_their_command_lines() {
    let proxy = four_workers();
    let mut lines = HashSet::from([process::command_line(proxy.pid())]);
    for worker in proxy.serving_all(4) {
        lines.insert(process::command_line(worker));
    }
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("rust-forward-proxy")), "{lines:?}");
}

#[test]
fn the_log_tells_of_launcher_and_workers() {
    let proxy = four_workers();
    let line = proxy.log_line("Starting multi-process mode");
    assert!(line.contains('4'), "{line}");
    for index in 0..4 {
        let line = proxy.log_line(&format!("Child process {index} initializing single-threaded runtime"));
        assert!(line.contains(&format!("worker={index}")), "{line}");
        assert!(line.contains("pid="), "{line}");
    }
    let file = proxy.folder().read("logs/proxy.log");
    assert!(file.contains("Child process 3 initializing single-threaded runtime"), "{file}");
}

/// The index of the worker that answered each of `count` requests on connections of their own.
fn answering_workers(proxy: &Proxy, count: usize) -> HashSet<u64> {
    let origin = Origin::ok();
    for _ in 0..count {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    let lines = proxy.access_lines_at_least(count);
    lines.iter().map(|line| line["worker"].as_u64().unwrap()).collect()
}

#[test]
fn all_workers_answer() {
    assert_eq!(answering_workers(&four_workers(), 200), HashSet::from([0, 1, 2, 3]));
}

#[test]
fn one_shared_socket_serves_without_reuseport() {
    let proxy = Config::new(Mode::MultiProcess).set("runtime.use_reuseport", false).start();
    let origin = Origin::ok();
    let workers = proxy.serving_all(2);
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    process::signal(workers[0], Signal::SIGKILL);
    for _ in 0..20 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    proxy.serving_all(2);
}

#[test]
fn a_killed_worker_is_replaced_and_the_port_keeps_answering() {
    let proxy = four_workers();
    let origin = Origin::ok();
    for _ in 0..3 {
        let before = proxy.serving_all(4);
        let victim = before[1];
        process::signal(victim, Signal::SIGKILL);
        for _ in 0..40 {
            proxy.exchange(origin.get("/", &[])).expect_ok("ok");
        }
        let replaced = within(Duration::from_secs(2), || {
            let now = proxy.serving();
            now.len() == 4 && !now.contains(&victim)
        });
        // The second and third death of a slot wait for `restart_delay` first.
        assert!(replaced || proxy.log_lines("worker respawn scheduled").len() > 1, "{}", proxy.log());
    }
    proxy.serving_all(4);
    assert!(proxy.log_line("worker exited").contains("status"), "{}", proxy.log());
    proxy.log_line("worker respawn scheduled");
}

#[test]
fn a_replacement_is_there_within_two_seconds() {
    let proxy = four_workers();
    let victim = proxy.serving_all(4)[2];
    process::signal(victim, Signal::SIGKILL);
    let replaced = within(Duration::from_secs(2), || {
        let now = proxy.serving();
        now.len() == 4 && !now.contains(&victim)
    });
    assert!(replaced, "{}", proxy.log());
}

#[test]
fn all_workers_killed_at_once_come_back() {
    let proxy = four_workers();
    let origin = Origin::ok();
    for worker in proxy.serving_all(4) {
        process::signal(worker, Signal::SIGKILL);
    }
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    proxy.serving_all(4);
}

#[test]
fn workers_leave_when_the_launcher_is_killed() {
    let mut proxy = four_workers();
    let workers = proxy.serving_all(4);
    proxy.signal(Signal::SIGKILL);
    proxy.wait_exit(Duration::from_secs(5));
    eventually("the workers are gone", || workers.iter().all(|&pid| !process::is_alive(pid)).then_some(()));
}

#[test]
fn workers_are_not_replaced_when_that_is_off() {
    let proxy = Config::new(Mode::MultiProcess).set("supervision.restart_workers", false).start();
    let origin = Origin::ok();
    let victim = proxy.serving_all(2)[0];
    process::signal(victim, Signal::SIGKILL);
    proxy.log_line("worker exited");
    // What arrives on the dead one's socket is served by the other.
    for _ in 0..20 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    assert_eq!(proxy.serving().len(), 1);
}

#[test]
fn the_number_of_workers_may_be_that_of_the_cores() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let proxy = Config::new(Mode::MultiProcess).set("runtime.process_count", serde_json::Value::Null).start();
    proxy.serving_all(cores);
}

#[test]
fn the_documented_environment_starts_four_workers() {
    let proxy = Config::empty(Mode::MultiProcess)
        .env("PROXY_RUNTIME_MODE", "multi_process")
        .env("PROXY_PROCESS_COUNT", "4")
        .env("PROXY_USE_REUSEPORT", "true")
        .env("PROXY_LISTEN_ADDR", "127.0.0.1:0")
        .start();
    proxy.serving_all(4);
    assert_eq!(answering_workers(&proxy, 200).len(), 4);
}
