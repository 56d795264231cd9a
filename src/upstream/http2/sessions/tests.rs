//! Who connects and who waits, without a network.

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{net::tls::ConnectorOptions, shared_memory::Segment};

fn origin(name: &str) -> Arc<Authority> {
    Arc::new(Authority::parse(name, Some(443)).unwrap())
}

fn approach(sessions: &Arc<Sessions>, origin: &Arc<Authority>, way: u64) -> Approach {
    sessions.approach(origin, (way, true), |_| true)
}

#[track_caller]
fn dial(approach: Approach) -> Dialling {
    match approach {
        Approach::Dial(dialling) => dialling,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn wait(approach: Approach) -> OwnedNotified {
    match approach {
        Approach::Wait(change) => change,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_connects_and_the_others_wait() {
    let (sessions, a) = (Arc::default(), origin("a.test"));
    let first = dial(approach(&sessions, &a, 0));
    assert!(first.offers_http2());
    let others = [wait(approach(&sessions, &a, 0)), wait(approach(&sessions, &a, 0))];
    // Another origin, or another way to it, is another matter.
    drop(dial(approach(&sessions, &origin("b.test"), 0)));
    drop(dial(approach(&sessions, &a, 7)));
    // Whoever was to connect does not want to any more.
    drop(first);
    for other in others {
        other.await;
    }
    let first = dial(approach(&sessions, &a, 0));
    let other = wait(approach(&sessions, &a, 0));
    // It cannot be reached: all of them find out at once.
    first.failed();
    other.await;
    let both = [dial(approach(&sessions, &a, 0)), dial(approach(&sessions, &a, 0))];
    assert!(both.iter().all(Dialling::offers_http2));
}

#[tokio::test]
async fn who_speaks_http1_is_remembered() {
    let (sessions, a) = (Arc::default(), origin("a.test"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = listener.local_addr().unwrap();
    let stream = TcpStream::connect(peer).await.unwrap().into();
    let dialled = Dialled { stream, peer, dns: None, connect: Duration::ZERO };
    let seat = Segment::private(1).unwrap().seat(0).unwrap();
    let (first, other) = (dial(approach(&sessions, &a, 0)), wait(approach(&sessions, &a, 0)));
    let limits = HeadLimits { max_bytes: 1000, max_headers: 10 };
    let connector = Connector::new(ConnectorOptions::default());
    let connection = first.done(dialled, &connector, limits, &seat).await.unwrap();
    assert_eq!((connection.peer(), connection.is_reused()), (peer, false));
    other.await;
    // Nobody waits for anybody there any more, but it may have learnt more by then.
    let dials = [0, 0, 0].map(|way| dial(approach(&sessions, &a, way)));
    assert!(dials.iter().all(Dialling::offers_http2));
    let keeping = Keeping { max_idle_per_host: 1, max_idle: 1, idle: REMEMBERED, patience: REMEMBERED };
    drop(dials);
    sessions.look(Instant::now(), &keeping);
    assert_eq!(sessions.origins().len(), 1);
    sessions.look(Instant::now() + 2 * REMEMBERED, &keeping);
    assert!(sessions.origins().is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let sessions = Arc::default();
    let dials: Vec<_> = (0..MAX_ORIGINS)
        .map(|index| dial(approach(&sessions, &origin(&format!("a{index}.test")), 0)))
        .collect();
    let one_more = dial(approach(&sessions, &origin("b.test"), 0));
    assert!(!one_more.offers_http2(), "there is no room for a session");
    drop(dials);
    assert!(dial(approach(&sessions, &origin("b.test"), 0)).offers_http2());
    assert_eq!(sessions.origins().len(), 1);
}
