//! HUP: nearly everything is swapped while connections go on, the rest is refused by name.

use nix::sys::signal::Signal;

use crate::support::{Config, Load, Mode, Origin, Proxy, at_full_size, eventually, in_every_mode, process};

in_every_mode! {
    another_rule_is_in_force_after_a_reload,
    an_invalid_file_changes_nothing,
    an_address_is_not_changed_by_a_reload,
    logs_are_written_to_a_new_file_after_usr1,
    new_connections_are_served_with_what_is_in_force,
    logs_move_to_other_files,
    a_log_that_cannot_be_written_changes_nothing,
}

/// Without the bypass, and with this destination denied.
fn denying(mode: Mode, denied: &str) -> Config {
    Config::new(mode).set("access.local_client_bypass", false).set("access.destinations.deny", vec![denied])
}

/// Writes `new` for `old` in the file, and asks for a reload.
fn reload_with(proxy: &Proxy, old: &str, new: &str) {
    let text = proxy.folder().read("config.yml");
    assert!(text.contains(old), "{text}");
    proxy.folder().write("config.yml", text.replace(old, new));
    proxy.signal(Signal::SIGHUP);
}

fn another_rule_is_in_force_after_a_reload(mode: Mode) {
    let proxy = denying(mode, "192.0.2.1").start();
    let origin = Origin::ok();
    let mut kept = proxy.client();
    kept.send(origin.get("/", &[]));
    kept.answer().expect_ok("ok");
    reload_with(&proxy, "192.0.2.1", "127.0.0.0/8");
    proxy.log_line("reload applied");
    assert_ne!(proxy.exchange(origin.get("/", &[])).status(), 200);
    kept.send(origin.get("/", &[]));
    assert_ne!(kept.answer().status(), 200, "a connection that was there lives on, under the new rules");
    reload_with(&proxy, "127.0.0.0/8", "192.0.2.1");
    eventually("the old rule is back", || (proxy.log_lines("reload applied").len() >= 2).then_some(()));
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}

fn an_invalid_file_changes_nothing(mode: Mode) {
    let proxy = denying(mode, "192.0.2.1").start();
    let origin = Origin::ok();
    let before = proxy.serving();
    reload_with(&proxy, "192.0.2.1", "300.0.0.0/8");
    let line = proxy.log_line("reload refused");
    assert!(line.contains("access.destinations.deny"), "{line}");
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    assert_eq!(proxy.serving(), before);
}

fn an_address_is_not_changed_by_a_reload(mode: Mode) {
    let proxy = Config::new(mode).start();
    let origin = Origin::ok();
    reload_with(&proxy, "127.0.0.1:0", "127.0.0.2:0");
    let line = proxy.log_line("reload refused");
    assert!(line.contains("listen_addr"), "{line}");
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}

fn logs_are_written_to_a_new_file_after_usr1(mode: Mode) {
    let proxy = Config::new(mode).start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    proxy.access_lines_at_least(1);
    let path = proxy.folder().path().join("logs/access.log");
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    proxy.signal(Signal::SIGUSR1);
    eventually("everybody has reopened", || {
        (proxy.log_lines("log files reopened").len() >= proxy.serving().len()).then_some(())
    });
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    assert_eq!(proxy.access_lines_at_least(1).len(), 1);
}

#[test]
fn reloads_lose_nothing_and_tunnels_stay() {
    // Idle connections to the origin are descriptors too: they go when the load has gone.
    let proxy = Config::new(Mode::MultiProcess)
        .set("timeouts.connect", "9s")
        .set("upstream.idle_timeout", "500ms")
        .start();
    let (origin, echo) = (Origin::ok(), Origin::echo());
    let mut tunnel = proxy.client();
    tunnel.tunnel(&echo.authority());
    let workers = proxy.serving_all(2);
    let load = Load::start(&proxy, &origin, 4);
    let held = |pid: u32| (process::open_files(pid), process::resident(pid));
    let everybody = || workers.iter().copied().chain([proxy.pid()]);
    let mut before = Vec::new();
    for round in 1..=at_full_size(20, 200) {
        let (old, new) = if round % 2 == 1 { ("9s", "8s") } else { ("8s", "9s") };
        reload_with(&proxy, old, new);
        eventually("the reload is applied", || {
            (proxy.log_lines("reload applied").len() >= round).then_some(())
        });
        tunnel.send("echo");
        assert_eq!(tunnel.read_exact(4), b"echo");
        if round == 5 {
            // What a first reload needs for good is there by now.
            before = everybody().map(held).collect();
        }
    }
    load.finish().expect_no_failure();
    assert_eq!(proxy.serving(), workers, "nobody was replaced");
    for (pid, (files, memory)) in everybody().zip(before) {
        // Each of the four clients may have left an idle connection to the origin.
        eventually("it holds no more files than before", || {
            (process::open_files(pid) <= files + 4).then_some(())
        });
        let grown = process::resident(pid).saturating_sub(memory);
        assert!(grown <= 2 << 20, "{pid} has grown by {grown} bytes");
    }
}

fn new_connections_are_served_with_what_is_in_force(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_headers", 50).start();
    let origin = Origin::ok();
    let many = ["a: 1", "b: 2", "c: 3", "d: 4", "e: 5"];
    let before = proxy.serving();
    proxy.exchange(origin.get("/", &many)).expect_ok("ok");
    reload_with(&proxy, "max_headers: 50", "max_headers: 3");
    proxy.log_line("reload applied");
    for _ in 0..8 {
        assert_eq!(proxy.exchange(origin.get("/", &many)).status(), 431);
    }
    assert_eq!(proxy.serving(), before);
}

fn logs_move_to_other_files(mode: Mode) {
    let proxy = Config::new(mode)
        .set("access_log.file", "logs/access.log")
        .set("logging.file", "logs/proxy.log")
        .start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/one", &[])).expect_ok("ok");
    proxy.access_lines_at_least(1);
    reload_with(&proxy, "logs/", "others/");
    proxy.log_line("reload applied");
    proxy.exchange(origin.get("/two", &[])).expect_ok("ok");
    eventually("the line is in the other file", || {
        proxy.folder().read("others/access.log").contains("/two").then_some(())
    });
    assert_eq!(proxy.access_lines().len(), 1);
    assert!(proxy.folder().read("others/proxy.log").contains("reload applied"));
}

fn a_log_that_cannot_be_written_changes_nothing(mode: Mode) {
    let proxy = Config::new(mode).set("access_log.file", "logs/access.log").start();
    let origin = Origin::ok();
    let before = proxy.serving();
    // A folder with the name of the file.
    std::fs::create_dir(proxy.folder().path().join("taken")).unwrap();
    reload_with(&proxy, "logs/access.log", "taken");
    assert!(proxy.log_line("reload refused").contains("access_log.file"), "{}", proxy.log());
    assert_eq!(proxy.serving(), before);
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    proxy.access_lines_at_least(1);
}

#[test]
fn the_same_file_is_no_change() {
    let proxy = Config::new(Mode::MultiProcess).start();
    let before = proxy.serving_all(2);
    proxy.signal(Signal::SIGHUP);
    assert!(proxy.log_line("reload applied").contains("nothing"), "{}", proxy.log());
    assert_eq!(proxy.serving(), before);
}

#[test]
fn the_number_of_workers_follows_the_file() {
    let proxy = Config::new(Mode::MultiProcess).set("runtime.process_count", 2).start();
    proxy.serving_all(2);
    reload_with(&proxy, "process_count: 2", "process_count: 5");
    proxy.serving_all(5);
    // Two reloads at one time would be one.
    proxy.log_line("reload applied");
    // A reload that does not change it leaves what the operator has done since.
    proxy.signal(Signal::SIGTTOU);
    proxy.serving_all(4);
    reload_with(&proxy, "\"px\"", "\"py\"");
    eventually("the second reload is applied", || {
        (proxy.log_lines("reload applied").len() >= 2).then_some(())
    });
    assert_eq!(proxy.serving().len(), 4);
}
