//! Dialling: which address is taken, which is refused, and what a failure is called.

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use super::*;
use crate::net::{
    filter::NetSet,
    resolve::tests::{Names, Says},
};

fn options() -> DialOptions {
    DialOptions {
        connect_timeout: Duration::from_secs(10),
        prefer: Family::Ipv6,
        bind_addr: None,
        keepalive: Duration::from_secs(30),
    }
}

fn anywhere() -> Reach {
    Reach { filter: None, own: OwnListeners::default() }
}

fn authority(host: &str, port: u16) -> Authority {
    Authority { host: Host::parse(host).unwrap(), port }
}

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// An address that never answers: the queue of a listener, once full, drops what arrives.
struct BlackHole {
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl BlackHole {
    fn new(ip: IpAddr, port: u16) -> Self {
        let address = SocketAddr::new(ip, port).into();
        let listener =
            Socket::new(Domain::for_address(SocketAddr::new(ip, port)), Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let mut queued = Vec::new();
        loop {
            let socket =
                Socket::new(Domain::for_address(SocketAddr::new(ip, port)), Type::STREAM, None).unwrap();
            if socket.connect_timeout(&address, Duration::from_millis(100)).is_err() {
                return Self { _listener: listener, _queued: queued };
            }
            queued.push(socket);
            assert!(queued.len() < 64, "this kernel's queue has no end");
        }
    }
}

async fn listener(ip: IpAddr) -> (TcpListener, u16) {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    listener(loopback(1)).await.1
}

async fn named(zone: &[(&str, Says)]) -> (Names, Dialer) {
    let names = Names::start(zone).await;
    let dialer = Dialer::new(names.resolver(), options());
    (names, dialer)
}

fn name(family: &str, addresses: &[IpAddr]) -> (&'static str, Says) {
    (if family == "A" { "a.test. A" } else { "a.test. AAAA" }, Says::Addresses(addresses.to_vec()))
}

#[tokio::test]
async fn an_address_is_dialled_without_asking_anybody() {
    let (_listener, port) = listener(loopback(1)).await;
    let (names, dialer) = named(&[]).await;
    let dialled = dialer.dial(&authority("127.0.0.1", port), &anywhere()).await.unwrap();
    assert_eq!((dialled.peer, dialled.dns), (SocketAddr::new(loopback(1), port), None));
    assert!(dialled.stream.socket().unwrap().nodelay().unwrap());
    dialer.dial(&authority("localhost", port), &anywhere()).await.unwrap();
    assert_eq!(names.questions(), [""; 0]);
}

#[tokio::test]
async fn dead_addresses_are_passed_over() {
    let (_listener, port) = listener(loopback(1)).await;
    let _hole = BlackHole::new(loopback(2), port);
    let v4 = [loopback(3), loopback(2), loopback(4), loopback(1)];
    let (_names, dialer) = named(&[name("A", &v4), name("AAAA", &[SIX])]).await;
    let dialled = dialer.dial(&authority("a.test", port), &anywhere()).await.unwrap();
    assert_eq!(dialled.peer.ip(), loopback(1));
    assert!(dialled.dns.is_some());
    // One attempt delay for the one that is silent; none for those that refuse.
    assert!(dialled.connect >= ATTEMPT_DELAY && dialled.connect < ATTEMPT_DELAY * 8, "{:?}", dialled.connect);
}

#[tokio::test]
async fn a_family_whose_question_is_lost_is_not_waited_for() {
    let (_listener, port) = listener(loopback(1)).await;
    let (_names, dialer) = named(&[name("A", &[loopback(1)]), ("a.test. AAAA", Says::Nothing)]).await;
    let dialled = dialer.dial(&authority("a.test", port), &anywhere()).await.unwrap();
    let dns = dialled.dns.unwrap();
    assert!(dns >= RESOLUTION_DELAY && dns < RESOLUTION_DELAY * 20, "{dns:?}");
}

#[tokio::test]
async fn the_preferred_family_goes_first() {
    let Ok(six) = TcpListener::bind((SIX, 0)).await else { return };
    let port = six.local_addr().unwrap().port();
    let _four = TcpListener::bind((loopback(1), port)).await.unwrap();
    let names = Names::start(&[name("A", &[loopback(1)]), name("AAAA", &[SIX])]).await;
    for (prefer, expected) in [(Family::Ipv6, SIX), (Family::Ipv4, loopback(1))] {
        let dialer = Dialer::new(names.resolver(), DialOptions { prefer, ..options() });
        let dialled = dialer.dial(&authority("a.test", port), &anywhere()).await.unwrap();
        assert_eq!(dialled.peer.ip(), expected);
    }
}

#[tokio::test]
async fn every_address_is_checked() {
    let (_listener, port) = listener(loopback(1)).await;
    let reach = |deny: NetPattern, own: &[SocketAddr]| Reach {
        filter: Some(NetFilter::new(&[deny], &[])),
        own: OwnListeners::new(own.to_vec()),
    };
    let special = NetPattern::Set(NetSet::Special);
    let three = NetPattern::Prefix("127.0.0.3/32".parse().unwrap());
    let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
    let (_names, dialer) = named(&[name("A", &[loopback(3), loopback(1)]), name("AAAA", &[mapped])]).await;
    let target = authority("a.test", port);

    let refused = dialer.dial(&target, &reach(special, &[])).await.unwrap_err();
    assert!(matches!(refused, DialError::Prohibited { pattern, .. } if pattern == special), "{refused:?}");
    let own = [SocketAddr::new(loopback(1), port)];
    let refused = dialer.dial(&authority("127.0.0.1", port), &reach(three, &own)).await.unwrap_err();
    assert!(matches!(refused, DialError::Own { address } if address == own[0]), "{refused:?}");
    // What remains is dialled.
    let dialled = dialer.dial(&target, &reach(three, &[])).await.unwrap();
    assert_eq!(dialled.peer.ip().to_canonical(), loopback(1));
    let refused =
        dialer.dial(&authority("[::ffff:127.0.0.1]", port), &reach(special, &own)).await.unwrap_err();
    assert!(matches!(refused, DialError::Own { .. }), "{refused:?}");
}

#[tokio::test]
async fn failures_are_told_apart() {
    let port = closed_port().await;
    let (_names, dialer) = named(&[
        ("refused.test. A", Says::Addresses(vec![loopback(1)])),
        // No route leads to the first, and nobody listens at the second: that is the one to tell of.
        ("mixed.test. AAAA", Says::Addresses(vec!["2001:db8::1".parse().unwrap()])),
        ("mixed.test. A", Says::Addresses(vec![loopback(1)])),
        ("servfail.test. A", Says::Code(2)),
        ("servfail.test. AAAA", Says::Code(2)),
    ])
    .await;
    let failure = async |host: &str| dialer.dial(&authority(host, port), &anywhere()).await.unwrap_err();
    for host in ["127.0.0.1", "refused.test", "mixed.test"] {
        let failed = failure(host).await;
        assert!(matches!(failed, DialError::Refused), "{host}: {failed:?}");
    }
    for (host, rcode) in [("missing.test", "NXDOMAIN"), ("servfail.test", "SERVFAIL")] {
        let failed = failure(host).await;
        let found = match &failed {
            DialError::Dns(ResolveError::NotFound { rcode }) => Some(*rcode),
            DialError::Dns(ResolveError::Failed { rcode }) => *rcode,
            _ => None,
        };
        assert_eq!(found, Some(rcode), "{failed:?}");
    }
}

#[tokio::test]
async fn the_deadline_holds_for_names_and_for_connecting() {
    let (names, _) = named(&[("a.test. A", Says::Nothing), ("a.test. AAAA", Says::Nothing)]).await;
    let soon = DialOptions { connect_timeout: Duration::from_millis(200), ..options() };
    let dialer = Dialer::new(names.resolver(), soon);
    let failed = dialer.dial(&authority("a.test", 80), &anywhere()).await.unwrap_err();
    assert!(matches!(failed, DialError::DnsTimeout), "{failed:?}");
    let port = closed_port().await;
    let _hole = BlackHole::new(loopback(2), port);
    let failed = dialer.dial(&authority("127.0.0.2", port), &anywhere()).await.unwrap_err();
    assert!(matches!(failed, DialError::Timeout), "{failed:?}");
}

#[tokio::test]
async fn the_source_address_is_kept_to() {
    let (listener, port) = listener(loopback(1)).await;
    let names = Names::start(&[name("A", &[loopback(1)]), name("AAAA", &[SIX])]).await;
    let dialer = Dialer::new(names.resolver(), DialOptions { bind_addr: Some(loopback(9)), ..options() });
    let dialled = dialer.dial(&authority("a.test", port), &anywhere()).await.unwrap();
    assert_eq!(dialled.stream.local_addr().unwrap().ip(), loopback(9));
    assert_eq!(listener.accept().await.unwrap().1.ip(), loopback(9));
    let failed = dialer.dial(&authority("[::1]", port), &anywhere()).await.unwrap_err();
    assert!(matches!(failed, DialError::NoFamily), "{failed:?}");
}

#[test]
fn families_take_turns() {
    let options = options();
    let reach = anywhere();
    let mut race = Race::new(&options, &reach, 80, 0);
    let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    race.add(ips(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    race.add(ips(&["2001:db8::1", "2001:db8::2", "2001:db8::1"]));
    let order: Vec<_> = race.waiting.iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(order, ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"]);
    race.add((0..100).map(loopback).collect());
    assert_eq!(race.waiting.len(), MAX_ADDRESSES);
}

#[test]
fn what_runs_can_go_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let resolver = Resolver::new(&crate::net::resolve::ResolverOptions {
        servers: Some(vec![]),
        cache_size: 1,
        negative_ttl: Duration::ZERO,
    });
    let dialer = Dialer::new(resolver.unwrap(), options());
    let (target, reach) = (authority("127.0.0.1", 1), anywhere());
    is_send(&dialer.dial(&target, &reach));
}
