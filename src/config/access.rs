//! The section `access`, with what stands in the files that it names.

use std::path::PathBuf;

use super::{
    problem::Origin,
    read::path_or_null,
    reader::{Listed, Reader, quoted, text, whole},
    settings::{AccessMode, AccessSettings, DestinationList, DestinationPattern, ListFile, UsersFile},
    tree::{Kind, Value},
    users,
    value::{destination, net_pattern},
};
use crate::net::filter::{NetPattern, NetSet};

pub(super) fn read(reader: &mut Reader<'_>) -> AccessSettings {
    let modes = [("enforce", AccessMode::Enforce), ("report", AccessMode::Report)];
    AccessSettings {
        mode: reader.choice("access.mode", AccessMode::Enforce, &modes),
        clients: clients(reader),
        deny: destinations(reader, "access.destinations.deny", vec![NetSet::Special.into()]),
        allow: destinations(reader, "access.destinations.allow", Vec::new()),
        connect_ports: reader.list("access.connect_ports", vec![443], ToString::to_string, |value| {
            whole(value, &(1..=65_535)).map(|port| port as u16)
        }),
        users_file: users_file(reader),
        realm: realm(reader),
        local_client_bypass: reader.bool("access.local_client_bypass", true),
    }
}

fn clients(reader: &mut Reader<'_>) -> Vec<NetPattern> {
    let loopback = vec![NetPattern::Set(NetSet::Loopback)];
    let shown = |pattern: &NetPattern| quoted(&pattern.to_string());
    let Listed { mut entries, files } = reader.list_with_files("access.clients", loopback, shown, |value| {
        net_pattern(&text(value).unwrap_or_default())
    });
    entries.extend(files.into_iter().flat_map(|(_, entries)| entries));
    entries
}

pub(super) fn destinations(
    reader: &mut Reader<'_>,
    key: &'static str,
    default: Vec<DestinationPattern>,
) -> DestinationList {
    let shown = |pattern: &DestinationPattern| match pattern {
        DestinationPattern::Host(name) => quoted(name),
        DestinationPattern::Net(net) => quoted(&net.to_string()),
        DestinationPattern::Suffix(name) => quoted(&format!(".{name}")),
    };
    let to = |value: &Value| match &value.kind {
        Kind::Text(text) => destination(text),
        _ => destination(&text(value).unwrap_or_default()),
    };
    let Listed { entries, files } = reader.list_with_files(key, default, shown, to);
    let files = files.into_iter().map(|(name, entries)| ListFile { name, entries }).collect();
    DestinationList { entries, files }
}

/// The file and what stands in it. One without a user would lock everybody out, which an empty list of clients says better:
/// it has been lost, or is being written.
fn users_file(reader: &mut Reader<'_>) -> Option<UsersFile> {
    const KEY: &str = "access.users_file";
    let path = path_or_null(reader, KEY, None)?;
    let text = match reader.files.text(&path) {
        Ok(text) => text,
        Err(why) => {
            reader.problem(
                KEY,
                format!("found {path:?}: {why}; a file that htpasswd writes is accepted, or null"),
            );
            return None;
        }
    };
    match users::parse(&text) {
        Ok(users) if users.is_empty() => {
            reader.problem(KEY, format!("found {path:?} without a user; one at least is accepted"));
            None
        }
        Ok(users) => Some(UsersFile { path, users }),
        Err(lines) => {
            let at = std::sync::Arc::new(PathBuf::clone(&path));
            for bad in lines {
                let origin = Origin::File { path: std::sync::Arc::clone(&at), line: bad.line as u64 };
                reader.problems.add(&origin, KEY, bad.reason.to_string());
            }
            None
        }
    }
}

fn realm(reader: &mut Reader<'_>) -> String {
    let accepted = "1 to 255 printable ASCII characters are accepted";
    reader.read(
        "access.realm",
        "rust-forward-proxy".to_owned(),
        |realm| quoted(realm),
        |value| {
            text(value)
                .filter(|realm| (1..=255).contains(&realm.len()))
                .filter(|realm| realm.bytes().all(|byte| matches!(byte, b' '..=b'~')))
                .ok_or_else(|| accepted.to_owned())
        },
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::load::{Loaded, Sources, load};

    fn loaded(text: &str) -> Result<Loaded, String> {
        let sources = Sources { text: Some(("config.yml".into(), text.into())), ..Sources::default() };
        load(&sources).map_err(|problems| problems.to_string())
    }

    #[test]
    fn lists_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(
            path("ads"),
            "\u{feff}# advertising\nAds.test\r\n.track.test # all of it\n\n203.0.113.0/24\n",
        )
        .unwrap();
        fs::write(path("clients"), "10.0.0.0/8\n").unwrap();
        let text = format!(
            "access:\n  clients: [loopback, \"@{}\"]\n  destinations: {{ deny: [special, \"@{}\"] }}\n",
            path("clients"),
            path("ads")
        );
        let found = loaded(&text).unwrap();
        let access = &found.settings.access;
        assert_eq!(
            access.clients.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["loopback", "10.0.0.0/8"]
        );
        assert_eq!(access.deny.entries, [NetSet::Special.into()]);
        let [file] = access.deny.files.as_slice() else { panic!("{:?}", access.deny) };
        assert_eq!(file.name, format!("@{}", path("ads")));
        assert_eq!(file.entries[0], DestinationPattern::Host("ads.test".into()));
        assert_eq!(file.entries[1], DestinationPattern::Suffix("track.test".into()));
        assert_eq!(file.entries.len(), 3);
        let shown = found.in_force.iter().find(|value| value.key == "access.destinations.deny").unwrap();
        assert_eq!(shown.value, format!("[\"special\", \"@{}\"]", path("ads")));
        // Whoever is given the texts reads no file.
        fs::remove_file(path("ads")).unwrap();
        let sources = Sources {
            text: Some(("config.yml".into(), text.clone())),
            files: Some(found.files.clone()),
            ..Sources::default()
        };
        assert_eq!(load(&sources).unwrap().settings, found.settings);
        assert!(loaded(&text).unwrap_err().contains("it cannot be read"));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("ads"), format!("ok.test\n\n*.bad.test\n{}", "a b\n".repeat(30))).unwrap();
        fs::write(path("users"), "ann:secret\nbob\n").unwrap();
        fs::write(path("nobody"), "# nobody yet\n").unwrap();
        let all = loaded(&format!(
            "access:\n  destinations: {{ deny: [\"@{}\"], allow: \"@{}\" }}\n  users_file: \"{}\"\n",
            path("ads"),
            path("missing"),
            path("users"),
        ))
        .unwrap_err();
        for expected in [
            format!(
                "{}:3: access.destinations.deny: found \"*.bad.test\"; a suffix is written .bad.test",
                path("ads")
            ),
            "11 more lines of".to_owned(),
            format!(
                "config.yml:2: access.destinations.allow: found \"@{}\": it cannot be read",
                path("missing")
            ),
            format!("{}:1: access.users_file: plain text, or", path("users")),
            format!("{}:2: access.users_file: a line without a colon", path("users")),
        ] {
            assert!(all.contains(&expected), "{expected} is not in\n{all}");
        }
        assert!(!all.contains("secret"), "{all}");
        for (users, expected) in
            [("nobody", "without a user"), (".", "it is a directory"), ("missing", "it cannot be read")]
        {
            let all = loaded(&format!("access: {{ users_file: \"{}\" }}\n", path(users))).unwrap_err();
            assert!(all.contains(expected), "{expected}: {all}");
        }
    }

    #[test]
    fn realms() {
        let realm = |text: &str| {
            loaded(&format!("access: {{ realm: {text} }}\n")).map(|found| found.settings.access.realm)
        };
        assert_eq!(realm("'the \"proxy\"'").as_deref(), Ok("the \"proxy\""));
        for bad in ["''", "\"a\\nb\"", "\u{e9}", "[]", "null"] {
            assert!(realm(bad).is_err(), "{bad}");
        }
    }
}
