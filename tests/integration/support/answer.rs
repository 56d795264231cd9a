//! A response as the client saw it, and what must be true of each that the proxy made itself.

use std::collections::BTreeMap;

use super::{Body, Head};

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The 1xx before it.
    pub(crate) interim: Vec<Head>,
    pub(crate) head: Head,
    pub(crate) body: Body,
}

/// One member of `Proxy-Status` (RFC 9209).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyStatus {
    pub(crate) name: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.bytes).into_owned()
    }

    /// The members of `Proxy-Status`, read as a structured-field list; panics when it is not one.
    #[track_caller]
    pub(crate) fn proxy_status(&self) -> Vec<ProxyStatus> {
        let list = self.head.list("proxy-status");
        split(&list, ',').iter().map(|member| ProxyStatus::parse(member)).collect()
    }

    /// The error that the proxy named, as the last member of `Proxy-Status`.
    #[track_caller]
    pub(crate) fn error(&self) -> Option<String> {
        let ours = self.proxy_status().pop()?;
        assert_eq!(ours.name, "px", "the last member is the proxy that answered: {:?}", self.head);
        ours.parameters.get("error").cloned()
    }

    /// This is the proxy's own answer: one of these statuses, complete, with a text of one line, `Via`, and
    /// `Proxy-Status` with an error in it.
    #[track_caller]
    pub(crate) fn expect_own(&self, statuses: &[u16]) {
        assert!(statuses.contains(&self.status()), "one of {statuses:?} was expected: {self:?}");
        assert!(self.body.complete, "cut short: {self:?}");
        assert!(self.error().is_some(), "no error in Proxy-Status: {:?}", self.head);
        assert!(self.head.list("via").ends_with("px"), "no Via: {:?}", self.head);
        let text = self.text();
        assert!(!text.trim().is_empty(), "no text: {:?}", self.head);
        assert_eq!(text.trim_end().lines().count(), 1, "more than a line: {text:?}");
    }

    /// This is the proxy's own answer with exactly this status and error.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, error: &str) {
        self.expect_own(&[status]);
        assert_eq!(self.error().as_deref(), Some(error), "{:?}", self.head);
    }

    /// This came from the origin, whole.
    #[track_caller]
    pub(crate) fn expect_ok(&self, body: &str) {
        assert_eq!(self.status(), 200, "{self:?}");
        assert!(self.body.complete, "cut short: {self:?}");
        assert_eq!(self.text(), body);
    }
}

impl ProxyStatus {
    #[track_caller]
    fn parse(member: &str) -> Self {
        let mut parts = split(member, ';').into_iter();
        let name = parts.next().unwrap_or_default();
        assert!(!name.is_empty(), "an empty member of Proxy-Status");
        let mut parameters = BTreeMap::new();
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, "?1"));
            let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c);
            assert!(!key.is_empty() && key.chars().all(lower), "not a key: {key:?}");
            assert!(is_item(value), "not an item: {value:?}");
            parameters.insert(key.to_owned(), value.trim_matches('"').to_owned());
        }
        assert!(is_item(name), "not an item: {name:?}");
        Self { name: name.trim_matches('"').to_owned(), parameters }
    }
}

/// A token, a number or a quoted string of RFC 9651.
fn is_item(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('"') {
        return !rest.is_empty()
            && rest.ends_with('"')
            && rest.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    }
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/?".contains(c))
}

/// Splits where `separator` stands outside of quotes, and trims.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    if !text[from..].trim().is_empty() {
        parts.push(text[from..].trim());
    }
    parts
}
