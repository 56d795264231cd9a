//! What must not travel on: the fields that are meant for one connection (RFC 9110 7.6.1).
//!
//! Must not know which side it serves beyond request and response, nor what becomes of the body. After
//! stripping, no field of the message speaks about the connection it came over, `Host` and the message's length
//! are what they were, and `Content-Length` never stands beside `Transfer-Encoding`.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, Entry, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
        UPGRADE,
    },
};

use super::list;

/// Take from a request what was meant for us only, in place.
///
/// A client that accepts trailers gets them: `TE: trailers` is sent on, with the `Connection: TE` that it needs.
/// `Transfer-Encoding` becomes exactly `chunked` where it was present, as hyper would send a GET without its body
/// otherwise. `Proxy-Authorization` goes, too: it was for us. What the returned value names must also be
/// kept out of the trailers.
pub fn strip_request(headers: &mut HeaderMap) -> Nominated {
    let found = Found::in_fields(headers);
    let nominated = found.strip(headers);
    if found.accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    nominated
}

/// Take from a response what was meant for us only, in place.
///
/// `WWW-Authenticate` and `Proxy-Status` stay: they are for the client. Several equal `Content-Length` become one;
/// that they are equal is [`super::framing::response_framing`]'s to know.
pub fn strip_response(headers: &mut HeaderMap) -> Nominated {
    Found::in_fields(headers).strip(headers)
}

/// Take from a trailer section what may not stand there (RFC 9110 6.5.1) and what `Connection` had nominated.
pub fn strip_trailers(trailers: &mut HeaderMap, nominated: &Nominated) {
    let unwanted: Vec<_> = trailers
        .keys()
        .filter(|&name| !may_be_trailer(name.as_str()) || nominated.names(name))
        .cloned()
        .collect();
    for name in unwanted {
        trailers.remove(name);
    }
}

/// Whether a field of this lower-case name may stand in a trailer section: not one that frames, routes,
/// authenticates, or changes how the message is to be taken.
pub fn may_be_trailer(name: &str) -> bool {
    !matches!(
        name,
        "age"
            | "authorization"
            | "cache-control"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "expect"
            | "expires"
            | "forwarded"
            | "host"
            | "http2-settings"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "keep-alive"
            | "location"
            | "max-forwards"
            | "pragma"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "proxy-status"
            | "range"
            | "retry-after"
            | "set-cookie"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "vary"
            | "via"
            | "warning"
            | "www-authenticate"
    ) && !name.starts_with("x-forwarded-")
}

/// What `Connection` nominated, apart from what is known anyway. Usually nothing, and then nothing is allocated.
#[derive(Debug, Default)]
pub struct Nominated {
    fields: Vec<HeaderName>,
    /// More were nominated than we keep: then no trailer is trusted.
    overflow: bool,
}

impl Nominated {
    /// Whether this field was nominated.
    pub fn names(&self, name: &HeaderName) -> bool {
        self.overflow || self.fields.contains(name)
    }
}

/// The protocols a message wants to change to, without those we never pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade(HeaderValue);

impl Upgrade {
    /// Whether a `101` that names this protocol answers our wish. Anything else is a failed upgrade (RFC 9110 7.8).
    pub fn offers(&self, answered: &HeaderValue) -> bool {
        let mut answers = list::members(answered.as_bytes());
        let (Some(answer), None) = (answers.next(), answers.next()) else { return false };
        list::members(self.0.as_bytes()).any(|offer| offer.eq_ignore_ascii_case(answer))
    }

    /// The value of the `Upgrade` field as it is sent on.
    pub const fn value(&self) -> &HeaderValue {
        &self.0
    }
}

/// What a message asks to be upgraded to. To be called before stripping.
///
/// None without `Upgrade` nominated by `Connection`, in HTTP/1.0 (RFC 9110 7.8: a server must ignore it there), and for
/// `h2c`, which RFC 9113 3.1 has withdrawn and which smuggles whole connections past a proxy.
pub fn upgrade_of(version: Version, headers: &HeaderMap) -> Option<Upgrade> {
    let first = headers.get(UPGRADE)?;
    let nominated = || {
        let values = headers.get_all(CONNECTION);
        values.iter().any(|value| {
            list::members(value.as_bytes()).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        })
    };
    if version != Version::HTTP_11 || !nominated() {
        return None;
    }
    let is_forwardable = |protocol: &[u8]| !is_http2(protocol);
    let mut lines = headers.get_all(UPGRADE).iter();
    if lines.nth(1).is_none() && list::members(first.as_bytes()).all(is_forwardable) {
        return list::members(first.as_bytes()).next().map(|_| Upgrade(first.clone()));
    }
    let kept: Vec<_> = headers
        .get_all(UPGRADE)
        .iter()
        .flat_map(|value| list::members(value.as_bytes()))
        .filter(|protocol| is_forwardable(protocol))
        .collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(b", ".as_slice())).ok().map(Upgrade)
}

/// Put a wish for an upgrade, or the answer to it, back into a stripped message.
pub fn restore_upgrade(headers: &mut HeaderMap, upgrade: Upgrade) {
    // A connection that changes its protocol has no trailers, and some servers read one Connection option only.
    headers.remove(TE);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade.0);
}

/// What one walk over the fields has found to be done. One walk and no look-up, as most messages need nothing.
#[derive(Debug, Default)]
struct Found {
    connection: bool,
    /// `Connection` names more than the options that need no field removed.
    nominates: bool,
    proxy_connection: bool,
    keep_alive: bool,
    te: bool,
    accepts_trailers: bool,
    transfer_encoding: bool,
    /// `Content-Length` is a list or stands on several lines.
    repeated_length: bool,
    length_lines: usize,
    upgrade: bool,
    http2_settings: bool,
    proxy_authorization: bool,
    proxy_authenticate: bool,
    proxy_authentication_info: bool,
}

impl Found {
    fn in_fields(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "connection" => {
                    found.connection = true;
                    found.nominates |= list::members(value.as_bytes()).any(|option| !is_known_option(option));
                }
                "proxy-connection" => found.proxy_connection = true,
                "keep-alive" => found.keep_alive = true,
                "te" => {
                    found.te = true;
                    found.accepts_trailers |= list::members(value.as_bytes())
                        .any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                }
                "transfer-encoding" => found.transfer_encoding = true,
                "content-length" => {
                    found.length_lines += 1;
                    found.repeated_length |= found.length_lines > 1 || value.as_bytes().contains(&b',');
                }
                "upgrade" => found.upgrade = true,
                "http2-settings" => found.http2_settings = true,
                "proxy-authorization" => found.proxy_authorization = true,
                "proxy-authenticate" => found.proxy_authenticate = true,
                "proxy-authentication-info" => found.proxy_authentication_info = true,
                _ => {}
            }
        }
        found
    }

    fn strip(&self, headers: &mut HeaderMap) -> Nominated {
        let nominated = if self.nominates { strip_nominated(headers) } else { Nominated::default() };
        if self.transfer_encoding {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            headers.remove(CONTENT_LENGTH);
        } else if self.repeated_length {
            keep_one_length(headers);
        }
        let fields = [
            (self.connection, CONNECTION),
            (self.proxy_connection, PROXY_CONNECTION),
            (self.keep_alive, KEEP_ALIVE),
            (self.te, TE),
            (self.upgrade, UPGRADE),
            (self.http2_settings, HTTP2_SETTINGS),
            (self.proxy_authorization, PROXY_AUTHORIZATION),
            (self.proxy_authenticate, PROXY_AUTHENTICATE),
            (self.proxy_authentication_info, PROXY_AUTHENTICATION_INFO),
        ];
        for (present, name) in fields {
            if present {
                headers.remove(name);
            }
        }
        nominated
    }
}

fn strip_nominated(headers: &mut HeaderMap) -> Nominated {
    let mut nominated = Nominated::default();
    let values: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
    let options = values.iter().flat_map(|value| list::members(value.as_bytes()));
    for option in options.filter(|option| !is_known_option(option)) {
        let Ok(name) = HeaderName::from_bytes(option) else { continue };
        if is_end_to_end(name.as_str()) {
            continue;
        }
        headers.remove(&name);
        if nominated.fields.len() < NOMINATED_KEPT {
            nominated.fields.push(name);
        } else {
            nominated.overflow = true;
        }
    }
    nominated
}

fn keep_one_length(headers: &mut HeaderMap) {
    if let Entry::Occupied(mut entry) = headers.entry(CONTENT_LENGTH) {
        let first = list::members(entry.get().as_bytes()).next().map(HeaderValue::from_bytes);
        if let Some(Ok(first)) = first {
            entry.insert(first);
        } else {
            entry.remove_entry_mult();
        }
    }
}

/// Options that ask for nothing to be removed which is not removed anyway.
fn is_known_option(option: &[u8]) -> bool {
    [b"close".as_slice(), b"keep-alive", b"te", b"upgrade"]
        .into_iter()
        .any(|known| option.eq_ignore_ascii_case(known))
}

/// Fields that are for every recipient, so that nominating them is forbidden (RFC 9110 7.6.1). Obeying would let a
/// client take away what frames and routes the message, what finds loops, and what other proxies have
/// written about it.
fn is_end_to_end(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cache-control"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "expect"
            | "forwarded"
            | "host"
            | "location"
            | "max-forwards"
            | "proxy-status"
            | "range"
            | "set-cookie"
            | "transfer-encoding"
            | "vary"
            | "via"
            | "www-authenticate"
            | "x-real-ip"
    ) || name.starts_with("x-forwarded-")
}

fn is_http2(protocol: &[u8]) -> bool {
    [b"h2c".as_slice(), b"h2"].into_iter().any(|name| protocol.eq_ignore_ascii_case(name))
        || (protocol.len() >= 6 && protocol[..6].eq_ignore_ascii_case(b"HTTP/2"))
}

const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// Names kept for the trailers. A message that nominates more has something in mind.
const NOMINATED_KEPT: usize = 64;

#[cfg(test)]
mod tests;
