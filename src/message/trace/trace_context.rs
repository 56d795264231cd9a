//! The trace that a request belongs to, as its client says it (W3C Trace Context, section 3.2).
//!
//! It is only noted, never changed: the field goes on to the origin as any other does.

use crate::message::field::{Field, Name};

/// `version-trace_id-parent_id-flags`, each of them hexadecimal digits.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// A `traceparent` that is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(Box<str>);

impl TraceParent {
    /// What these fields say, unless they say it twice or it is none.
    #[must_use]
    pub fn of<'a>(fields: impl Iterator<Item = Field<'a>>) -> Option<Self> {
        let mut values = fields.filter(|field| field.known == Name::TraceParent).map(|field| field.value);
        let value = values.next().filter(|value| is_traceparent(value))?;
        let parts = std::str::from_utf8(&value[..LENGTH]).ok()?;
        values.next().is_none().then(|| Self(parts.into()))
    }

    /// Its four parts. What a later version has behind them is not shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_traceparent(value: &[u8]) -> bool {
    let Some((parts, rest)) = value.split_at_checked(LENGTH) else { return false };
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let [version, trace, parent, flags] = [&parts[..2], &parts[3..35], &parts[36..52], &parts[53..]];
    let is_complete = match version {
        b"ff" => false,
        b"00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    is_complete
        && [2, 35, 52].iter().all(|at| parts[*at] == b'-')
        && [version, trace, parent, flags].into_iter().all(is_hex)
        && !is_zero(trace)
        && !is_zero(parent)
        // What cannot be shown as text is none.
        && value.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(values: &[&str]) -> Option<String> {
        let fields = values.iter().map(|value| Field {
            name: b"traceparent",
            value: value.as_bytes(),
            known: Name::TraceParent,
        });
        TraceParent::of(fields).map(|trace| trace.as_str().to_owned())
    }

    #[test]
    fn what_is_one_is_noted_in_four_parts() {
        assert_eq!(of(&[GOOD]).as_deref(), Some(GOOD));
        let later = GOOD.replacen("00", "cc", 1);
        assert_eq!(of(&[&format!("{later}-what-comes-then")]), Some(later.clone()));
        assert_eq!(of(&[&later]), Some(later));
        for bad in [
            "",
            "x",
            &GOOD[..54],
            &GOOD.to_ascii_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            &format!("{GOOD}0"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &GOOD.replace("01", "0g"),
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_eq!(of(&[GOOD, GOOD]), None, "two of them say nothing");
        assert_eq!(of(&[]), None);
    }
}
