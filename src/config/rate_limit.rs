//! The section `rate_limit`: limits, each with whose they are, how much they let pass, and which requests they are for.

use std::num::{NonZeroU32, NonZeroU64};

use super::{
    conditions::{self, Conditions},
    rate::Rate,
    reader::{Reader, quoted, size, text, whole},
    section::Section,
    tree::{Kind, Value},
};

/// Section `rate_limit`.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitSettings {
    /// Where rates are kept.
    pub store: Store,
    /// Every one that concerns a request must let it pass.
    pub limits: Vec<LimitSettings>,
}

/// `rate_limit.store`.
#[derive(Clone, PartialEq, Eq)]
pub enum Store {
    /// A Redis at this URL, for several machines.
    Redis(String),
    /// The memory of the instance.
    SharedMemory,
}

/// One limit.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSettings {
    /// What metrics and answers call it. No other one has it.
    pub name: String,
    /// Whose bucket.
    pub key: LimitKey,
    /// How many requests, and how many at once after a pause.
    pub rate: Option<(Rate, NonZeroU32)>,
    /// Bytes of bodies and tunnels in a second, both ways together.
    pub bandwidth: Option<NonZeroU64>,
    /// Requests that are no tunnels, at a time.
    pub concurrent_requests: Option<NonZeroU32>,
    /// Tunnels, at a time.
    pub concurrent_tunnels: Option<NonZeroU32>,
    /// Which requests.
    pub conditions: Conditions,
}

/// `key` of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// Each client address; of IPv6 each /64.
    ClientIp,
    /// One bucket for all.
    Global,
    /// Each host that is asked for.
    Host,
    /// Each user who has logged in.
    User,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may have a password in it.
        f.write_str(if *self == Self::SharedMemory { "SharedMemory" } else { "Redis" })
    }
}

/// Each request is compared with each limit.
const MAX_LIMITS: usize = 64;

/// What is less would be used up by the buffer of one tunnel for seconds.
const LEAST_BANDWIDTH: u64 = 16 << 10;

const KEY: &str = "rate_limit.limits";

pub(super) fn read(reader: &mut Reader<'_>) -> RateLimitSettings {
    let store = reader.read(
        "rate_limit.store",
        Store::SharedMemory,
        |store| match store {
            Store::SharedMemory => quoted("shared_memory"),
            Store::Redis(url) => quoted(url),
        },
        |value| match text(value).as_deref() {
            Some("shared_memory") => Ok(Store::SharedMemory),
            Some(url) if is_redis(url) => Ok(Store::Redis(url.to_owned())),
            _ => Err("shared_memory or a URL such as redis://10.0.0.1:6379/0 is accepted".into()),
        },
    );
    let limits = reader.sections(KEY, MAX_LIMITS, limit);
    for (index, limit) in limits.iter().enumerate() {
        if limits[..index].iter().any(|other| other.name == limit.name) {
            reader.problem(
                KEY,
                format!("{:?} is the name of two limits; each name is accepted once", limit.name),
            );
        }
    }
    RateLimitSettings { store, limits }
}

/// A host, and what may stand around it.
fn is_redis(url: &str) -> bool {
    url.starts_with("redis://") && redis::parse_redis_url(url).is_some_and(|url| url.host_str().is_some())
}

fn limit(section: &mut Section<'_, '_>) -> Option<LimitSettings> {
    let name = section.required("name", |value| {
        text(value)
            .filter(|name| is_name(name))
            .ok_or_else(|| "1 to 64 letters, digits, '-', '_' and '.' are accepted".to_owned())
    });
    let key = section.required("key", |value| match text(value).as_deref() {
        Some("client_ip") => Ok(LimitKey::ClientIp),
        Some("global") => Ok(LimitKey::Global),
        Some("host") => Ok(LimitKey::Host),
        Some("user") => Ok(LimitKey::User),
        _ => Err("accepted are client_ip, user, host, global".to_owned()),
    });
    let rate: Option<Rate> = section.optional("rate", |value| {
        text(value).unwrap_or_default().parse().map_err(|error: super::rate::BadRate| error.to_string())
    });
    let burst = section.optional("burst", count);
    let bandwidth = section.optional("bandwidth", |value| {
        let accepted = || "a size in a second from 16KiB/s, such as 10MiB/s, is accepted".to_owned();
        let text = text(value).ok_or_else(accepted)?;
        let text = text.strip_suffix("/s").ok_or_else(accepted)?;
        let value = Value::new(Kind::Text(text.to_owned()), value.origin.clone());
        let bytes = size(&value, &(LEAST_BANDWIDTH..=1 << 50)).map_err(|_| accepted())?;
        NonZeroU64::new(bytes).ok_or_else(accepted)
    });
    let concurrent_requests = section.optional("concurrent_requests", count);
    let concurrent_tunnels = section.optional("concurrent_tunnels", count);
    let conditions = conditions::read(section);
    if rate.is_none() && bandwidth.is_none() && concurrent_requests.is_none() && concurrent_tunnels.is_none()
    {
        section.problem(
            "",
            "limits nothing; one at least of rate, bandwidth, concurrent_requests, concurrent_tunnels is accepted",
        );
    }
    if burst.is_some() && rate.is_none() {
        section.problem("burst", "is set without rate; both or neither is accepted, or rate alone");
    }
    // As many as come in a second.
    let rate = rate.map(|rate| (rate, burst.unwrap_or_else(|| rate.per_second())));
    Some(LimitSettings {
        name: name?,
        key: key?,
        rate,
        bandwidth,
        concurrent_requests,
        concurrent_tunnels,
        conditions,
    })
}

fn count(value: &Value) -> Result<NonZeroU32, String> {
    let most = u64::from(u32::MAX);
    whole(value, &(1..=most))
        .map(|count| u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
}

/// So that it can stand in a label, a field and a key of a store.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::config::load::{Loaded, Sources, load};

    fn loaded(text: &str) -> Result<Loaded, String> {
        let sources = Sources { text: Some(("c.yml".into(), text.into())), ..Sources::default() };
        load(&sources).map_err(|problems| problems.to_string())
    }

    #[test]
    fn limits() {
        let text = "rate_limit:\n  store: \"redis://:pw@10.0.0.1/3\"\n  limits:\n\
            \x20   - { name: per-client, key: client_ip, rate: \"200/s\", burst: 400 }\n\
            \x20   - name: big\n      key: global\n      bandwidth: 10MiB/s\n      concurrent_tunnels: 5\n\
            \x20     match: { hosts: [\".internal\", \"10.0.0.0/8\"], methods: GET, ports: [80], paths: [\"/api/\"], clients: [private] }\n\
            \x20   - { name: slow, key: host, rate: 90/m, concurrent_requests: 3 }\n";
        let found = loaded(text).unwrap();
        let RateLimitSettings { store, limits } = &found.settings.rate_limit;
        assert_eq!(*store, Store::Redis("redis://:pw@10.0.0.1/3".into()));
        let [client, big, slow] = limits.as_slice() else { panic!("{limits:?}") };
        assert_eq!((client.key, client.rate.unwrap().1.get()), (LimitKey::ClientIp, 400));
        assert_eq!((big.bandwidth.unwrap().get(), big.concurrent_tunnels.unwrap().get()), (10 << 20, 5));
        assert_eq!((big.conditions.methods.as_slice(), big.conditions.hosts.len()), (&[Method::GET][..], 2));
        assert_eq!((slow.rate.unwrap().1.get(), slow.concurrent_requests.unwrap().get()), (2, 3));
        let shown: Vec<_> =
            found.in_force.iter().filter(|value| value.key.starts_with("rate_limit.")).collect();
        assert_eq!(shown[0].value, "\"redis://***@10.0.0.1/3\"");
        assert!(
            shown[1]
                .value
                .starts_with("[{ name: \"per-client\", key: \"client_ip\", rate: \"200/s\", burst: 400 }, "),
            "{}",
            shown[1].value
        );
        // What is shown can be read.
        let again = loaded(&format!("rate_limit: {{ limits: {} }}\n", shown[1].value)).unwrap();
        assert_eq!(again.settings.rate_limit.limits, *limits);
    }

    #[test]
    fn users_are_asked_for_only_where_they_log_in() {
        for limit in ["key: user, rate: 1/s", "key: host, rate: 1/s, match: { users: ann }"] {
            let all = loaded(&format!("rate_limit: {{ limits: [{{ name: a, {limit} }}] }}\n")).unwrap_err();
            assert!(all.contains("\"a\" asks for users, and access.users_file is null, and so is"), "{all}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let all = loaded(
            "rate_limit:\n  store: memcached://x\n  limits:\n    - { key: ip, rate: 5, burst: 0 }\n    - { name: a, key: host }\n\
            \x20   - { name: a b, key: user, bandwidth: 10, burst: 3, colour: red }\n    - many\n    - { name: a, key: global, rate: 1/s, match: { hosts: [\"*..x\"], methods: [\"a b\"], ports: [0], paths: [x], verbs: [] } }\n",
        )
        .unwrap_err();
        for expected in [
            "c.yml:2: rate_limit.store: found \"memcached://x\"; shared_memory or a URL",
            "c.yml:4: rate_limit.limits[0].name: is missing; 1 to 64 letters",
            "c.yml:4: rate_limit.limits[0].key: found \"ip\"; accepted are client_ip",
            "c.yml:4: rate_limit.limits[0].rate: found 5; \"5\" is no rate",
            "c.yml:4: rate_limit.limits[0].burst: found 0; a whole number",
            "c.yml:5: rate_limit.limits[1]: limits nothing",
            "rate_limit.limits[2].name: found \"a b\"",
            "rate_limit.limits[2].bandwidth: found 10; a size in a second",
            "rate_limit.limits[2].burst: is set without rate",
            "rate_limit.limits[2].colour: unknown key; name, key, rate, burst,",
            "c.yml:7: rate_limit.limits[3]: found \"many\"; a section is accepted",
            "rate_limit.limits[4].match.hosts: found \"*..x\"; a name such as *.example.com",
            "rate_limit.limits[4].match.methods: found \"a b\"",
            "rate_limit.limits[4].match.ports: found 0",
            "rate_limit.limits[4].match.paths: found \"x\"; a path that begins with / is accepted",
            "rate_limit.limits[4].match.verbs: unknown key",
            "\"a\" is the name of two limits",
        ] {
            assert!(all.contains(expected), "{expected} is not in\n{all}");
        }
    }
}
