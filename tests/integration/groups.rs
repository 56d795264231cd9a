//! Groups of servers: how requests are spread over them, and what becomes of requests when servers die (`upstreams`).
//!
//! 12,000 requests a way to balance; 100,000 with `RFP_BIG=1` in the environment.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Authority, Backend, BlackHole, Client, Config, Mode, NameServer, Origin, PATIENCE, Proxy, Reply,
    SecureOrigin, at_full_size, eventually, in_every_mode, metrics, process, within,
};

in_every_mode! {
    requests_reach_a_server_as_they_were_sent,
    the_dead_are_answered_for_at_once,
    who_never_answers_is_found_down,
    states_are_told_to_everybody,
    a_request_that_may_have_been_seen_is_not_sent_twice,
    our_own_listener_is_no_server,
    the_addresses_of_a_name_take_turns,
    a_source_address_of_its_own,
    servers_with_tls,
    a_reload_changes_groups,
}

const WEIGHTS: [u32; 3] = [5, 3, 2];

/// The groups with their servers, each by a route for the hosts `name.test` and below.
fn with_groups(config: Config, groups: &[Value]) -> Config {
    let routes = groups.iter().map(|group| {
        let name = group["name"].as_str().unwrap();
        json!({ "match": { "hosts": [format!("{name}.test"), format!(".{name}.test")] }, "via": name })
    });
    config.set("routes", routes.collect::<Vec<_>>()).set("upstreams", groups.to_vec())
}

fn group(name: &str, servers: &[&Backend], mut rest: Value) -> Value {
    let servers: Vec<_> = servers.iter().map(|server| json!({ "url": server.url() })).collect();
    let rest_of = rest.as_object_mut().unwrap();
    rest_of.insert("name".into(), json!(name));
    rest_of.insert("kind".into(), json!("origin"));
    rest_of.insert("servers".into(), json!(servers));
    rest
}

fn get(host: &str) -> String {
    format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// Reads one answer of a server; its status.
fn read_answer(stream: &mut TcpStream) -> std::io::Result<u16> {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok(head[9..12].parse().unwrap_or(0));
        }
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Has `clients` clients send `count` requests in all; the hosts are what `host` makes of their numbers.
fn send_all(proxy: SocketAddr, clients: usize, count: usize, host: impl Fn(usize) -> String + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut stream = connect(proxy);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    stream.write_all(get(&host(number)).as_bytes()).unwrap();
                    assert_eq!(read_answer(&mut stream).unwrap(), 200);
                }
            });
        }
    });
}

/// The same, each from another address of this host.
fn send_from_everywhere(proxy: SocketAddr, count: usize, host: &str) {
    for number in 0..count {
        let [_, b, c, d] = u32::try_from(number).unwrap().to_be_bytes();
        let mut client = Client::connect_from(Ipv4Addr::new(127, b + 1, c, d).into(), proxy);
        client.send(get(host));
        client.answer().expect_ok("ok");
    }
}

#[track_caller]
fn expect_shares(what: &str, servers: &[Backend], before: &[usize]) {
    let got: Vec<_> = servers.iter().zip(before).map(|(server, before)| server.requests() - before).collect();
    let all: usize = got.iter().sum();
    for (got_one, weight) in got.iter().zip(WEIGHTS) {
        let (share, theory) = (*got_one as f64 / all as f64, f64::from(weight) / 10.0);
        assert!((share - theory).abs() < 0.02, "{what}: {got:?} of {all}");
    }
}

#[test]
fn four_workers_spread_requests_by_weight() {
    let servers: Vec<_> = (0..3).map(|_| Backend::start(Duration::ZERO)).collect();
    let weighted: Vec<_> = servers
        .iter()
        .zip(WEIGHTS)
        .map(|(server, weight)| json!({ "url": server.url(), "weight": weight }))
        .collect();
    let named = [
        ("rr", "round_robin"),
        ("lc", "least_connections"),
        ("rd", "random"),
        ("pc", "p2c"),
        ("ch", "client_hash"),
        ("hh", "host_hash"),
    ];
    let groups = named.map(
        |(name, balance)| json!({ "name": name, "kind": "origin", "balance": balance, "servers": weighted }),
    );
    let config =
        Config::new(Mode::MultiProcess).set("runtime.process_count", 4).set("access_log.file", Value::Null);
    let proxy = with_groups(config, &groups).start();
    let count = at_full_size(12_000, 100_000);
    for (name, balance) in named {
        let before: Vec<_> = servers.iter().map(Backend::requests).collect();
        match balance {
            "client_hash" => send_from_everywhere(proxy.addr(), count, "ch.test"),
            "host_hash" => send_all(proxy.addr(), 16, count, |number| format!("h{number}.hh.test")),
            _ => send_all(proxy.addr(), 16, count, |_| format!("{name}.test")),
        }
        expect_shares(balance, &servers, &before);
    }
}

#[test]
fn a_slow_server_gets_little() {
    let time = |factor| Duration::from_millis(10) * factor;
    let servers = [1, 1, 1, 10].map(|factor| Backend::start(time(factor)));
    let all: Vec<_> = servers.iter().collect();
    let groups = ["p2c", "least_connections"]
        .map(|balance| group(balance.get(..3).unwrap(), &all, json!({ "balance": balance })));
    let config =
        Config::new(Mode::MultiProcess).set("runtime.process_count", 4).set("access_log.file", Value::Null);
    let proxy = with_groups(config, &groups).start();
    for name in ["p2c", "lea"] {
        let before = servers.each_ref().map(Backend::requests);
        send_all(proxy.addr(), 16, at_full_size(6_000, 100_000), |_| format!("{name}.test"));
        let got: Vec<_> =
            servers.iter().zip(before).map(|(server, before)| server.requests() - before).collect();
        let equal = got.iter().sum::<usize>() / 4;
        assert!(got[3] * 5 < equal, "{name}: {got:?}");
    }
}

/// Servers die and come back while clients send: what is idempotent never fails, what is not is never sent twice.
#[test]
fn servers_die_and_come_back_under_load() {
    const INTERVAL: Duration = Duration::from_millis(300);
    let mut servers = [(); 3].map(|()| Backend::start(Duration::from_millis(1)));
    let all: Vec<_> = servers.iter().collect();
    let check = json!({ "interval": "300ms", "timeout": "300ms", "healthy_after": 2, "unhealthy_after": 2 });
    let groups = [group("g", &all, json!({ "retries": 2, "health_check": check }))];
    let config = Config::new(Mode::MultiProcess).set("runtime.process_count", 4).with_admin();
    let proxy = with_groups(config, &groups).start();
    let is_over = Arc::new(AtomicBool::new(false));
    let failures = Arc::new(Mutex::new(Vec::<String>::new()));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (is_over, failures, addr) = (Arc::clone(&is_over), Arc::clone(&failures), proxy.addr());
            thread::spawn(move || {
                let posts = client % 4 == 0;
                let mut stream = connect(addr);
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let request = if posts {
                        format!("POST http://g.test/ HTTP/1.1\r\nHost: g.test\r\nX-Id: {client}-{number}\r\nContent-Length: 2\r\n\r\nhi")
                    } else {
                        get("g.test")
                    };
                    stream.write_all(request.as_bytes()).unwrap();
                    match read_answer(&mut stream) {
                        Ok(200) => {}
                        // What may have been seen is not sent again, so somebody has to be told.
                        Ok(502) if posts => stream = connect(addr),
                        other => failures.lock().unwrap().push(format!("{request:?}: {other:?}")),
                    }
                }
            })
        })
        .collect();
    let state = |url: &str| {
        let series = metrics(&proxy);
        let is = |state: &str| {
            series[&format!(
                "forward_proxy_upstream_backend_state{{group=\"g\",backend=\"{url}\",state=\"{state}\"}}"
            )] == 1.0
        };
        ["up", "down", "ejected", "probing"].into_iter().find(|state| is(state)).unwrap()
    };
    for round in 0..at_full_size(3, 12) {
        let index = round % servers.len();
        let url = servers[index].url();
        eventually("it gets requests", || Some(servers[index].requests()).filter(|count| *count > 0));
        servers[index].kill();
        eventually("it is found down", || Some(()).filter(|()| state(&url) == "down"));
        let before = servers[index].requests();
        servers[index].restart();
        let began = Instant::now();
        eventually("it gets requests again", || Some(()).filter(|()| servers[index].requests() > before));
        let allowed = INTERVAL * 2 + Duration::from_secs(1);
        assert!(began.elapsed() < allowed, "used after {:?}, {allowed:?} is allowed", began.elapsed());
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(*failures.lock().unwrap(), Vec::<String>::new());
    let mut ids = HashMap::new();
    for (id, count) in servers.iter().flat_map(Backend::ids) {
        *ids.entry(id).or_insert(0) += count;
    }
    let twice: Vec<_> = ids.iter().filter(|(_, count)| **count > 1).collect();
    assert!(ids.len() > 10 && twice.is_empty(), "{} requests, twice: {twice:?}", ids.len());
    // Nobody is left with a request.
    let active =
        |url: &str| format!("forward_proxy_upstream_backend_active{{group=\"g\",backend=\"{url}\"}}");
    eventually("no request is left", || {
        let series = metrics(&proxy);
        Some(()).filter(|()| servers.iter().all(|server| series[&active(&server.url())] == 0.0))
    });
}

/// A worker that is killed gives back what it had in flight, and somebody else looks at servers from then on.
#[test]
fn a_worker_that_dies_leaves_nothing_behind() {
    let slow = Origin::silent();
    let servers = json!([{ "url": format!("http://{}", slow.authority()) }]);
    let check = json!({ "interval": "100ms", "timeout": "100ms" });
    let groups = [json!({ "name": "g", "kind": "origin", "servers": servers, "health_check": check })];
    let proxy = with_groups(Config::new(Mode::MultiProcess).with_admin(), &groups).start();
    let series = |name: &str| {
        metrics(&proxy)[&format!(
            "forward_proxy_upstream_backend_{name}{{group=\"g\",backend=\"http://{}\"}}",
            slow.authority()
        )]
    };
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = proxy.client();
            client.send(get("g.test"));
            client
        })
        .collect();
    eventually("all are in flight", || Some(()).filter(|()| series("active") == 8.0));
    for pid in proxy.serving_all(2) {
        process::signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
    eventually("none is in flight", || Some(()).filter(|()| series("active") == 0.0));
    drop(clients);
    let before = slow.connections();
    eventually("somebody looks", || Some(()).filter(|()| slow.connections() > before + 3));
}

fn requests_reach_a_server_as_they_were_sent(mode: Mode) {
    let origin = Origin::ok();
    let servers = json!([{ "url": format!("http://{}", origin.authority()) }]);
    let groups = [json!({ "name": "g", "kind": "origin", "servers": servers })];
    let proxy = with_groups(Config::new(mode).one_worker(), &groups).start();
    let mut client = proxy.client();
    client.send("PUT http://g.test:81/a?b=c HTTP/1.1\r\nHost: g.test:81\r\nProxy-Authorization: Basic eDp5\r\nContent-Length: 2\r\n\r\nhi");
    client.answer().expect_ok("ok");
    let got = origin.request_at(0);
    assert_eq!(got.head.start(), "PUT /a?b=c HTTP/1.1");
    assert_eq!((got.head.list("host").as_str(), got.head.list("via").as_str()), ("g.test:81", "1.1 px"));
    assert!(!got.head.has("proxy-authorization"), "{:?}", got.head);
    assert_eq!(got.body.bytes, b"hi");
    // In origin-form, as to a server: it is in front of them then.
    let host = format!("g.test:{}", proxy.addr().port());
    client.send(format!("DELETE /api/1 HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.answer().expect_ok("ok");
    let got = origin.request_at(1);
    assert_eq!((got.head.start(), got.head.list("host")), ("DELETE /api/1 HTTP/1.1", host));
    assert_eq!(origin.connections(), 1, "the connection was kept");
    // What goes there directly is another matter, although it is the same place.
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    assert_eq!(origin.connections(), 2, "and the pool keeps them apart");
    let line = proxy.access_line(|line| line["method"] == "PUT");
    assert_eq!((&line["route"], &line["upstream"]), (&json!("g"), &json!(origin.authority())), "{line}");
}

fn the_dead_are_answered_for_at_once(mode: Mode) {
    let mut servers = [(); 3].map(|()| Backend::start(Duration::ZERO));
    servers.iter_mut().for_each(Backend::kill);
    let all: Vec<_> = servers.iter().collect();
    let ejection = json!({ "failures": 2, "min_available": 0 });
    let proxy = with_groups(Config::new(mode), &[group("g", &all, json!({ "ejection": ejection }))]).start();
    for _ in 0..20 {
        let began = Instant::now();
        proxy.exchange(get("g.test")).expect_error(503, "destination_unavailable");
        assert!(began.elapsed() < Duration::from_secs(2), "after {:?}", began.elapsed());
        proxy
            .exchange("CONNECT g.test:443 HTTP/1.1\r\nHost: g.test:443\r\n\r\n")
            .expect_error(503, "destination_unavailable");
    }
    assert!(proxy.log_line("upstream backend changed").contains("state=ejected"), "{}", proxy.log());
}

/// Nothing comes back from servers that take no connection: after the first looks, nobody waits for that any more.
fn who_never_answers_is_found_down(mode: Mode) {
    let holes = [BlackHole::new(), BlackHole::new()];
    let servers: Vec<_> =
        holes.iter().map(|hole| json!({ "url": format!("http://{}", hole.authority()) })).collect();
    let check = json!({ "interval": "200ms", "timeout": "100ms", "unhealthy_after": 2 });
    let groups = [json!({ "name": "g", "kind": "proxy", "servers": servers, "health_check": check })];
    let config = Config::new(mode).set("timeouts.connect", "2s");
    let proxy = with_groups(config, &groups).start();
    let began = Instant::now();
    proxy.exchange(get("g.test")).expect_error(503, "destination_unavailable");
    assert!(began.elapsed() < Duration::from_secs(4), "deadlines do not add up: {:?}", began.elapsed());
    eventually("both are down", || Some(()).filter(|()| proxy.log_lines("state=down").len() == 2));
    let began = Instant::now();
    proxy.exchange(get("g.test")).expect_error(503, "destination_unavailable");
    assert!(began.elapsed() < Duration::from_secs(1), "after {:?}", began.elapsed());
}

fn states_are_told_to_everybody(mode: Mode) {
    let mut servers = [(); 2].map(|()| Backend::start(Duration::ZERO));
    servers[1].kill();
    let urls = servers.each_ref().map(Backend::url);
    let servers_with_password =
        json!([{ "url": urls[0] }, { "url": urls[1].replace("http://", "http://us:secret@") }]);
    let groups = [
        json!({ "name": "g", "kind": "proxy", "servers": servers_with_password, "ejection": { "failures": 1 } }),
    ];
    let proxy = with_groups(Config::new(mode).with_admin().set("log_level", "debug"), &groups).start();
    for _ in 0..6 {
        proxy.exchange(get("g.test")).expect_ok("ok");
    }
    let status = proxy.operate(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let told = &status["groups"][0];
    assert_eq!((&told["name"], &told["servers"][0]["state"]), (&json!("g"), &json!("up")), "{status}");
    assert_eq!(
        (&told["servers"][1]["url"], &told["servers"][1]["state"]),
        (&json!(urls[1]), &json!("ejected")),
        "{status}"
    );
    assert_eq!(told["servers"][0]["requests_total"], 6, "{status}");
    let table = proxy.operate(&["status"]).stdout;
    assert!(table.contains("SERVER") && table.contains(&urls[1]) && table.contains("ejected"), "{table}");
    let series = metrics(&proxy);
    for (name, value) in [
        (format!("state{{group=\"g\",backend=\"{}\",state=\"ejected\"}}", urls[1]), 1.0),
        (format!("failures_total{{group=\"g\",backend=\"{}\"}}", urls[1]), 1.0),
        (format!("requests_total{{group=\"g\",backend=\"{}\"}}", urls[0]), 6.0),
    ] {
        let series_name = format!("forward_proxy_upstream_backend_{name}");
        assert_eq!(series.get(&series_name), Some(&value), "{series_name}");
    }
    let line = proxy.log_line("upstream backend changed");
    assert!(line.contains("group=g") && line.contains(&urls[1]), "{line}");
    let check = proxy.operate(&["check", "--print"]).output();
    for text in [proxy.log(), check, status.to_string()] {
        assert!(!text.contains("secret"), "{text}");
    }
}

fn a_request_that_may_have_been_seen_is_not_sent_twice(mode: Mode) {
    let rude = Origin::start(|conn| conn.read_request().map(drop));
    let good = Origin::ok();
    let servers = [&rude, &good].map(|origin| json!({ "url": format!("http://{}", origin.authority()) }));
    let groups =
        [json!({ "name": "g", "kind": "origin", "servers": servers, "ejection": { "failures": 0 } })];
    let proxy = with_groups(Config::new(mode).one_worker(), &groups).start();
    let mut failed = 0;
    for _ in 0..4 {
        proxy.exchange(get("g.test")).expect_ok("ok");
    }
    for _ in 0..4 {
        let post =
            proxy.exchange("POST http://g.test/ HTTP/1.1\r\nHost: g.test\r\nContent-Length: 2\r\n\r\nhi");
        if post.status() != 200 {
            post.expect_error(502, "connection_terminated");
            failed += 1;
        }
    }
    let posts = |origin: &Origin| {
        origin.requests().iter().filter(|request| request.head.start().starts_with("POST")).count()
    };
    assert_eq!((posts(&rude), posts(&rude) + posts(&good)), (failed, 4));
    assert!(failed > 0, "in turn, one of them gets some");
}

fn our_own_listener_is_no_server(mode: Mode) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = format!("127.0.0.1:{port}");
    let groups = [json!({ "name": "g", "kind": "proxy", "servers": [{ "url": format!("http://{at}") }] })];
    let proxy = with_groups(Config::new(mode).set("listen_addr", at), &groups).start();
    let answer = proxy.exchange(get("g.test"));
    answer.expect_error(503, "destination_unavailable");
    assert!(answer.text().contains("come back to this proxy"), "{}", answer.text());
}

fn the_addresses_of_a_name_take_turns(mode: Mode) {
    let first = Origin::ok();
    let second = Origin::on(SocketAddr::from(([127, 0, 0, 2], first.port())), |conn| {
        loop {
            conn.read_request()?;
            conn.answer("ok")?;
        }
    });
    let addresses = ["127.0.0.1", "127.0.0.2"].map(|address| address.parse().unwrap());
    let names = NameServer::start(&[("two.test", Reply::Addresses(addresses.to_vec()))]);
    let servers = json!([{ "url": format!("http://two.test:{}", first.port()) }]);
    let groups = [json!({ "name": "g", "kind": "origin", "servers": servers })];
    let config = Config::new(mode).one_worker().set("dns.servers", names.servers());
    let proxy = with_groups(config.set("upstream.max_idle_per_host", 0), &groups).start();
    for _ in 0..6 {
        proxy.exchange(get("g.test")).expect_ok("ok");
    }
    assert_eq!((first.requests().len(), second.requests().len()), (3, 3));
}

fn a_source_address_of_its_own(mode: Mode) {
    let peer = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&peer);
    let origin = Origin::start(move |conn| {
        *seen.lock().unwrap() = conn.stream().peer_addr().ok();
        conn.read_request()?;
        conn.answer("ok")
    });
    let servers = json!([{ "url": format!("http://{}", origin.authority()) }]);
    let groups = [json!({ "name": "g", "kind": "origin", "servers": servers, "bind_addr": "127.0.0.9" })];
    let proxy = with_groups(Config::new(mode), &groups).start();
    proxy.exchange(get("g.test")).expect_ok("ok");
    assert_eq!(peer.lock().unwrap().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 9));
}

fn servers_with_tls(mode: Mode) {
    let authority = Authority::new();
    let origin = SecureOrigin::ok(&authority.server(&["localhost"]));
    let servers = json!([{ "url": format!("https://{}", origin.authority("localhost")) }]);
    let check = json!({ "interval": "2s", "timeout": "2s", "path": "/up" });
    let groups = [json!({ "name": "g", "kind": "origin", "servers": servers, "health_check": check })];
    let config = Config::new(mode).file("ca.pem", &authority.pem()).set("upstream.tls.ca_path", "ca.pem");
    let proxy = with_groups(config, &groups).start();
    proxy.exchange(get("g.test")).expect_ok("ok");
    eventually("it is looked at", || {
        Some(()).filter(|()| origin.heads().iter().any(|head| head.starts_with("GET /up ")))
    });
    assert!(proxy.log_lines("state=down").is_empty(), "{}", proxy.log());
}

fn a_reload_changes_groups(mode: Mode) {
    let (one, other) = (Backend::start(Duration::ZERO), Backend::start(Duration::ZERO));
    let config = |server: &Backend| with_groups(Config::new(mode), &[group("g", &[server], json!({}))]);
    let proxy: Proxy = config(&one).start();
    proxy.exchange(get("g.test")).expect_ok("ok");
    let text = proxy.folder().read("config.yml").replace(&one.url(), &other.url());
    proxy.folder().write("config.yml", text);
    let reloaded = proxy.operate(&["reload"]);
    assert!(reloaded.code() == 0 && reloaded.stdout.contains("upstreams"), "{reloaded:?}");
    proxy.exchange(get("g.test")).expect_ok("ok");
    assert_eq!((one.requests(), other.requests()), (1, 1));
    assert!(within(PATIENCE, || proxy.operate(&["status"]).stdout.contains(&other.url())));
}
