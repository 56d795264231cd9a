//! How fast, and how many at a time (`rate_limit`).

use std::{
    net::IpAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Config, Mode, NameServer, Origin, Proxy, eventually, head, in_every_mode, process,
};

in_every_mode! {
    a_limit_is_said_when_it_is_reached,
    each_client_has_its_own_bucket,
    hosts_and_users_have_buckets,
    tunnels_count_as_one_request,
    limits_are_for_the_requests_that_match,
    one_that_refuses_takes_nothing_of_others,
    so_many_requests_at_a_time,
    so_many_tunnels_at_a_time,
    what_a_dead_worker_held_is_given_back,
    bodies_keep_to_their_bandwidth,
    tunnels_keep_to_their_bandwidth,
    report_mode_limits_nothing,
    a_reload_changes_limits,
}

/// Nothing comes back while a test runs.
const NEVER: &str = "/d";

fn with_limits(mode: Mode, limits: Value) -> Config {
    Config::new(mode).set("rate_limit.limits", limits)
}

fn get(proxy: &Proxy, origin: &Origin) -> u16 {
    proxy.exchange(origin.get("/", &[])).status()
}

#[track_caller]
fn expect_limited(answer: &Answer) {
    answer.expect_error(429, "http_request_denied");
    let seconds: u64 = answer.head.list("retry-after").parse().expect("whole seconds");
    assert!(seconds >= 1, "{answer:?}");
}

fn a_limit_is_said_when_it_is_reached(mode: Mode) {
    let limit = json!([{ "name": "day", "key": "client_ip", "rate": format!("2{NEVER}"), "burst": 2 }]);
    let (proxy, origin) = (with_limits(mode, limit).start(), Origin::ok());
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(origin.get("/", &[]));
        let answer = client.answer();
        answer.expect_ok("ok");
        assert!(!answer.head.has("ratelimit"), "{answer:?}");
    }
    // On the same connection, which stays.
    for _ in 0..2 {
        client.send(origin.get("/", &[]));
        let answer = client.answer();
        expect_limited(&answer);
        assert_eq!(answer.head.list("ratelimit-policy"), "\"day\";q=2;w=86400");
        let seconds = answer.head.list("retry-after");
        assert!((43_000..=43_200).contains(&seconds.parse::<u64>().unwrap()), "{seconds}");
        assert_eq!(answer.head.list("ratelimit"), format!("\"day\";r=0;t={seconds}"));
    }
    let line = proxy.access_line(|line| line["status"] == 429);
    assert_eq!(line["rule"], "rate_limit.limits[day]", "{line}");
    assert_eq!(origin.requests().len(), 2);
}

fn each_client_has_its_own_bucket(mode: Mode) {
    let limit = json!([{ "name": "each", "key": "client_ip", "rate": format!("1{NEVER}"), "burst": 1 }]);
    let (proxy, origin) = (with_limits(mode, limit).start(), Origin::ok());
    for host in 1..20 {
        let from = IpAddr::from([127, 0, 1, host]);
        let mut client = Client::connect_from(from, proxy.addr());
        client.send(origin.get("/", &[]));
        client.answer().expect_ok("ok");
        let mut client = Client::connect_from(from, proxy.addr());
        client.send(origin.get("/", &[]));
        expect_limited(&client.answer());
    }
}

fn hosts_and_users_have_buckets(mode: Mode) {
    const USERS: &str = "ann:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n\
                         bob:$5$saltsalt$f3/UQ15npnSs4Vv7.Xos27TA1i1CpdMGT34D5fPQuj5\n";
    let (names, origin) = (NameServer::with_loopback("a.test"), Origin::ok());
    let proxy = with_limits(
        mode,
        json!([
            { "name": "host", "key": "host", "rate": format!("2{NEVER}"), "burst": 2 },
            { "name": "user", "key": "user", "rate": format!("3{NEVER}"), "burst": 3 },
        ]),
    )
    .set("dns.servers", names.servers())
    .set("access.users_file", "users")
    .file("users", USERS)
    .start();
    let get = |host: &str, user: &str| {
        let authority = format!("{host}:{}", origin.port());
        let credentials = format!("Proxy-Authorization: Basic {user}");
        let lines = [format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}"), credentials];
        proxy.exchange(head(&lines)).status()
    };
    let (ann, bob) = ("YW5uOnNlY3JldA==", "Ym9iOnBhOnNzIHfDtnJk");
    let seen = [get("a.test", ann), get("A.test.", ann), get("a.test", ann), get("a.test", bob)];
    assert_eq!(seen, [200, 200, 429, 429]);
    let seen = [get("127.0.0.1", ann), get("127.0.0.1", ann), get("127.0.0.1", bob)];
    assert_eq!(seen, [200, 429, 200]);
}

fn tunnels_count_as_one_request(mode: Mode) {
    let limit = json!([{ "name": "two", "key": "global", "rate": format!("2{NEVER}"), "burst": 2 }]);
    let (proxy, echo) = (with_limits(mode, limit).start(), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&echo.authority());
    for _ in 0..20 {
        client.send("hello");
        assert_eq!(client.read_exact(5), b"hello");
    }
    proxy.client().tunnel(&echo.authority());
    let mut client = proxy.client();
    client.send(head(&[format!("CONNECT {} HTTP/1.1", echo.authority()), "Host: a.test".to_owned()]));
    expect_limited(&client.answer_to("CONNECT"));
}

fn limits_are_for_the_requests_that_match(mode: Mode) {
    let limit = |name: &str, conditions: Value| json!({ "name": name, "key": "global", "rate": format!("1{NEVER}"), "burst": 1, "match": conditions });
    let origin = Origin::ok();
    let limits = json!([
        limit("posts", json!({ "methods": ["POST"] })),
        limit("api", json!({ "paths": ["/api/"], "hosts": ["127.0.0.0/8"], "ports": [origin.port()] })),
        limit("other-port", json!({ "ports": [1] })),
        limit("other-client", json!({ "clients": ["192.0.2.0/24"] })),
    ]);
    let proxy = with_limits(mode, limits).start();
    let get = |path: &str| proxy.exchange(origin.get(path, &[])).status();
    assert_eq!(
        [get("/"), get("/"), get("/api"), get("/api/x?y"), get("/api/"), get("/")],
        [200, 200, 200, 200, 429, 200]
    );
    let post = || proxy.exchange(origin.request("POST", "/", &["Content-Length: 0"])).status();
    assert_eq!([post(), post()], [200, 429]);
}

fn one_that_refuses_takes_nothing_of_others(mode: Mode) {
    let limits = json!([
        { "name": "wide", "key": "client_ip", "rate": format!("3{NEVER}"), "burst": 3 },
        { "name": "narrow", "key": "global", "rate": format!("1{NEVER}"), "burst": 1, "match": { "paths": ["/x"] } },
    ]);
    let (proxy, origin) = (with_limits(mode, limits).start(), Origin::ok());
    let get = |path: &str| proxy.exchange(origin.get(path, &[])).status();
    let seen: Vec<_> = ["/x", "/x", "/x", "/x", "/", "/", "/"].map(get).into();
    assert_eq!(seen, [200, 429, 429, 429, 200, 200, 429]);
}

/// An origin that answers when it is told to, and who tells it.
fn patient() -> (Origin, mpsc::Sender<()>) {
    let (go, told) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |conn| {
        loop {
            conn.read_request()?;
            let _ = told.lock().unwrap().recv_timeout(Duration::from_secs(20));
            conn.answer("ok")?;
        }
    });
    (origin, go)
}

fn so_many_requests_at_a_time(mode: Mode) {
    let limits = json!([{ "name": "one", "key": "client_ip", "concurrent_requests": 1 }]);
    let (proxy, (origin, go)) = (with_limits(mode, limits).start(), patient());
    let mut client = proxy.client();
    client.send(origin.get("/", &[]));
    origin.request_at(0);
    let answer = proxy.exchange(origin.get("/", &[]));
    expect_limited(&answer);
    assert!(!answer.head.has("ratelimit-policy"), "{answer:?}");
    // Tunnels are something else.
    let echo = Origin::echo();
    proxy.client().tunnel(&echo.authority());
    go.send(()).unwrap();
    client.answer().expect_ok("ok");
    go.send(()).unwrap();
    eventually("the next one may pass", || (get(&proxy, &origin) == 200).then_some(()));
}

fn open(proxy: &Proxy, to: &Origin) -> (Client, u16) {
    let mut client = proxy.client();
    client.send(head(&[format!("CONNECT {} HTTP/1.1", to.authority()), "Host: a.test".to_owned()]));
    let status = client.answer_to("CONNECT").status();
    (client, status)
}

fn so_many_tunnels_at_a_time(mode: Mode) {
    let limits = json!([{ "name": "two", "key": "client_ip", "concurrent_tunnels": 2 }]);
    let (proxy, echo) = (with_limits(mode, limits).start(), Origin::echo());
    let tunnels = [open(&proxy, &echo), open(&proxy, &echo)];
    assert_eq!(tunnels.each_ref().map(|(_, status)| *status), [200, 200]);
    assert_eq!(open(&proxy, &echo).1, 429);
    let [first, _second] = tunnels;
    drop(first);
    eventually("there is room for another tunnel", || (open(&proxy, &echo).1 == 200).then_some(()));
}

fn what_a_dead_worker_held_is_given_back(mode: Mode) {
    if mode != Mode::MultiProcess {
        return;
    }
    let limits = json!([{ "name": "two", "key": "global", "concurrent_tunnels": 2 }]);
    let (proxy, echo) = (with_limits(mode, limits).start(), Origin::echo());
    let tunnels = [open(&proxy, &echo), open(&proxy, &echo)];
    assert_eq!(open(&proxy, &echo).1, 429);
    for worker in proxy.serving_all(2) {
        process::signal(worker, nix::sys::signal::Signal::SIGKILL);
    }
    eventually("there is room again", || (open(&proxy, &echo).1 == 200).then_some(()));
    drop(tunnels);
}

const MEBIBYTE: usize = 1 << 20;

/// How long it takes.
fn time(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

/// 1 MiB at 1 MiB/s, of which a quarter of a second's worth may come at once.
#[track_caller]
fn expect_a_second(took: Duration) {
    assert!(took >= Duration::from_millis(600), "{took:?}");
}

fn bodies_keep_to_their_bandwidth(mode: Mode) {
    let limits = json!([{ "name": "slow", "key": "client_ip", "bandwidth": "1MiB/s", "match": { "paths": ["/slow"] } }]);
    let body = "x".repeat(MEBIBYTE);
    let origin = {
        let body = body.clone();
        Origin::start(move |conn| {
            loop {
                let request = conn.read_request()?;
                conn.answer(if request.body.bytes.is_empty() { body.as_str() } else { "ok" })?;
            }
        })
    };
    let proxy = with_limits(mode, limits).start();
    let fast = time(|| proxy.exchange(origin.get("/fast", &[])).expect_ok(&body));
    assert!(fast < Duration::from_millis(600), "{fast:?}");
    expect_a_second(time(|| proxy.exchange(origin.get("/slow", &[])).expect_ok(&body)));
    let length = format!("Content-Length: {MEBIBYTE}");
    let mut upload = origin.request("POST", "/slow", &[&length]);
    upload.extend_from_slice(body.as_bytes());
    expect_a_second(time(|| proxy.exchange(&upload).expect_ok("ok")));
}

fn tunnels_keep_to_their_bandwidth(mode: Mode) {
    let limits = json!([{ "name": "slow", "key": "client_ip", "bandwidth": "1MiB/s" }]);
    let (proxy, echo) = (with_limits(mode, limits).start(), Origin::echo());
    let mut client = proxy.client();
    client.tunnel(&echo.authority());
    let mut writer = client.stream().try_clone().unwrap();
    // There and back is twice as much.
    let took = time(|| {
        let written = thread::spawn(move || {
            std::io::Write::write_all(&mut writer, &vec![b'x'; MEBIBYTE / 2]).expect("the tunnel takes it");
        });
        assert_eq!(client.read_exact(MEBIBYTE / 2).len(), MEBIBYTE / 2);
        written.join().unwrap();
    });
    expect_a_second(took);
}

fn report_mode_limits_nothing(mode: Mode) {
    let limits = json!([{ "name": "day", "key": "client_ip", "rate": format!("1{NEVER}"), "burst": 1 }]);
    let proxy = with_limits(mode, limits).set("access.mode", "report").start();
    let origin = Origin::ok();
    for _ in 0..3 {
        assert_eq!(get(&proxy, &origin), 200);
    }
    let line = proxy.access_line(|line| line["rule"] == "rate_limit.limits[day]");
    assert_eq!(line["status"], 200);
    assert!(proxy.log_line("would be refused").contains("rate_limit.limits[day]"));
}

fn a_reload_changes_limits(mode: Mode) {
    let limits = json!([{ "name": "day", "key": "client_ip", "rate": format!("1{NEVER}"), "burst": 1 }]);
    let (proxy, origin) = (with_limits(mode, limits).start(), Origin::ok());
    assert_eq!([get(&proxy, &origin), get(&proxy, &origin)], [200, 429]);
    // Nobody waits for what another limit has taken: an empty bucket is filled at the new rate.
    let text = proxy.folder().read("config.yml").replace("\"1/d\"", "\"100000/s\"");
    proxy.folder().write("config.yml", text);
    let reloaded = proxy.operate(&["reload"]);
    assert_eq!(reloaded.code(), 0, "{reloaded:?}");
    eventually("the new rate is in force", || (get(&proxy, &origin) == 200).then_some(()));
    assert_eq!([get(&proxy, &origin), get(&proxy, &origin)], [200, 200]);
    proxy.folder().write("config.yml", proxy.folder().read("config.yml").replace("100000/s", "1/year"));
    let refused = proxy.operate(&["reload"]);
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert!(refused.output().contains("rate_limit.limits[0].rate"), "{refused:?}");
}
