//! The replay on records as a host would keep them: one line out for each event and resolve.
#![allow(clippy::unwrap_used)]

use aiops_core::{CorrelationDecision as D, CorrelatorConfig};
use aiops_examples::replay::Replay;
use serde_json::{Value, json};

const START: i64 = 1_746_432_000;

fn at(seconds: i64) -> String {
    aiops_core::jiff::Timestamp::from_second(START + seconds).unwrap().to_string()
}

fn event(seconds: i64, service: &str, severity: &str) -> Value {
    json!({"at": at(seconds), "type": "event", "kind": "metric_anomaly", "service": service, "severity": severity,
        "detected_at": at(seconds), "source": "zscore", "signal": {"value": 1.0}, "labels": {"alertname": "P99"}})
}

fn resolved(seconds: i64) -> Value {
    json!({"at": at(seconds), "type": "resolved", "kind": "metric_anomaly", "service": "checkout", "alertname": "P99"})
}

fn rollout(seconds: i64, phase: &str) -> Value {
    json!({"at": at(seconds), "type": "rollout", "service": "checkout", "deploy_id": "d1", "phase": phase, "version": "v2"})
}

fn replay(records: &[Value]) -> Vec<Value> {
    let input: String = records.iter().map(|record| format!("{record}\n")).collect();
    replay_text(input.as_bytes())
}

fn replay_text(mut input: &[u8]) -> Vec<Value> {
    let mut output = Vec::new();
    Replay::new(CorrelatorConfig::default()).unwrap().run(&mut input, &mut output).unwrap();
    String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decisions(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["decision"].as_str().unwrap()).collect()
}

#[test]
fn repeats_name_the_announcement_that_they_count_on() {
    let lines = replay(&[
        event(0, "checkout", "warning"),
        event(290, "checkout", "warning"),
        event(310, "checkout", "warning"),
    ]);
    assert_eq!(decisions(&lines), ["announced", "repeat", "repeat"]);
    assert_eq!((&lines[2]["of"], &lines[2]["count"]), (&json!(1), &json!(2)));
    assert_eq!(lines[0]["fingerprint"], lines[2]["fingerprint"], "one fingerprint over a bucket's edge");
}

#[test]
fn a_resolve_in_another_bucket_closes_the_same_episode_once() {
    let lines =
        replay(&[event(0, "checkout", "warning"), resolved(420), resolved(421), event(430, "checkout", "warning")]);
    assert_eq!(decisions(&lines), ["announced", "resolved", "ignored", "announced"]);
    assert_eq!(lines[0]["episode_id"], lines[1]["episode_id"]);
    assert_ne!(lines[0]["episode_id"], lines[3]["episode_id"]);
    assert_ne!(lines[0]["incident_id"], lines[3]["incident_id"], "a resolved incident absorbs nothing");
}

#[test]
fn a_deploy_holds_its_service_until_ten_minutes_after_it() {
    let records = [
        rollout(0, "started"),
        event(10, "checkout", "critical"),
        event(20, "cart", "warning"),
        rollout(100, "completed"),
        event(699, "checkout", "critical"),
        event(700, "checkout", "critical"),
    ];
    let lines = replay(&records);
    assert_eq!(decisions(&lines), ["suppressed", "announced", "suppressed", "announced"]);
    assert_eq!(lines[0]["by"], "d1");
    assert_eq!(lines[3]["count"], 2, "what was held is counted on what follows");
    let failed = replay(&[
        rollout(0, "started"),
        event(10, "checkout", "warning"),
        rollout(60, "failed"),
        event(60, "checkout", "warning"),
    ]);
    assert_eq!(decisions(&failed), ["suppressed", "announced"]);
}

#[test]
fn maintenance_is_half_open() {
    let window = json!({"at": at(0), "type": "maintenance", "from": at(100), "to": at(200), "services": ["checkout"]});
    let mut records = vec![window];
    records.extend([99, 100, 199, 200].map(|seconds| event(seconds, "checkout", "warning")));
    assert_eq!(decisions(&replay(&records)), ["announced", "suppressed", "suppressed", "repeat"]);
}

#[test]
fn a_broken_line_is_reported_with_its_number_and_the_run_goes_on() {
    let good = event(0, "checkout", "warning").to_string();
    let no_service = good.replace("\"service\"", "\"servcie\"");
    let text = format!(
        "{{\n\n{no_service}\n[]\n{{\"at\":1,\"type\":\"event\"}}\n{{\"at\":\"{}\",\"type\":\"page\"}}\n{good}",
        at(0)
    );
    let lines = replay_text(&[text.as_bytes(), b"\n\xff\xfe\n"].concat());
    let numbers: Vec<_> = lines.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 4, 5, 6, 7, 8]);
    assert_eq!(lines[5]["decision"], "announced");
    let reasons: Vec<_> = lines
        .iter()
        .filter(|line| line["decision"] == "invalid")
        .map(|line| line["reason"].as_str().unwrap())
        .collect();
    for (reason, part) in
        reasons.iter().zip(["not JSON", "service", "not a JSON object", "at: ", "unknown type \"page\"", "not UTF-8"])
    {
        assert!(reason.contains(part), "{reason} should say {part}");
    }
}

#[test]
fn too_old_and_too_far_ahead_are_ignored_with_the_bound() {
    let with = |detected: i64| {
        let mut record = event(100_000, "checkout", "warning");
        record["detected_at"] = json!(at(detected));
        record
    };
    let lines = replay(&[with(100_000 - 27 * 3600), with(100_301), with(100_300)]);
    assert_eq!(decisions(&lines), ["ignored", "ignored", "announced"]);
    assert!(lines[0]["reason"].as_str().unwrap().contains("max_skew is 1h"), "{}", lines[0]["reason"]);
}

#[test]
fn every_line_has_the_same_nine_keys() {
    let lines = replay(&[event(0, "checkout", "warning"), json!({"type": "event"}), resolved(5)]);
    let wanted = ["by", "count", "decision", "episode_id", "fingerprint", "incident_id", "line", "of", "reason"];
    for line in &lines {
        let mut keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, wanted);
    }
    assert_eq!(serde_json::to_value(D::Announced).unwrap(), lines[0]["decision"]);
}
