//! The configuration in force, as YAML, each value with where it came from.

use std::{fmt::Write as _, time::Duration};

use super::{load::Loaded, problem::Origin};

/// The text of `check --print`.
#[must_use]
pub fn show(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for value in &loaded.in_force {
        let mut path: Vec<&str> = value.key.split('.').collect();
        let name = path.pop().unwrap_or_default();
        let shared = open.iter().zip(&path).take_while(|(a, b)| a == b).count();
        for (depth, section) in path.iter().enumerate().skip(shared) {
            let _ = writeln!(text, "{:indent$}{section}:", "", indent = depth * 2);
        }
        let line = format!("{:indent$}{name}: {}", "", value.value, indent = path.len() * 2);
        let kind = if matches!(value.origin, Origin::File { .. }) { "file " } else { "" };
        let _ = writeln!(text, "{line:<48} # {kind}{}", value.origin);
        open = path;
    }
    text
}

/// A duration as the configuration writes it.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".into(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// A size as the configuration writes it.
pub fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}
