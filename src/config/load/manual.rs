//! `config.yml` is the manual: complete, in order, in words, and true.

use super::*;

const MANUAL: &str = include_str!("../../../config.yml");

fn shipped() -> Loaded {
    load(&Sources { text: Some(("config.yml".into(), MANUAL.to_owned())), ..Sources::default() }).unwrap()
}

fn line(value: &InForce) -> usize {
    match value.origin {
        Origin::File { line, .. } => usize::try_from(line).unwrap(),
        _ => panic!("config.yml says nothing of {}", value.key),
    }
}

#[test]
fn every_key_is_there_in_the_order_of_the_contract() {
    let shipped = shipped();
    assert_eq!(shipped.notices, Vec::<String>::new());
    assert_eq!(shipped.in_force.iter().map(|value| value.key).collect::<Vec<_>>(), KEYS);
    let lines: Vec<_> = shipped.in_force.iter().map(line).collect();
    assert!(lines.is_sorted_by(|a, b| a < b), "{lines:?}");
}

#[test]
fn every_key_is_explained() {
    let lines: Vec<&str> = MANUAL.lines().collect();
    for value in &shipped().in_force {
        // Keys that stand right below each other share what is said above the first, or above their section.
        let above = lines[..line(value) - 1].iter().rev().map(|line| line.trim());
        let first = above.take_while(|line| !line.is_empty()).find(|line| line.starts_with('#'));
        assert!(first.is_some(), "nothing is said of {}", value.key);
    }
}

#[test]
fn the_shipped_values_are_the_defaults_but_for_the_mode() {
    let defaults = load(&Sources { text: Some(Default::default()), ..Sources::default() }).unwrap();
    let pairs = shipped().in_force.into_iter().zip(defaults.in_force);
    let different: Vec<_> = pairs
        .filter(|(shipped, default)| shipped.value != default.value)
        .map(|(shipped, _)| (shipped.key, shipped.value))
        .collect();
    assert_eq!(different, [("runtime.mode", "\"multi_process\"".to_owned())]);
}
