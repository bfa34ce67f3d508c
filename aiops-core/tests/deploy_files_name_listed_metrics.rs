//! The rules and the dashboard of docs/deploy read metrics that there are, and each alert has its
//! runbook and its test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path)).unwrap()
}

/// Names in METRICS.md.
fn listed() -> BTreeSet<String> {
    let page = read("METRICS.md");
    let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

/// Our metrics in a text, without what a histogram's series add to its name. Recorded series have colons.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = words.filter(|word| word.starts_with("aiops_") && !word.contains(':'));
    let name = |word: &str| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        histogram.unwrap_or(word).to_owned()
    };
    ours.map(name).collect()
}

/// What is not a metric: names of groups of rules, and a label.
const OTHER: [&str; 4] = ["aiops_slo", "aiops_burn", "aiops_health", "aiops_kind"];

#[test]
fn every_metric_is_one_that_is_counted() {
    let listed = listed();
    let mut seen = 0;
    for file in [
        "prometheus-rules.yml",
        "prometheus-rules.test.yml",
        "slo-rules.yml",
        "slo-rules.test.yml",
        "grafana-dashboard.json",
    ] {
        for name in named(&read(&format!("deploy/{file}"))) {
            if !OTHER.contains(&name.as_str()) {
                assert!(listed.contains(&name), "{file} reads {name}, which docs/METRICS.md does not list");
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen}");
    // A series that nobody makes is found.
    assert!(named("rate(aiops_stage_latency_seconds_bucket[5m])").iter().all(|name| listed.contains(name)));
    assert!(named("sum(aiops_no_such_total)").iter().all(|name| !listed.contains(name)));
}

/// The dashboard reads recorded series, too.
#[test]
fn every_recorded_series_of_the_dashboard_is_recorded() {
    let rules = read("deploy/slo-rules.yml");
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let mut targets = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
            for word in words.filter(|word| word.contains(':')) {
                assert!(rules.contains(&format!("record: {word}\n")), "{word}");
            }
            targets += 1;
        }
    }
    assert!(targets >= 20, "{targets}");
}

#[test]
fn each_of_ten_alerts_has_its_runbook_and_its_test() {
    let (rules, tests, runbooks) =
        (read("deploy/slo-rules.yml"), read("deploy/slo-rules.test.yml"), read("deploy/runbooks.md"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 10);
    for alert in &alerts {
        let url = format!(
            "runbook_url: https://github.com/aiops-rs/aiops/blob/main/docs/deploy/runbooks.md#{}",
            alert.to_lowercase()
        );
        assert!(rules.contains(&url), "{alert} has no runbook_url");
        assert!(runbooks.contains(&format!("\n## {alert}\n")), "no runbook of {alert}");
        // One that fires in a test: its annotations are expected there.
        assert!(tests.contains(&url), "no test in which {alert} fires");
    }
    let sections = runbooks.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(sections, alerts.len(), "a runbook of no alert");
}
