//! Each rule of a plan, what it makes of the report, and in which order they decide.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::testing::samples;
use aiops_core::{ActionName, Confidence, Decision, Disposition, Status, Target, Triaged};
use aiops_remediate::{
    ActionCatalogue, BlastRadius, KillSwitch, PlanVerdict, Policy, PolicyState, ReportId, Run, Snapshot,
};
use jiff::Timestamp;

const ACTIONS: &str = "
actions:
  - {name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false, cooldown: 10m}
  - {name: scale_deployment, owner: shop, blast_radius: deployment, requires_approval: false, min_confidence: 0.8}
  - {name: rollback_deployment, owner: shop, blast_radius: deployment, requires_approval: true, evidence: deploy}
  - {name: drain_node, owner: infra, blast_radius: node, requires_approval: true}
  - {name: failover_region, owner: infra, blast_radius: region, requires_approval: true}
";

fn now() -> Timestamp {
    "2025-05-05T08:05:00Z".parse().unwrap()
}

/// A report of confidence 0.8 that cites the deploy, on an event that names every kind of target
/// but a region.
fn report(actions: &[&str]) -> Triaged {
    let mut event = samples::event("checkout", "1", now());
    for (label, value) in [("namespace", "shop"), ("pod", "checkout-1"), ("node", "n1")] {
        event.labels.insert(label.to_owned(), value.to_owned());
    }
    samples::triaged(event, actions)
}

fn with_confidence(mut triaged: Triaged, confidence: f64) -> Triaged {
    triaged.report.confidence = Confidence::new(confidence).unwrap();
    triaged
}

fn plan_by(policy: &Policy, triaged: &Triaged, state: &PolicyState) -> PlanVerdict {
    let catalogue = ActionCatalogue::from_yaml(ACTIONS, "actions.yaml").unwrap();
    let verdict = policy.plan(&catalogue, triaged, state, now());
    let runs = matches!(verdict.disposition, Disposition::WouldExecute | Disposition::AwaitingApproval);
    if !runs {
        assert!(verdict.plan.steps.iter().all(|step| step.decision == Decision::Deny), "{verdict:?}");
    }
    verdict
}

fn plan(triaged: &Triaged) -> PlanVerdict {
    plan_by(&Policy::default(), triaged, &PolicyState::default())
}

fn said(verdict: &PlanVerdict) -> (&str, &str) {
    (verdict.disposition.as_str(), verdict.reason())
}

#[test]
fn what_passes_runs_or_waits() {
    let verdict = plan(&report(&["restart_pod", "scale_deployment", "restart_pod"]));
    assert_eq!(said(&verdict), ("would_execute", "every rule passes"));
    let targets: Vec<_> = verdict.plan.steps.iter().map(|step| step.target.clone().unwrap()).collect();
    // The event has no label `deployment`: its service stands in.
    let (pod, deployment) =
        ([("namespace", "shop"), ("pod", "checkout-1")], [("namespace", "shop"), ("deployment", "checkout")]);
    assert_eq!(targets, [Target::new(pod), Target::new(deployment)]);

    let verdict = plan(&report(&["restart_pod", "drain_node"]));
    assert_eq!(said(&verdict), ("awaiting_approval", "a person must approve it"));
    let decisions: Vec<_> = verdict.plan.steps.iter().map(|step| step.decision).collect();
    assert_eq!(decisions, [Decision::Allow, Decision::RequireApproval]);
}

#[test]
fn an_unknown_action_rejects_the_whole_report_and_is_named() {
    let long = "x".repeat(5_000);
    let clipped = format!("unknown action: {}…", "x".repeat(79));
    for (name, reason) in [
        ("delete_everything", "unknown action: delete_everything"),
        ("restart_pod ", "unknown action: restart_pod  (with U+0020)"),
        ("Restart_Pod", "unknown action: Restart_Pod"),
        ("restart\u{200b}_pod", "unknown action: restart_pod (with U+200B)"),
        ("r\u{435}start_pod", "unknown action: r\u{435}start_pod (with U+0435)"),
        ("", "unknown action: (an empty name)"),
        (&long, &clipped),
    ] {
        for actions in [["restart_pod", name], [name, "restart_pod"]] {
            let verdict = plan(&report(&actions));
            assert_eq!(said(&verdict), ("rejected", reason));
            assert_eq!(verdict.plan.steps.len(), 2);
        }
    }
    let many: Vec<String> = (0..20_000).map(|index| format!("a{index}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(plan(&report(&many)).plan.steps.len(), 32, "what is listed is bounded");
}

#[test]
fn duplicates_collapse_before_they_are_counted() {
    assert_eq!(plan(&report(&["restart_pod"; 40])).plan.steps.len(), 1);
    let four = report(&["restart_pod", "scale_deployment", "rollback_deployment", "drain_node"]);
    assert_eq!(said(&plan(&four)), ("rejected", "4 actions, at most 3"));
}

#[test]
fn the_threshold_itself_passes() {
    assert_eq!(plan(&with_confidence(report(&["restart_pod"]), 0.7)).disposition, Disposition::WouldExecute);
    let verdict = plan(&with_confidence(report(&["restart_pod"]), 0.699_999_9));
    assert_eq!(said(&verdict), ("escalated", "confidence 0.6999999 is below 0.7 (threshold)"));
    let verdict = plan(&with_confidence(report(&["restart_pod", "scale_deployment"]), 0.75));
    assert_eq!(said(&verdict), ("escalated", "scale_deployment: confidence 0.75 is below 0.8 (min confidence)"));
}

#[test]
fn a_person_is_asked_for_or_nothing_is_needed() {
    let mut triaged = report(&["restart_pod"]);
    triaged.report.needs_human = true;
    assert_eq!(said(&plan(&triaged)), ("escalated", "the report asks for a person"));
    triaged.report.recommended_actions.clear();
    assert_eq!(said(&plan(&triaged)), ("escalated", "the report asks for a person"));
    assert_eq!(said(&plan(&with_confidence(report(&[]), 0.0))), ("no_action", "the report recommends no action"));
}

#[test]
fn the_kill_switch_and_the_end_of_the_episode_stop_everything() {
    let mut state = PolicyState::default();
    state.snapshot.kill_switch = KillSwitch::on("ana", "failing over by hand", now());
    let verdict = plan_by(&Policy::default(), &report(&["restart_pod"]), &state);
    assert_eq!(said(&verdict), ("escalated", "the kill switch is on: ana: failing over by hand"));
    let down = PolicyState::stopped("the store is down", now());
    let verdict = plan_by(&Policy::default(), &report(&["restart_pod"]), &down);
    assert_eq!(said(&verdict), ("escalated", "the kill switch is on: store: the store is down"));

    let mut state = PolicyState::default();
    for (second, disposition) in [(-1, "would_execute"), (0, "no_action"), (1, "no_action")] {
        state.snapshot.resolved_at = Some(Timestamp::from_second(now().as_second() + second).unwrap());
        let verdict = plan_by(&Policy::default(), &report(&["restart_pod"]), &state);
        assert_eq!(verdict.disposition.as_str(), disposition, "ended {second} s after the sighting");
    }
    let mut over = report(&["restart_pod"]);
    over.event.status = Status::Resolved;
    assert_eq!(said(&plan(&over)), ("no_action", "the episode has ended"));
}

#[test]
fn a_sighting_is_acted_on_for_a_quarter_of_an_hour() {
    for (seconds, said) in [
        (-15 * 60, None),
        (-15 * 60 - 1, Some("stale: observed 15m 1s ago, at most 15m")),
        (5 * 60, None),
        (5 * 60 + 1, Some("observed 5m 1s ahead of now, at most 5m")),
    ] {
        let mut triaged = report(&["restart_pod"]);
        triaged.event.observed_at = Some(Timestamp::from_second(now().as_second() + seconds).unwrap());
        assert_eq!(plan(&triaged).disposition.reason(), said);
    }
}

#[test]
fn a_missing_label_is_no_target() {
    let verdict = plan(&report(&["failover_region"]));
    assert_eq!(said(&verdict), ("escalated", "no target: label region"));
    let verdict = plan(&report(&["restart_pod", "failover_region"]));
    assert_eq!(said(&verdict), ("escalated", "failover_region: no target: label region"));
    assert!(verdict.plan.steps[0].target.is_some(), "what would have run is shown");
}

#[test]
fn evidence_is_a_cited_item_of_a_trusted_system_on_the_same_service() {
    assert_eq!(plan(&report(&["rollback_deployment"])).disposition, Disposition::AwaitingApproval);
    let none = "no evidence: the report cites no deploy item that a trusted system wrote";
    let mut cites_nothing = report(&["rollback_deployment"]);
    cites_nothing.cited.clear();
    let mut foreign = report(&["rollback_deployment"]);
    foreign.cited[0].trust = aiops_core::Trust::External;
    let mut other_service = report(&["rollback_deployment"]);
    other_service.cited[0].service = Some("payment".into());
    for triaged in [cites_nothing, foreign, other_service] {
        assert_eq!(said(&plan(&triaged)), ("escalated", none));
    }
}

#[test]
fn the_ceiling_and_freeze_windows_deny() {
    let policy = Policy::default().max_blast_radius(BlastRadius::Pod);
    let verdict = plan_by(&policy, &report(&["drain_node"]), &PolicyState::default());
    assert_eq!(said(&verdict), ("escalated", "blast radius node is above the policy's ceiling pod"));

    let policy = Policy::from_yaml("freeze: [{from: 08:00, to: 09:00}]", "policy.yaml").unwrap();
    let verdict = plan_by(&policy, &report(&["restart_pod"]), &PolicyState::default());
    assert_eq!(said(&verdict), ("escalated", "frozen: 08:00-09:00 UTC"));
    assert_ne!(policy.version(), Policy::default().version());
    assert_eq!(policy.version(), policy.clone().version());
}

#[test]
fn marks_of_the_store_hold_back_what_ran_before() {
    let triaged = report(&["restart_pod"]);
    let target = Target::new([("namespace", "shop"), ("pod", "checkout-1")]);
    let name = ActionCatalogue::from_yaml(ACTIONS, "a").unwrap().get("restart_pod").unwrap().name.clone();
    let run = |minutes: i64, other: &str, identity: &str| {
        let mut earlier = triaged.clone();
        earlier.context_digest = other.to_owned();
        let at = Timestamp::from_second(now().as_second() - minutes * 60).unwrap();
        Run::new(ReportId::of(&earlier), identity, name.clone(), target.clone(), at)
    };
    let plan = |runs: Vec<Run>| {
        let mut snapshot = Snapshot::default();
        snapshot.runs = runs;
        plan_by(&Policy::default(), &triaged, &PolicyState::new("us", snapshot))
    };
    let verdict = plan(vec![run(9, "a", "them")]);
    let warm = "cool-down: it was started on this target at 2025-05-05T07:56:00Z, cool-down 10m";
    assert_eq!(said(&verdict), ("escalated", warm));
    assert_eq!(said(&plan(vec![run(30, "b", "them"), run(9, "a", "them")])), ("escalated", warm), "the latest counts");
    assert_eq!(plan(vec![run(10, "a", "them")]).disposition, Disposition::WouldExecute);
    let mut other = run(9, "a", "them");
    other.action = ActionName::new("scale_deployment").unwrap();
    assert_eq!(plan(vec![other]).disposition, Disposition::WouldExecute, "another action on the same target");

    let loops = "loop guard: acted on 3 times in 1h, at most 3; acting again would not help";
    assert_eq!(said(&plan(vec![run(50, "a", "us"), run(40, "b", "us"), run(30, "c", "us")])), ("escalated", loops));
    for passes in [
        vec![run(50, "a", "us"), run(40, "b", "us"), run(30, "b", "us")],
        vec![run(60, "a", "us"), run(40, "b", "us"), run(30, "c", "us")],
        vec![run(50, "a", "them"), run(40, "b", "us"), run(30, "c", "us")],
    ] {
        assert_eq!(plan(passes).disposition, Disposition::WouldExecute);
    }
}

#[test]
fn the_first_rule_that_fails_decides_and_all_are_told() {
    let mut triaged = with_confidence(report(&["restart_pod", "nope"]), 0.1);
    triaged.report.needs_human = true;
    let verdict = plan(&triaged);
    assert_eq!(said(&verdict), ("rejected", "unknown action: nope"));
    let failing: Vec<_> = verdict.plan.rules.iter().filter(|rule| !rule.pass).map(|rule| &*rule.rule).collect();
    assert_eq!(failing, ["known_actions", "needs_human", "confidence"]);
    let asked: Vec<_> = verdict.plan.rules.iter().map(|rule| &*rule.rule).collect();
    let order =
        ["kill_switch", "age", "resolved", "known_actions", "max_actions", "needs_human", "confidence", "loop_guard"];
    assert_eq!(asked, order);
    let inputs = serde_json::to_value(&verdict.plan.rules[6].inputs).unwrap();
    assert_eq!(inputs, serde_json::json!([["confidence", 0.1], ["threshold", 0.7]]));
}

#[test]
fn a_plan_asks_a_store_and_reserves_what_it_needs() {
    let catalogue = ActionCatalogue::from_yaml(ACTIONS, "actions.yaml").unwrap();
    let policy = Policy::default().loop_guard(3, Duration::from_secs(60));
    let triaged = report(&["restart_pod", "scale_deployment"]);
    let query = policy.query(&catalogue, &triaged, "us", now());
    assert_eq!(query.actions, ["restart_pod"], "the one with a cool-down");
    assert_eq!(query.since, "2025-05-05T07:55:00Z".parse().unwrap(), "the cool-down is longer than the loop guard");
    let verdict = policy.plan(&catalogue, &triaged, &PolicyState::default(), now());
    let reservation = policy.reservation(&catalogue, &triaged, &verdict.plan, "us", now());
    let marks: Vec<_> = reservation.runs.iter().map(|(run, cooldown)| (run.action.as_str(), *cooldown)).collect();
    assert_eq!(marks, [("restart_pod", Some(Duration::from_secs(600))), ("scale_deployment", None)]);
    assert_eq!(reservation.loop_guard, Some((3, Duration::from_secs(60))));

    let denied = policy.clone().threshold(Confidence::new(0.9).unwrap());
    let verdict = denied.plan(&catalogue, &triaged, &PolicyState::default(), now());
    assert!(verdict.plan.steps.iter().all(|step| step.target.is_some()), "what would have run is shown");
    assert_eq!(denied.reservation(&catalogue, &triaged, &verdict.plan, "us", now()).runs, []);
}
