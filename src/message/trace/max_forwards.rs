//! `Max-Forwards` (RFC 9110 7.6.2), and what an answer to TRACE may show (9.3.8).
//!
//! Must not know who we are. The field is honoured for OPTIONS and TRACE only, and never added.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::MAX_FORWARDS};

/// How far a request may still go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hops {
    /// On, as far as it likes or as the field, which is one lower now, says.
    On,
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
pub fn take_hop(method: &Method, headers: &mut HeaderMap) -> Result<Hops, BadMaxForwards> {
    if *method != Method::OPTIONS && *method != Method::TRACE {
        return Ok(Hops::On);
    }
    let mut values = headers.get_all(MAX_FORWARDS).iter();
    let (Some(value), another) = (values.next(), values.next()) else { return Ok(Hops::On) };
    let digits = value.as_bytes();
    if another.is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadMaxForwards);
    }
    let left = digits
        .iter()
        .fold(0_u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    let Some(left) = left.checked_sub(1) else { return Ok(Hops::Here) };
    headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    Ok(Hops::On)
}

/// Whether a field may be shown in an answer to TRACE. Credentials may not.
pub fn may_be_reflected(name: &HeaderName) -> bool {
    !matches!(name.as_str(), "authorization" | "cookie" | "cookie2" | "proxy-authorization" | "set-cookie")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_c27() {
        type Expected = Result<(Hops, Option<&'static str>), BadMaxForwards>;
        let cases: &[(&str, &[&str], Expected)] = &[
            ("TRACE", &["0"], Ok((Hops::Here, Some("0")))),
            ("OPTIONS", &["000"], Ok((Hops::Here, Some("000")))),
            ("TRACE", &["3"], Ok((Hops::On, Some("2")))),
            ("OPTIONS", &["1"], Ok((Hops::On, Some("0")))),
            ("TRACE", &["99999999999"], Ok((Hops::On, Some("4294967294")))),
            ("GET", &["0"], Ok((Hops::On, Some("0")))),
            ("GET", &["x"], Ok((Hops::On, Some("x")))),
            ("TRACE", &[], Ok((Hops::On, None))),
            ("TRACE", &["-1"], Err(BadMaxForwards)),
            ("TRACE", &["+1"], Err(BadMaxForwards)),
            ("TRACE", &[""], Err(BadMaxForwards)),
            ("OPTIONS", &["1, 2"], Err(BadMaxForwards)),
            ("OPTIONS", &["1", "0"], Err(BadMaxForwards)),
        ];
        for (method, values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(MAX_FORWARDS, HeaderValue::from_static(value));
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = take_hop(&method, &mut headers);
            let left = headers.get(MAX_FORWARDS).and_then(|value| value.to_str().ok());
            assert_eq!(found.map(|hops| (hops, left)), *expected, "C27 {method} {values:?}");
        }
    }

    #[test]
    fn credentials_are_not_reflected_c28() {
        for name in ["Cookie", "Authorization", "Proxy-Authorization"] {
            assert!(!may_be_reflected(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "C28 {name}");
        }
        assert!(may_be_reflected(&HeaderName::from_static("via")));
    }
}
