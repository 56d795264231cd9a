//! Who may log in: the users file, its reload, `hash-password`, and those who guess (`access.users_file`).

use std::{
    collections::VecDeque,
    io::Write,
    net::IpAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Config, Mode, Origin, Proxy, at_full_size, eventually, in_every_mode, pause};

in_every_mode! {
    a_reload_reads_the_users_again,
    guesses_are_slowed_down_for_each_client,
    who_is_remembered_is_not_asked_again,
    report_mode_asks_nobody,
    a_variable_names_the_file,
    guesses_slow_nobody_else_down,
}

/// `ann` with `secret`, as SHA-crypt.
const ANN: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n";
const BOB: &str = "bob:$5$saltsalt$f3/UQ15npnSs4Vv7.Xos27TA1i1CpdMGT34D5fPQuj5\n";

/// `ann` with `secret`, as bcrypt of cost 12: some 0.2 s.
const COSTLY: &str = "ann:$2y$12$551yxbM41DFBG0TUVWvZkuszhMUP.zk922EbdSYb2usaRGPPmptyi\n";

const AS_ANN: &str = "Proxy-Authorization: Basic YW5uOnNlY3JldA==";
const AS_BOB: &str = "Proxy-Authorization: Basic Ym9iOnBhOnNzIHfDtnJk";
const WRONG: &str = "Proxy-Authorization: Basic YW5uOndyb25n";

fn with_users(mode: Mode, users: &str) -> Config {
    Config::new(mode).set("access.users_file", "users").file("users", users)
}

fn ask(proxy: &Proxy, origin: &Origin, field: &str) -> u16 {
    proxy.exchange(origin.get("/", &[field])).status()
}

fn ask_from(from: IpAddr, proxy: &Proxy, origin: &Origin, field: &str) -> u16 {
    let mut client = Client::connect_from(from, proxy.addr());
    client.send(origin.get("/", &[field]));
    client.answer().status()
}

fn a_reload_reads_the_users_again(mode: Mode) {
    let (proxy, origin) = (with_users(mode, ANN).start(), Origin::ok());
    assert_eq!([ask(&proxy, &origin, AS_ANN), ask(&proxy, &origin, AS_BOB)], [200, 407]);
    proxy.folder().write("users", BOB);
    assert_eq!(ask(&proxy, &origin, AS_ANN), 200, "nothing changes before a reload");
    let reloaded = proxy.operate(&["reload"]);
    assert_eq!(reloaded.code(), 0, "{reloaded:?}");
    assert!(reloaded.stdout.contains("access.users_file"), "{reloaded:?}");
    assert_eq!([ask(&proxy, &origin, AS_ANN), ask(&proxy, &origin, AS_BOB)], [407, 200]);
    // A file that is spoilt changes nothing, and no word of it is said.
    for spoilt in ["bob:plaintext\n", "", "bob\n"] {
        proxy.folder().write("users", spoilt);
        let refused = proxy.operate(&["reload"]);
        assert_eq!(refused.code(), 78, "{refused:?}");
        assert!(refused.output().contains("access.users_file"), "{refused:?}");
    }
    assert_eq!(ask(&proxy, &origin, AS_BOB), 200);
    let logs = proxy.all_logs();
    for secret in ["plaintext", "saltsalt", "YW5uOn", "secret"] {
        assert!(!logs.contains(secret), "{secret} is in a log");
    }
}

fn guesses_are_slowed_down_for_each_client(mode: Mode) {
    let (proxy, origin) = (with_users(mode, ANN).start(), Origin::ok());
    assert_eq!(ask(&proxy, &origin, AS_ANN), 200);
    let guesses: Vec<_> = (0..30).map(|_| ask(&proxy, &origin, WRONG)).collect();
    let (asked, slowed) = (guesses.iter().filter(|status| **status == 407).count(), guesses.last());
    assert!((10..=20).contains(&asked) && slowed == Some(&429), "{guesses:?}");
    let answer = proxy.exchange(origin.get("/", &[WRONG]));
    answer.expect_error(429, "http_request_denied");
    let seconds: u64 = answer.head.list("retry-after").parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    // Whoever comes without a password is asked for one, and others are not concerned.
    assert_eq!(proxy.exchange(origin.get("/", &[])).status(), 407);
    let other = IpAddr::from([127, 0, 0, 9]);
    assert_eq!(ask_from(other, &proxy, &origin, WRONG), 407);
    assert_eq!(ask_from(other, &proxy, &origin, AS_ANN), 200);
    let line = proxy.access_line(|line| line["status"] == 429);
    assert_eq!((&line["rule"], line["user"].is_null()), (&"access.users_file".into(), true), "{line}");
}

fn who_is_remembered_is_not_asked_again(mode: Mode) {
    let (proxy, origin) = (with_users(mode, COSTLY).one_worker().start(), Origin::ok());
    let answer = proxy.exchange(origin.get("/", &[AS_ANN]));
    assert_eq!(answer.status(), 200, "{answer:?}");
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(ask(&proxy, &origin, AS_ANN), 200);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

fn report_mode_asks_nobody(mode: Mode) {
    let (proxy, origin) = (with_users(mode, ANN).set("access.mode", "report").start(), Origin::ok());
    for field in ["X: y", WRONG, AS_ANN] {
        assert_eq!(ask(&proxy, &origin, field), 200);
    }
    let lines = proxy.access_lines_at_least(3);
    let said: Vec<_> = lines.iter().filter(|line| line["rule"] == "access.users_file").collect();
    assert!(said.len() == 2 && said.iter().all(|line| line["user"].is_null()), "{lines:?}");
    assert!(lines.iter().any(|line| line["user"] == "ann"), "{lines:?}");
}

fn a_variable_names_the_file(mode: Mode) {
    let proxy = Config::new(mode).env("PROXY_USERS_FILE", "users").file("users", ANN).start();
    let origin = Origin::ok();
    assert_eq!([ask(&proxy, &origin, AS_ANN), ask(&proxy, &origin, "X: y")], [200, 407]);
}

/// How many requests `clients` get through in a time, one after the other each.
fn pace(proxy: &Proxy, origin: &Origin, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut client = proxy.client();
    let mut answered = 0;
    while Instant::now() < end {
        client.send(origin.get("/", &[AS_ANN]));
        client.answer().expect_ok("ok");
        answered += 1;
    }
    answered
}

/// So many requests a second with this field, each from another address, so that none is slowed down for itself.
fn others(
    proxy: &Proxy,
    origin: &Origin,
    field: &str,
    rate: u32,
    meanwhile: impl FnOnce() -> usize,
) -> (usize, usize) {
    let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..4_u8)
        .map(|sender| {
            let (is_over, sent, addr) = (Arc::clone(&is_over), Arc::clone(&sent), proxy.addr());
            let request = origin.get("/", &[field, "Connection: close"]);
            thread::spawn(move || {
                let begun = Instant::now();
                let mut waiting = VecDeque::new();
                for number in 0_u32.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let due = begun + Duration::from_secs(4) * number / rate;
                    pause(due.saturating_duration_since(Instant::now()));
                    let from = IpAddr::from([127, 1, sender, (number % 250) as u8 + 1]);
                    let mut client = Client::connect_from(from, addr);
                    client.send_unwanted(&request);
                    sent.fetch_add(1, Ordering::Relaxed);
                    // Nobody waits for the answer.
                    waiting.push_back(client);
                    if waiting.len() > 100 {
                        waiting.pop_front();
                    }
                }
            })
        })
        .collect();
    eventually("others are at work", || (sent.load(Ordering::Relaxed) > 50).then_some(()));
    let answered = meanwhile();
    is_over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    (answered, sent.load(Ordering::Relaxed))
}

/// What verifying costs others: no more than a tenth beyond what as many requests without a password cost them. On a machine that
/// is busy with other things such figures mean little, so only a great loss is one where it is not looked at in full.
fn guesses_slow_nobody_else_down(mode: Mode) {
    let (rate, time, allowed) =
        at_full_size((200, Duration::from_secs(1), 0.75), (1_000, Duration::from_secs(10), 0.1));
    let (proxy, origin) = (with_users(mode, COSTLY).start(), Origin::ok());
    // Every worker verifies them once.
    for _ in 0..8 {
        assert_eq!(ask(&proxy, &origin, AS_ANN), 200);
    }
    let quiet = pace(&proxy, &origin, time);
    let (without, _) = others(&proxy, &origin, "X: y", rate, || pace(&proxy, &origin, time));
    let (with, sent) = others(&proxy, &origin, WRONG, rate, || pace(&proxy, &origin, time));
    let loss = 1.0 - with as f64 / without as f64;
    println!(
        "{quiet} answers alone, {without} beside requests without a password, {with} beside {sent} guesses: {:.1} % less",
        loss * 100.0
    );
    assert!(loss <= allowed, "{quiet} {without} {with}");
}

#[test]
fn hash_password_makes_a_line_that_is_read() {
    let hashed = |user: &str, password: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"))
            .args(["hash-password", user])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A user who cannot be is refused before anything is read.
        let _ = child.stdin.take().unwrap().write_all(password);
        child.wait_with_output().unwrap()
    };
    let output = hashed("ann", b"secret\n");
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && line.starts_with("ann:$2y$12$") && line.ends_with('\n'), "{line}");
    let (proxy, origin) = (with_users(Mode::SingleThreaded, &line).start(), Origin::ok());
    assert_eq!([ask(&proxy, &origin, AS_ANN), ask(&proxy, &origin, WRONG)], [200, 407]);
    for (user, password, code) in [("a:b", &b"x"[..], 64), ("ann", b"\n", 1), ("ann", &[b'x'; 73], 1)] {
        let output = hashed(user, password);
        assert_eq!(output.status.code(), Some(code), "{user} {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
fn check_looks_into_the_users_file() {
    let finished = with_users(Mode::SingleThreaded, "# users\nann:secret\n").arg("check").run();
    assert_eq!(finished.code(), 78, "{finished:?}");
    assert!(finished.stderr.contains("users:2: access.users_file: plain text"), "{finished:?}");
    assert!(!finished.output().contains("secret"), "{finished:?}");
    let missing = Config::new(Mode::SingleThreaded).set("access.users_file", "nowhere").arg("check").run();
    assert_eq!(missing.code(), 78, "{missing:?}");
    let shown = with_users(Mode::SingleThreaded, ANN).arg("check").arg("--print").run();
    assert!(
        shown.stdout.contains("users_file: \"users\"") && !shown.stdout.contains("saltsalt"),
        "{shown:?}"
    );
}
