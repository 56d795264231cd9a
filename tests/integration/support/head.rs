//! A message head as it was received: the start line and the fields, in order, unchanged.

use std::fmt;

/// Lines into the bytes of a head: each ended by CRLF, and the empty line after them.
pub(crate) fn head<T: AsRef<str>>(lines: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(line.as_ref().as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[derive(Clone)]
pub(crate) struct Head {
    raw: Vec<u8>,
    start: String,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    /// From all bytes up to and with the empty line.
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let mut lines = raw.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let fields = lines.filter(|line| !line.is_empty()).map(field).collect();
        Self { raw: raw.to_vec(), start, fields }
    }

    /// The start line.
    pub(crate) fn start(&self) -> &str {
        &self.start
    }

    /// Whether these bytes occur anywhere in the head, in any case.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.raw).to_lowercase().contains(&text.to_lowercase())
    }

    /// The request-target of a request.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of a response.
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let number = self.start.split(' ').nth(1).and_then(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("not a status line: {:?}", self.start))
    }

    /// The field lines in order.
    pub(crate) fn fields(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.fields
    }

    /// The values of every line with this name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let same = |found: &[u8]| found.eq_ignore_ascii_case(name.as_bytes());
        self.fields
            .iter()
            .filter(|(found, _)| same(found))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The value of the only line with this name; none when there is none or there are several.
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() == 1 { values.pop() } else { None }
    }

    /// All lines with this name as one list.
    pub(crate) fn list(&self, name: &str) -> String {
        self.all(name).join(", ")
    }

    /// Whether a member of the list in this field is `token`, in any case.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).split(',').any(|member| member.trim().eq_ignore_ascii_case(token))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", String::from_utf8_lossy(&self.raw))
    }
}

fn field(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
    (line[..colon].to_vec(), value.to_vec())
}
