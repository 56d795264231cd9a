//! What systemd is told, and what it gives.

use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::support::{Config, Folder, Mode, Origin, PATIENCE, eventually, in_every_mode, process};

in_every_mode! {
    the_manager_hears_of_every_turn_in_order,
    the_watchdog_is_told,
    sockets_that_are_handed_over_are_listened_on,
    sockets_that_are_none_are_refused,
}

/// Opens a listening socket as descriptor 3 and becomes the program.
const ACTIVATE: &str = "
import os, socket, sys
listening = socket.socket()
listening.bind(('127.0.0.1', 0))
listening.listen(64)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";

/// Opens something else as descriptor 3.
const MISTAKE: &str = "
import os, sys
os.dup2(os.open('/dev/null', os.O_RDONLY), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _folder: Folder,
}

impl Manager {
    fn new() -> Self {
        let folder = Folder::new();
        let path = folder.path().join("notify").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path, _folder: folder }
    }

    /// The next datagram that begins like this; before it come only those that say how it is.
    #[track_caller]
    fn hears(&self, beginning: &str) -> String {
        loop {
            let mut bytes = [0; 4096];
            let count = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{beginning}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if text.starts_with(beginning) {
                return text;
            }
            assert!(text.starts_with("STATUS=") || text == "WATCHDOG=1", "{beginning} is waited for: {text}");
        }
    }
}

fn the_manager_hears_of_every_turn_in_order(mode: Mode) {
    let manager = Manager::new();
    let mut proxy = Config::new(mode).env("NOTIFY_SOCKET", &manager.path).start();
    manager.hears("READY=1\n");
    let micros = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000
    };
    let before = micros();
    proxy.signal(Signal::SIGHUP);
    let reloading = manager.hears("RELOADING=1\n");
    let told = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    let told: i128 = told.parse().unwrap();
    assert!((before..=micros()).contains(&told), "{reloading}");
    manager.hears("READY=1\n");
    // A reload that is refused has an end as well.
    proxy.folder().write("config.yml", "nonsense: 1\n");
    proxy.signal(Signal::SIGHUP);
    manager.hears("RELOADING=1\n");
    manager.hears("READY=1\n");
    proxy.signal(Signal::SIGTERM);
    let stopping = manager.hears("STOPPING=1\n");
    assert!(stopping.contains("\nEXTEND_TIMEOUT_USEC=40000000"), "{stopping}");
    assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
}

fn the_watchdog_is_told(mode: Mode) {
    let manager = Manager::new();
    let proxy = Config::new(mode).env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "400000").start();
    manager.hears("READY=1\n");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    if mode == Mode::MultiProcess {
        for pid in proxy.serving_all(2) {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            assert!(
                !environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"),
                "{environment}"
            );
        }
    }
}

fn sockets_that_are_handed_over_are_listened_on(mode: Mode) {
    // Its own address cannot be had: it must not be tried.
    let proxy = Config::new(mode)
        .set("listen_addr", "203.0.113.1:8080")
        .wrapped_in(&["/usr/bin/python3", "-c", ACTIVATE])
        .start();
    let origin = Origin::ok();
    for _ in 0..8 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
    assert!(proxy.log_line("listen_addr is not listened on").contains("203.0.113.1:8080"));
    if mode == Mode::MultiProcess {
        let victim = proxy.serving_all(2)[0];
        process::signal(victim, Signal::SIGKILL);
        eventually("another worker is there", || {
            let now = proxy.serving();
            (now.len() == 2 && !now.contains(&victim)).then_some(())
        });
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
}

fn sockets_that_are_none_are_refused(mode: Mode) {
    let refused = Config::new(mode).wrapped_in(&["/usr/bin/python3", "-c", MISTAKE]).run();
    assert_eq!(refused.code(), 69, "{refused:?}");
    assert!(refused.stderr.contains("LISTEN_FDS"), "{}", refused.stderr);
}
