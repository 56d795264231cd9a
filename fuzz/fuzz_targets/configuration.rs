//! Configurations: every text is settings or problems that say where and what, and what is shown of settings means them.
#![cfg_attr(fuzzing, no_main)]

use rust_forward_proxy::config::{Sources, load, load_what_can_be, show::show};

/// Bytes = `config.yml`.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let sources = of_text(text);
    match load(&sources) {
        Ok(loaded) => {
            assert_eq!(load_what_can_be(&sources), loaded.settings);
            let shown = show(&loaded);
            let again = load(&of_text(&shown)).unwrap_or_else(|problems| panic!("{problems}\n{shown}"));
            assert_eq!(again.settings, loaded.settings, "{shown}");
            let values = |loaded: &rust_forward_proxy::config::Loaded| {
                loaded.in_force.iter().map(|value| (value.key, value.value.clone())).collect::<Vec<_>>()
            };
            assert_eq!(values(&again), values(&loaded));
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let told = problems.to_string();
            assert_eq!(told.lines().count(), problems.0.len(), "a problem, a line: {told:?}");
            assert!(!told.chars().any(|char| char.is_control() && char != '\n'), "{told:?}");
            // Whatever is wrong, there are settings to reach a running instance with.
            let _ = load_what_can_be(&sources);
        }
    }
}

fn of_text(text: &str) -> Sources {
    Sources { text: Some(("config.yml".into(), text.to_owned())), ..Sources::default() }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
