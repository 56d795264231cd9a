//! `explain`: what would become of a request, in words, and which rule says so. Nothing is sent, no name is looked up.
//!
//! Decides with the very rules that an instance would be given by this configuration. What is left of limits is read from the
//! memory of the instance that runs, where there is one and who asks may look into it.

mod way;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
};

use http::Method;

use super::{Failure, code};
use crate::{
    cli::Explanation,
    config::{
        Loaded,
        settings::{AccessMode, AskedBy, Settings, Store},
    },
    message::target::{Scheme, Target},
    net::{authority::Authority, own::OwnListeners},
    policy::{Facts, Permit, Policy, Refusal, RefusalKind, Routes, Via},
    proxy::{Interception, LimitState, Limiter},
    shared_memory::Segment,
    telemetry::names::tally,
};

/// What is asked about.
struct Request<'a> {
    method: Method,
    authority: Authority,
    path: Option<&'a str>,
}

/// Explains, and says it.
pub(super) fn run(asked: &Explanation, loaded: &Loaded, memory: Option<Segment>) -> Result<u8, Failure> {
    let text =
        explain(asked, &loaded.settings, memory).map_err(|text| Failure::new(code::COMMAND_LINE, text))?;
    let said = io::stdout().write_all(text.as_bytes());
    said.map(|()| code::OK).map_err(|error| Failure::new(code::FAILURE, error))
}

fn explain(asked: &Explanation, settings: &Settings, memory: Option<Segment>) -> Result<String, String> {
    let request = request(asked)?;
    let client = asked.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let facts = Facts {
        client,
        client_is_local: is_local(client, settings),
        method: &request.method,
        asked_by: if request.method == Method::CONNECT { AskedBy::Connect } else { AskedBy::Http },
        authority: &request.authority,
        user: asked.user.as_deref(),
        path: request.path.map(str::as_bytes),
    };
    let mut text = String::new();
    let place = if facts.client_is_local { ", on this host" } else { "" };
    let target = request.path.map_or_else(
        || request.authority.to_string(),
        |path| format!("http://{}{}", request.authority, if path.is_empty() { "/" } else { path }),
    );
    line(&mut text, "request", &format!("{} {target} from {client}{place}", request.method));
    let is_known = user(&mut text, asked.user.as_deref(), settings);
    let own = OwnListeners::new([&settings.listen_addr[..], &settings.tls.listen_addr].concat());
    let policy = Policy::new(&settings.access, Routes::new(settings), &own);
    let may_pass = rules(&mut text, &policy, &own, &facts) && is_known;
    if may_pass && facts.asked_by == AskedBy::Connect {
        tunnel(&mut text, settings, &facts);
    }
    for (index, said) in way::lines(settings, &policy, &facts).iter().enumerate() {
        line(&mut text, if index == 0 { "route" } else { "" }, said);
    }
    let is_left = limits(&mut text, settings, &facts, memory);
    let is_report = settings.access.mode == AccessMode::Report;
    let outcome = match (may_pass && is_left, is_report) {
        (true, _) => "it may pass",
        (false, true) => "it passes, for access.mode is report; enforced, it would be refused",
        (false, false) => "it is refused",
    };
    line(&mut text, "outcome", outcome);
    Ok(text)
}

fn request(asked: &Explanation) -> Result<Request<'_>, String> {
    if let Some(connect) = &asked.connect {
        let authority = Authority::parse(connect, None).map_err(|error| format!("{connect:?}: {error}"))?;
        return Ok(Request { method: Method::CONNECT, authority, path: None });
    }
    let url = asked.url.as_deref().unwrap_or_default();
    let method = Method::from_bytes(asked.method.as_bytes())
        .map_err(|_| format!("{:?} is no method", asked.method))?;
    match Target::parse(&Method::GET, url.as_bytes()) {
        // So do clients that have a proxy.
        Ok(Target::Absolute { scheme: Scheme::Https, authority, .. }) => {
            Ok(Request { method: Method::CONNECT, authority, path: None })
        }
        Ok(Target::Absolute { authority, path_and_query, .. }) => {
            Ok(Request { method, authority, path: Some(path_and_query) })
        }
        Ok(_) => {
            Err(format!("{url:?} is no URL such as http://example.com/; for a tunnel, --connect HOST:PORT"))
        }
        Err(error) => Err(format!("{url:?}: {error}")),
    }
}

/// By a loopback address, or by one of those that are listened on.
fn is_local(client: IpAddr, settings: &Settings) -> bool {
    let client = client.to_canonical();
    client.is_loopback()
        || settings
            .listen_addr
            .iter()
            .chain(&settings.tls.listen_addr)
            .any(|address| address.ip().to_canonical() == client)
}

/// Whether it is known who it is, where that is asked for.
fn user(text: &mut String, user: Option<&str>, settings: &Settings) -> bool {
    let Some(file) = &settings.access.users_file else {
        let said = match user {
            Some(user) => format!("nobody has to log in, and {user} cannot: access.users_file is null"),
            None => "nobody has to log in".to_owned(),
        };
        line(text, "user", &said);
        return true;
    };
    let path = file.path.display();
    match user {
        None => {
            line(text, "user", "nobody: 407, access.users_file asks for a user and a password (--user NAME)")
        }
        Some(user) if file.users.iter().any(|(name, _)| **name == *user) => {
            line(text, "user", &format!("{user}, with the password of {path}"));
            return true;
        }
        Some(user) => line(text, "user", &format!("there is no {user} in {path}: 407, access.users_file")),
    }
    false
}

/// What `access` says of it, or a route to `deny`.
fn rules(text: &mut String, policy: &Policy, own: &OwnListeners, facts: &Facts<'_>) -> bool {
    let (permit, refusal) = match policy.decide(facts) {
        Ok(Permit { would_refuse: Some(refusal), .. }) => (None, Some(*refusal)),
        Err(refusal) => (None, Some(refusal)),
        Ok(permit) => (Some(permit), None),
    };
    if let Some(Refusal { rule, kind, .. }) = refusal {
        let why = match kind {
            RefusalKind::Route => "requests such as this one are denied: 403",
            RefusalKind::Client => "this client is not served: 403",
            RefusalKind::ConnectPort => "CONNECT to this port is not allowed: 403",
            RefusalKind::DestinationName => "this host is not to be reached: 403",
            RefusalKind::DestinationAddress => "this address is not to be reached: 502",
        };
        line(text, "rule", &format!("{rule}: {why}"));
        return false;
    }
    let Some(permit) = permit else { return false };
    line(text, "rule", &format!("{}: it may pass", permit.rule));
    if permit.route.via != Via::Direct {
        line(text, "address", "one of its servers': they are the operator's own word");
        return true;
    }
    let address = facts.authority.host.ip();
    if let Some(address) = address {
        let own = own.owns((address, facts.authority.port).into());
        if own {
            line(text, "address", "the proxy's own: 502, requests are never forwarded to it");
        }
        return !own;
    }
    let said = match &permit.reach.filter {
        Some(_) => format!(
            "decided upon when it is dialled, whatever {} stands for: access.destinations",
            facts.authority.host
        ),
        None => "any, but the proxy's own".to_owned(),
    };
    line(text, "address", &said);
    true
}

/// Whether what is inside stays unseen.
fn tunnel(text: &mut String, settings: &Settings, facts: &Facts<'_>) {
    if let Ok(Some(interception)) = Interception::new(&settings.interception, &settings.tls)
        && interception.concerns(&facts.authority.host)
    {
        let said =
            "opened, by interception.hosts: what is inside passes as https:// requests, each by these rules";
        line(text, "tunnel", said);
    }
}

/// Which limits concern it, and what is left of them.
fn limits(text: &mut String, settings: &Settings, facts: &Facts<'_>, memory: Option<Segment>) -> bool {
    let is_known = memory.is_some();
    let segment = memory.or_else(|| Segment::private(1).ok());
    let Some(seat) = segment.as_ref().and_then(|segment| segment.seat(0)) else { return true };
    let counter = |name: &str| seat.segment().tally(tally::RATE_LIMITED, name);
    let limiter = Limiter::new(&settings.rate_limit, seat.clone(), None, counter);
    let states = limiter.map(|limiter| limiter.look(facts)).unwrap_or_default();
    if states.is_empty() {
        line(text, "limits", "none concerns it");
    }
    let is_elsewhere = settings.rate_limit.store != Store::SharedMemory;
    let mut may_pass = true;
    for (index, LimitState { name, key, rate, bandwidth, concurrent }) in states.into_iter().enumerate() {
        let mut said = format!("{name} of {key}");
        if let Some((written, burst, decision)) = rate {
            let _ = write!(said, "; {written}, burst {burst}");
            if is_elsewhere {
                said.push_str(", kept in rate_limit.store");
            } else if is_known {
                let _ = write!(said, ", {} left", decision.remaining);
                if decision.remaining == 0 {
                    may_pass = false;
                    said.push_str(": 429");
                }
            }
        }
        if let Some(bytes) = bandwidth {
            let _ = write!(said, "; {bytes} bytes a second");
        }
        if let Some((held, most)) = concurrent {
            let _ = write!(said, "; {most} at a time");
            if is_known {
                let _ = write!(said, ", {held} now");
                if held >= u64::from(most) {
                    may_pass = false;
                    said.push_str(": 429");
                }
            }
        }
        line(text, if index == 0 { "limits" } else { "" }, &said);
    }
    if !is_known && !settings.rate_limit.limits.is_empty() {
        line(text, "", "what is left is not known: no instance runs here whose memory can be read");
    }
    may_pass
}

fn line(text: &mut String, what: &str, said: &str) {
    let _ = writeln!(text, "{what:<8}  {said}");
}

/// The memory of the instance that this configuration belongs to, if it runs and may be looked into.
#[cfg(target_os = "linux")]
pub(super) fn memory(settings: &Settings) -> Option<Segment> {
    let path = settings.admin.socket_path.as_deref()?;
    let (status, _) = crate::admin::client::status(path).ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", status.pid)).ok()?;
    descriptors.flatten().find_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_memory = target.to_str().is_some_and(|target| target.starts_with("/memfd:"));
        let file =
            is_memory.then(|| std::fs::File::options().read(true).write(true).open(entry.path()).ok())??;
        Segment::open(&file).ok()
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn memory(_: &Settings) -> Option<Segment> {
    None
}
