//! On random reports, events, catalogues and policies: a step that may run is in the catalogue and
//! allowed by the policy, and its target is the event's; and what nothing forbids does run.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use aiops_core::testing::samples;
use aiops_core::{Confidence, Decision, Disposition, Triaged};
use aiops_remediate::{ActionCatalogue, ActionSpec, BlastRadius, Policy, PolicyState};
use jiff::Timestamp;
use proptest::prelude::*;

/// Names that catalogues hold, and look-alikes that none does.
const NAMES: [&str; 5] = ["restart_pod", "scale_deployment", "rollback_deployment", "drain_node", "failover_region"];
const ODD: [&str; 6] = ["", "Restart_pod", "restart_pod ", "restart\u{200b}_pod", "r\u{435}start_pod", "rm -rf /"];
const LABELS: [&str; 6] = ["namespace", "pod", "deployment", "node", "region", "service"];

fn now() -> Timestamp {
    "2025-05-05T08:05:00Z".parse().unwrap()
}

prop_compose! {
    fn entry()(
        there in prop::bool::weighted(0.8),
        radius in prop::sample::select(BlastRadius::ALL.to_vec()),
        approval in prop::bool::weighted(0.3),
        least in prop::option::weighted(0.3, 0.0..=1.0f64),
        evidence in prop::option::weighted(0.2, prop::sample::select(vec!["deploy", "log", "slo"])),
        target in prop::option::weighted(0.2, prop::sample::subsequence(LABELS.to_vec(), 1..=3)),
    ) -> Option<String> {
        let mut text = format!("owner: shop, blast_radius: {radius}, requires_approval: {approval}");
        if let Some(least) = least {
            text.push_str(&format!(", min_confidence: {least}"));
        }
        if let Some(kind) = evidence {
            text.push_str(&format!(", evidence: {kind}"));
        }
        if let Some(labels) = target {
            text.push_str(&format!(", target: [{}]", labels.join(", ")));
        }
        there.then_some(text)
    }
}

prop_compose! {
    fn catalogue()(entries in prop::collection::vec(entry(), NAMES.len())) -> ActionCatalogue {
        let mut text = "actions:\n  - {name: page_vendor, owner: x, blast_radius: pod, requires_approval: true}\n".to_owned();
        for (name, entry) in NAMES.iter().zip(entries) {
            if let Some(entry) = entry {
                text.push_str(&format!("  - {{name: {name}, {entry}}}\n"));
            }
        }
        ActionCatalogue::from_yaml(&text, "actions.yaml").unwrap()
    }
}

prop_compose! {
    fn policy()(
        threshold in prop_oneof![Just(0.7), 0.0..=1.0f64],
        ceiling in prop::sample::select(BlastRadius::ALL.to_vec()),
        max in 1u32..5,
    ) -> Policy {
        Policy::default().threshold(Confidence::new(threshold).unwrap()).max_blast_radius(ceiling).max_actions(max)
    }
}

prop_compose! {
    fn report()(
        actions in prop::collection::vec(
            prop_oneof![30 => prop::sample::select(NAMES.to_vec()), 1 => prop::sample::select(ODD.to_vec())], 0..6),
        confidence in prop_oneof![Just(0.7), Just(0.699_999_9), 0.0..=1.0f64, 0.7..=1.0f64],
        needs_human in prop::bool::weighted(0.1),
        cites in any::<bool>(),
        labels in prop::collection::vec(prop::option::weighted(0.85, "[a-z]{1,6}"), LABELS.len()),
        odd in prop::option::weighted(0.05, prop::sample::select(vec!["", "a\u{202e}b", "checkout"])),
        seconds in prop_oneof![8 => -900..=300i64, 1 => -2_000..2_000i64],
    ) -> Triaged {
        let mut event = samples::event("checkout", "1", now());
        for (name, value) in LABELS.iter().zip(labels) {
            // A `service` label is mostly the event's own.
            let value = value.map(|value| if *name == "service" && value.as_str() < "s" { "checkout".to_owned() } else { value });
            if let Some(value) = value {
                event.labels.insert((*name).to_owned(), value);
            }
        }
        if let Some(value) = odd {
            event.labels.insert("pod".to_owned(), value.to_owned());
        }
        event.observed_at = Timestamp::from_second(now().as_second() + seconds).ok();
        let mut triaged = samples::triaged(event, &actions);
        triaged.report.confidence = Confidence::new(confidence).unwrap();
        triaged.report.needs_human = needs_human;
        if !cites {
            triaged.cited.clear();
        }
        triaged
    }
}

/// What a person would check by hand before this action may run.
fn may_run(policy: &Policy, spec: &ActionSpec, triaged: &Triaged) -> bool {
    let cites_deploy = !triaged.cited.is_empty();
    let evidence = spec.evidence.as_ref().is_none_or(|kind| kind.as_str() == "deploy" && cites_deploy);
    let confident = spec.min_confidence.is_none_or(|least| triaged.report.confidence >= least);
    let standard: &[&str] = match spec.blast_radius {
        BlastRadius::Pod => &["namespace", "pod"],
        BlastRadius::Deployment => &["namespace", "deployment"],
        BlastRadius::Node => &["node"],
        BlastRadius::Region => &["region"],
    };
    let own: Vec<&str> = spec.target.iter().map(String::as_str).collect();
    let named = if own.is_empty() { standard } else { &own }.iter().all(|label| {
        let service =
            triaged.event.labels.get("service").is_none_or(|service| service.is_empty() || service == "checkout");
        match triaged.event.labels.get(*label).filter(|value| !value.is_empty()) {
            Some(value) => value.is_ascii() && (*label != "service" || value == "checkout"),
            None => matches!(*label, "deployment" | "service") && service,
        }
    });
    evidence && confident && named && spec.blast_radius <= policy.max_blast_radius
}

fn age_in_seconds(triaged: &Triaged) -> i64 {
    now().as_second() - triaged.event.observed().as_second()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn steps_that_run_are_allowed_and_aim_at_the_event(
        catalogue in catalogue(), policy in policy(), triaged in report(),
    ) {
        let verdict = policy.plan(&catalogue, &triaged, &PolicyState::default(), now());
        let report = &triaged.report;
        let distinct: HashSet<&str> = report.recommended_actions.iter().map(String::as_str).collect();
        let specs: Vec<Option<&ActionSpec>> = distinct.iter().map(|name| catalogue.get(name)).collect();
        let known = specs.iter().all(Option::is_some);
        let few = distinct.len() <= policy.max_actions.unwrap() as usize;
        let fresh = (-300..=900).contains(&age_in_seconds(&triaged));
        let runs = fresh && known && few && !report.needs_human && !distinct.is_empty()
            && report.confidence >= policy.threshold
            && specs.iter().flatten().all(|spec| may_run(&policy, spec, &triaged));
        let approval = specs.iter().flatten().any(|spec| spec.requires_approval);

        let expected = match (runs, approval) {
            (true, true) => "awaiting_approval",
            (true, false) => "would_execute",
            (false, _) if fresh && !(known && few) => "rejected",
            (false, _) if fresh && distinct.is_empty() && !report.needs_human => "no_action",
            (false, _) => "escalated",
        };
        prop_assert_eq!(verdict.disposition.as_str(), expected, "{:?}", verdict);
        for step in &verdict.plan.steps {
            let spec = catalogue.get(&step.action);
            match step.decision {
                Decision::Allow => prop_assert!(runs && spec.is_some_and(|spec| !spec.requires_approval)),
                Decision::RequireApproval => prop_assert!(runs && spec.is_some_and(|spec| spec.requires_approval)),
                Decision::Deny => prop_assert!(!runs && !step.reason.is_empty()),
            }
            for (label, value) in step.target.iter().flat_map(|target| target.parts()) {
                let event = &triaged.event;
                let from_label = event.labels.get(label).is_some_and(|labelled| labelled == value);
                prop_assert!(from_label || value == event.service.as_str(), "{}={}", label, value);
                prop_assert!(label != "service" || value == event.service.as_str());
            }
        }
        if runs {
            prop_assert_eq!(verdict.plan.steps.len(), distinct.len());
            prop_assert!(verdict.plan.steps.iter().all(|step| step.target.is_some()));
        }
        prop_assert_eq!(matches!(verdict.disposition, Disposition::Rejected { .. }), fresh && !(known && few));
    }
}
