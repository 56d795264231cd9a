//! Texts that somebody else chose, made harmless for the syntax of a line.
//!
//! Invariant: whatever the bytes, what is appended is of the syntax, has no line feed and nothing that a terminal obeys,
//! and is no longer than the room it is given.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A syntax of texts.
pub(super) trait Escape {
    /// Stands at the end of a text that was cut.
    const CUT: &'static str;

    /// Whether the byte stands for itself.
    fn is_plain(byte: u8) -> bool;

    /// Appends the other form of a character.
    fn char(line: &mut Vec<u8>, char: char);

    /// Appends a form of bytes that are no UTF-8.
    fn invalid(line: &mut Vec<u8>, bytes: &[u8]);
}

/// The inside of a JSON string. What is no UTF-8 becomes U+FFFD.
pub(super) enum Json {}

/// The inside of a quoted text as Apache writes it: ASCII, the rest as `\xhh`.
pub(super) enum Quoted {}

/// A word as Squid writes it: visible ASCII, the rest as `%HH`.
pub(super) enum Word {}

impl Escape for Json {
    const CUT: &'static str = "…";

    fn is_plain(byte: u8) -> bool {
        matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
    }

    fn char(line: &mut Vec<u8>, char: char) {
        match char {
            '"' | '\\' => line.extend_from_slice(&[b'\\', char as u8]),
            // U+2028 and U+2029 end a line for some readers.
            _ if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                line.extend_from_slice(b"\\u");
                line.extend([12, 8, 4, 0].map(|shift| HEX[(char as usize) >> shift & 15]));
            }
            _ => line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    fn invalid(line: &mut Vec<u8>, _: &[u8]) {
        line.extend_from_slice("\u{fffd}".as_bytes());
    }
}

impl Escape for Quoted {
    const CUT: &'static str = "...";

    fn is_plain(byte: u8) -> bool {
        Json::is_plain(byte)
    }

    fn char(line: &mut Vec<u8>, char: char) {
        match char {
            '"' | '\\' => line.extend_from_slice(&[b'\\', char as u8]),
            _ => Self::invalid(line, char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    fn invalid(line: &mut Vec<u8>, bytes: &[u8]) {
        for byte in bytes {
            line.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

impl Escape for Word {
    const CUT: &'static str = "...";

    fn is_plain(byte: u8) -> bool {
        // A percent sign is a client's own escape nearly always; Squid keeps it too.
        matches!(byte, b'!'..=b'~') & (byte != b'"') & (byte != b'\\')
    }

    fn char(line: &mut Vec<u8>, char: char) {
        Self::invalid(line, char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn invalid(line: &mut Vec<u8>, bytes: &[u8]) {
        for byte in bytes {
            let hex = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            line.push(b'%');
            line.extend(hex.map(|digit| digit.to_ascii_uppercase()));
        }
    }
}

/// Appends `value` in at most `room` bytes; whether it is all there. What is longer is cut and marked; less room than a
/// mark takes is none.
pub(super) fn text<E: Escape>(line: &mut Vec<u8>, value: &[u8], room: usize) -> bool {
    // Looking at every byte, rather than stopping at the first that is not plain, is done many at a time.
    if value.len() <= room && value.iter().fold(true, |plain, byte| plain & E::is_plain(*byte)) {
        line.extend_from_slice(value);
        return true;
    }
    let start = line.len();
    // Where a text has to end that a mark follows.
    let mut fitting = start;
    for chunk in value.utf8_chunks() {
        let invalid = Some(Err(chunk.invalid())).filter(|_| !chunk.invalid().is_empty());
        for piece in chunk.valid().chars().map(Ok).chain(invalid) {
            match piece {
                Ok(char) if char.is_ascii() && E::is_plain(char as u8) => line.push(char as u8),
                Ok(char) => E::char(line, char),
                Err(bytes) => E::invalid(line, bytes),
            }
            if line.len() > start + room {
                line.truncate(fitting);
                if room >= E::CUT.len() {
                    line.extend_from_slice(E::CUT.as_bytes());
                }
                return false;
            }
            if line.len() + E::CUT.len() <= start + room {
                fitting = line.len();
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped<E: Escape>(value: &[u8], room: usize) -> String {
        let mut line = b"before ".to_vec();
        text::<E>(&mut line, value, room);
        String::from_utf8(line.split_off(7)).unwrap()
    }

    #[test]
    fn each_syntax_has_its_form() {
        let nasty = b"a\"\\ \n\x1b[\x7f\xc3\xa9\xff%41";
        assert_eq!(escaped::<Json>(nasty, 99), "a\\\"\\\\ \\u000a\\u001b[\\u007f\u{e9}\u{fffd}%41");
        assert_eq!(escaped::<Quoted>(nasty, 99), "a\\\"\\\\ \\x0a\\x1b[\\x7f\\xc3\\xa9\\xff%41");
        assert_eq!(escaped::<Word>(nasty, 99), "a%22%5C%20%0A%1B[%7F%C3%A9%FF%41");
        assert_eq!(escaped::<Json>("\u{85}\u{2028}".as_bytes(), 99), "\\u0085\\u2028");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        for (value, room, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abc\u{2026}"),
            ("abc\n", 9, "abc\\u000a"),
            ("abc\n", 8, "abc\u{2026}"),
            ("\u{e9}\u{e9}\u{e9}", 6, "\u{e9}\u{e9}\u{e9}"),
            ("\u{e9}\u{e9}\u{e9}", 5, "\u{e9}\u{2026}"),
            ("abc", 2, ""),
            ("abc", 0, ""),
            ("", 0, ""),
        ] {
            assert_eq!(escaped::<Json>(value.as_bytes(), room), expected, "{value:?} in {room}");
        }
    }

    #[test]
    fn the_room_is_never_passed() {
        let all: Vec<u8> = (0..=255).chain("\u{1f600}\u{2029}".bytes()).collect();
        for start in 0..all.len() {
            for room in 0..80 {
                for line in [
                    escaped::<Json>(&all[start..], room),
                    escaped::<Quoted>(&all[start..], room),
                    escaped::<Word>(&all[start..], room),
                ] {
                    assert!(line.len() <= room && !line.chars().any(char::is_control), "{line:?} in {room}");
                }
            }
        }
    }
}
