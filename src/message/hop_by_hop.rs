//! What must not travel on: the fields that are meant for one connection (RFC 9110 7.6.1).
//!
//! Must not know which side it serves, nor what becomes of the body. One walk over the lines says what each of them is to us;
//! those that speak about the connection they came over do not pass. `Host` and the lengths do not pass either: whoever writes
//! the message for the next hop writes them anew, by what is known of it and not by what it says.

use super::{
    edits::is_same_name,
    field::{Field, Name},
    list,
};

/// What the lines of a head say about the connection that they came over.
#[derive(Debug, Default)]
pub struct HopByHop {
    /// What `Connection` has nominated.
    pub nominated: Nominated,
    /// `Connection` says `close`.
    pub closes: bool,
    /// `Connection` says `keep-alive`.
    pub keeps_alive: bool,
    /// `Connection` says `upgrade`.
    upgrades: bool,
    /// `TE` says `trailers`.
    pub accepts_trailers: bool,
}

impl HopByHop {
    /// One walk over the lines.
    pub fn read<'a>(fields: impl Iterator<Item = Field<'a>>) -> Self {
        let mut found = Self::default();
        for field in fields {
            match field.known {
                Name::Connection => {
                    for option in list::members(field.value) {
                        found.option(option);
                    }
                }
                Name::Te => {
                    found.accepts_trailers |=
                        list::members(field.value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                }
                _ => {}
            }
        }
        found
    }

    /// Whether this line travels on as it is.
    #[must_use]
    pub fn passes(&self, field: &Field<'_>) -> bool {
        !matches!(
            field.known,
            Name::Connection
                | Name::ContentLength
                | Name::Host
                | Name::Http2Settings
                | Name::KeepAlive
                | Name::ProxyAuthenticate
                | Name::ProxyAuthenticationInfo
                | Name::ProxyAuthorization
                | Name::ProxyConnection
                | Name::Te
                | Name::TransferEncoding
                | Name::Upgrade
        ) && (self.nominated.is_empty() || !self.nominated.names(field.name) || is_end_to_end(field.name))
    }

    /// What a message asks to be upgraded to, without those protocols that we never pass on.
    ///
    /// None without `Upgrade` nominated by `Connection`, and for `h2c`, which RFC 9113 3.1 has withdrawn and which smuggles
    /// whole connections past a proxy. Must not be asked for HTTP/1.0 (RFC 9110 7.8: it is to be ignored there).
    pub fn upgrade<'a>(&self, fields: impl Iterator<Item = Field<'a>>) -> Option<Upgrade> {
        if !self.upgrades {
            return None;
        }
        let kept: Vec<_> = fields
            .filter(|field| field.known == Name::Upgrade)
            .flat_map(|field| list::members(field.value))
            .filter(|protocol| !is_http2(protocol))
            .collect();
        (!kept.is_empty()).then(|| Upgrade(kept.join(b", ".as_slice())))
    }

    fn option(&mut self, option: &[u8]) {
        if option.eq_ignore_ascii_case(b"close") {
            self.closes = true;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            self.keeps_alive = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            self.upgrades = true;
        } else if !option.eq_ignore_ascii_case(b"te") && list::is_token(option) && !is_end_to_end(option) {
            self.nominated.add(option);
        }
    }
}

/// What `Connection` nominated, apart from what is known anyway. Usually nothing, and then nothing is allocated.
#[derive(Debug, Default)]
pub struct Nominated {
    names: Vec<Box<[u8]>>,
    /// Not by `Connection`, but by the operator.
    taken: Vec<Box<[u8]>>,
    /// More were nominated than we keep: then nothing is trusted that is not end-to-end by definition.
    overflow: bool,
}

impl Nominated {
    fn add(&mut self, name: &[u8]) {
        if self.names.len() < NOMINATED_KEPT {
            self.names.push(name.into());
        } else {
            self.overflow = true;
        }
    }

    /// These names, too: of fields that may not travel on by the operator's wish, however they are written.
    pub fn take<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.taken.extend(names.map(|name| name.as_bytes().into()));
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether this field was nominated.
    #[must_use]
    pub fn names(&self, name: &[u8]) -> bool {
        self.overflow
            || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
            || self.taken.iter().any(|taken| is_same_name(taken, name))
    }
}

/// The protocols a message wants to change to, as they are sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade(Vec<u8>);

impl Upgrade {
    /// The protocol that a `101` with these lines changes to, if it is one of ours. Anything else is a failed upgrade
    /// (RFC 9110 7.8).
    pub fn agreed<'a>(&self, answer: impl Iterator<Item = Field<'a>>) -> Option<&'a [u8]> {
        let mut answers =
            answer.filter(|field| field.known == Name::Upgrade).flat_map(|field| list::members(field.value));
        let (Some(answer), None) = (answers.next(), answers.next()) else { return None };
        list::members(&self.0).any(|offer| offer.eq_ignore_ascii_case(answer)).then_some(answer)
    }

    /// The value of the `Upgrade` field as it is sent on.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a field may stand in a trailer section: not one that frames, routes, authenticates, or changes how the
/// message is to be taken (RFC 9110 6.5.1).
#[must_use]
pub fn may_be_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 40] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "http2-settings",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "proxy-status",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
    ];
    !is_one_of(name, &FORBIDDEN) && !is_forwarded(name)
}

/// Fields that are for every recipient, so that nominating them is forbidden (RFC 9110 7.6.1). Obeying would let a
/// client take away what frames and routes the message, what finds loops, and what other proxies have
/// written about it.
fn is_end_to_end(name: &[u8]) -> bool {
    const FIELDS: [&str; 21] = [
        "authorization",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "location",
        "max-forwards",
        "proxy-status",
        "range",
        "set-cookie",
        "transfer-encoding",
        "vary",
        "via",
        "www-authenticate",
        "x-real-ip",
    ];
    is_one_of(name, &FIELDS) || is_forwarded(name)
}

fn is_one_of(name: &[u8], known: &[&str]) -> bool {
    known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn is_forwarded(name: &[u8]) -> bool {
    matches!(Name::of(name), Name::XForwarded | Name::XForwardedFor)
}

fn is_http2(protocol: &[u8]) -> bool {
    [b"h2c".as_slice(), b"h2"].into_iter().any(|name| protocol.eq_ignore_ascii_case(name))
        || (protocol.len() >= 6 && protocol[..6].eq_ignore_ascii_case(b"HTTP/2"))
}

/// Names kept. A message that nominates more has something in mind.
const NOMINATED_KEPT: usize = 64;
