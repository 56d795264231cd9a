//! TLS handshakes with clients: their deadline, how many at once, versions, and sessions that are resumed.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, ProtocolVersion};

use crate::{
    succession,
    support::{Authority, Config, Mode, Origin, PATIENCE, Proxy, eventually, in_every_mode, metrics, secure},
};

in_every_mode!(
    a_slow_handshake_is_cut,
    a_flood_of_handshakes_lets_others_in,
    an_old_version_is_refused,
    a_socket_for_tls_is_adopted,
    who_says_nothing_does_not_hold_up_the_end,
);

/// The beginning of a ClientHello of which the rest never comes.
const BEGUN: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

/// Sends a request on a connection of its own; how the handshake went.
fn get(proxy: &Proxy, config: &Arc<ClientConfig>, origin: &Origin, path: &str) -> HandshakeKind {
    let mut client = secure::connect(config, proxy.tls_addr()).expect("the handshake succeeds");
    client.write_all(&origin.get(path, &[])).unwrap();
    // Session tickets come with the response.
    assert_eq!(secure::read_response(&mut client).unwrap().1, "ok");
    client.conn.handshake_kind().expect("it is complete")
}

fn count(proxy: &Proxy, result: &str) -> f64 {
    metrics(proxy)[&format!("forward_proxy_tls_handshakes_total{{result=\"{result}\"}}")]
}

fn a_slow_handshake_is_cut(mode: Mode) {
    let authority = Authority::new();
    let config = Config::new(mode).with_admin().set("tls.handshake_timeout", "300ms");
    let proxy = secure::listening(config, &authority).start();
    let origin = Origin::ok();
    for begun in [&b""[..], BEGUN] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(proxy.tls_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(begun).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() && began.elapsed() >= Duration::from_millis(300), "{answer:?}");
    }
    let client = secure::client(&authority.pem(), None);
    assert_eq!(get(&proxy, &client, &origin, "/"), HandshakeKind::Full);
    eventually("each was counted", || (count(&proxy, "timeout") == 2.0).then_some(()));
    assert_eq!((count(&proxy, "full"), count(&proxy, "failure")), (1.0, 0.0));
    // Who is in has left that deadline behind.
    let idle = secure::connect(&client, proxy.tls_addr()).unwrap();
    assert!(!crate::support::within(Duration::from_millis(600), || {
        idle.sock.set_nonblocking(true).unwrap();
        matches!(idle.sock.peek(&mut [0; 1]), Ok(0))
    }));
}

fn a_flood_of_handshakes_lets_others_in(mode: Mode) {
    let authority = Authority::new();
    let config = Config::new(mode).with_admin();
    let config = config.set("tls.max_handshakes", 2).set("tls.handshake_timeout", "1s");
    let proxy = secure::listening(config, &authority).start();
    let flood: Vec<_> = (0..50)
        .map(|index| {
            let mut stream = TcpStream::connect(proxy.tls_addr()).unwrap();
            // Half of them say nothing, and take nobody's turn.
            if index % 2 == 0 {
                stream.write_all(BEGUN).unwrap();
            }
            stream
        })
        .collect();
    let (client, origin) = (secure::client(&authority.pem(), None), Origin::ok());
    eventually("somebody else has his turn", || secure::connect(&client, proxy.tls_addr()).ok());
    get(&proxy, &client, &origin, "/");
    eventually("each was counted", || (count(&proxy, "timeout") >= 50.0).then_some(()));
    drop(flood);
}

fn an_old_version_is_refused(mode: Mode) {
    use tokio_rustls::rustls::version::{TLS12, TLS13};
    let (authority, origin) = (Authority::new(), Origin::ok());
    let proxy = secure::listening(Config::new(mode), &authority).start();
    let strict = secure::listening(Config::new(mode).set("tls.min_version", "1.3"), &authority).start();
    let [old, new] = [&TLS12, &TLS13].map(|version| secure::client_of(&authority.pem(), version));
    for (proxy, config, expected) in [
        (&proxy, &old, Some(ProtocolVersion::TLSv1_2)),
        (&proxy, &new, Some(ProtocolVersion::TLSv1_3)),
        (&strict, &old, None),
        (&strict, &new, Some(ProtocolVersion::TLSv1_3)),
    ] {
        let connected = secure::connect(config, proxy.tls_addr()).ok();
        assert_eq!(connected.and_then(|client| client.conn.protocol_version()), expected);
    }
    // Both kinds of tickets.
    for config in [&old, &new] {
        get(&proxy, config, &origin, "/");
        assert_eq!(get(&proxy, config, &origin, "/"), HandshakeKind::Resumed);
    }
}

#[test]
fn a_session_is_resumed_with_any_worker() {
    let (authority, origin) = (Authority::new(), Origin::ok());
    let config = Config::new(Mode::MultiProcess).with_admin().set("runtime.process_count", 3);
    let proxy = secure::listening(config, &authority).start();
    let client = secure::client(&authority.pem(), None);
    let worker_of = |path: &str| proxy.access_line(|line| line["path"] == path)["worker"].to_string();
    assert_eq!(get(&proxy, &client, &origin, "/first"), HandshakeKind::Full);
    let mut workers = vec![worker_of("/first")];
    // The kernel chooses by source port: that one worker has them all is next to impossible.
    for index in 0..20 {
        let path = format!("/{index}");
        assert_eq!(get(&proxy, &client, &origin, &path), HandshakeKind::Resumed, "{path}");
        workers.push(worker_of(&path));
    }
    assert!(workers.iter().collect::<HashSet<_>>().len() > 1, "one worker has served all");
    assert!(workers.windows(2).any(|pair| pair[0] != pair[1]), "{workers:?}");
    assert_eq!((count(&proxy, "full"), count(&proxy, "resumed")), (1.0, 20.0));
    // Workers that are new have the keys too.
    let before = proxy.serving_all(3);
    let restarted = proxy.operate(&["restart"]);
    assert_eq!(restarted.code(), 0, "{restarted:?}");
    eventually("all workers are new", || {
        proxy.serving().iter().all(|pid| !before.contains(pid)).then_some(())
    });
    assert_eq!(get(&proxy, &client, &origin, "/renewed"), HandshakeKind::Resumed);
}

#[test]
fn a_new_launcher_goes_on_with_the_sockets_and_the_keys() {
    let (authority, origin) = (Authority::new(), Origin::ok());
    let config = Config::new(Mode::MultiProcess).with_own_binary();
    let proxy = secure::listening(config, &authority).start();
    let client = secure::client(&authority.pem(), None);
    assert_eq!(get(&proxy, &client, &origin, "/"), HandshakeKind::Full);
    succession::replace(&proxy, None);
    proxy.signal(Signal::SIGUSR2);
    proxy.log_line("launcher replaced");
    proxy.log_line("rolling restart finished");
    assert_eq!(get(&proxy, &client, &origin, "/"), HandshakeKind::Resumed);
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}

fn who_says_nothing_does_not_hold_up_the_end(mode: Mode) {
    let authority = Authority::new();
    let mut proxy = secure::listening(Config::new(mode), &authority).start();
    let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(proxy.tls_addr()).unwrap()).collect();
    // One that is in, behind the others, says that they were accepted.
    let idle = secure::connect(&secure::client(&authority.pem(), None), proxy.tls_addr()).unwrap();
    let began = Instant::now();
    proxy.stop();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop((silent, idle));
}

/// Opens two listening sockets as descriptors 3 and 4, of which the second is for TLS, and becomes the program.
const ACTIVATE: &str = "
import os, socket, sys
opened = []
for descriptor in (3, 4):
    listening = socket.socket()
    listening.bind(('127.0.0.1', 0))
    listening.listen(64)
    opened.append(listening)
    os.dup2(listening.fileno(), 10 + descriptor)
names = ['127.0.0.1:%d' % listening.getsockname()[1] for listening in opened]
for descriptor in (3, 4):
    os.dup2(10 + descriptor, descriptor)
    os.set_inheritable(descriptor, True)
os.environ.update(LISTEN_FDS='2', LISTEN_PID=str(os.getpid()), PROXY_LISTEN_ADDR=names[0], PROXY_TLS__LISTEN_ADDR=names[1])
os.execv(sys.argv[1], sys.argv[1:])
";

fn a_socket_for_tls_is_adopted(mode: Mode) {
    let (authority, origin) = (Authority::new(), Origin::ok());
    let config = Config::new(mode).unset("listen_addr").wrapped_in(&["python3", "-c", ACTIVATE]);
    let proxy = secure::listening(config, &authority).start();
    let client = secure::client(&authority.pem(), None);
    assert_eq!(get(&proxy, &client, &origin, "/"), HandshakeKind::Full);
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
}
