//! What a balancer says of a connection before anything else is sent on it: the PROXY protocol, versions 1 and 2
//! (haproxy, `doc/proxy-protocol.txt`).
//!
//! Pure: bytes in, an address out, and the other way round. Must not know whom to believe. A header is judged byte by byte as it
//! comes and never takes more than [`LENGTH_MAX`], and nothing behind it is looked at.
//!
//! Where a header names nobody (`LOCAL`, `UNKNOWN`, `AF_UNSPEC`, and `AF_UNIX`, whose addresses mean nothing here), the address
//! of the connection itself holds. What stands for a datagram protocol cannot be about a connection, and is refused.

mod checksum;
mod v1;
mod v2;

use std::net::SocketAddr;

/// The most that one header takes, in bytes.
pub const LENGTH_MAX: usize = v2::FIXED + v2::DECLARED_MAX;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose connection it is; none = that of whom it comes from.
    pub client: Option<SocketAddr>,
    /// What that one has connected to.
    pub destination: Option<SocketAddr>,
    /// So many bytes it takes.
    pub length: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They do not begin as one of version 1 or 2.
    #[error("it does not begin with a PROXY header")]
    Missing,
    /// The line is longer than 107 bytes, or does not end in CRLF.
    #[error("the line of a PROXY header of version 1 is too long or does not end in CRLF")]
    Line,
    /// Not `TCP4`, `TCP6` or `UNKNOWN`, or not two addresses of that family and two ports behind it, or a byte that no line has.
    #[error("the line of a PROXY header of version 1 is malformed")]
    Malformed,
    /// Another version than 2 behind the signature of version 2, or a command that is neither `LOCAL` nor `PROXY`.
    #[error("a PROXY header has an unknown version or command")]
    Command,
    /// A family or protocol that no connection can have.
    #[error("a PROXY header is of an unknown family or a protocol without connections")]
    Family,
    /// The length is less than the addresses take, or more than is read.
    #[error("the length in a PROXY header is too small for its addresses or above {}", v2::DECLARED_MAX)]
    Length,
    /// What follows the addresses is cut.
    #[error("what follows the addresses in a PROXY header is cut")]
    Extensions,
    /// The checksum says that it was changed.
    #[error("the checksum in a PROXY header is wrong")]
    Checksum,
}

/// Which header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The header at the beginning of `bytes`; none while it is not complete.
///
/// # Errors
///
/// As soon as it can be told that there is none, or one that is wrong.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let begins = |with: &[u8]| {
        let both = bytes.len().min(with.len());
        bytes[..both] == with[..both]
    };
    if begins(v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins(v1::BEGINNING) {
        v1::parse(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Appends the header that says: from `client` to `destination`. Where one of them is IPv4 and the other is not, it is written
/// as the IPv6 address that stands for it.
pub fn write(version: Version, client: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    match version {
        Version::V1 => v1::write(client, destination, out),
        Version::V2 => v2::write(client, destination, out),
    }
}

/// Appends the header that says: on behalf of nobody else, as a health check is.
pub fn write_own(version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match version {
        Version::V1 => v1::OWN,
        Version::V2 => v2::OWN,
    });
}

#[cfg(test)]
mod tests;
