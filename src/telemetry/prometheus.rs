//! The text that Prometheus reads, over plain numbers: format 0.0.4, or OpenMetrics 1.0.0 for who asks for it.
//!
//! Knows no metric. Invariant: what is written parses, whatever a label holds; each family has its help and its type once,
//! in front of its samples. There are no `_created` samples: Prometheus does not need them, and they double a page.

use std::fmt::{self, Write};

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// What kind of numbers a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How often a number was within which bounds.
    Histogram,
    /// Always 1: its labels are what it tells. Its name ends in `_info`.
    Info,
}

/// A number of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(u64),
    /// Another one.
    Float(f64),
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    exposition: Exposition,
    text: String,
}

/// A family of a page, whose samples are being written.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Exposition {
    /// What who sends this `Accept` wants (RFC 9110 section 12.5.1): OpenMetrics where it is preferred, or equal, by name.
    #[must_use]
    pub fn negotiate(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match (media.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => {
                    open_metrics = open_metrics.max(quality);
                }
                ("text/plain", None | Some("0.0.4")) => text = text.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type of a page.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(exposition: Exposition) -> Self {
        Self { exposition, text: String::with_capacity(16 << 10) }
    }

    /// Begins a family. Each name may begin one.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let is_open = self.exposition == Exposition::OpenMetrics;
        let (suffix, open_kind, text_kind) = match kind {
            Kind::Counter => ("_total", "counter", "counter"),
            Kind::Gauge => ("", "gauge", "gauge"),
            Kind::Histogram => ("", "histogram", "histogram"),
            Kind::Info => ("_info", "info", "gauge"),
        };
        // In OpenMetrics the suffix belongs to the samples, not to the family.
        let family = name.strip_suffix(suffix).filter(|_| is_open).unwrap_or(name);
        debug_assert!(name.ends_with(suffix), "{name} lacks {suffix}");
        self.append(format_args!("# HELP {family} {}\n", Escaped { text: help, quotes: is_open }));
        self.append(format_args!("# TYPE {family} {}\n", if is_open { open_kind } else { text_kind }));
        Family { page: self, name }
    }

    /// The page.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.exposition == Exposition::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn append(&mut self, text: fmt::Arguments<'_>) {
        // Writing to memory cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> &mut Self {
        self.line("", labels, None, value.into());
        self
    }

    /// Adds a histogram: upper bounds in rising order, how many fell below each and not below the one before, one more
    /// for the rest, and the sum of all.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) -> &mut Self {
        debug_assert_eq!(bounds.len() + 1, counts.len());
        let mut below = 0;
        for (bound, count) in bounds.iter().copied().chain([f64::INFINITY]).zip(counts) {
            below += count;
            self.line("_bucket", labels, Some(bound), below.into());
        }
        self.line("_sum", labels, None, sum.into());
        self.line("_count", labels, None, below.into());
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<f64>, value: Value) {
        let Self { page, name } = self;
        page.append(format_args!("{name}{suffix}"));
        let mut mark = '{';
        for (name, value) in labels {
            page.append(format_args!("{mark}{name}=\"{}\"", Escaped { text: value, quotes: true }));
            mark = ',';
        }
        if let Some(bound) = bound {
            let is_open = page.exposition == Exposition::OpenMetrics;
            match bound {
                f64::INFINITY => page.append(format_args!("{mark}le=\"+Inf\"")),
                // The canonical forms differ: 1.0 here, 1 there.
                _ if is_open => page.append(format_args!("{mark}le=\"{bound:?}\"")),
                _ => page.append(format_args!("{mark}le=\"{bound}\"")),
            }
            mark = ',';
        }
        page.append(format_args!("{} {value}\n", if mark == ',' { "}" } else { "" }));
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Float(f64::INFINITY) => f.write_str("+Inf"),
            Self::Float(f64::NEG_INFINITY) => f.write_str("-Inf"),
            Self::Float(value) => value.fmt(f),
        }
    }
}

/// A text with its escapes.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|char| match char {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.quotes => f.write_str("\\\""),
            _ => f.write_char(char),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(exposition: Exposition) -> String {
        let mut page = Page::new(exposition);
        page.family("requests_total", Kind::Counter, "Requests, \"all\"\nof them.")
            .sample(&[("method", "GET"), ("rule", "a\\b\"c\nd")], 7_u64)
            .sample(&[], u64::MAX);
        page.family("level", Kind::Gauge, "A level.").sample(&[("at", "é")], -0.5).sample(&[], f64::INFINITY);
        page.family("seconds", Kind::Histogram, "Time.").histogram(&[], &[0.001, 1.0], &[3, 0, 2], 7.25);
        page.family("build_info", Kind::Info, "Build.").sample(&[("version", "1")], 1_u64);
        page.finish()
    }

    #[test]
    fn text() {
        let expected = r#"# HELP requests_total Requests, "all"\nof them.
# TYPE requests_total counter
requests_total{method="GET",rule="a\\b\"c\nd"} 7
requests_total 18446744073709551615
# HELP level A level.
# TYPE level gauge
level{at="é"} -0.5
level +Inf
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le="0.001"} 3
seconds_bucket{le="1"} 3
seconds_bucket{le="+Inf"} 5
seconds_sum 7.25
seconds_count 5
# HELP build_info Build.
# TYPE build_info gauge
build_info{version="1"} 1
"#;
        assert_eq!(page(Exposition::Text), expected);
    }

    #[test]
    fn open_metrics() {
        let expected = r#"# HELP requests Requests, \"all\"\nof them.
# TYPE requests counter
requests_total{method="GET",rule="a\\b\"c\nd"} 7
requests_total 18446744073709551615
# HELP level A level.
# TYPE level gauge
level{at="é"} -0.5
level +Inf
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le="0.001"} 3
seconds_bucket{le="1.0"} 3
seconds_bucket{le="+Inf"} 5
seconds_sum 7.25
seconds_count 5
# HELP build Build.
# TYPE build info
build_info{version="1"} 1
# EOF
"#;
        assert_eq!(page(Exposition::OpenMetrics), expected);
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus, Exposition::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", Exposition::OpenMetrics),
            ("application/openmetrics-text, text/plain", Exposition::OpenMetrics),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.3", Exposition::Text),
            ("application/openmetrics-text;q=0", Exposition::Text),
            ("application/openmetrics-text;version=2.0.0", Exposition::Text),
            ("application/openmetrics-text;q=many", Exposition::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Exposition::Text),
            ("*/*", Exposition::Text),
            ("", Exposition::Text),
            (",;=;,q=1", Exposition::Text),
        ] {
            assert_eq!(Exposition::negotiate(accept), expected, "{accept}");
        }
    }
}
