//! Version 1: a line of text.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{Header, HeaderError};

/// What it begins with, in upper case.
pub(super) const BEGINNING: &[u8] = b"PROXY ";

/// One that names nobody.
pub(super) const OWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// The longest line with its end, which is that of two IPv6 addresses written in full.
const LINE_MAX: usize = 107;

/// `bytes` begin like one, as far as they go.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let within = &bytes[..bytes.len().min(LINE_MAX)];
    let end = memchr::memchr(b'\n', within);
    let line = &within[..end.unwrap_or(within.len())];
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    // Bytes that no line has need not be waited for, and it is the same answer when nothing more is to come.
    if !text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(HeaderError::Malformed);
    }
    let Some(end) = end else {
        return if bytes.len() < LINE_MAX { Ok(None) } else { Err(HeaderError::Line) };
    };
    let line = line.strip_suffix(b"\r").ok_or(HeaderError::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| HeaderError::Malformed)?;
    let rest = line.get(BEGINNING.len()..).ok_or(HeaderError::Malformed)?;
    let (client, destination) = ends(rest).ok_or(HeaderError::Malformed)?.unzip();
    Ok(Some(Header { client, destination, length: end + 1 }))
}

/// What stands behind `PROXY `. The outer none: that is malformed.
fn ends(rest: &str) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let (family, addresses) = rest.split_once(' ').unwrap_or((rest, ""));
    match family {
        // Whatever follows is to be ignored.
        "UNKNOWN" => Some(None),
        "TCP4" => endpoints::<Ipv4Addr>(addresses).map(Some),
        "TCP6" => endpoints::<Ipv6Addr>(addresses).map(Some),
        _ => None,
    }
}

/// Two addresses, and the two ports behind them.
fn endpoints<A: FromStr + Into<IpAddr>>(text: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = text.split(' ');
    let [client, destination, client_port, port] = std::array::from_fn(|_| words.next());
    if words.next().is_some() {
        return None;
    }
    let (client, destination): (A, A) = (client?.parse().ok()?, destination?.parse().ok()?);
    let (client_port, port) = (decimal(client_port?)?, decimal(port?)?);
    Some((SocketAddr::new(client.into(), client_port), SocketAddr::new(destination.into(), port)))
}

/// A port without a sign or a zero in front.
fn decimal(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

pub(super) fn write(client: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    let ports = (client.port(), destination.port());
    // Writing to memory does not fail.
    let _ = match (client.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(destination)) => {
            write!(out, "PROXY TCP4 {client} {destination} {} {}\r\n", ports.0, ports.1)
        }
        (client, destination) => {
            let (client, destination) = (super::v2::as_v6(client), super::v2::as_v6(destination));
            write!(out, "PROXY TCP6 {client} {destination} {} {}\r\n", ports.0, ports.1)
        }
    };
}
