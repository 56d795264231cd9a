//! The section `upstreams`: groups of parents and of backends, which routes name, and how each is balanced, checked and left.
//!
//! Credentials stand in URLs. They are taken out here, and nothing shows them: not `Debug`, not `check --print`, not a problem.

use std::{fmt, net::IpAddr, num::NonZeroU32, ops::RangeInclusive, time::Duration};

use super::{
    read::share,
    reader::{Reader, duration, text, whole},
    section::Section,
    tree::{Kind, Value},
};
use crate::net::{authority::Authority, proxy_protocol};

/// One group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// What routes, metrics and logs call it. No other one has it.
    pub name: String,
    /// What its servers are.
    pub kind: GroupKind,
    /// How one is chosen.
    pub balance: Balance,
    /// At least one.
    pub servers: Vec<ServerSettings>,
    /// How they are looked at when nobody asks them anything; none = they are not.
    pub health_check: Option<HealthCheckSettings>,
    /// When one that fails gets no more requests.
    pub ejection: EjectionSettings,
    /// How many other servers a request is tried on when one fails.
    pub retries: u32,
    /// How many of its requests may be tried again, as a share of all.
    pub retry_budget: f64,
    /// How long one that comes back gets less than its share; 0 = no time.
    pub slow_start: Duration,
    /// The source address of connections to it; none = that of `upstream.bind_addr`.
    pub bind_addr: Option<IpAddr>,
    /// Its servers are told whose each connection is, by this version of the PROXY protocol; none = they are not.
    pub proxy_protocol: Option<proxy_protocol::Version>,
}

/// `kind` of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Servers that answer requests in origin-form themselves.
    Origin,
    /// Proxies, which pass on what they get.
    Proxy,
}

/// `balance` of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// A client's address stays with one server.
    ClientHash,
    /// A host that is asked for stays with one server.
    HostHash,
    /// The one with the fewest requests for its weight.
    LeastConnections,
    /// The less loaded one of two that are drawn by lot.
    PowerOfTwo,
    /// By lot.
    Random,
    /// In turn.
    RoundRobin,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// What is spoken with it.
    pub scheme: ServerScheme,
    /// Where it is.
    pub authority: Authority,
    /// Who we are there.
    pub credentials: Option<ServerCredentials>,
    /// Its share, beside those of the others.
    pub weight: NonZeroU32,
}

impl ServerSettings {
    /// The URL without credentials: what logs, metrics and answers may call it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.authority)
    }
}

/// What is spoken with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerScheme {
    /// HTTP over TCP.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS5 over TCP.
    Socks5,
}

impl ServerScheme {
    /// As it is written in a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerCredentials {
    /// The name.
    pub user: Box<str>,
    /// The password.
    pub password: Box<str>,
}

impl fmt::Debug for ServerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `health_check` of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckSettings {
    /// From one look to the next, give or take a tenth.
    pub interval: Duration,
    /// How long a look may take.
    pub timeout: Duration,
    /// What is asked for with GET; none = connecting is enough.
    pub path: Option<String>,
    /// The status codes of a server that is well.
    pub expected_status: Vec<RangeInclusive<u16>>,
    /// So many good looks in a row and it gets requests again.
    pub healthy_after: NonZeroU32,
    /// So many bad looks in a row and it gets none.
    pub unhealthy_after: NonZeroU32,
}

/// `ejection` of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct EjectionSettings {
    /// So many requests in a row that it did not answer; 0 = it is never ejected.
    pub failures: u32,
    /// How long it gets none then; each time in a row twice as long.
    pub time: Duration,
    /// At most so long.
    pub max_time: Duration,
    /// The share of the group that stays, whatever fails.
    pub min_available: f64,
}

/// Groups, servers of a group, and servers in all: each has its place in shared memory, and each choice looks at all of a group.
const MAX_GROUPS: usize = 64;
const MAX_SERVERS: usize = 64;
const MAX_ALL_SERVERS: usize = 256;

const MAX_WEIGHT: u64 = 1000;
const MAX_RETRIES: u64 = 10;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

const KEY: &str = "upstreams";

/// Names that routes use for something else.
const RESERVED: [&str; 2] = ["direct", "deny"];

pub(super) fn read(reader: &mut Reader<'_>) -> Vec<GroupSettings> {
    let groups = reader.sections(KEY, MAX_GROUPS, group);
    for (index, group) in groups.iter().enumerate() {
        if groups[..index].iter().any(|other| other.name == group.name) {
            reader.problem(
                KEY,
                format!("{:?} is the name of two groups; each name is accepted once", group.name),
            );
        }
    }
    let servers: usize = groups.iter().map(|group| group.servers.len()).sum();
    if servers > MAX_ALL_SERVERS {
        reader.problem(
            KEY,
            format!("found {servers} servers in all groups; {MAX_ALL_SERVERS} at most are accepted"),
        );
    }
    groups
}

fn group(section: &mut Section<'_, '_>) -> Option<GroupSettings> {
    let name = section.required("name", |value| {
        text(value).filter(|name| is_name(name)).ok_or_else(|| {
            "1 to 32 letters, digits, '-', '_' and '.', but not direct or deny, are accepted".to_owned()
        })
    });
    let kind = section.required("kind", |value| match text(value).as_deref() {
        Some("proxy") => Ok(GroupKind::Proxy),
        Some("origin") => Ok(GroupKind::Origin),
        _ => Err("accepted are proxy, origin".to_owned()),
    });
    let balance = section.optional("balance", |value| match text(value).as_deref() {
        Some("round_robin") => Ok(Balance::RoundRobin),
        Some("least_connections") => Ok(Balance::LeastConnections),
        Some("random") => Ok(Balance::Random),
        Some("p2c") => Ok(Balance::PowerOfTwo),
        Some("client_hash") => Ok(Balance::ClientHash),
        Some("host_hash") => Ok(Balance::HostHash),
        _ => {
            Err("accepted are round_robin, least_connections, random, p2c, client_hash, host_hash".to_owned())
        }
    });
    let servers = section.sections("servers", MAX_SERVERS, |section| server(section, kind));
    if let Some(servers) = &servers {
        for (index, server) in servers.iter().enumerate() {
            let same =
                |other: &ServerSettings| other.scheme == server.scheme && other.authority == server.authority;
            if servers[..index].iter().any(same) {
                let text = format!("{} is there twice; each server is accepted once", server.name());
                section.problem("servers", &text);
            }
        }
    }
    let health_check = section.child("health_check", health_check);
    let has_socks = servers.iter().flatten().any(|server| server.scheme == ServerScheme::Socks5);
    if has_socks && health_check.as_ref().is_some_and(|check| check.path.is_some()) {
        section.problem(
            "health_check",
            "has a path, and socks5 servers answer no GET; a check without path is accepted",
        );
    }
    let ejection = section.child("ejection", ejection);
    let retries = section.optional("retries", |value| whole(value, &(0..=MAX_RETRIES)));
    let retry_budget = section.optional("retry_budget", share);
    let slow_start = section.optional("slow_start", |value| duration(value, &(Duration::ZERO..=HOUR)));
    let bind_addr = section.optional("bind_addr", |value| {
        let address = text(value).and_then(|text| text.parse::<IpAddr>().ok());
        address.ok_or_else(|| "an address of this host, or null, is accepted".to_owned())
    });
    let proxy_protocol = section.optional("proxy_protocol", |value| match text(value).as_deref() {
        Some("v1") => Ok(proxy_protocol::Version::V1),
        Some("v2") => Ok(proxy_protocol::Version::V2),
        _ => Err("v1, v2 or null is accepted".to_owned()),
    });
    if has_socks && proxy_protocol.is_some() {
        section.problem(
            "proxy_protocol",
            "is set in a group with socks5 servers, which expect no PROXY header; http and https servers are accepted",
        );
    }
    Some(GroupSettings {
        name: name?,
        kind: kind?,
        balance: balance.unwrap_or(Balance::RoundRobin),
        servers: servers.filter(|servers| !servers.is_empty())?,
        health_check,
        ejection: ejection.unwrap_or_default(),
        retries: retries.map_or(1, |retries| retries as u32),
        retry_budget: retry_budget.unwrap_or(0.2),
        slow_start: slow_start.unwrap_or_default(),
        bind_addr,
        proxy_protocol,
    })
}

fn server(section: &mut Section<'_, '_>, kind: Option<GroupKind>) -> Option<ServerSettings> {
    let url = section.required("url", |value| {
        let written = text(value).unwrap_or_default();
        url(&written, kind)
    });
    let weight = section.optional("weight", |value| whole(value, &(1..=MAX_WEIGHT)));
    let (scheme, authority, credentials) = url?;
    let weight = weight.and_then(|weight| NonZeroU32::new(weight as u32)).unwrap_or(NonZeroU32::MIN);
    Some(ServerSettings { scheme, authority, credentials, weight })
}

type Url = (ServerScheme, Authority, Option<ServerCredentials>);

/// `scheme://[user:password@]host[:port]`. The error never repeats what was written: there may be a password in it.
fn url(written: &str, kind: Option<GroupKind>) -> Result<Url, String> {
    let accepted = match kind {
        Some(GroupKind::Origin) => "a URL such as http://10.0.0.1:8080 or https://10.0.0.1 is accepted",
        _ => {
            "a URL such as http://10.0.0.1:3128, https://user:password@proxy.example:3128 or socks5://10.0.0.1:1080 is accepted"
        }
    };
    let (scheme, rest) = written.split_once("://").ok_or(accepted)?;
    let (scheme, port) = match scheme {
        "http" => (ServerScheme::Http, 80),
        "https" => (ServerScheme::Https, 443),
        "socks5" if kind == Some(GroupKind::Origin) => {
            return Err(
                "socks5 is for groups of kind proxy; a URL such as http://10.0.0.1:8080 or https://10.0.0.1 is accepted".into()
            );
        }
        "socks5" => (ServerScheme::Socks5, 1080),
        _ => return Err(accepted.into()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err(format!("there is something behind the host; {accepted}"));
    }
    let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
    let authority = Authority::parse(host, Some(port)).map_err(|error| format!("{error}; {accepted}"))?;
    let credentials = user.map(|user| credentials(user, scheme)).transpose()?;
    if credentials.is_some() && kind == Some(GroupKind::Origin) {
        return Err(format!("name and password are for groups of kind proxy; {accepted}"));
    }
    Ok((scheme, authority, credentials))
}

fn credentials(written: &str, scheme: ServerScheme) -> Result<ServerCredentials, String> {
    let (user, password) =
        written.split_once(':').ok_or("a password is missing; user:password@ is accepted")?;
    let decoded = |text: &str| {
        decode(text)
            .filter(|text| !text.contains(char::is_control))
            .ok_or("the name or the password has a % that is not followed by two hexadecimal digits, or a control character; %25 is accepted for %")
    };
    let (user, password) = (decoded(user)?, decoded(password)?);
    // RFC 7617 section 2, and RFC 1929 section 2.
    if user.is_empty() || (scheme != ServerScheme::Socks5 && user.contains(':')) {
        return Err("a name that is not empty, and without a colon, is accepted".into());
    }
    if user.len() > 255 || password.len() > 255 || (scheme == ServerScheme::Socks5 && password.is_empty()) {
        return Err("a name and a password of 1 to 255 bytes are accepted".into());
    }
    Ok(ServerCredentials { user: user.into(), password: password.into() })
}

/// Takes the percent-encoding off (RFC 3986 section 2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let digits = tail.get(..2)?;
            let digit = |byte: u8| char::from(byte).to_digit(16);
            bytes.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn health_check(section: &mut Section<'_, '_>) -> HealthCheckSettings {
    let count = |value: &Value| whole(value, &(1..=1000)).map(|count| NonZeroU32::new(count as u32));
    let interval = section.optional("interval", |value| duration(value, &(10 * MILLISECOND..=HOUR)));
    let timeout = section.optional("timeout", |value| duration(value, &(MILLISECOND..=HOUR)));
    let path = section.optional("path", |value| {
        let is_path = |path: &String| {
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        };
        text(value)
            .filter(is_path)
            .ok_or_else(|| "a path that begins with /, or null, is accepted".to_owned())
    });
    let expected_status = section.list("expected_status", statuses);
    let healthy_after = section.optional("healthy_after", count).flatten();
    let unhealthy_after = section.optional("unhealthy_after", count).flatten();
    let interval = interval.unwrap_or(10 * SECOND);
    let timeout = timeout.unwrap_or_else(|| (2 * SECOND).min(interval));
    if timeout > interval {
        section.problem("timeout", "is longer than interval; at most that is accepted");
    }
    if path.is_none() && !expected_status.is_empty() {
        section.problem("expected_status", "is set without path; both or neither is accepted, or path alone");
    }
    let three = NonZeroU32::MIN.saturating_add(2);
    HealthCheckSettings {
        interval,
        timeout,
        path,
        expected_status: if expected_status.is_empty() { vec![200..=399] } else { expected_status },
        healthy_after: healthy_after.unwrap_or(NonZeroU32::MIN.saturating_add(1)),
        unhealthy_after: unhealthy_after.unwrap_or(three),
    }
}

/// A status code, or two with a dash between.
fn statuses(value: &Value) -> Result<RangeInclusive<u16>, String> {
    let written = match &value.kind {
        Kind::Text(text) => text.clone(),
        Kind::Int(code) => code.to_string(),
        _ => String::new(),
    };
    let (from, to) = written.split_once('-').unwrap_or((&written, &written));
    let code = |text: &str| text.trim().parse().ok().filter(|code| (100..=599).contains(code));
    match (code(from), code(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        _ => Err("a status code such as 200, or a range such as 200-299, is accepted".into()),
    }
}

fn ejection(section: &mut Section<'_, '_>) -> EjectionSettings {
    let default = EjectionSettings::default();
    let failures = section.optional("failures", |value| whole(value, &(0..=1_000_000)));
    let time = section.optional("time", |value| duration(value, &(MILLISECOND..=HOUR)));
    let max_time = section.optional("max_time", |value| duration(value, &(MILLISECOND..=24 * HOUR)));
    let min_available = section.optional("min_available", share);
    let time = time.unwrap_or(default.time);
    if max_time.is_some_and(|most| most < time) {
        section.problem("max_time", "is shorter than time; at least that is accepted");
    }
    EjectionSettings {
        failures: failures.map_or(default.failures, |failures| failures as u32),
        time,
        max_time: max_time.unwrap_or_else(|| default.max_time.max(time)),
        min_available: min_available.unwrap_or(default.min_available),
    }
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self { failures: 5, time: 10 * SECOND, max_time: 300 * SECOND, min_available: 0.5 }
    }
}

/// So that it can stand in a label, a field and a route, and with a server's name in a place of shared memory.
fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && !RESERVED.contains(&name)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests;
