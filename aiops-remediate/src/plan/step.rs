//! The rules over one action of a report.

use std::time::Duration;

use aiops_core::time::{human, minus};
use aiops_core::{ContextKind, Decision, RuleVerdict, Step, Target, Triaged, Trust};
use jiff::Timestamp;

use super::PolicyState;
use super::report::confidence;
use crate::catalogue::ActionSpec;
use crate::policy::Policy;

/// Rules that are asked at most.
const RULES: usize = 6;

/// One step, with its target and the decision on it. Rules that the catalogue does not set are not
/// asked.
pub(super) fn decide(
    policy: &Policy,
    spec: &ActionSpec,
    triaged: &Triaged,
    state: &PolicyState,
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
