//! Comma-separated lists in field values (RFC 9110 5.6.1).
//!
//! Works on bytes, because a field value need not be text. Knows no field. Empty members are skipped, and only
//! SP and HTAB are taken for whitespace.

/// The members of one field line, trimmed, the empty ones left out.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// Without SP and HTAB at both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether this is a token (RFC 9110 5.6.2): one or more `tchar`.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// Whether this byte may stand in a token.
pub(super) const fn is_tchar(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    ) || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_trimmed_and_empty_ones_skipped() {
        let found: Vec<_> = members(b" a ,, \tb\t,c d, ").collect();
        assert_eq!(found, [b"a".as_slice(), b"b", b"c d"]);
        assert_eq!(members(b"").count(), 0);
        assert_eq!(trim(b"\x0bchunked"), b"\x0bchunked", "only SP and HTAB are whitespace");
    }

    #[test]
    fn tokens() {
        assert!(is_token(b"GET") && is_token(b"x-1!#~"));
        assert!(!is_token(b"") && !is_token(b"a b") && !is_token(b"a:b") && !is_token(b"\xe9"));
    }
}
