//! What the operator wants changed of the fields of a request: those that are written by us, and those that are taken away.
//!
//! Must not know which requests it is for. What a client sends in such a field never travels on, neither as a line nor as a
//! trailer, nor with `_` for `-`: many servers take the two for the same name.

use std::net::IpAddr;

use super::trace::RequestId;

/// Fields that are written, and fields that are taken away. Names and values are checked by whoever makes it: no field that
/// frames or routes a message, no value that ends its line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// In this order.
    pub set: Vec<FieldSet>,
    /// Their names.
    pub remove: Vec<Box<str>>,
}

/// A field that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSet {
    /// In the case that is sent where case is kept.
    pub name: Box<str>,
    /// One after the other.
    pub value: Vec<ValuePart>,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePart {
    /// The client's address.
    ClientIp,
    /// What the request is called.
    RequestId,
    /// Itself.
    Text(Box<str>),
    /// Who has logged in.
    User,
}

/// Edits, and what they need to know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Edits<'a> {
    /// What is changed.
    pub fields: &'a FieldEdits,
    /// Who has logged in.
    pub user: Option<&'a str>,
    /// The client.
    pub client: IpAddr,
    /// What the request is called.
    pub id: RequestId,
}

impl FieldEdits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// Whether what a client sends in this field does not travel on.
    #[must_use]
    pub fn takes(&self, name: &[u8]) -> bool {
        self.names().any(|taken| is_same_name(taken.as_bytes(), name))
    }

    /// The fields that are written or taken away.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.set.iter().map(|field| &*field.name).chain(self.remove.iter().map(|name| &**name))
    }
}

impl Edits<'_> {
    /// Writes the fields that are written. One without a value, as of a user when nobody has logged in, is not.
    pub(super) fn write(&self, out: &mut Vec<u8>, keep_case: bool) {
        for field in &self.fields.set {
            let start = out.len();
            out.extend_from_slice(field.name.as_bytes());
            if !keep_case {
                out[start..].make_ascii_lowercase();
            }
            out.extend_from_slice(b": ");
            let value = out.len();
            for part in &field.value {
                self.write_part(out, part);
            }
            if out.len() == value {
                out.truncate(start);
            } else {
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    fn write_part(&self, out: &mut Vec<u8>, part: &ValuePart) {
        use std::io::Write as _;
        // Writing to memory does not fail.
        let _ = match part {
            ValuePart::ClientIp => write!(out, "{}", self.client.to_canonical()),
            ValuePart::RequestId => write!(out, "{}", self.id),
            ValuePart::Text(text) => out.write_all(text.as_bytes()),
            // Whatever a user is called, it is one value: nothing in it ends the line.
            ValuePart::User => out.write_all(self.user.unwrap_or_default().as_bytes()),
        };
    }
}

/// Whether a server may take one name for the other: CGI and what comes of it knows no `-`.
pub(super) fn is_same_name(ours: &[u8], name: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    ours.len() == name.len() && ours.iter().map(plain).eq(name.iter().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_and_what_is_taken() {
        let text = |text: &str| ValuePart::Text(text.into());
        let set = |name: &str, value: Vec<ValuePart>| FieldSet { name: name.into(), value };
        let fields = FieldEdits {
            set: vec![
                set("X-Client", vec![text("for="), ValuePart::ClientIp]),
                set("X-User", vec![ValuePart::User]),
            ],
            remove: vec!["Cookie".into()],
        };
        let client = "::ffff:192.0.2.7".parse().unwrap();
        let written = |user, keep_case| {
            let mut out = Vec::new();
            Edits { fields: &fields, user, client, id: RequestId::next() }.write(&mut out, keep_case);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Some("ann"), true), "X-Client: for=192.0.2.7\r\nX-User: ann\r\n");
        assert_eq!(written(None, false), "x-client: for=192.0.2.7\r\n");
        for name in ["x-client", "X_CLIENT", "X-User", "cookie"] {
            assert!(fields.takes(name.as_bytes()), "{name}");
        }
        for name in ["x-clients", "xclient", "cookie2", ""] {
            assert!(!fields.takes(name.as_bytes()), "{name}");
        }
        assert!(FieldEdits::default().is_empty() && !fields.is_empty());
    }
}
