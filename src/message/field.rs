//! The field lines of a head, as they stand in its bytes.
//!
//! A head that passes a proxy is copied line by line, and few of its lines mean anything to us. So a line is a piece of the bytes
//! it came in, and what its name means is found out once. Must not know what becomes of a line.

use std::ops::Range;

/// Name and value of a line.
pub type Line<'a> = (&'a [u8], &'a [u8]);

/// The names that mean something to a proxy.
#[expect(missing_docs, reason = "each is the field of its name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Accept,
    Connection,
    ContentLength,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    MaxForwards,
    ProxyAuthenticate,
    ProxyAuthenticationInfo,
    ProxyAuthorization,
    ProxyConnection,
    Te,
    TraceParent,
    TransferEncoding,
    Upgrade,
    Via,
    XForwardedFor,
    /// Any other `X-Forwarded-…`.
    XForwarded,
    XRealIp,
    /// None of these.
    Other,
}

impl Name {
    /// What `name` means, whatever its case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        // The length and the first letter leave one name at most to be compared.
        let Some(first) = name.first() else { return Self::Other };
        let (known, found): (&[u8], Self) = match (name.len(), first.to_ascii_lowercase()) {
            (2, b't') => (b"te", Self::Te),
            (3, b'v') => (b"via", Self::Via),
            (4, b'h') => (b"host", Self::Host),
            (4, b'd') => (b"date", Self::Date),
            (6, b'a') => (b"accept", Self::Accept),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (9, b'f') => (b"forwarded", Self::Forwarded),
            (9, b'x') => (b"x-real-ip", Self::XRealIp),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (11, b't') => (b"traceparent", Self::TraceParent),
            (12, b'm') => (b"max-forwards", Self::MaxForwards),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (14, b'h') => (b"http2-settings", Self::Http2Settings),
            (15, b'x') => (b"x-forwarded-for", Self::XForwardedFor),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (18, b'p') => (b"proxy-authenticate", Self::ProxyAuthenticate),
            (19, b'p') => (b"proxy-authorization", Self::ProxyAuthorization),
            (25, b'p') => (b"proxy-authentication-info", Self::ProxyAuthenticationInfo),
            (_, b'x') => (b"", Self::Other),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(known) {
            return found;
        }
        let is_forwarded =
            name.len() > FORWARDED.len() && name[..FORWARDED.len()].eq_ignore_ascii_case(FORWARDED);
        if is_forwarded { Self::XForwarded } else { Self::Other }
    }
}

const FORWARDED: &[u8] = b"x-forwarded-";

/// Where the lines of a head stand in its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    name: (u32, u32),
    value: (u32, u32),
    known: Name,
}

/// One line of a head.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// As it was received.
    pub name: &'a [u8],
    /// Without white space around it.
    pub value: &'a [u8],
    /// What the name means.
    pub known: Name,
}

impl Fields {
    /// The lines that a parser has found in `raw`.
    pub(super) fn found(raw: &[u8], headers: &[httparse::Header<'_>]) -> Self {
        let start = raw.as_ptr() as usize;
        // A head is bounded by a size in the configuration that is far below 4 GiB.
        let place = |part: &[u8]| {
            let at = (part.as_ptr() as usize).saturating_sub(start);
            (u32::try_from(at).unwrap_or(0), u32::try_from(part.len()).unwrap_or(0))
        };
        let places = headers.iter().map(|header| Place {
            name: place(header.name.as_bytes()),
            value: place(header.value),
            known: Name::of(header.name.as_bytes()),
        });
        Self { places: places.collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The lines in `raw`, which are the bytes they were found in.
    pub fn of<'raw>(&self, raw: &'raw [u8]) -> impl Iterator<Item = Field<'raw>> + Clone {
        let part = |(at, length): (u32, u32)| -> Range<usize> { at as usize..(at + length) as usize };
        self.places.iter().map(move |place| Field {
            name: raw.get(part(place.name)).unwrap_or_default(),
            value: raw.get(part(place.value)).unwrap_or_default(),
            known: place.known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, known) in [
            ("Host", Name::Host),
            ("DATE", Name::Date),
            ("Te", Name::Te),
            ("Proxy-Authentication-Info", Name::ProxyAuthenticationInfo),
            ("HTTP2-Settings", Name::Http2Settings),
            ("X-Forwarded-For", Name::XForwardedFor),
            ("x-forwarded-proto", Name::XForwarded),
            ("x-forwarded-", Name::Other),
            ("x-forwarded", Name::Other),
            ("hosts", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(Name::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn lines_are_found_again() {
        let raw = b"GET / HTTP/1.1\r\nHost:  a.test \r\nx: 1\r\n\r\n";
        let mut headers = [httparse::EMPTY_HEADER; 4];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(raw).unwrap();
        let fields = Fields::found(raw, request.headers);
        let found: Vec<_> = fields.of(raw).map(|field| (field.name, field.value, field.known)).collect();
        assert_eq!(found, [(&b"Host"[..], &b"a.test"[..], Name::Host), (b"x", b"1", Name::Other)]);
    }
}
