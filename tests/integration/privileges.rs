//! Root is given up where it is not needed.

use std::{fs, os::unix::fs::MetadataExt};

use nix::unistd::{User, getuid};

use crate::support::{Config, Mode, Origin, in_every_mode};

in_every_mode! {
    those_who_serve_are_nobody,
    somebody_who_does_not_exist_is_refused,
}

/// A line of /proc/pid/status, its values only.
#[track_caller]
fn said(pid: u32, name: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}: {status}")).split_whitespace().map(str::to_owned).collect()
}

fn those_who_serve_are_nobody(mode: Mode) {
    if !getuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    let proxy = Config::new(mode).set("user", "nobody").start();
    let origin = Origin::ok();
    proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    for pid in proxy.serving() {
        assert_eq!(said(pid, "Uid"), [uid.as_str(); 4]);
        assert_eq!(said(pid, "Gid"), [gid.as_str(); 4]);
        assert_eq!(said(pid, "Groups"), [gid.as_str()]);
        assert_eq!(said(pid, "NoNewPrivs"), ["1"]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(said(pid, set), ["0000000000000000"], "{set}");
        }
    }
    let owner = |name: &str| fs::metadata(proxy.folder().path().join(name)).unwrap().uid();
    for name in ["logs", "logs/proxy.log", "logs/access.log"] {
        assert_eq!(owner(name), nobody.uid.as_raw(), "{name}");
    }
    proxy.access_lines_at_least(1);
    assert_eq!(owner("run/admin.sock"), 0);
}

fn somebody_who_does_not_exist_is_refused(mode: Mode) {
    let refused = Config::new(mode).set("user", "nobody-of-this-name").run();
    assert_eq!(refused.code(), 78, "{refused:?}");
    assert!(
        refused.stderr.contains("user: ") && refused.stderr.contains("nobody-of-this-name"),
        "{refused:?}"
    );
    let checked = Config::new(mode).set("user", "nobody-of-this-name").arg("check").run();
    assert_eq!(checked.code(), 78, "{checked:?}");
    if !getuid().is_root() {
        assert_eq!(Config::new(mode).set("user", "root").run().code(), 77);
    }
}
