//! The users file: who is accepted can log in under that name only, and no fault tells a secret.
#![cfg_attr(fuzzing, no_main)]

use std::collections::HashSet;

use rust_forward_proxy::config::users::{check_user_name, parse};

/// Bytes = the text.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(users) => {
            let names: HashSet<_> = users.iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(names.len(), users.len(), "each user once");
            for name in &names {
                assert_eq!(check_user_name(name), Ok(()), "{name:?}");
                assert!(text.contains(&format!("{name}:")), "{name:?} was not made up");
            }
            // What means nothing changes nothing.
            assert_eq!(parse(&format!("# users\n\n{text}\n\n#\n")), Ok(users));
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            let lines: Vec<_> = text.lines().collect();
            for fault in faults {
                let line = lines[fault.line - 1];
                let secret = line.split_once(':').map_or("", |(_, hash)| hash.trim());
                let told = fault.reason.to_string();
                // Short words may stand in any text.
                assert!(secret.len() < 12 || !told.contains(secret), "line {} is told: {told}", fault.line);
            }
        }
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
