//! Bar: `Policy::plan` decides at least 200,000 reports a second on one core with the example
//! catalogue of five actions and the example policy. Baseline, in the same run: a bare `HashMap`
//! look-up and the same comparisons, which say yes or no and explain nothing.

use std::collections::HashMap;
use std::hint::black_box;

use aiops_core::testing::samples;
use aiops_core::{ContextKind, Status, Triaged, Trust, time};
use aiops_remediate::{ActionCatalogue, ActionSpec, Policy, PolicyState};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;

const CATALOGUE: &str = include_str!("../../examples/catalogue/actions.yaml");
const POLICY: &str = include_str!("../../examples/policy/policy.yaml");

/// A Monday morning in Berlin: no freeze.
const NOW: &str = "2025-05-05T08:05:00Z";

/// What a bus brings: most reports pass, some wait for a person, some are denied.
fn reports(now: Timestamp) -> Vec<Triaged> {
    let mut event = samples::event("checkout", "1", now);
    for (label, value) in [("namespace", "shop"), ("pod", "checkout-7d9f-x2x4q"), ("node", "node-17")] {
        event.labels.insert(label.to_owned(), value.to_owned());
    }
    let actions: [&[&str]; 8] = [
        &["restart_pod"],
        &["restart_pod"],
        &["scale_deployment"],
        &["restart_pod", "scale_deployment"],
        &["rollback_deployment"],
        &["drain_node"],
        &["restart_pod", "rm -rf /"],
        &[],
    ];
    actions.iter().map(|actions| samples::triaged(event.clone(), actions)).collect()
}

/// The rules of a plan, without a word of explanation.
fn bare(
    policy: &Policy,
    specs: &HashMap<&str, &ActionSpec>,
    triaged: &Triaged,
    state: &PolicyState,
    now: Timestamp,
) -> bool {
    let (report, event, snapshot) = (&triaged.report, &triaged.event, &state.snapshot);
    let has = |label: &str| event.labels.contains_key(label);
    let runs = |wanted: &str| snapshot.runs.iter().any(|run| run.action.as_str() == wanted);
    let step = |name: &String| {
        let Some(spec) = specs.get(name.as_str()) else { return false };
        let cited =
            |kind: &ContextKind| triaged.cited.iter().any(|item| item.kind == *kind && item.trust == Trust::System);
        let named = match spec.blast_radius.as_str() {
            "pod" => has("namespace") && has("pod"),
            "deployment" => has("namespace"),
            radius => has(radius),
        };
        named
            && spec.evidence.as_ref().is_none_or(cited)
            && spec.blast_radius <= policy.max_blast_radius
            && spec.min_confidence.is_none_or(|least| report.confidence >= least)
            && spec.cooldown.is_none_or(|_| !runs(name))
    };
    !snapshot.kill_switch.on
        && policy.max_age.is_none_or(|max| time::since(now, event.observed()) <= max)
        && snapshot.resolved_at.is_none_or(|at| at < event.observed())
        && event.status == Status::Firing
        && policy.max_actions.is_none_or(|max| report.recommended_actions.len() <= max as usize)
        && !report.needs_human
        && report.confidence >= policy.threshold
        && policy.loop_guard.is_none_or(|guard| snapshot.runs.len() < guard.max as usize)
        && !policy.freeze.iter().any(|freeze| freeze.is_on(now))
        && report.recommended_actions.iter().all(step)
}

fn policy_plan(criterion: &mut Criterion) {
    let (Ok(catalogue), Ok(policy), Ok(now)) = (
        ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml"),
        Policy::from_yaml(POLICY, "policy.yaml"),
        NOW.parse::<Timestamp>(),
    ) else {
        return;
    };
    let specs = catalogue.specs().iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let (reports, state) = (reports(now), PolicyState::default());
    let mut group = criterion.benchmark_group("policy_plan");
    group.throughput(Throughput::Elements(reports.len() as u64));
    group.bench_function("plan", |bencher| {
        bencher.iter(|| {
            for triaged in &reports {
                black_box(policy.plan(&catalogue, black_box(triaged), &state, now));
            }
        });
    });
    group.bench_function("bare", |bencher| {
        bencher.iter(|| {
            for triaged in &reports {
                black_box(bare(&policy, &specs, black_box(triaged), &state, now));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, policy_plan);
criterion_main!(benches);
