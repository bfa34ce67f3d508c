//! The guide to catalogue and policy: its files load, and its tables hold every key there is.
#![allow(clippy::unwrap_used)]

use aiops_examples::features::workspace_root;
use aiops_remediate::{ActionCatalogue, Policy};

fn page() -> String {
    std::fs::read_to_string(workspace_root().join("docs/guide/policy.md")).unwrap()
}

#[test]
fn every_file_of_the_page_loads() {
    let page = page();
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let error = if block.contains("actions:\n") {
            ActionCatalogue::from_yaml(block, "guide").err()
        } else {
            Policy::from_yaml(block, "guide").err()
        };
        assert!(error.is_none(), "{}", error.unwrap());
    }
}

/// The keys that a reader says it knows.
fn known(help: &str) -> Vec<String> {
    let keys = help.strip_prefix("the known keys are ").unwrap();
    keys.split(", ").map(|key| format!("| `{key}` |")).collect()
}

#[test]
fn every_key_has_a_row() {
    let page = page();
    let error = ActionCatalogue::from_yaml("actions: [{zzzzzzzz: 1}]", "guide").unwrap_err();
    let unknown = error.findings().iter().find(|finding| finding.problem.starts_with("unknown key")).unwrap();
    let mut rows = known(&unknown.help);
    rows.extend(known(&Policy::from_yaml("zzzzzzzz: 1", "guide").unwrap_err().findings()[0].help));
    assert_eq!(rows.len(), 26);
    for row in rows {
        assert!(page.contains(&format!("\n{row}")), "no row {row}");
    }
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let table = "mode: shadow\nthreshold: 0.7\nmax_blast_radius: region\nmax_age: 15m\nmax_actions: 3\nloop_guard: {max: 3, per: 1h}\napproval_time: 30m\n";
    for line in table.lines() {
        let (key, value) = line.split_once(": ").unwrap();
        assert!(page().contains(&format!("\n| `{key}` | `{value}` |")), "{line}");
    }
    assert_eq!(Policy::from_yaml(table, "guide").unwrap(), Policy::default());
}
