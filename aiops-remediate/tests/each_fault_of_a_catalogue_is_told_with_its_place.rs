//! A catalogue with a fault is refused, and the message says where, what, and what would be right.
#![allow(clippy::unwrap_used)]

use aiops_remediate::{ActionCatalogue, BlastRadius};

/// All findings of a text, one a line.
fn faults(text: &str) -> String {
    ActionCatalogue::from_yaml(text, "actions.yaml").unwrap_err().to_string()
}

/// The findings of one entry on line 2, with these keys after its name.
fn entry(keys: &str) -> String {
    faults(&format!("actions:\n  - {{name: restart_pod, {keys}}}\n"))
}

const REST: &str = "owner: team-shop, blast_radius: pod, requires_approval: false";

#[test]
fn a_duplicate_action() {
    let text = format!("actions:\n  - {{name: restart_pod, {REST}}}\n  - {{name: restart_pod, {REST}}}\n");
    let expected = "actions.yaml:3:12: actions[1].name: duplicate action \"restart_pod\", first on line 2; \
        rename or remove one of the two";
    assert_eq!(faults(&text), expected);
}

#[test]
fn a_duplicate_key() {
    let text = format!("actions:\n  - {{name: restart_pod, {REST}, owner: team-pay}}\n");
    let expected = "actions.yaml:2:88: duplicate key \"owner\", first on line 2; remove one of the two";
    assert_eq!(faults(&text), expected);
}

#[test]
fn a_misspelt_key() {
    let expected = "actions.yaml:2:5: actions[0]: missing blast_radius; add a line such as `blast_radius: pod`\n\
        actions.yaml:2:43: actions[0]: unknown key \"blast_raduis\"; did you mean \"blast_radius\"?";
    assert_eq!(entry("owner: team-shop, blast_raduis: pod, requires_approval: false"), expected);
}

#[test]
fn an_unknown_blast_radius() {
    let expected = "actions.yaml:2:57: actions[0].blast_radius: unknown blast radius \"Pod\"; \
        did you mean pod? (pod, deployment, node, region)";
    assert_eq!(entry("owner: team-shop, blast_radius: Pod, requires_approval: false"), expected);
}

#[test]
fn a_missing_owner() {
    let expected = "actions.yaml:2:5: actions[0]: missing owner; add a line such as `owner: team-shop`";
    assert_eq!(entry("blast_radius: pod, requires_approval: false"), expected);
}

#[test]
fn a_number_as_text() {
    let expected = "actions.yaml:2:102: actions[0].max_replicas: \"20\" is text; write 20, without quotes";
    assert_eq!(entry(&format!("{REST}, max_replicas: \"20\"")), expected);
}

#[test]
fn a_duration_without_a_unit_or_negative() {
    let expected =
        "actions.yaml:2:98: actions[0].cooldown: \"10\" has no unit; write 10s for seconds, or 10m for minutes";
    assert_eq!(entry(&format!("{REST}, cooldown: 10")), expected);
    let expected = "actions.yaml:2:98: actions[0].cooldown: \"-10m\" is negative; \
        write a number with a unit (ms, s, m, h, d), such as 10m";
    assert_eq!(entry(&format!("{REST}, cooldown: -10m")), expected);
}

#[test]
fn an_explicit_key_wins_over_a_merged_one() {
    let text = "x-base: &base {owner: team-shop, blast_radius: pod, requires_approval: true}\n\
        actions:\n  - {<<: *base, name: restart_pod, requires_approval: false}\n  - {name: drain, <<: *base, blast_radius: node}\n";
    let catalogue = ActionCatalogue::from_yaml(text, "actions.yaml").unwrap();
    let restart = catalogue.get("restart_pod").unwrap();
    assert_eq!((restart.requires_approval, restart.owner.as_str()), (false, "team-shop"));
    let drain = catalogue.get("drain").unwrap();
    assert_eq!((drain.requires_approval, drain.blast_radius), (true, BlastRadius::Node));
}

#[test]
fn an_empty_file() {
    let expected = "actions.yaml:1:1: the file is empty; write `actions:` and below it \
        `  - {name: restart_pod, owner: team-shop, blast_radius: pod, requires_approval: false}`";
    for text in ["", "\n\n", "# nothing yet\n", "---\n", "null\n"] {
        assert_eq!(faults(text), expected);
    }
}

#[test]
fn an_alias_bomb() {
    let mut text = String::from("x-0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let aliases = vec![format!("*x{}", level - 1); 10].join(", ");
        text.push_str(&format!("x-{level}: &x{level} [{aliases}]\n"));
    }
    text.push_str("actions: *x9\n");
    let expected = "actions.yaml:6:10: more than 250000 values, aliases written out; \
        write the values out, without aliases of aliases";
    assert_eq!(faults(&text), expected);
}

#[test]
fn a_long_text_behind_many_aliases() {
    let long = "x".repeat(1 << 20);
    let text = format!("x-long: &long {long}\nactions:\n{}", "  - {name: *long, owner: *long}\n".repeat(5_000));
    let error = ActionCatalogue::from_yaml(&text, "actions.yaml").unwrap_err();
    assert_eq!(error.findings().len(), 1_000, "found, bounded, and each one short");
    assert!(error.to_string().len() < 1 << 20);
}

#[test]
fn ten_thousand_actions_load() {
    let mut text = String::from("actions:\n");
    for index in 0..10_000 {
        text.push_str(&format!("  - name: act_{index}\n    owner: team-{index}\n    blast_radius: node\n    requires_approval: true\n    cooldown: 10m\n    target: [node]\n"));
    }
    let catalogue = ActionCatalogue::from_yaml(&text, "actions.yaml").unwrap();
    assert_eq!(catalogue.specs().len(), 10_000);
    assert_eq!(catalogue.get("act_9999").unwrap().owner, "team-9999");
}

#[test]
fn every_fault_at_once_in_the_order_of_the_text() {
    let text = "actions:\n  - name: Restart-Pod\n    owner: 7\n    blast_radius: pods\n    requires_approval: yes\n    cooldown: soon\n  - nmae: x\nversion: 1\n";
    let expected = "\
actions.yaml:2:11: actions[0].name: invalid action name \"Restart-Pod\"; write restart_pod
actions.yaml:3:12: actions[0].owner: \"7\" is a number, not text; write the team that answers for it, or \"7\" if it is meant as text
actions.yaml:4:19: actions[0].blast_radius: unknown blast radius \"pods\"; did you mean pod? (pod, deployment, node, region)
actions.yaml:5:24: actions[0].requires_approval: \"yes\" is neither true nor false; write true
actions.yaml:6:15: actions[0].cooldown: \"soon\" is no duration; write a number with a unit (ms, s, m, h, d), such as 10m
actions.yaml:7:5: actions[1]: unknown key \"nmae\"; did you mean \"name\"?
actions.yaml:7:5: actions[1]: missing name; add a line such as `name: restart_pod`
actions.yaml:7:5: actions[1]: missing owner; add a line such as `owner: team-shop`
actions.yaml:7:5: actions[1]: missing blast_radius; add a line such as `blast_radius: pod`
actions.yaml:7:5: actions[1]: missing requires_approval; add a line such as `requires_approval: true`
actions.yaml:8:1: unknown key \"version\"; the known keys are actions";
    assert_eq!(faults(text), expected);
}

#[test]
fn a_precondition_without_its_parts() {
    for (precondition, expected) in [
        (
            "{probe: x}",
            "actions.yaml:2:102: actions[0].precondition: there is no limit; add `above: 0.9` or `below: 0.9`",
        ),
        (
            "{probe: x, above: 1, below: 2}",
            "actions.yaml:2:102: actions[0].precondition: there are two limits; remove above or below",
        ),
        (
            "{probe: x, above: .inf}",
            "actions.yaml:2:120: actions[0].precondition.above: \".inf\" is no number; write a number, such as 0.9",
        ),
        (
            "{above: 1}",
            "actions.yaml:2:102: actions[0].precondition: missing probe; add a line such as `probe: pool_saturation`",
        ),
    ] {
        assert_eq!(entry(&format!("{REST}, precondition: {precondition}")), expected, "{precondition}");
    }
}
