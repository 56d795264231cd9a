//! What a request costs when everything is on: who it is, from memory; long lists of names and prefixes; routes; three limits. And that
//! nothing of it allocates.

mod specimen;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::Future,
    hint::black_box,
    net::IpAddr,
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use rust_forward_proxy::{
    config::settings::{
        AccessMode, AccessSettings, AskedBy, Conditions, DestinationPattern, LimitKey, LimitSettings,
        RateLimitSettings, Store,
    },
    net::{
        authority::Authority,
        filter::{NetPattern, NetSet},
        own::OwnListeners,
    },
    policy::{Facts, Permit, Policy, auth::Remembered},
    proxy::{Grant, Limiter},
    shared_memory::Segment,
};

/// The system's allocator, and how often it was asked.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(
    unsafe_code,
    reason = "an allocator can be replaced by unsafe code only; this one passes everything on"
)]
// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of this very call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this very call.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn access() -> AccessSettings {
    let names = (0..100_000).map(|index| {
        let name = format!("host-{index}.example-{}.com", index % 977);
        if index % 2 == 0 { DestinationPattern::Host(name) } else { DestinationPattern::Suffix(name) }
    });
    let prefixes = (0..1_000).map(|index| {
        let prefix = format!("{}.{}.{}.0/24", 20 + index % 100, index / 256, index % 256);
        DestinationPattern::Net(NetPattern::Prefix(prefix.parse().expect("a prefix")))
    });
    AccessSettings {
        mode: AccessMode::Enforce,
        clients: vec![NetPattern::Set(NetSet::Private)],
        deny: names.chain(prefixes).chain([NetSet::Special.into()]).collect::<Vec<_>>().into(),
        allow: vec![DestinationPattern::Suffix("good.test".to_owned())].into(),
        connect_ports: vec![443],
        users_file: None,
        realm: String::new(),
        local_client_bypass: true,
    }
}

fn limits() -> RateLimitSettings {
    let limit = |name: &str, key| LimitSettings {
        name: name.to_owned(),
        key,
        rate: Some(("4000000000/s".parse().expect("a rate"), NonZeroU32::MAX)),
        bandwidth: None,
        concurrent_requests: None,
        concurrent_tunnels: None,
        conditions: Conditions::default(),
    };
    RateLimitSettings {
        store: Store::SharedMemory,
        limits: vec![
            limit("client", LimitKey::ClientIp),
            limit("user", LimitKey::User),
            limit("host", LimitKey::Host),
        ],
    }
}

/// Everything that is asked of a request before it may go on.
struct Decisions {
    policy: Policy,
    remembered: Remembered,
    limiter: Limiter,
    now: Instant,
}

impl Decisions {
    fn new() -> Self {
        let segment = Segment::private(1).expect("memory");
        let seat = segment.seat(0).expect("there is one");
        let limiter = Limiter::new(&limits(), seat, None, |name| segment.tally(0, name));
        let remembered = Remembered::new(Duration::from_secs(600), 10_000).expect("randomness");
        let now = Instant::now();
        for user in 0..1_000 {
            remembered.remember(format!("token{user}").as_bytes(), format!("user{user}").into(), now);
        }
        remembered.remember(TOKEN, "Aladdin".into(), now);
        Self {
            policy: Policy::new(&access(), specimen::routes_by_host(10_000), &OwnListeners::new(vec![])),
            remembered,
            limiter: limiter.expect("there are limits"),
            now,
        }
    }

    fn decide(&self, client: IpAddr, authority: &Authority) -> Option<(Arc<str>, Permit, Grant)> {
        let user = self.remembered.recall(black_box(TOKEN), self.now)?;
        let facts = Facts {
            client,
            client_is_local: false,
            method: &Method::CONNECT,
            asked_by: AskedBy::Connect,
            authority,
            user: Some(&user),
            path: None,
        };
        let permit = self.policy.decide(&facts).ok()?;
        let granted = {
            let mut asked = pin!(self.limiter.admit(&facts));
            asked.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        let Poll::Ready(Ok(grant)) = granted else { return None };
        Some((user, permit, grant))
    }
}

const TOKEN: &[u8] = b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==";

fn whole(c: &mut Criterion) {
    let decisions = Decisions::new();
    let authority = Authority::parse("www.some-other-host.example.org:443", None).expect("an authority");
    let client = IpAddr::from([10, 0, 0, 7]);
    assert!(decisions.decide(client, &authority).is_some(), "it passes");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..1_000 {
        black_box(decisions.decide(client, &authority));
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(allocations, 0, "a decision allocates");
    let name = "decision: 100,000 names, 1,000 prefixes, 10,000 routes, user from memory, three limits";
    c.bench_function(name, |b| b.iter(|| decisions.decide(client, &authority)));
}

criterion_group!(benches, whole);
criterion_main!(benches);
