//! The policy tester: one answer for each line, in order, with what the policy says and why.
#![allow(clippy::unwrap_used)]

use aiops_examples::decide::Decide;
use aiops_examples::features::workspace_root;
use aiops_remediate::{ActionCatalogue, Policy};
use serde_json::{Value, json};

/// The field report's catalogue, with owners.
const ACTIONS: &str = "
actions:
  - {name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false, cooldown: 10m}
  - {name: scale_deployment, owner: shop, blast_radius: deployment, requires_approval: false, max_replicas: 20}
  - {name: rollback_deployment, owner: shop, blast_radius: deployment, requires_approval: true}
  - {name: drain_node, owner: infra, blast_radius: node, requires_approval: true}
  - {name: failover_region, owner: infra, blast_radius: region, requires_approval: true}
";

fn event() -> Value {
    json!({"kind": "log_burst", "service": "checkout", "severity": "critical", "detected_at": "2025-05-05T08:05:00Z",
        "source": "loki", "signal": {}, "labels": {"namespace": "shop", "pod": "checkout-1"}})
}

fn report(actions: &[&str], confidence: &Value) -> Value {
    json!({"summary": "s", "likely_causes": [], "recommended_actions": actions, "confidence": confidence,
        "needs_human": false})
}

fn decider(policy: Option<&str>) -> Decide {
    let policy = policy.map(|text| Policy::from_yaml(text, "policy.yaml").unwrap());
    Decide::new(ActionCatalogue::from_yaml(ACTIONS, "actions.yaml").unwrap(), policy)
}

fn run(mut decide: Decide, input: &str) -> Vec<Value> {
    let mut output = Vec::new();
    decide.run(&mut input.as_bytes(), &mut output).unwrap();
    String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Disposition and reason of each line.
fn answers(decide: Decide, lines: &[Value]) -> Vec<(String, String)> {
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    run(decide, &input).iter().map(|line| (text(&line["disposition"]), text(&line["reason"]))).collect()
}

fn reported(report: &Value) -> Value {
    json!({"event": event(), "report": report})
}

/// The only answer to one line, by the catalogue alone.
fn answer(line: &Value) -> (String, String) {
    answers(decider(None), std::slice::from_ref(line)).remove(0)
}

#[test]
fn a_line_holds_exactly_the_documented_keys() {
    let lines = run(decider(None), &format!("{}\n", reported(&report(&["restart_pod", "restart_pod"], &json!(0.7)))));
    let expected = json!({"line": 1, "disposition": "would_execute", "reason": "every rule passes", "steps": [{
        "action": "restart_pod", "target": {"namespace": "shop", "pod": "checkout-1"}, "decision": "allow",
        "reason": "every rule passes"}]});
    assert_eq!(lines, [expected]);
}

#[test]
fn every_line_is_answered_in_order() {
    let good = reported(&report(&["restart_pod"], &json!(0.9)));
    let input = format!("{good}\nnot json\n\n[1]\n{{}}\n{{\"event\": 3}}\n{good}");
    let lines = run(decider(None), &input);
    let seen: Vec<_> =
        lines.iter().map(|line| (line["line"].as_u64().unwrap(), line["disposition"].as_str().unwrap())).collect();
    let (yes, no) = ("would_execute", "rejected");
    assert_eq!(seen, [(1, yes), (2, no), (3, no), (4, no), (5, no), (6, no), (7, yes)]);
    assert_eq!(lines[2]["reason"], "the line is blank");
    assert_eq!(lines[4]["reason"], "the line has no event");
    for (field, value) in [("severity", json!("bad")), ("labels", json!({"pod": 1})), ("detected_at", json!("noon"))] {
        let mut line: Value = good.clone();
        line["event"][field] = value;
        let (_, reason) = answer(&line);
        assert!(reason.starts_with(&format!("event.{field}: ")), "{reason}");
    }
}

#[test]
fn a_wrong_report_is_rejected_by_its_field() {
    for confidence in [json!(1.5), json!("0.9"), json!(true), json!(null), json!(-0.1)] {
        let (disposition, reason) = answer(&reported(&report(&["restart_pod"], &confidence)));
        assert_eq!(disposition, "rejected");
        assert!(reason.starts_with("confidence must be a number from 0 to 1, not "), "{reason}");
    }
    let mut missing = report(&["restart_pod"], &json!(0.9));
    missing.as_object_mut().unwrap().remove("needs_human");
    assert_eq!(answer(&reported(&missing)), ("rejected".to_owned(), "the report has no needs_human".to_owned()));
    let twice = reported(&report(&["restart_pod"], &json!(0.9)))
        .to_string()
        .replace("\"summary\"", "\"confidence\":1,\"summary\"");
    assert_eq!(run(decider(None), &twice)[0]["reason"], "duplicate key \"confidence\" in the report");
    let nan = reported(&report(&["restart_pod"], &json!(0.25))).to_string().replace("0.25", "NaN");
    assert_eq!(run(decider(None), &nan)[0]["disposition"], "rejected");
    let answer = answer(&json!({"event": event()}));
    assert_eq!(answer.1, "the line has neither report nor model_output");
}

#[test]
fn raw_text_of_a_model_is_read_once_or_not_at_all() {
    let good = report(&["restart_pod"], &json!(0.9)).to_string();
    let fenced = format!("Sure:\n```json\n{good}\n```");
    let twice = format!("{good}\n{good}");
    for (output, stop, disposition, reason) in [
        (&good, json!("end_turn"), "would_execute", "every rule passes"),
        (&fenced, json!("stop"), "would_execute", "every rule passes"),
        (&twice, json!("stop"), "rejected", "two candidates"),
        (&good, json!("max_tokens"), "rejected", "truncated"),
        (&good, json!("length"), "rejected", "truncated"),
        (&good, json!("refusal"), "rejected", "refused"),
        (&good, json!("content_filter"), "rejected", "refused"),
        (&good, json!(null), "rejected", "no stop reason"),
        (&good, json!("banana"), "rejected", "unknown stop reason banana"),
        (&"I cannot help".to_owned(), json!("stop"), "rejected", "no JSON object"),
        (&good[..50].to_owned(), json!("stop"), "rejected", "broken"),
    ] {
        let (decided, said) = answer(&json!({"event": event(), "model_output": output, "stop_reason": stop}));
        assert_eq!(decided, disposition, "{stop} {said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn without_a_policy_the_threshold_and_the_catalogue_decide() {
    let many = ["restart_pod", "scale_deployment", "rollback_deployment", "restart_pod"];
    let lines = [
        reported(&report(&["restart_pod"], &json!(0.699_999_9))),
        reported(&report(&many, &json!(0.7))),
        reported(&report(&["drain_node"], &json!(0.7))),
        reported(&report(&["restart_pod", "restart\u{200b}_pod"], &json!(0.7))),
        reported(&report(&[], &json!(0.1))),
    ];
    let expected = [
        ("escalated", "confidence 0.6999999 is below 0.7 (threshold)"),
        ("awaiting_approval", "a person must approve it"),
        ("escalated", "no target: label node"),
        ("rejected", "unknown action: restart_pod (with U+200B)"),
        ("no_action", "the report recommends no action"),
    ];
    assert_eq!(answers(decider(None), &lines), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn lines_are_decided_alone_unless_remembered() {
    let line = reported(&report(&["restart_pod"], &json!(0.9)));
    let lines = [line.clone(), line.clone(), line];
    let policy = Some("loop_guard: {max: 1, per: 1h}");
    let dispositions = |decide| answers(decide, &lines).into_iter().map(|(decided, _)| decided).collect::<Vec<_>>();
    assert_eq!(dispositions(decider(policy)), ["would_execute"; 3]);
    assert_eq!(dispositions(decider(policy).remember(true)), ["would_execute", "escalated", "escalated"]);
}

#[test]
fn explain_prints_every_rule() {
    let line = reported(&report(&["restart_pod"], &json!(0.9)));
    let lines = run(decider(None).explain(true), &line.to_string());
    let names = |rules: &Value| rules.as_array().unwrap().iter().map(|rule| rule["rule"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&lines[0]["rules"]), ["kill_switch", "resolved", "known_actions", "needs_human", "confidence"]);
    assert_eq!(names(&lines[0]["steps"][0]["rules"]), ["target", "blast_radius", "cooldown", "approval"]);
}

#[test]
fn the_files_of_the_repository_decide_as_the_guide_shows() {
    let root = workspace_root();
    let catalogue = ActionCatalogue::from_yaml_file(root.join("examples/catalogue/actions.yaml")).unwrap();
    let policy = Policy::from_yaml_file(root.join("examples/policy/policy.yaml")).unwrap();
    let input = std::fs::read_to_string(root.join("examples/data/decide/reports.jsonl")).unwrap();
    let lines = run(Decide::new(catalogue, Some(policy)), &input);
    let seen: Vec<_> = lines.iter().map(|line| line["disposition"].as_str().unwrap()).collect();
    let expected = [
        "would_execute",
        "awaiting_approval",
        "escalated",
        "escalated",
        "rejected",
        "escalated",
        "no_action",
        "would_execute",
        "rejected",
        "rejected",
    ];
    assert_eq!(seen, expected);
}
