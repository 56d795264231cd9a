//! Every way in which an exchange can fail, and what the client is told of it (CONTRACT section 8).

use std::borrow::Cow;

use http::StatusCode;

use super::{account::Crowd, limiter::Limited, login::NotKnown};
use crate::{
    message::head::HeadError,
    net::{dial::DialError, resolve::ResolveError, tls::TlsError},
    policy::{Refusal, RefusalKind, Route, RuleName},
    server::Fault,
    telemetry::names::ProxyErrorType,
    upstream::UpstreamError,
};

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The client's.
    Downstream,
    /// Nobody's: a rule says no.
    Policy,
    /// The origin's, or of the way to it.
    Upstream,
}

/// A failure that is answered.
#[derive(Clone, Debug)]
pub(super) struct ProxyError {
    pub(super) blame: Blame,
    pub(super) status: StatusCode,
    pub(super) kind: ProxyErrorType,
    /// For people: what was wrong, without anything secret in it.
    pub(super) details: Cow<'static, str>,
    /// The DNS answer code, for [`ProxyErrorType::DnsError`].
    pub(super) rcode: Option<&'static str>,
    /// The alert, for [`ProxyErrorType::TlsAlertReceived`].
    pub(super) alert: Option<u8>,
    /// The rule that refused it.
    pub(super) rule: Option<RuleName>,
    /// Fields of the answer that belong to this failure alone.
    pub(super) fields: Vec<(&'static str, String)>,
}

impl ProxyError {
    pub(super) fn new(
        blame: Blame,
        status: StatusCode,
        kind: ProxyErrorType,
        details: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            blame,
            status,
            kind,
            details: details.into(),
            rcode: None,
            alert: None,
            rule: None,
            fields: Vec::new(),
        }
    }

    pub(super) fn bad_request(details: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Blame::Downstream, StatusCode::BAD_REQUEST, ProxyErrorType::HttpRequestError, details)
    }

    /// The body is larger than this route lets pass.
    pub(super) fn too_large(route: &Route) -> Self {
        Self::new(
            Blame::Downstream,
            StatusCode::PAYLOAD_TOO_LARGE,
            ProxyErrorType::HttpRequestError,
            match route.has_own_max_body_size {
                true => Cow::Owned(format!(
                    "the request body is larger than limits.max_body_size of {}",
                    route.rule
                )),
                false => Cow::Borrowed("the request body is larger than limits.max_body_size"),
            },
        )
    }

    pub(super) fn looped(details: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Blame::Downstream, StatusCode::BAD_GATEWAY, ProxyErrorType::ProxyLoopDetected, details)
    }

    /// Nobody knows who it is, as `access.users_file` demands; `challenge` is the question for a password.
    pub(super) fn not_known(why: NotKnown, challenge: &str) -> Self {
        let (status, kind, text, field) = match why {
            NotKnown::Unknown => (
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                ProxyErrorType::HttpRequestDenied,
                "this proxy serves users who log in only",
                ("proxy-authenticate", challenge.to_owned()),
            ),
            NotKnown::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                ProxyErrorType::ProxyInternalResponse,
                "too many passwords wait to be verified",
                ("retry-after", "1".to_owned()),
            ),
            NotKnown::Guessing(seconds) => (
                StatusCode::TOO_MANY_REQUESTS,
                ProxyErrorType::HttpRequestDenied,
                "too many wrong passwords",
                ("retry-after", seconds.to_string()),
            ),
        };
        let mut error = Self::new(Blame::Policy, status, kind, text);
        error.rule = Some(USERS_FILE);
        error.fields.push(field);
        error
    }

    /// A limit does not let it pass. The fields are those of draft-ietf-httpapi-ratelimit-headers.
    pub(super) fn limited(limited: Limited) -> Self {
        let text = match limited.policy {
            Some(_) => "too many requests",
            None => "too many at a time",
        };
        let mut error =
            Self::new(Blame::Policy, StatusCode::TOO_MANY_REQUESTS, ProxyErrorType::HttpRequestDenied, text);
        let Limited { rule, name, policy, retry_after } = limited;
        error.rule = Some(rule);
        error.fields.push(("retry-after", retry_after.to_string()));
        if let Some((count, seconds)) = policy {
            // A name is letters, digits and a few marks: nothing to escape.
            error.fields.extend([
                ("ratelimit-policy", format!("\"{name}\";q={count};w={seconds}")),
                ("ratelimit", format!("\"{name}\";r=0;t={retry_after}")),
            ]);
        }
        error
    }

    fn upstream(status: StatusCode, kind: ProxyErrorType, details: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Blame::Upstream, status, kind, details)
    }
}

/// Why the body of a request could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The client closed its connection inside the body.
    Incomplete,
    /// The chunked framing is broken.
    Malformed,
    /// Nothing came for `timeouts.body_idle`.
    Timeout,
}

const USERS_FILE: RuleName = RuleName::key("access.users_file");

/// 503 for both: 429 is for those who are too fast, and is told with the time to wait, which nobody can know here.
impl From<Crowd> for ProxyError {
    fn from(crowd: Crowd) -> Self {
        let (rule, text) = match crowd {
            Crowd::Instance => ("limits.max_connections", "limits.max_connections is reached"),
            Crowd::Client => (
                "limits.max_connections_per_client",
                "this client has as many connections as limits.max_connections_per_client allows",
            ),
        };
        let mut error = Self::new(
            Blame::Policy,
            StatusCode::SERVICE_UNAVAILABLE,
            ProxyErrorType::ConnectionLimitReached,
            text,
        );
        error.rule = Some(RuleName::key(rule));
        error
    }
}

impl From<&HeadError> for ProxyError {
    fn from(error: &HeadError) -> Self {
        Self::new(Blame::Downstream, error.status(), ProxyErrorType::HttpRequestError, error.to_string())
    }
}

impl From<&Fault> for ProxyError {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Head(error) => Self::from(error),
            Fault::Stream(fault) => Self::new(
                Blame::Downstream,
                fault.status(),
                ProxyErrorType::HttpRequestError,
                fault.to_string(),
            ),
            Fault::Incomplete => Self::bad_request("the connection was closed inside the request head"),
            Fault::HeadTimeout => Self::new(
                Blame::Downstream,
                StatusCode::REQUEST_TIMEOUT,
                ProxyErrorType::HttpRequestError,
                "the request head was not complete within timeouts.client_header",
            ),
        }
    }
}

impl From<BodyFault> for ProxyError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Incomplete => Self::bad_request("the request body ended early"),
            BodyFault::Malformed => Self::bad_request("the chunked coding of the request body is malformed"),
            BodyFault::Timeout => Self::new(
                Blame::Downstream,
                StatusCode::REQUEST_TIMEOUT,
                ProxyErrorType::HttpRequestError,
                "no byte of the request body came for timeouts.body_idle",
            ),
        }
    }
}

impl From<Refusal> for ProxyError {
    fn from(refusal: Refusal) -> Self {
        let denied = |text: &'static str| (StatusCode::FORBIDDEN, ProxyErrorType::HttpRequestDenied, text);
        let (status, kind, text) = match refusal.kind {
            RefusalKind::Route => denied("requests such as this one are denied"),
            RefusalKind::Client => denied("this client is not served"),
            RefusalKind::ConnectPort => denied("CONNECT to this port is not allowed"),
            RefusalKind::DestinationName => denied("this host is not to be reached through this proxy"),
            RefusalKind::DestinationAddress => (
                StatusCode::BAD_GATEWAY,
                ProxyErrorType::DestinationIpProhibited,
                "this address is not to be reached through this proxy",
            ),
        };
        let mut error = Self::new(Blame::Policy, status, kind, text);
        error.rule = Some(refusal.rule);
        error
    }
}

impl From<UpstreamError> for ProxyError {
    fn from(error: UpstreamError) -> Self {
        use ProxyErrorType as Kind;
        let (status, kind) = match &error {
            UpstreamError::Dial(dial) => return Self::from(dial),
            UpstreamError::Tls(tls) => return Self::from(tls),
            UpstreamError::Terminated | UpstreamError::Reset | UpstreamError::Unprocessed => {
                (StatusCode::BAD_GATEWAY, Kind::ConnectionTerminated)
            }
            UpstreamError::Malformed => (StatusCode::BAD_GATEWAY, Kind::HttpProtocolError),
            UpstreamError::HeadTooLarge => (StatusCode::BAD_GATEWAY, Kind::HttpResponseHeaderSectionSize),
            UpstreamError::HeadTimeout | UpstreamError::BodyTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, Kind::HttpResponseTimeout)
            }
            UpstreamError::ClientGone => return Self::bad_request(error.to_string()),
            UpstreamError::UpgradeFailed => (StatusCode::BAD_GATEWAY, Kind::HttpUpgradeFailed),
        };
        Self::upstream(status, kind, error.to_string())
    }
}

impl From<&TlsError> for ProxyError {
    fn from(error: &TlsError) -> Self {
        use ProxyErrorType as Kind;
        let (kind, alert) = match error {
            TlsError::Certificate(_) | TlsError::Name => (Kind::TlsCertificateError, None),
            TlsError::Alert(alert) => (Kind::TlsAlertReceived, Some(*alert)),
            TlsError::Setup(_) => (Kind::ProxyConfigurationError, None),
            _ => (Kind::TlsProtocolError, None),
        };
        let mut answer = Self::upstream(StatusCode::BAD_GATEWAY, kind, error.to_string());
        answer.alert = alert;
        answer
    }
}

impl From<&DialError> for ProxyError {
    fn from(error: &DialError) -> Self {
        use ProxyErrorType as Kind;
        let (status, kind) = match error {
            DialError::Dns(ResolveError::Timeout) | DialError::DnsTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, Kind::DnsTimeout)
            }
            DialError::Dns(_) => (StatusCode::BAD_GATEWAY, Kind::DnsError),
            DialError::Prohibited { .. } => (StatusCode::BAD_GATEWAY, Kind::DestinationIpProhibited),
            DialError::Own { .. } => (StatusCode::BAD_GATEWAY, Kind::ProxyLoopDetected),
            DialError::NoFamily | DialError::Unreachable => {
                (StatusCode::BAD_GATEWAY, Kind::DestinationIpUnroutable)
            }
            DialError::Refused => (StatusCode::BAD_GATEWAY, Kind::ConnectionRefused),
            DialError::Timeout => (StatusCode::GATEWAY_TIMEOUT, Kind::ConnectionTimeout),
            DialError::Io(_) => (StatusCode::BAD_GATEWAY, Kind::ConnectionTerminated),
        };
        let mut answer = Self::upstream(status, kind, error.to_string());
        answer.rcode = match error {
            DialError::Dns(ResolveError::NotFound { rcode }) => Some(rcode),
            DialError::Dns(ResolveError::Failed { rcode }) => *rcode,
            _ => None,
        };
        answer
    }
}
