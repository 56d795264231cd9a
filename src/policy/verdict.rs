//! What a decision says.
//!
//! Must not know how it was made, nor which answer a client gets for it. Every verdict names one rule.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{
    acl::AddressRules,
    route::{Action, Route},
};
use crate::net::dial::Reach;

/// The text of the rule that decided, as it stands in the configuration: `access.clients`,
/// `access.destinations.deny[special]`, `access.destinations.allow[.example.com]`. Cheap to clone.
#[derive(Clone)]
pub struct RuleName(Text);

#[derive(Clone)]
enum Text {
    Key(&'static str),
    Entry(Arc<str>),
    /// An entry of a file that a list names, and that file's place in the list.
    Line {
        entry: Arc<str>,
        file: Arc<str>,
    },
}

impl RuleName {
    /// A rule that is a key of the configuration.
    pub const fn key(key: &'static str) -> Self {
        Self(Text::Key(key))
    }

    /// A rule that is one entry of a list.
    pub(super) const fn entry(text: Arc<str>) -> Self {
        Self(Text::Entry(text))
    }

    /// A rule that is one line of a file, `list[entry]`, which the list names as `list[@file]`.
    pub(super) const fn line(entry: Arc<str>, file: Arc<str>) -> Self {
        Self(Text::Line { entry, file })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Key(key) => key,
            Text::Entry(text) | Text::Line { entry: text, .. } => text,
        }
    }

    /// The text as a label of a metric: a file counts as one rule, or a list of 100,000 names would be as many series.
    pub fn label(&self) -> &str {
        match &self.0 {
            Text::Line { file, .. } => file,
            Text::Key(_) | Text::Entry(_) => self.as_str(),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for RuleName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RuleName {}

impl std::hash::Hash for RuleName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Leave to pass. Sending upstream takes one by value.
#[derive(Clone, Debug)]
pub struct Permit {
    /// What let it pass.
    pub rule: RuleName,
    /// Which addresses may be dialled for it.
    pub reach: Arc<Reach>,
    /// The way that it takes, and what holds on it.
    pub route: Arc<Route>,
    /// What a route would have done that only reports, or that refuses where `access.mode` is `report`.
    /// Boxed, as few have it.
    pub would_route: Option<Box<Action>>,
    /// In `access.mode: report`: what would have been refused. Boxed, as few have it.
    pub would_refuse: Option<Box<Refusal>>,
    /// In `access.mode: report`: the rules that `reach` leaves out.
    pub(super) reported: Option<Arc<AddressRules>>,
}

impl Permit {
    /// In `access.mode: report`, the refusal that this address, having been dialled, would have met. None otherwise: then
    /// `reach` has refused it.
    pub fn would_refuse_address(&self, dialled: IpAddr) -> Option<Refusal> {
        self.reported.as_ref()?.check(dialled).err()
    }
}

/// It may not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What forbids it.
    pub rule: RuleName,
    /// What of the request is forbidden.
    pub kind: RefusalKind,
    /// What a route would have done that only reports, for a client that is served.
    pub would_route: Option<Box<Action>>,
}

impl Refusal {
    pub(super) const fn new(rule: RuleName, kind: RefusalKind) -> Self {
        Self { rule, kind, would_route: None }
    }
}

/// What of a request is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The way it takes: `via: deny`. 403 `http_request_denied`.
    Route,
    /// Whom it comes from: 403 `http_request_denied`.
    Client,
    /// The port of a tunnel: 403 `http_request_denied`.
    ConnectPort,
    /// The name of the host: 403 `http_request_denied`.
    DestinationName,
    /// The address, be it written in the target or found by resolution: 502 `destination_ip_prohibited`.
    DestinationAddress,
}
