//! The rules over one action of a report.

use std::time::Duration;

use aiops_core::time::{human, minus};
use aiops_core::{ContextKind, Decision, RuleVerdict, Step, Target, Triaged, Trust};
use jiff::Timestamp;

use super::report::confidence;
use super::{PolicyState, next_of};
use crate::catalogue::{ActionCatalogue, ActionSpec};
use crate::policy::Policy;
use crate::store::{ReportId, Run};

/// Rules that are asked at most.
const RULES: usize = 7;

/// The steps of a report, in its order; after each, what is done if it has no effect.
pub(super) fn decide_all(
    policy: &Policy,
    catalogue: &ActionCatalogue,
    specs: &[Option<&ActionSpec>],
    triaged: &Triaged,
    state: &PolicyState,
    now: Timestamp,
) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(specs.len());
    let mut runs = Vec::new();
    for spec in specs.iter().copied().flatten() {
        let step = decide(policy, spec, triaged, state, &mut runs, now);
        let allowed = step.decision == Decision::Allow;
        let place = steps.len();
        steps.push(step);
        let next = next_of(catalogue, spec).filter(|next| allowed && next.name != spec.name);
        // One that the report recommends by itself has its own step.
        let Some(next) = next.filter(|next| !specs.contains(&Some(*next))) else { continue };
        let mut step = decide(policy, next, triaged, state, &mut runs, now);
        if step.decision == Decision::Allow {
            step.after = Some(place);
            steps.push(step);
        }
    }
    steps
}

/// One step, with its target and the decision on it. Rules that the catalogue does not set are not
/// asked.
fn decide(
    policy: &Policy,
    spec: &ActionSpec,
    triaged: &Triaged,
    state: &PolicyState,
    runs: &mut Vec<Run>,
    now: Timestamp,
) -> Step {
    let mut rules = Vec::with_capacity(RULES);
    if let Some(kind) = &spec.evidence {
        rules.push(evidence(kind, triaged));
    }
    let target = match spec.target(&triaged.event) {
        Ok(target) => {
            rules.push(RuleVerdict::new("target", true, ""));
            Some(target)
        }
        Err(missing) => {
            rules.push(RuleVerdict::new("target", false, missing.to_string()));
            None
        }
    };
    let (radius, ceiling) = (spec.blast_radius, policy.max_blast_radius);
    let pass = radius <= ceiling;
    let detail =
        if pass { String::new() } else { format!("blast radius {radius} is above the policy's ceiling {ceiling}") };
    let verdict = RuleVerdict::new("blast_radius", pass, detail);
    rules.push(verdict.input("blast_radius", radius.as_str()).input("max_blast_radius", ceiling.as_str()));
    if let Some(least) = spec.min_confidence {
        rules.push(confidence("min_confidence", "min_confidence", triaged.report.confidence.value(), least.value()));
    }
    if let (Some(cooldown), Some(target)) = (spec.cooldown, &target) {
        rules.push(cooled(cooldown, spec, target, state, now));
    }
    if let (false, Some(target)) = (policy.budgets.is_empty(), &target) {
        let run = Run::new(ReportId::of(triaged), &*state.identity, spec.name.clone(), target.clone(), now)
            .blast_radius(radius);
        rules.push(budgets(policy, &run, state, runs));
        runs.push(run);
    }
    let refused = rules.iter().find(|rule| !rule.pass).map(|rule| rule.detail.to_string());
    let detail = if spec.requires_approval { "a person must approve it" } else { "" };
    rules.push(RuleVerdict::new("approval", !spec.requires_approval, detail));

    let (decision, reason) = match refused {
        Some(reason) => (Decision::Deny, reason),
        None if spec.requires_approval => (Decision::RequireApproval, detail.to_owned()),
        None => (Decision::Allow, "every rule passes".to_owned()),
    };
    let mut step = Step::new(spec.name.as_str(), target, decision, reason);
    step.rules = rules;
    step
}

/// An item of the kind that the report cites and that a trusted system wrote. It must be about the
/// event's own service, unless it is an alert: those on dependencies are evidence too.
fn evidence(kind: &ContextKind, triaged: &Triaged) -> RuleVerdict {
    let own = |service: &Option<_>| service.as_ref().is_none_or(|service| *service == triaged.event.service);
    let found = triaged.cited.iter().find(|item| {
        item.kind == *kind && item.trust == Trust::System && (*kind == ContextKind::Alert || own(&item.service))
    });
    let detail = match found {
        Some(_) => String::new(),
        None => format!("no evidence: the report cites no {} item that a trusted system wrote", kind.as_str()),
    };
    let verdict = RuleVerdict::new("evidence", found.is_some(), detail).input("kind", kind.as_str().to_owned());
    match found {
        Some(item) => verdict.input("item", item.id.clone()),
        None => verdict,
    }
}

/// The first budget that has nothing left for this run, given the marks and the steps before it.
fn budgets(policy: &Policy, run: &Run, state: &PolicyState, earlier: &[Run]) -> RuleVerdict {
    let refusal = policy.budgets.iter().find_map(|budget| {
        let marks = state.snapshot.runs.iter().filter(|mark| !mark.same_step(run)).chain(earlier);
        budget.refusal(run, budget.used(run, marks))
    });
    RuleVerdict::new("budget", refusal.is_none(), refusal.unwrap_or_default())
}

fn cooled(cooldown: Duration, spec: &ActionSpec, target: &Target, state: &PolicyState, now: Timestamp) -> RuleVerdict {
    let runs = state.snapshot.runs.iter();
    let last = runs.filter(|run| run.action == spec.name && run.target == *target).map(|run| run.at).max();
    let warm = last.filter(|at| *at > minus(now, cooldown));
    let detail = match warm {
        Some(at) => format!("cool-down: it was started on this target at {at}, cool-down {}", human(cooldown)),
        None => String::new(),
    };
    RuleVerdict::new("cooldown", warm.is_none(), detail).input("cooldown", cooldown)
}
