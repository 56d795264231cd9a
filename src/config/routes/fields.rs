//! `headers` of a route: which fields a forwarded request is given, and which are taken from it.
//!
//! Names and values are checked here once, so that whoever writes a head need not look: no field that frames or routes a
//! message or speaks about a connection, no value that ends its line.

use http::HeaderName;

use crate::config::{
    reader::text,
    section::Section,
    tree::{Kind, Value},
};

/// `headers` of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSettings {
    /// Fields that are written, in the place of what the client sent in them.
    pub set: Vec<SetField>,
    /// Fields that are taken away.
    pub remove: Vec<String>,
}

/// A field that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetField {
    /// As it is written in the configuration.
    pub name: String,
    /// One after the other.
    pub value: Vec<ValuePart>,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePart {
    /// `$client_ip`: the client's address.
    ClientIp,
    /// `$request_id`: what the request is called in the access log.
    RequestId,
    /// Itself.
    Text(String),
    /// `$user`: who has logged in; nothing when nobody has.
    User,
}

/// Each is compared with each field of a request.
const MAX_FIELDS: usize = 32;

/// The longest value as it is written, in bytes.
const MAX_VALUE: usize = 1024;

const VARIABLES: [(&str, ValuePart); 3] =
    [("client_ip", ValuePart::ClientIp), ("request_id", ValuePart::RequestId), ("user", ValuePart::User)];

/// Fields that are written by what is known of a message and its way, or that speak about one connection.
const OURS: [&str; 17] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "proxy-status",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

pub(super) fn read(section: &mut Section<'_, '_>) -> FieldSettings {
    let set = section.pairs("set", |name, value| {
        let name = field_name(name)?;
        Ok(SetField { name, value: parts(value)? })
    });
    let remove = section.list("remove", |value| field_name(&text(value).unwrap_or_default()));
    for (what, count) in [("set", set.len()), ("remove", remove.len())] {
        if count > MAX_FIELDS {
            section.problem(what, &format!("found {count} of them; {MAX_FIELDS} at most are accepted"));
        }
    }
    for (index, field) in set.iter().enumerate() {
        let is_same = |other: &str| other.eq_ignore_ascii_case(&field.name);
        if set[..index].iter().any(|other| is_same(&other.name)) {
            section.problem("set", &format!("has {:?} twice; each field is accepted once", field.name));
        }
        if remove.iter().any(|other| is_same(other)) {
            let text =
                format!("has {:?}, which is set, too: what is set takes the place of what came", field.name);
            section.problem("remove", &text);
        }
    }
    FieldSettings { set, remove }
}

fn field_name(name: &str) -> Result<String, String> {
    let known: HeaderName =
        name.parse().map_err(|_| "the name of a header field such as X-Client is accepted".to_owned())?;
    if OURS.contains(&known.as_str()) {
        return Err(format!(
            "{known} frames or routes a message, or is about one connection: other fields are accepted"
        ));
    }
    Ok(name.to_owned())
}

/// A value in its parts.
fn parts(value: &Value) -> Result<Vec<ValuePart>, String> {
    let text = match &value.kind {
        Kind::Bool(value) => Some(value.to_string()),
        _ => text(value),
    };
    let text = text.filter(|text| {
        (1..=MAX_VALUE).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text
    });
    let text = text.ok_or_else(|| {
        format!("a text of 1 to {MAX_VALUE} bytes, without control characters and white space around it, is accepted")
    })?;
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text.as_str());
    while let Some((before, behind)) = rest.split_once('$') {
        plain.push_str(before);
        if let Some(behind) = behind.strip_prefix('$') {
            plain.push('$');
            rest = behind;
            continue;
        }
        let (name, behind) = variable(behind);
        let known = VARIABLES.iter().find(|(known, _)| *known == name);
        let (_, part) = known.ok_or_else(|| {
            format!("${name} means nothing: $client_ip, $user, $request_id are accepted, and $$ for a dollar")
        })?;
        if !plain.is_empty() {
            parts.push(ValuePart::Text(std::mem::take(&mut plain)));
        }
        parts.push(part.clone());
        rest = behind;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(ValuePart::Text(plain));
    }
    Ok(parts)
}

/// The name behind a dollar, and what follows: `user` and `${user}`, where a letter follows.
fn variable(text: &str) -> (&str, &str) {
    if let Some((name, behind)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name, behind);
    }
    let end = text.find(|char: char| !char.is_ascii_lowercase() && char != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Origin;

    fn parsed(text: &str) -> Result<Vec<ValuePart>, String> {
        parts(&Value::new(Kind::Text(text.to_owned()), Origin::Default))
    }

    #[test]
    fn values() {
        use ValuePart::{ClientIp, RequestId, Text, User};
        let text = |text: &str| Text(text.to_owned());
        for (written, expected) in [
            ("yes", vec![text("yes")]),
            ("$client_ip", vec![ClientIp]),
            (
                "for=$client_ip;id=${request_id}x",
                vec![text("for="), ClientIp, text(";id="), RequestId, text("x")],
            ),
            ("$$5 for $user", vec![text("$5 for "), User]),
            ("$user$user", vec![User, User]),
            ("a$$", vec![text("a$")]),
        ] {
            assert_eq!(parsed(written), Ok(expected), "{written}");
        }
        for (written, expected) in [
            ("$users", "$users means nothing"),
            ("$", "$ means nothing"),
            ("$Client_ip", "$ means nothing"),
            ("${user", "$ means nothing"),
            ("", "a text of 1 to"),
            (" a", "a text of 1 to"),
            ("a\r\nb: c", "a text of 1 to"),
            (&"a".repeat(1025), "a text of 1 to"),
        ] {
            assert!(parsed(written).unwrap_err().contains(expected), "{written:?} {:?}", parsed(written));
        }
    }

    #[test]
    fn names() {
        assert_eq!(field_name("X-Client"), Ok("X-Client".to_owned()));
        for name in
            ["Host", "transfer-encoding", "Connection", "Content-Length", "VIA", "a b", "a:", "", "x\r\ny"]
        {
            assert!(field_name(name).is_err(), "{name}");
        }
    }
}
