//! What a reload swaps: everything about serving that the configuration decides, built beside the old and
//! put in force by one pointer.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    error::ProxyError,
    interception::Interception,
    limiter::{Limiter, Store},
    login::Login,
};
use crate::{
    config::settings::{self, AccessLogTarget, AccessMode, QueryLogging, Settings, Via},
    message::{
        head::HeadLimits,
        trace::{ClientAddress, Pseudonym},
    },
    net::{
        authority::Authority,
        dial::{DialError, Dialer, Dialled},
        tls::Connector,
    },
    policy::{self, Permit, Policy},
    upstream::{Group, Groups},
};

/// The state of one generation of the configuration.
#[derive(Debug)]
pub struct Live {
    pub(super) policy: Policy,
    pub(super) kept: Kept,
    pub(super) limiter: Option<Limiter>,
    /// The question for a password.
    pub(super) challenge: String,
    /// Nobody is refused for who he is.
    pub(super) reports_only: bool,
    pub(super) dialer: Dialer,
    pub(super) groups: Arc<Groups>,
    /// How origins are reached with TLS.
    pub(super) connector: Connector,
    pub(super) interception: Option<Arc<Interception>>,
    pub(super) response_limits: HeadLimits,
    pub(super) keep_case: bool,
    pub(super) name: Name,
    pub(super) client_address: ClientAddress,
    pub(super) client_header: Duration,
    pub(super) half_close: Duration,
    pub(super) query: QueryLogging,
    pub(super) tunnel_interval: Option<Duration>,
    pub(super) request_id_header: Option<Box<str>>,
}

/// What is worth more the longer it lives.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// How users are known; none = nobody has to log in.
    pub login: Option<Arc<Login>>,
    /// Where rates are kept for several machines.
    pub store: Option<Arc<Store>>,
    /// The groups that routes lead to, with whose turn it is.
    pub groups: Arc<Groups>,
    /// How origins are reached with TLS, with the sessions that can be resumed.
    pub connector: Option<Connector>,
}

/// What is built by other rooms for a [`Live`].
#[derive(Debug)]
pub struct LiveOptions {
    /// Who may go where.
    pub policy: Policy,
    /// What the generation before may have had already.
    pub kept: Kept,
    /// How fast; none = as fast as it goes.
    pub limiter: Option<Limiter>,
    /// How origins are reached.
    pub dialer: Dialer,
    /// The groups that routes lead to.
    pub groups: Arc<Groups>,
    /// How they are reached with TLS.
    pub connector: Connector,
    /// In whose place we answer.
    pub interception: Option<Arc<Interception>>,
    /// Who we say we are.
    pub pseudonym: Arc<Pseudonym>,
}

/// The name under which this proxy speaks of itself.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// In `Proxy-Status`, and in `Via` where that is on.
    pub(super) pseudonym: Arc<Pseudonym>,
    /// Whether `Via` is added.
    pub(super) via: bool,
}

impl Live {
    /// The state that `settings` describe.
    #[must_use]
    pub fn new(settings: &Settings, options: LiveOptions) -> Self {
        let timeouts = &settings.timeouts;
        Self {
            policy: options.policy,
            kept: options.kept,
            limiter: options.limiter,
            challenge: challenge(&settings.access.realm),
            reports_only: settings.access.mode == AccessMode::Report,
            dialer: options.dialer,
            groups: options.groups,
            connector: options.connector,
            interception: options.interception,
            response_limits: HeadLimits {
                max_bytes: settings.limits.max_header_bytes,
                max_headers: settings.limits.max_headers,
            },
            keep_case: settings.forwarding.preserve_header_case,
            name: Name { pseudonym: options.pseudonym, via: settings.forwarding.via != Via::Off },
            client_address: match settings.forwarding.client_address {
                settings::ClientAddress::Delete => ClientAddress::Delete,
                settings::ClientAddress::Forwarded => ClientAddress::Forwarded,
                settings::ClientAddress::Off => ClientAddress::Off,
                settings::ClientAddress::XForwardedFor => ClientAddress::XForwardedFor,
            },
            client_header: timeouts.client_header,
            half_close: timeouts.half_close,
            query: settings.access_log.query,
            // Nobody would read the lines.
            tunnel_interval: settings
                .access_log
                .tunnel_interval
                .filter(|_| settings.access_log.file != AccessLogTarget::Off),
            request_id_header: settings
                .forwarding
                .request_id_header
                .as_ref()
                .map(|name| name.as_str().into()),
        }
    }

    /// The group whose servers get it; none = it goes out directly.
    pub(super) fn group_of(&self, permit: &Permit) -> Option<&Arc<Group>> {
        match permit.route.via {
            policy::Via::Direct => None,
            policy::Via::Proxy(place) | policy::Via::Origin(place) => self.groups.at(place),
        }
    }

    /// A connection to `origin`, at an address that `permit` lets be reached.
    pub(super) async fn dial(&self, origin: &Authority, permit: &Permit) -> Result<Dialled, ProxyError> {
        self.dialer.dial_within(permit.route.timeouts.connect, origin, &permit.reach).await.map_err(|error| {
            let mut answer = ProxyError::from(&error);
            if let DialError::Prohibited { pattern, .. } = &error {
                answer.rule = Some(self.policy.address_rule(pattern));
            }
            answer
        })
    }
}

/// What is said to an origin is encrypted, or nothing is: with TLS to `origin`, whose name is verified, until
/// `deadline`. HTTP/2 is spoken inside only where it may be offered.
pub(super) async fn encrypt(
    live: &Live,
    origin: &Authority,
    dialled: Dialled,
    offers_http2: bool,
    deadline: Instant,
) -> Result<Dialled, ProxyError> {
    let Dialled { stream, peer, dns, connect } = dialled;
    let began = Instant::now();
    let connecting = async {
        if offers_http2 {
            live.connector.agree(stream, &origin.host).await
        } else {
            live.connector.connect(stream, &origin.host).await
        }
    };
    let connected = match timeout_at(deadline, connecting).await {
        Ok(connected) => connected.map_err(|error| ProxyError::from(&error))?,
        Err(_) => return Err(ProxyError::from(&DialError::Timeout)),
    };
    Ok(Dialled { stream: connected.stream, peer, dns, connect: connect + began.elapsed() })
}

/// `Proxy-Authenticate` (RFC 7617 section 2): passwords in UTF-8.
fn challenge(realm: &str) -> String {
    let mut text = String::from("Basic realm=\"");
    for char in realm.chars() {
        if matches!(char, '"' | '\\') {
            text.push('\\');
        }
        text.push(char);
    }
    text.push_str("\", charset=\"UTF-8\"");
    text
}

impl Name {
    /// Who signs a message that passes, where that is wanted.
    pub(super) fn via(&self) -> Option<&Pseudonym> {
        self.via.then_some(&*self.pseudonym)
    }
}
