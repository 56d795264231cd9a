//! The values of the two fields that frame a message.
//!
//! Must not know requests from responses. `Content-Length` is digits and nothing else; a `Transfer-Encoding` is
//! `chunked`, once, or it is something we do not do.

use super::super::list;

/// `1*DIGIT` below 2^63 (RFC 9112 6.3: an overflow must not become a wrong length). Some readers keep lengths in signed
/// words.
pub(super) fn content_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let length = digits.iter().try_fold(0_i64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    u64::try_from(length).ok()
}

/// What the lines of `Transfer-Encoding` say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// No such field.
    Absent,
    /// Exactly `chunked`.
    Chunked,
    /// Names we do not know, or combinations that we do not do.
    Unknown,
    /// Not a list of tokens, empty, or `chunked` where it may not stand.
    Malformed,
}

impl Coding {
    /// With one more line of the field.
    pub(super) fn and(self, value: &[u8]) -> Self {
        let mut coding = self;
        let mut members = list::members(value).peekable();
        if members.peek().is_none() {
            return Self::Malformed;
        }
        for member in members {
            let name = member.split(|&byte| byte == b';').next().unwrap_or_default();
            coding = match coding {
                Self::Absent if member.eq_ignore_ascii_case(b"chunked") => Self::Chunked,
                Self::Absent | Self::Unknown if list::is_token(list::trim(name)) => Self::Unknown,
                // Not a token; or something follows chunked, if only itself.
                Self::Absent | Self::Unknown | Self::Chunked | Self::Malformed => Self::Malformed,
            };
        }
        coding
    }
}
