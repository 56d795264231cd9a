//! `match`: which requests something is for. Limits have one, and so will routes.

use http::Method;

use super::{
    reader::{text, whole},
    section::Section,
    settings::DestinationPattern,
    value::{destination, net_pattern},
};
use crate::net::filter::NetPattern;

/// What is written under `match`. An empty list is no condition; all others must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Hosts, suffixes, and addresses of hosts that are written as addresses.
    pub hosts: Vec<DestinationPattern>,
    /// Methods, in their case.
    pub methods: Vec<Method>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Beginnings of paths, each with its `/` in front. Compared byte for byte with what the client sent.
    pub paths: Vec<String>,
    /// Clients.
    pub clients: Vec<NetPattern>,
    /// Users.
    pub users: Vec<String>,
}

/// Reads `match` of a section.
pub(super) fn read(section: &mut Section<'_, '_>) -> Conditions {
    section
        .child("match", |section| Conditions {
            hosts: section.list("hosts", |value| destination(&text(value).unwrap_or_default())),
            methods: section.list("methods", |value| {
                let method = text(value).and_then(|method| Method::from_bytes(method.as_bytes()).ok());
                method.ok_or_else(|| "a method such as GET is accepted".to_owned())
            }),
            ports: section.list("ports", |value| whole(value, &(1..=65_535)).map(|port| port as u16)),
            paths: section.list("paths", |value| {
                let path = text(value).filter(|path| path.starts_with('/') && !path.contains(['?', '#']));
                path.ok_or_else(|| "a path that begins with / is accepted".to_owned())
            }),
            clients: section.list("clients", |value| net_pattern(&text(value).unwrap_or_default())),
            users: section.list("users", |value| {
                let user = text(value).filter(|user| super::users::check_user_name(user).is_ok());
                user.ok_or_else(|| "the name of a user is accepted".to_owned())
            }),
        })
        .unwrap_or_default()
}
