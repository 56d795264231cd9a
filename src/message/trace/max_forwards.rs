//! `Max-Forwards` (RFC 9110 7.6.2), and what an answer to TRACE may show (9.3.8).
//!
//! Must not know who we are. The field is honoured for OPTIONS and TRACE only, and never added.

use http::Method;

use crate::message::field::{Field, Name};

/// How far a request may still go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hops {
    /// On, as far as it likes, or as far as the field is to say now.
    On(Option<u32>),
    /// No further than here: we answer it.
    Here,
}

/// `Max-Forwards` that is no number, or several that may differ: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed Max-Forwards: one decimal number is accepted")]
pub struct BadMaxForwards;

/// Count this hop.
///
/// Numbers beyond 2^32-1 are taken for that: RFC 9110 lets a recipient cap them.
///
/// # Errors
/// [`BadMaxForwards`], for OPTIONS and TRACE.
pub fn take_hop<'a>(
    method: &Method,
    fields: impl Iterator<Item = Field<'a>>,
) -> Result<Hops, BadMaxForwards> {
    if *method != Method::OPTIONS && *method != Method::TRACE {
        return Ok(Hops::On(None));
    }
    let mut values = fields.filter(|field| field.known == Name::MaxForwards).map(|field| field.value);
    let (Some(digits), another) = (values.next(), values.next()) else { return Ok(Hops::On(None)) };
    if another.is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadMaxForwards);
    }
    let left = digits
        .iter()
        .fold(0_u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    Ok(left.checked_sub(1).map_or(Hops::Here, |left| Hops::On(Some(left))))
}

/// Whether a field may be shown in an answer to TRACE. Credentials may not.
#[must_use]
pub fn may_be_reflected(name: &[u8]) -> bool {
    !["authorization", "cookie", "cookie2", "proxy-authorization", "set-cookie"]
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_c27() {
        let cases: &[(&str, &[&str], Result<Hops, BadMaxForwards>)] = &[
            ("TRACE", &["0"], Ok(Hops::Here)),
            ("OPTIONS", &["000"], Ok(Hops::Here)),
            ("TRACE", &["3"], Ok(Hops::On(Some(2)))),
            ("OPTIONS", &["1"], Ok(Hops::On(Some(0)))),
            ("TRACE", &["99999999999"], Ok(Hops::On(Some(4_294_967_294)))),
            ("GET", &["0"], Ok(Hops::On(None))),
            ("GET", &["x"], Ok(Hops::On(None))),
            ("TRACE", &[], Ok(Hops::On(None))),
            ("TRACE", &["-1"], Err(BadMaxForwards)),
            ("TRACE", &["+1"], Err(BadMaxForwards)),
            ("TRACE", &[""], Err(BadMaxForwards)),
            ("OPTIONS", &["1, 2"], Err(BadMaxForwards)),
            ("OPTIONS", &["1", "0"], Err(BadMaxForwards)),
        ];
        for (method, values, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let fields = values.iter().map(|value| Field {
                name: b"Max-Forwards",
                value: value.as_bytes(),
                known: Name::MaxForwards,
            });
            assert_eq!(take_hop(&method, fields), *expected, "C27 {method} {values:?}");
        }
    }

    #[test]
    fn credentials_are_not_reflected_c28() {
        for name in ["Cookie", "Authorization", "Proxy-Authorization"] {
            assert!(!may_be_reflected(name.as_bytes()), "C28 {name}");
        }
        assert!(may_be_reflected(b"via"));
    }
}
