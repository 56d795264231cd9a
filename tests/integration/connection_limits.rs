//! `limits.max_connections` and `limits.max_connections_per_client`: exact over all workers, answered, logged, and free
//! again when a worker is killed (C71).

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use nix::sys::signal::Signal;

use crate::support::{Client, Config, Mode, Origin, Proxy, eventually, in_every_mode, process};

in_every_mode! {
    c71_max_connections_is_kept,
    c71_max_connections_per_client_is_kept,
    c71_two_thousand_connections_from_one_client,
    another_limit_is_in_force_after_a_reload,
}

/// Another of this host's addresses.
const OTHER: [u8; 4] = [127, 0, 0, 2];

/// Over the cap a connection is answered 503, or closed; never left without either.
#[track_caller]
fn expect_turned_away(client: &mut Client, request: &[u8]) {
    client.send_unwanted(request);
    let (bytes, _) = client.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    let is_told = text.starts_with("HTTP/1.1 503") && text.contains("connection_limit_reached");
    assert!(is_told || text.is_empty(), "{text:?}");
}

/// Whether a connection is served. It stays open when it is.
#[track_caller]
fn is_served(client: &mut Client, request: &[u8]) -> bool {
    client.send_unwanted(request);
    match client.next_byte() {
        None => false,
        Some(_) => client.answer().status() == 200,
    }
}

fn c71_max_connections_is_kept(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_connections", 3).start();
    let origin = Origin::ok();
    let get = origin.get("/", &[]);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(&get);
        client.answer().expect_ok("ok");
    }
    // Exact over all workers: whichever of them is asked, the fourth is one too many.
    for _ in 0..4 {
        expect_turned_away(&mut proxy.client(), &get);
    }
    let line = proxy.access_line(|line| line["status"] == 503);
    assert_eq!(
        (&line["error"], &line["rule"]),
        (&"connection_limit_reached".into(), &"limits.max_connections".into())
    );
    clients.pop();
    eventually("a place is free again", || is_served(&mut proxy.client(), &get).then_some(()));
}

fn c71_max_connections_per_client_is_kept(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_connections_per_client", 2).start();
    let origin = Origin::ok();
    let get = origin.get("/", &[]);
    let mut clients: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(&get);
        client.answer().expect_ok("ok");
    }
    for _ in 0..4 {
        expect_turned_away(&mut proxy.client(), &get);
    }
    // Another client is not meant.
    let mut other = Client::connect_from(OTHER.into(), proxy.addr());
    other.send(&get);
    other.answer().expect_ok("ok");
    let lines = proxy.access_lines_at_least(7);
    let turned_away: Vec<_> = lines.iter().filter(|line| line["status"] == 503).collect();
    assert_eq!(turned_away.len(), 4, "{lines:?}");
    for line in turned_away {
        assert_eq!(line["error"], "connection_limit_reached");
        assert_eq!(line["rule"], "limits.max_connections_per_client");
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
    clients.pop();
    eventually("a place is free again", || is_served(&mut proxy.client(), &get).then_some(()));
}

fn c71_two_thousand_connections_from_one_client(mode: Mode) {
    const CAP: usize = 50;
    let _turn = process::many_files();
    let proxy = Config::new(mode)
        .set("limits.max_connections_per_client", CAP)
        .set("runtime.process_count", 4)
        .start();
    let origin = Origin::ok();
    let get = origin.get("/", &[]);
    let workers = if mode == Mode::MultiProcess { proxy.serving_all(4) } else { proxy.serving() };
    let memory = || workers.iter().map(|worker| process::resident(*worker)).sum::<u64>();
    let before = memory();
    let (served, turned_away) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    let mut clients = thread::scope(|scope| {
        // Somebody else is served all the while.
        let other = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut client = Client::connect_from(OTHER.into(), proxy.addr());
                client.send(&get);
                client.answer().expect_ok("ok");
                count += 1;
            }
            count
        });
        let crowd: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut clients = Vec::new();
                    for _ in 0..250 {
                        let mut client = proxy.client();
                        if is_served(&mut client, &get) {
                            served.fetch_add(1, Ordering::Relaxed);
                            clients.push(client);
                        } else {
                            turned_away.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    clients
                })
            })
            .collect();
        let clients: Vec<_> = crowd.into_iter().flat_map(|part| part.join().unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(other.join().unwrap() > 0);
        clients
    });
    assert_eq!((served.into_inner(), turned_away.into_inner()), (CAP, 2000 - CAP));
    let grown = memory().saturating_sub(before);
    assert!(grown < 16 << 20, "memory has grown by {grown} bytes");
    for client in &mut clients {
        client.send(&get);
        client.answer().expect_ok("ok");
    }
    clients.clear();
    eventually("all places are free again", || is_served(&mut proxy.client(), &get).then_some(()));
}

fn another_limit_is_in_force_after_a_reload(mode: Mode) {
    let proxy = Config::new(mode).set("limits.max_connections_per_client", 1).start();
    let origin = Origin::ok();
    let get = origin.get("/", &[]);
    let reload = |old: &str, new: &str, times| {
        let text = proxy.folder().read("config.yml");
        assert!(text.contains(old), "{text}");
        proxy.folder().write("config.yml", text.replace(old, new));
        proxy.signal(Signal::SIGHUP);
        eventually("it is in force", || (proxy.log_lines("reload applied").len() >= times).then_some(()));
    };
    let mut first = proxy.client();
    assert!(is_served(&mut first, &get));
    expect_turned_away(&mut proxy.client(), &get);
    reload("per_client: 1", "per_client: 2", 1);
    // Every worker has it soon.
    let mut second = eventually("there is one more", || {
        let mut client = proxy.client();
        is_served(&mut client, &get).then_some(client)
    });
    for _ in 0..4 {
        expect_turned_away(&mut proxy.client(), &get);
    }
    reload("per_client: 2", "per_client: 1", 2);
    // Whoever is there stays.
    assert!(is_served(&mut first, &get) && is_served(&mut second, &get));
    drop(second);
    for _ in 0..4 {
        expect_turned_away(&mut proxy.client(), &get);
    }
}

#[test]
fn what_a_killed_worker_held_is_free_again() {
    const CAP: usize = 40;
    let proxy: Proxy = Config::new(Mode::MultiProcess)
        .set("limits.max_connections_per_client", CAP)
        .set("runtime.process_count", 4)
        .start();
    let origin = Origin::ok();
    let get = origin.get("/", &[]);
    let mut workers = proxy.serving_all(4);
    let mut clients: Vec<_> = (0..CAP).map(|_| proxy.client()).collect();
    assert!(clients.iter_mut().all(|client| is_served(client, &get)));
    for _ in 0..8 {
        expect_turned_away(&mut proxy.client(), &get);
    }
    for round in 0..3 {
        process::signal(workers[round], Signal::SIGKILL);
        workers = eventually("the worker is replaced", || {
            let now = proxy.serving();
            (now.len() == 4 && !now.contains(&workers[round])).then_some(now)
        });
        // Those of the others live on, and exactly as many as were cut may come.
        let before = clients.len();
        clients.retain_mut(|client| is_served(client, &get));
        let cut = before - clients.len();
        for _ in 0..cut {
            clients.push(eventually("the place is free again", || {
                let mut client = proxy.client();
                is_served(&mut client, &get).then_some(client)
            }));
        }
        for _ in 0..8 {
            expect_turned_away(&mut proxy.client(), &get);
        }
    }
}
