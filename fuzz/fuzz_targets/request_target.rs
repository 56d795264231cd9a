//! Request-targets: each is exactly one of the four forms, and what goes to the origin is what was received.
#![cfg_attr(fuzzing, no_main)]

use http::Method;
use rust_forward_proxy::message::target::{Scheme, Target, origin_form};

/// First byte = the method, the rest = the target.
pub fn run(bytes: &[u8]) {
    let [first, raw @ ..] = bytes else { return };
    let methods = [Method::GET, Method::OPTIONS, Method::CONNECT, Method::POST, Method::HEAD, Method::TRACE];
    let method = &methods[usize::from(*first) % methods.len()];
    let target = match Target::parse(method, raw) {
        Ok(target) => target,
        Err(error) => {
            assert!(matches!(error.status().as_u16(), 400 | 501), "{error}");
            assert!(error.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{error}");
            return;
        }
    };
    let text = std::str::from_utf8(raw).expect("what is accepted is ASCII");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
    assert!(!text.contains(['#', '"', '<', '>', '`']), "{text}");
    match target {
        Target::Absolute { scheme, authority, path_and_query } => {
            assert_ne!(*method, Method::CONNECT);
            assert!(text.ends_with(path_and_query), "byte for byte, C7");
            assert!(
                text.len() > scheme.as_str().len()
                    && text[..scheme.as_str().len()].eq_ignore_ascii_case(scheme.as_str())
            );
            assert!(path_and_query.is_empty() || path_and_query.starts_with(['/', '?']));
            let written = &text[scheme.as_str().len() + 3..text.len() - path_and_query.len()];
            assert!(!written.contains(['/', '?', '@']), "{written}");
            let again = format!("{}://{authority}{path_and_query}", scheme.as_str());
            assert_eq!(
                Target::parse(method, again.as_bytes()),
                Ok(Target::Absolute { scheme, authority, path_and_query }),
                "{again}"
            );
            check_origin_form(method, path_and_query);
            assert!(matches!(scheme, Scheme::Http | Scheme::Https));
        }
        Target::Authority(authority) => {
            assert_eq!(*method, Method::CONNECT);
            let shown = authority.to_string();
            assert_eq!(Target::parse(method, shown.as_bytes()), Ok(Target::Authority(authority)), "{shown}");
        }
        Target::Origin(path) => {
            assert!(*method != Method::CONNECT && path == text && path.starts_with('/'));
        }
        Target::Asterisk => assert!(*method == Method::OPTIONS && text == "*"),
    }
}

/// RFC 9112 section 3.2.1 and 3.2.4; nothing between the first and the last byte is touched.
fn check_origin_form(method: &Method, path_and_query: &str) {
    let form = origin_form(method, path_and_query.to_owned().into());
    let added = form.strip_suffix(path_and_query.as_bytes()).expect("what was received is at the end");
    let expected: &[u8] = match path_and_query.as_bytes() {
        [] if *method == Method::OPTIONS => b"*",
        [] | [b'?', ..] => b"/",
        _ => b"",
    };
    assert_eq!(added, expected);
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
