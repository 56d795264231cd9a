//! Version 2: binary, and extensible.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Header, HeaderError, checksum};

/// What it begins with: nothing that any protocol begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// One that names nobody.
pub(super) const OWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Signature, version and command, family and protocol, length.
pub(super) const FIXED: usize = 16;

/// The most that may follow that: far more than balancers send, certificates of clients included.
pub(super) const DECLARED_MAX: usize = 4096;

const V4_LENGTH: usize = 12;
const V6_LENGTH: usize = 36;
const UNIX_LENGTH: usize = 216;

/// The extension that holds a CRC32c of the whole header, in which it is itself zero.
const CRC32C: u8 = 0x03;

/// `bytes` begin like one, as far as they go.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    // Each part is judged when it is there.
    let command = bytes.get(12).copied();
    if command.is_some_and(|command| !matches!(command, 0x20 | 0x21)) {
        return Err(HeaderError::Command);
    }
    let is_local = command == Some(0x20);
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    let addresses = match family {
        // Whatever a health check says of itself is not looked at.
        _ if is_local => 0,
        0x00 => 0,
        0x11 => V4_LENGTH,
        0x21 => V6_LENGTH,
        0x31 => UNIX_LENGTH,
        _ => return Err(HeaderError::Family),
    };
    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let declared = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if !(addresses..=DECLARED_MAX).contains(&declared) {
        return Err(HeaderError::Length);
    }
    let Some(header) = bytes.get(..FIXED + declared) else { return Ok(None) };
    // What is behind an unspecified family is not said to have a form.
    if !is_local && family != 0x00 {
        check_extensions(header, FIXED + addresses)?;
    }
    let rest = &header[FIXED..];
    let (client, destination) = match family {
        _ if is_local => (None, None),
        0x11 => (end::<4>(rest, 0, 8), end::<4>(rest, 4, 10)),
        0x21 => (end::<16>(rest, 0, 32), end::<16>(rest, 16, 34)),
        _ => (None, None),
    };
    Ok(Some(Header { client, destination, length: header.len() }))
}

/// The address of `N` bytes at one place, with the port at another.
fn end<const N: usize>(rest: &[u8], address: usize, port: usize) -> Option<SocketAddr>
where
    [u8; N]: Into<IpAddr>,
{
    let address: [u8; N] = *rest.get(address..)?.first_chunk()?;
    let port = rest.get(port..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))?;
    Some(SocketAddr::new(address.into(), port))
}

/// Type, length, value, one after the other from `at` to the end. All are passed over, but a checksum has to be right.
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), HeaderError> {
    while at < header.len() {
        let [kind, high, low] = *header[at..].first_chunk().ok_or(HeaderError::Extensions)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = at + 3..at + 3 + length;
        let bytes = header.get(value.clone()).ok_or(HeaderError::Extensions)?;
        if kind == CRC32C {
            let said = bytes.try_into().map(u32::from_be_bytes).map_err(|_| HeaderError::Checksum)?;
            let parts = [&header[..value.start], &[0; 4], &header[value.end..]];
            if checksum::crc32c(parts.into_iter().flatten()) != said {
                return Err(HeaderError::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

pub(super) fn write(client: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    match (client.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, V4_LENGTH as u8]);
            out.extend_from_slice(&client.octets());
            out.extend_from_slice(&destination.octets());
        }
        (client, destination) => {
            out.extend_from_slice(&[0x21, 0x21, 0, V6_LENGTH as u8]);
            out.extend_from_slice(&as_v6(client).octets());
            out.extend_from_slice(&as_v6(destination).octets());
        }
    }
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

/// An IPv4 address as the IPv6 one that stands for it.
pub(super) fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
