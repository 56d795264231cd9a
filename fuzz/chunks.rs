//! Where llhttp and we differ on chunked bodies. None of it is sent on: chunks are written anew for the next hop.

use rust_forward_proxy::message::{
    framing::{ChunkError, ChunkLimits, ChunkScan},
    hop_by_hop::may_be_trailer,
};

/// Why llhttp may refuse a chunked body that passes, or pass one that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// White space between a chunk's size and the end of its line. The grammar has it in front of an extension only
    /// (RFC 9112 section 7.1.1); some senders pad with it.
    SpaceBehindSize,
    /// A chunk extension that is text, but not `name`, `name=token` or `name="…"`. A recipient ignores extensions
    /// that it does not know (RFC 9112 section 7.1.1).
    Extension,
    /// A field in a trailer section that frames or routes. llhttp takes trailers for headers there; a recipient is to ignore
    /// them (RFC 9110 section 6.5.1).
    ForbiddenTrailer,
    /// A trailer line that ends in LF alone, which a recipient may take for a line's end (RFC 9112 section 2.2). In responses
    /// only: nothing of the kind passes from a client.
    BareLf,
    /// More trailers, longer extensions or more zeros in front of a size than we take, where the RFC asks for bounds
    /// (RFC 9112 section 7.1 and 7.1.1). It is the other way round: llhttp has none.
    Bounds,
}

/// The exception in the body that `behind` begins with, found in the bytes and not in what llhttp says of them.
pub fn exception(behind: &[u8]) -> Option<Exception> {
    let scanned = ChunkScan::new(ChunkLimits::default()).feed(behind);
    if matches!(
        scanned,
        Err(ChunkError::ExtensionsTooLong | ChunkError::SizeOverflow | ChunkError::TrailersTooLong)
    ) {
        return Some(Exception::Bounds);
    }
    let mut at = 0;
    loop {
        let line = line(&behind[at..]);
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = &line[digits..];
        match rest {
            [] => {}
            [b' ' | b'\t', ..] => return Some(Exception::SpaceBehindSize),
            _ if !is_extension(rest) => return Some(Exception::Extension),
            _ => {}
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        at = at.checked_add(line.len() + 2)?;
        if size == 0 {
            return trailer_exception(behind.get(at..)?);
        }
        at = at.checked_add(size)?.checked_add(2)?;
        if at >= behind.len() {
            return None;
        }
    }
}

fn trailer_exception(section: &[u8]) -> Option<Exception> {
    for line in section.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" {
            return None;
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if !may_be_trailer(name.trim_ascii()) {
            return Some(Exception::ForbiddenTrailer);
        }
        if !line.ends_with(b"\r\n") {
            return Some(Exception::BareLf);
        }
    }
    None
}

/// Up to the first CRLF.
fn line(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap_or(bytes.len());
    &bytes[..end]
}

/// `*( ";" token [ "=" ( token / quoted-string ) ] )`, without white space.
fn is_extension(mut rest: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let token = |bytes: &[u8]| bytes.iter().take_while(|byte| is_tchar(byte)).count();
    while let [b';', behind @ ..] = rest {
        let name = token(behind);
        if name == 0 {
            return false;
        }
        rest = &behind[name..];
        if let [b'=', value @ ..] = rest {
            let length = match value {
                [b'"', quoted @ ..] => match quoted.iter().position(|byte| *byte == b'"') {
                    Some(end) if !quoted[..end].contains(&b'\\') => end + 2,
                    _ => return false,
                },
                _ => token(value),
            };
            if length == 0 {
                return false;
            }
            rest = &value[length..];
        }
    }
    rest.is_empty()
}
