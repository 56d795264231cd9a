//! `Via`: who forwarded a message, and whether that was us already (RFC 9110 7.6.3, 7.6).
//!
//! Must not know how a name comes about. A message that carries our name is recognised whatever else is in the field.

use http::Version;

use crate::message::{
    field::{Field, Name},
    list,
};

/// The name of this proxy in `Via` and `Proxy-Status`: a token that starts with a letter, so that it is both a
/// pseudonym (RFC 9110) and a structured-field token (RFC 9209).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym {
    name: Box<str>,
    /// Ready to be sent, by the version received: 1.0, 1.1, 2.
    members: [Box<[u8]>; 3],
}

/// Not a name that can stand in `Via`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pseudonym: a letter, then letters, digits and any of !#$%&'*+-.^_`|~ are accepted, 255 at most"
)]
pub struct BadPseudonym(String);

impl Pseudonym {
    /// From configuration.
    ///
    /// # Errors
    /// When it is not a token or starts with something else than a letter.
    pub fn parse(name: &str) -> Result<Self, BadPseudonym> {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !starts_well || !list::is_token(name.as_bytes()) || name.len() > NAME_MAX {
            return Err(BadPseudonym(name.to_owned()));
        }
        let member = |version: &str| format!("{version} {name}").into_bytes().into_boxed_slice();
        Ok(Self { name: name.into(), members: [member("1.0"), member("1.1"), member("2")] })
    }

    /// From the name of this host and the port it listens on; what is no token character becomes `-`.
    ///
    /// The port is part of it, because two proxies on one host may well be chained and must not take each other for
    /// themselves.
    pub fn automatic(host_name: &str, port: u16) -> Self {
        let mut name: String =
            host_name
                .bytes()
                .filter(u8::is_ascii)
                .take(NAME_MAX - 16)
                .map(|byte| {
                    if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
                        char::from(byte)
                    } else {
                        '-'
                    }
                })
                .collect();
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            name.insert_str(0, "proxy-");
        }
        Self::parse(&format!("{name}-{port}"))
            .expect("letters, digits, '-', '.' and '_' after a letter are a token")
    }

    /// The name alone.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What we add to `Via`. `received` is the version in which the message reached us, not the one it leaves in.
    #[must_use]
    pub fn member(&self, received: Version) -> &[u8] {
        match received {
            Version::HTTP_09 | Version::HTTP_10 => &self.members[0],
            Version::HTTP_2 => &self.members[2],
            _ => &self.members[1],
        }
    }

    /// Whether the message with these lines has passed here before.
    ///
    /// Comments are not parsed: one that is never closed could hide our name behind it, and one that quotes our name
    /// is not worth a loop.
    pub fn has_signed<'a>(&self, fields: impl Iterator<Item = Field<'a>>) -> bool {
        fields.filter(|field| field.known == Name::Via).flat_map(|field| list::members(field.value)).any(
            |member| {
                let mut words =
                    member.split(|&byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
                let received_by = words.nth(1).unwrap_or_default();
                let end = received_by.iter().position(|&byte| byte == b'(').unwrap_or(received_by.len());
                received_by[..end].eq_ignore_ascii_case(self.name.as_bytes())
            },
        )
    }
}

impl std::fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Longest name, in bytes.
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn has_signed(lines: &[&str]) -> bool {
        let fields =
            lines.iter().map(|value| Field { name: b"Via", value: value.as_bytes(), known: Name::Via });
        Pseudonym::parse("px").unwrap().has_signed(fields)
    }

    #[test]
    fn signed_by_the_version_received_c24_c25() {
        let px = Pseudonym::parse("px").unwrap();
        for (version, member) in
            [(Version::HTTP_10, "1.0 px"), (Version::HTTP_11, "1.1 px"), (Version::HTTP_2, "2 px")]
        {
            assert_eq!(px.member(version), member.as_bytes());
            assert!(has_signed(&["1.0 fred", member]));
        }
    }

    #[test]
    fn a_loop_is_recognised_c26() {
        let ours: &[&[&str]] = &[
            &["1.1 px"],
            &["1.0 a, 1.1 PX"],
            &["1.0 a", "HTTP/1.1 px (comment)"],
            &[" 1.1\t px(x)"],
            &[",, 2 px ,"],
            &["1.1 a (never closed, 1.1 px"],
        ];
        for lines in ours {
            assert!(has_signed(lines), "C26 {lines:?}");
        }
        for lines in
            [["1.1 pxx"].as_slice(), &["px"], &["1.1 a (px)"], &["1.1 px:80"], &["px 1.1"], &[""], &[]]
        {
            assert!(!has_signed(lines), "C26 {lines:?}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(Pseudonym::parse("px").unwrap().as_str(), "px");
        for bad in ["", "a b", "1px", "a,b", "a:80", "-", "é", &"x".repeat(256)] {
            assert!(Pseudonym::parse(bad).is_err(), "{bad}");
        }
        let automatic = |host| Pseudonym::automatic(host, 8080).to_string();
        assert_eq!(automatic("gate.example.com"), "gate.example.com-8080");
        assert_eq!(automatic("1st host(x)"), "proxy-1st-host-x--8080");
        assert_eq!(automatic("ünix"), "nix-8080");
        assert_eq!(automatic(""), "proxy--8080");
        assert!(automatic(&"h".repeat(300)).len() <= 255);
    }
}
