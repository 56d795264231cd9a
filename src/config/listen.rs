//! `listen_addr` and the section `listen`: where clients connect, and what they may begin with.

use std::net::SocketAddr;

use super::{
    read::nonzero_u32,
    reader::{Reader, quoted, socket_address, text},
    settings::ListenSettings,
    value::net_pattern,
};

pub(super) fn read(reader: &mut Reader<'_>) -> ListenSettings {
    ListenSettings {
        backlog: nonzero_u32(reader.number("listen.backlog", 1024, 1..=65_535)),
        proxy_protocol: reader.list(
            "listen.proxy_protocol",
            Vec::new(),
            |pattern| quoted(&pattern.to_string()),
            |value| net_pattern(&text(value).unwrap_or_default()),
        ),
        socks5: reader.bool("listen.socks5", true),
    }
}

pub(super) fn addresses(reader: &mut Reader<'_>) -> Vec<SocketAddr> {
    let default = vec![SocketAddr::from(([127, 0, 0, 1], 8080))];
    let addresses = reader.list("listen_addr", default.clone(), |at| quoted(&at.to_string()), socket_address);
    for (index, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..index].contains(address) {
            reader.problem("listen_addr", format!("{address} is there twice; each address is accepted once"));
        }
    }
    if addresses.is_empty() && !reader.problems.concern("listen_addr") {
        reader.problem("listen_addr", "found an empty list; at least one address is accepted");
    }
    // Never empty, whatever is reported.
    if addresses.is_empty() { default } else { addresses }
}
