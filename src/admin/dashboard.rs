//! The dashboard at `/`: one page that reads `/status` again and again.
//!
//! Everything is in the page, so that it needs nobody else, and it may load nothing: its style and its script carry a number
//! that is drawn for each answer, and the policy that goes with it lets no other run.

use std::{
    collections::hash_map::RandomState,
    fmt::Write as _,
    hash::{BuildHasher, Hasher},
};

const PAGE: &str = include_str!("dashboard.html");

/// Stands in the page where the number belongs.
const MARK: &str = "NONCE";

/// The page, and the content security policy to send with it.
pub(super) fn page() -> (String, String) {
    let nonce = draw();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (PAGE.replace(MARK, &nonce), policy)
}

/// 128 bits that nobody guesses: the standard library keys its hashers with the operating system's randomness.
fn draw() -> String {
    let mut text = String::new();
    for _ in 0..2 {
        let _ = write!(text, "{:016x}", RandomState::new().build_hasher().finish());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_runs_its_own_script_only_and_loads_nothing() {
        let (again, _) = page();
        let (page, policy) = page();
        let nonce = policy.split("nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        assert_eq!(nonce.len(), 32);
        assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "one style, one script");
        assert_ne!(page, again);
        assert!(!page.contains(MARK));
        for foreign in
            ["src=", "@import", "url(", "<link rel=\"stylesheet", " onclick=", " onload=", " style=\""]
        {
            assert!(!page.contains(foreign), "{foreign}");
        }
        let hosts = page.matches("http://").count() + page.matches("https://").count();
        assert_eq!(hosts, page.matches("http://www.w3.org/2000/svg").count(), "names of formats only");
    }
}
