//! The rules over a report as a whole.

use std::time::Duration;

use aiops_core::time::{human, minus, since};
use aiops_core::{RuleVerdict, Status, Triaged, text};
use jiff::Timestamp;

use super::{NAME_SHOWN, PolicyState, Sheet, duplicate, escalated, no_action, rejected};
use crate::catalogue::{ActionSpec, strange};
use crate::policy::{LoopGuard, Policy};
use crate::store::{KillSwitch, acted_on};

/// Clocks of one platform differ by less; a sighting from further ahead is not acted on.
const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// Who set the kill switch, and why, is shown up to this many characters each.
const NOTE_SHOWN: usize = 200;

/// Rules that are asked at most.
const RULES: usize = 10;

/// All rules in order; those whose policy is not set, or which need an action where there is none,
/// are not asked.
pub(super) fn ask(
    policy: &Policy,
    triaged: &Triaged,
    names: &[&str],
    specs: &[Option<&ActionSpec>],
    state: &PolicyState,
    now: Timestamp,
) -> Sheet {
    let mut sheet = Sheet { rules: Vec::with_capacity(RULES), refusal: None };
    let report = &triaged.report;

    sheet.ask(kill_switch(&state.snapshot.kill_switch), escalated);
    if let Some(max_age) = policy.max_age {
        sheet.ask(age(triaged.event.observed(), max_age, now), escalated);
    }
    sheet.ask(resolved(triaged, state), no_action);

    let unknown = names.iter().zip(specs).find(|(_, spec)| spec.is_none()).map(|(name, _)| *name);
    let detail = unknown.map(|name| format!("unknown action: {}", shown(name))).unwrap_or_default();
    sheet.ask(RuleVerdict::new("known_actions", unknown.is_none(), detail), rejected);
    if let Some(max) = policy.max_actions {
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let detail = if count > max { format!("{count} actions, at most {max}") } else { String::new() };
        let verdict = RuleVerdict::new("max_actions", count <= max, detail).input("actions", count).input("max", max);
        sheet.ask(verdict, rejected);
    }

    let detail = if report.needs_human { "the report asks for a person" } else { "" };
    sheet.ask(RuleVerdict::new("needs_human", !report.needs_human, detail), escalated);
    if names.is_empty() {
        sheet.ask(RuleVerdict::new("some_action", false, "the report recommends no action"), no_action);
        return sheet;
    }

    sheet.ask(confidence("confidence", "threshold", report.confidence.value(), policy.threshold.value()), escalated);
    if let Some(guard) = policy.loop_guard {
        match policy.looped(state, now) {
            None => sheet.ask(loop_guard(guard, state, now), escalated),
            Some(told_at) => sheet.ask(looped(guard, told_at), duplicate),
        }
    }
    if !policy.freeze.is_empty() {
        let frozen = policy.frozen(now);
        let detail = frozen.map(|freeze| format!("frozen: {freeze}")).unwrap_or_default();
        sheet.ask(RuleVerdict::new("freeze", frozen.is_none(), detail), escalated);
    }
    for verdict in &state.health {
        sheet.ask(verdict.clone(), escalated);
    }
    sheet
}

fn kill_switch(switch: &KillSwitch) -> RuleVerdict {
    let detail = if switch.on {
        let [by, reason] = [&switch.by, &switch.reason].map(|note| text::clip(note, NOTE_SHOWN));
        format!("the kill switch is on: {by}: {reason}")
    } else {
        String::new()
    };
    RuleVerdict::new("kill_switch", !switch.on, detail)
}

fn age(observed: Timestamp, max_age: Duration, now: Timestamp) -> RuleVerdict {
    let (age, ahead) = (since(now, observed), since(observed, now));
    let detail = if age > max_age {
        format!("stale: observed {} ago, at most {}", human(age), human(max_age))
    } else if ahead > MAX_AHEAD {
        format!("observed {} ahead of now, at most {}", human(ahead), human(MAX_AHEAD))
    } else {
        String::new()
    };
    RuleVerdict::new("age", detail.is_empty(), detail).input("age", age).input("max_age", max_age)
}

fn resolved(triaged: &Triaged, state: &PolicyState) -> RuleVerdict {
    let event = &triaged.event;
    let ended = state.snapshot.resolved_at.is_some_and(|at| at >= event.observed());
    let pass = !ended && event.status == Status::Firing;
    RuleVerdict::new("resolved", pass, if pass { "" } else { "the episode has ended" })
}

/// `number` against a bound that lets itself pass.
pub(super) fn confidence(rule: &'static str, bound: &'static str, number: f64, least: f64) -> RuleVerdict {
    let pass = number >= least;
    let detail = if pass {
        String::new()
    } else {
        format!("confidence {number} is below {least} ({})", bound.replace('_', " "))
    };
    RuleVerdict::new(rule, pass, detail).input("confidence", number).input(bound, least)
}

/// Counts the reports on which this identity was acted on, as the store does when marks are taken.
fn loop_guard(LoopGuard { max, per }: LoopGuard, state: &PolicyState, now: Timestamp) -> RuleVerdict {
    let count = acted_on(&state.identity, minus(now, per), state.snapshot.runs.iter());
    let pass = count < max;
    let detail = if pass {
        String::new()
    } else {
        format!("loop guard: acted on {count} times in {}, at most {max}; acting again would not help", human(per))
    };
    RuleVerdict::new("loop_guard", pass, detail).input("runs", count).input("max", max).input("per", per)
}

/// A loop that a person was told of is told once; it is over when the anomaly has been quiet.
fn looped(LoopGuard { max, per }: LoopGuard, told_at: Timestamp) -> RuleVerdict {
    let detail = format!("loop guard: a person was told at {told_at}; actions pass after {} without it", human(per));
    RuleVerdict::new("loop_guard", false, detail).input("max", max).input("per", per)
}

/// A name that no catalogue has, safe to show.
fn shown(name: &str) -> String {
    if name.is_empty() {
        return "(an empty name)".to_owned();
    }
    text::clip(name, NAME_SHOWN) + &strange(name)
}
