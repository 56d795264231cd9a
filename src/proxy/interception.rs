//! Answering in the place of hosts that the operator has listed: their tunnels are opened, and what is inside passes as requests.
//!
//! A listed host is never tunnelled: a client that does not speak TLS there, or does not trust the authority, is closed. Who the
//! origin is, is verified when a request is sent on, as for any `https://`. Invariant: inside a tunnel to one authority there are
//! requests for that authority only.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;

use super::{
    error::{Blame, ProxyError},
    exchange::Exchange,
    tunnel::Tongue,
};
use crate::{
    config::settings::{DestinationList, DestinationPattern, InterceptionSettings, TlsSettings},
    message::{field::Name, target::Scheme},
    net::{
        authority::{Authority, Host},
        filter::{NetList, NetPattern},
        tls::{
            Acceptor, AcceptorOptions, Oldest, Protocol, TlsError,
            certificate::PemError,
            issuer::{Issuer, VALIDITY},
        },
    },
    server::{After, Client, Inside, RequestHead, RequestTarget},
    telemetry::names::ProxyErrorType,
};

/// Certificates that are kept by one process. One more takes the place of the one that has been there for longest.
const KEPT: usize = 1000;

/// For so long: what a client gets is valid for a while yet.
const KEPT_FOR: Duration = Duration::from_secs(VALIDITY.as_secs() / 2);

/// What is intercepted, and how.
#[derive(Debug)]
pub struct Interception {
    hosts: Hosts,
    exempt: Hosts,
    issuer: Issuer,
    oldest: Oldest,
    timeout: Duration,
    made: Mutex<HashMap<Host, Made>>,
}

#[derive(Debug)]
struct Made {
    acceptor: Acceptor,
    at: Instant,
}

/// A list of hosts.
#[derive(Debug, Default)]
struct Hosts {
    names: HashSet<Box<str>>,
    suffixes: HashSet<Box<str>>,
    nets: NetList,
}

impl Interception {
    /// As `settings` say; none when nothing is listed. Handshakes with clients are those of `tls`.
    ///
    /// # Errors
    ///
    /// The authority cannot sign.
    pub fn new(settings: &InterceptionSettings, tls: &TlsSettings) -> Result<Option<Arc<Self>>, PemError> {
        let (Some(chain), Some(key)) = (&settings.ca_cert_path, &settings.ca_key_path) else {
            return Ok(None);
        };
        if settings.hosts == DestinationList::default() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            hosts: Hosts::new(&settings.hosts),
            exempt: Hosts::new(&settings.exempt),
            issuer: Issuer::new(&chain.content, &key.content)?,
            oldest: tls.min_version,
            timeout: tls.handshake_timeout,
            made: Mutex::default(),
        })))
    }

    /// Whether a tunnel to `host` is one of those that are opened.
    #[must_use]
    pub fn concerns(&self, host: &Host) -> bool {
        self.hosts.contain(host) && !self.exempt.contain(host)
    }

    /// Takes clients in the place of `host`.
    fn acceptor(&self, host: &Host) -> Result<Acceptor, TlsError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.get(host).filter(|made| made.at.elapsed() < KEPT_FOR) {
            return Ok(made.acceptor.clone());
        }
        // A signature takes less than making others wait for it twice would.
        let acceptor = Acceptor::new(&AcceptorOptions {
            identity: &self.issuer.issue(host, SystemTime::now())?,
            client_authorities: None,
            oldest: self.oldest,
            protocols: &[Protocol::Http2, Protocol::Http1],
            tickets: None,
        })?;
        if made.len() >= KEPT && !made.contains_key(host) {
            let oldest = made.iter().min_by_key(|(_, made)| made.at).map(|(host, _)| host.clone());
            oldest.and_then(|oldest| made.remove(&oldest));
        }
        made.insert(host.clone(), Made { acceptor: acceptor.clone(), at: Instant::now() });
        Ok(acceptor)
    }
}

impl Hosts {
    fn new(list: &DestinationList) -> Self {
        let mut hosts = Self::default();
        let mut nets: Vec<NetPattern> = Vec::new();
        for pattern in list.entries.iter().chain(list.files.iter().flat_map(|file| &file.entries)) {
            match pattern {
                DestinationPattern::Host(name) => drop(hosts.names.insert(name.as_str().into())),
                DestinationPattern::Suffix(name) => drop(hosts.suffixes.insert(name.as_str().into())),
                DestinationPattern::Net(net) => nets.push(*net),
            }
        }
        hosts.nets = NetList::new(&nets);
        hosts
    }

    fn contain(&self, host: &Host) -> bool {
        let Host::Name(name) = host else {
            return host.ip().is_some_and(|ip| self.nets.find_exactly(ip.to_canonical()).is_some());
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut domains = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        self.names.contains(name) || domains.any(|domain| self.suffixes.contains(domain))
    }
}

/// Opens the tunnel, and goes into it. Nobody is dialled yet.
pub(super) async fn enter(
    client: &mut Client,
    interception: &Interception,
    origin: &Authority,
    mut exchange: Box<Exchange>,
    tongue: Tongue,
    opened: &[u8],
) -> After {
    let acceptor = match interception.acceptor(&origin.host) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            let error = ProxyError::new(
                Blame::Policy,
                StatusCode::INTERNAL_SERVER_ERROR,
                ProxyErrorType::ProxyInternalError,
                format!("no certificate for this host can be made: {error}"),
            );
            return tongue.refuse(client, exchange, error).await;
        }
    };
    exchange.respond(StatusCode::OK);
    if client.send(opened).await.is_err() {
        return After::Broken;
    }
    After::Inside(Box::new(Inside {
        acceptor,
        timeout: interception.timeout,
        authority: Arc::new(origin.clone()),
        user: exchange.user(),
        tell: Box::new(move |shaken| exchange.entered(shaken)),
    }))
}

/// Where a request goes that has come inside the tunnel to `inside`.
pub(super) fn target(head: &RequestHead, inside: &Arc<Authority>) -> Result<RequestTarget, ProxyError> {
    let to = |path_and_query: Bytes| RequestTarget::Absolute {
        scheme: Scheme::Https,
        authority: Arc::clone(inside),
        path_and_query,
    };
    let is_inside = |authority: &Authority| {
        let plain = |host: &Host| match host {
            Host::Name(name) => Host::Name(name.strip_suffix('.').unwrap_or(name).into()),
            address => address.clone(),
        };
        authority.port == inside.port && plain(&authority.host) == plain(&inside.host)
    };
    let is_named = head.values(Name::Host).all(|value| {
        let named = std::str::from_utf8(value).ok().map(|value| Authority::parse(value.trim(), Some(HTTPS)));
        matches!(named, Some(Ok(authority)) if is_inside(&authority))
    });
    match &head.target {
        RequestTarget::Origin(path) if is_named => Ok(to(path.clone())),
        RequestTarget::Asterisk if is_named => Ok(to(Bytes::new())),
        RequestTarget::Absolute { scheme: Scheme::Https, authority, path_and_query }
            if is_inside(authority) =>
        {
            Ok(to(path_and_query.clone()))
        }
        RequestTarget::Authority(_) => {
            Err(ProxyError::bad_request("CONNECT inside a tunnel that is intercepted"))
        }
        _ => Err(ProxyError::new(
            Blame::Downstream,
            StatusCode::MISDIRECTED_REQUEST,
            ProxyErrorType::HttpRequestError,
            "the request is for another host or port than the tunnel that it came in",
        )),
    }
}

const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, net::tls::issuer::create_authority};

    fn interception(hosts: &str, exempt: &str) -> Arc<Interception> {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = create_authority("ours", SystemTime::now()).unwrap();
        let [cert_path, key_path] = ["ca.pem", "ca.key"].map(|name| folder.path().join(name));
        std::fs::write(&cert_path, cert).unwrap();
        std::fs::write(&key_path, key).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let text = format!(
            "interception: {{ hosts: [{hosts}], exempt: [{exempt}], ca_cert_path: {cert_path:?}, ca_key_path: {key_path:?} }}"
        );
        let text = Some(("config.yml".into(), text));
        let settings =
            config::load(&config::Sources { text, ..config::Sources::default() }).unwrap().settings;
        Interception::new(&settings.interception, &settings.tls).unwrap().unwrap()
    }

    #[test]
    fn which_hosts() {
        let interception =
            interception("a.test, .b.test, 192.0.2.0/24, \"2001:db8::/32\"", "pinned.b.test, 192.0.2.7");
        for (host, is_meant) in [
            ("a.test", true),
            ("a.test.", true),
            ("x.a.test", false),
            ("b.test", false),
            ("x.b.test", true),
            ("y.x.b.test", true),
            ("pinned.b.test", false),
            ("x.pinned.b.test", true),
            ("xb.test", false),
            ("192.0.2.1", true),
            ("192.0.2.7", false),
            ("[2001:db8::1]", true),
            ("[::ffff:192.0.2.1]", true),
            ("[64:ff9b::c000:201]", false),
        ] {
            assert_eq!(interception.concerns(&Host::parse(host).unwrap()), is_meant, "{host}");
        }
    }

    #[test]
    fn certificates_are_kept_and_bounded() {
        let interception = interception(".test", "");
        let kept = || interception.made.lock().unwrap().len();
        for _ in 0..3 {
            interception.acceptor(&Host::parse("a.test").unwrap()).unwrap();
        }
        assert_eq!(kept(), 1);
        for at in 0..KEPT {
            interception.acceptor(&Host::parse(&format!("a{at}.test")).unwrap()).unwrap();
        }
        assert_eq!(kept(), KEPT);
        assert!(!interception.made.lock().unwrap().contains_key(&Host::parse("a.test").unwrap()));
    }
}
