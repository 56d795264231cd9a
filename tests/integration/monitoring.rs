//! `scripts/monitoring`: what it asks for is there, and Prometheus understands it.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{Config, Mode, metrics};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/monitoring").join(name)).unwrap()
}

/// Every word of a text that is the name of one of our series; of a sum that a rule keeps, it is not.
fn series_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = |word: &&str| word.starts_with("forward_proxy_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn every_series_that_is_asked_for_is_there() {
    let proxy = Config::new(Mode::MultiProcess).with_admin().start();
    // A family is there before it has a series.
    let (_, page) = proxy.admin().get("/metrics");
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let there: BTreeSet<_> = families
        .flat_map(|family| ["", "_bucket", "_sum", "_count"].map(|suffix| format!("{family}{suffix}")))
        .collect();
    for file in ["alerts.yml", "grafana.json"] {
        let wanted = series_in(&read(file));
        assert!(wanted.len() >= 10, "{wanted:?}");
        let missing: Vec<_> = wanted.iter().filter(|name| !there.contains(*name)).collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}

#[test]
fn every_metric_has_a_panel() {
    let proxy = Config::new(Mode::MultiProcess).with_admin().start();
    let shown = series_in(&read("grafana.json"));
    let page = metrics(&proxy);
    for series in page.keys().filter_map(|series| series.split('{').next()) {
        let family = series.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        // How many connections were taken is told by the requests, and how many tunnels by those that are open.
        let is_told = ["forward_proxy_connections_total", "forward_proxy_tunnels_total"].contains(&family);
        assert!(
            is_told || family.starts_with("process_") || shown.iter().any(|name| name.starts_with(family)),
            "{family} is in no panel"
        );
    }
}

#[test]
fn the_dashboard_is_json_with_panels_that_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&read("grafana.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(x < 24 && taken.insert((x, y)), "{} is over another", panel["title"]);
        }
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/monitoring/alerts.yml");
    let Ok(checked) = Command::new("promtool").args(["check", "rules"]).arg(path).output() else {
        eprintln!("skipped: promtool is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success() && !said.contains("FAILED"), "{said}");
}
