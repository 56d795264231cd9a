//! Thousands of idle tunnels in one process.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use crate::support::{Config, Mode, in_every_mode, process};

in_every_mode! {
    five_thousand_idle_tunnels_are_open_at_once,
}

fn five_thousand_idle_tunnels_are_open_at_once(mode: Mode) {
    // Each tunnel is two descriptors here and two in the proxy, and other tests run beside this one.
    let turn = process::many_files();
    let limit = turn.limit;
    let count = 5000.min(usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(3000) / 2);
    if count < 5000 {
        eprintln!("only {count} tunnels: this host allows no more than {limit} open files");
    }
    let proxy = Config::new(mode).one_worker().set("limits.max_connections", 10_000).start();
    let worker = proxy.serving_all(1)[0];
    let before = process::resident(worker);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let accepting = thread::spawn(move || -> Vec<TcpStream> {
        (0..count).map(|_| listener.accept().unwrap().0).collect()
    });
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = proxy.client();
        client.tunnel(&authority);
        clients.push(client);
    }
    let origins = accepting.join().unwrap();
    // A build that is not optimised has larger futures.
    let allowed = if cfg!(debug_assertions) { 32 * 1024 } else { 16 * 1024 };
    let each = process::resident(worker).saturating_sub(before) / count as u64;
    assert!(each < allowed, "an idle tunnel takes {each} bytes");

    // They all live: what goes in comes back.
    for client in &mut clients {
        client.send("ping");
    }
    for mut origin in &origins {
        let mut bytes = [0; 4];
        origin.read_exact(&mut bytes).unwrap();
        origin.write_all(&bytes).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.read_exact(4), b"ping");
    }
}
