//! Bodies far larger than memory should be: both ways through a process whose size stays where it was.
//!
//! 256 MiB by default; 2 GiB with `RFP_BIG=1` in the environment.

use std::{
    io::{Read, Write},
    thread,
};

use crate::support::{Config, Mode, Origin, Proxy, in_every_mode, process};

in_every_mode! {
    downloads_leave_memory_flat,
    uploads_leave_memory_flat,
    tunnels_leave_memory_flat,
}

const MEBIBYTE: u64 = 1 << 20;

fn size() -> u64 {
    if std::env::var_os("RFP_BIG").is_some_and(|value| value == "1") {
        2048 * MEBIBYTE
    } else {
        256 * MEBIBYTE
    }
}

/// The proxy, its one worker, and how large that is after a first request.
fn warm(mode: Mode) -> (Proxy, u32, u64) {
    let proxy = Config::new(mode).one_worker().start();
    let worker = proxy.serving_all(1)[0];
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    let before = process::resident(worker);
    (proxy, worker, before)
}

#[track_caller]
fn expect_flat(worker: u32, before: u64) {
    let now = process::resident(worker);
    assert!(now < before + 16 * MEBIBYTE, "{} MiB became {} MiB", before / MEBIBYTE, now / MEBIBYTE);
}

/// Writes `size` bytes to `to`.
fn pour(mut to: impl Write, size: u64) -> std::io::Result<()> {
    let part = vec![b'x'; 1 << 18];
    for _ in 0..size / part.len() as u64 {
        to.write_all(&part)?;
    }
    Ok(())
}

/// Reads `size` bytes from `from` and looks at the worker's memory now and then.
fn swallow(mut from: impl Read, size: u64, mut look: impl FnMut()) {
    let mut part = vec![0; 1 << 18];
    let (mut left, mut next) = (size, size);
    while left > 0 {
        let count = from.read(&mut part).unwrap() as u64;
        assert!(count > 0, "cut short with {left} bytes to go");
        left -= count;
        if left <= next {
            look();
            next = left.saturating_sub(16 * MEBIBYTE);
        }
    }
}

fn downloads_leave_memory_flat(mode: Mode) {
    let (proxy, worker, before) = warm(mode);
    let size = size();
    let origin = Origin::start(move |conn| {
        conn.read_request()?;
        conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"))?;
        pour(conn.stream(), size)?;
        conn.read_to_end().map(drop)
    });
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    let head = client.head();
    assert_eq!(head.one("content-length"), Some(size.to_string()));
    let early = client.take_buffered();
    swallow(client.stream(), size - early as u64, || expect_flat(worker, before));
    expect_flat(worker, before);
    drop(client);
    assert_eq!(proxy.access_lines_at_least(2)[1]["bytes_out"], size);
}

fn uploads_leave_memory_flat(mode: Mode) {
    let (proxy, worker, before) = warm(mode);
    let size = size();
    let origin = Origin::start(move |conn| {
        conn.read_head()?;
        let early = conn.take_buffered() as u64;
        let mut part = vec![0; 1 << 18];
        let mut left = size - early;
        while left > 0 {
            let count = conn.stream().read(&mut part)? as u64;
            if count == 0 {
                return Ok(());
            }
            left -= count;
        }
        conn.answer("swallowed")
    });
    let mut client = proxy.client();
    client.send(origin.request("POST", "/", &[&format!("Content-Length: {size}")]));
    for _ in 0..size / (16 * MEBIBYTE) {
        pour(client.stream(), 16 * MEBIBYTE).unwrap();
        expect_flat(worker, before);
    }
    client.answer().expect_ok("swallowed");
    expect_flat(worker, before);
    assert_eq!(proxy.access_lines_at_least(2)[1]["bytes_in"], size);
}

fn tunnels_leave_memory_flat(mode: Mode) {
    let (proxy, worker, before) = warm(mode);
    let size = size() / 2;
    let origin = Origin::start(move |conn| {
        // Both ways at the same time.
        let sender = conn.stream().try_clone()?;
        let sending = thread::spawn(move || pour(sender, size));
        swallow(conn.stream(), size, || ());
        let _ = sending.join();
        conn.finish()
    });
    let mut client = proxy.client();
    client.tunnel(&origin.authority());
    let sender = client.stream().try_clone().unwrap();
    let sending = thread::spawn(move || pour(sender, size).unwrap());
    let early = client.take_buffered() as u64;
    swallow(client.stream(), size - early, || expect_flat(worker, before));
    sending.join().unwrap();
    expect_flat(worker, before);
    drop(client);
    let line = &proxy.access_lines_at_least(2)[1];
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&size.into(), &size.into()), "{line}");
}
