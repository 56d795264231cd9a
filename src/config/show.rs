//! The configuration in force, as YAML, each value with where it came from.

use std::fmt::Write as _;

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
