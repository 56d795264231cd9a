//! `scripts/install_systemd.sh`, into a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::Folder;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

#[track_caller]
fn install(folder: &Folder) -> String {
    let output: Output = Command::new(scripts().join("install_systemd.sh"))
        .args(["--binary", env!("CARGO_BIN_EXE_rust-forward-proxy")])
        .env("DESTDIR", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_second_run_changes_nothing_and_a_configuration_stays() {
    let folder = Folder::new();
    assert_eq!(install(&folder).matches("installed").count(), 5);
    assert_eq!(install(&folder), "nothing has changed\n");
    let config = "etc/rust-forward-proxy/config.yml";
    folder.write(config, "listen_addr: 127.0.0.1:3128\n");
    folder.write("etc/systemd/system/rust-forward-proxy.service", "[Unit]\n");
    let said = install(&folder);
    assert_eq!(said.matches("installed").count(), 1, "{said}");
    assert_eq!(folder.read(config), "listen_addr: 127.0.0.1:3128\n");
}

#[test]
fn the_configuration_that_is_installed_is_valid_and_fits_the_unit() {
    let folder = Folder::new();
    install(&folder);
    let binary = folder.path().join("usr/local/bin/rust-forward-proxy");
    let config = folder.path().join("etc/rust-forward-proxy/config.yml");
    let text = fs::read_to_string(&config).unwrap();
    let paths = [
        "file: null",
        "\"/var/log/rust-forward-proxy/access.log\"",
        "\"/run/rust-forward-proxy/admin.sock\"",
    ];
    assert!(paths.iter().all(|path| text.contains(path)), "{text}");
    // Not checked on the spot: its folders are made by systemd.
    let text = text.replace("/var/log/", &format!("{}/log/", folder.path().display()));
    fs::write(&config, text).unwrap();
    let checked = Command::new(binary)
        .args(["--config", config.to_str().unwrap(), "check"])
        .env_clear()
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn the_unit_is_hardened() {
    let unit = scripts().join("rust-forward-proxy.service");
    let analyzed = Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(unit).output();
    let Ok(analyzed) = analyzed else {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&analyzed.stdout).into_owned();
    let level = said.lines().find(|line| line.contains("Overall exposure level"));
    let Some(level) =
        level.and_then(|line| line.split_whitespace().find_map(|word| word.parse::<f64>().ok()))
    else {
        eprintln!("skipped: this systemd-analyze cannot look at a file");
        return;
    };
    assert!(level < 2.0, "{said}");
}
