//! A responder that only says what it would hand to a dispatcher.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::event::DetectionEvent;
use crate::live::Live;
use crate::menu::ActionMenu;
use crate::names::Confidence;
use crate::responder::{Decision, Disposition, Plan, RespondError, Responder, Response, RuleVerdict, Step};
use crate::triage::{TriageReport, Triaged};

/// Below this a report goes to a person (field report, section 6); exactly this passes.
const THRESHOLD: f64 = 0.7;
/// Distinct actions that a report may recommend; more is a report that has not decided.
const MAX_ACTIONS: usize = 3;

/// Checks a report against a menu and says what would be handed to a dispatcher; it never acts and
/// finds no targets.
///
/// In this order: an action that is not on the menu, or more than three distinct ones, rejects the
/// whole report; a report that asks for a person escalates; one without actions needs nothing; one
/// below the threshold escalates; the rest is a plan that would execute.
///
/// It keeps nothing: a report that comes again gets the same answer.
///
/// ```
/// use aiops_core::{ActionMenu, ActionName, MenuEntry, PlanOnly};
/// # fn main() -> Result<(), aiops_core::InvalidActionName> {
/// let menu = ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod")?, "deletes one pod")]);
/// let responder = PlanOnly::new(menu);
/// # let _ = responder; Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct PlanOnly {
    menu: Live<ActionMenu>,
    threshold: f64,
}

impl PlanOnly {
    /// A responder over a menu that the host may replace while it is in use.
    #[must_use]
    pub fn new(menu: impl Into<Live<ActionMenu>>) -> Self {
        Self { menu: menu.into(), threshold: THRESHOLD }
    }

    /// The confidence from which a report may pass (default 0.7).
    #[must_use]
    pub fn threshold(mut self, threshold: Confidence) -> Self {
        self.threshold = threshold.value();
        self
    }

    /// The answer to a report: pure.
    fn plan(&self, report: &TriageReport) -> (Disposition, Plan) {
        let menu = self.menu.load();
        let actions = report.distinct_actions();
        let mut rules = Vec::new();
        let mut refusal = None;
        let mut ask = |rule: &'static str, pass: bool, detail: String, refuse: fn(String) -> Disposition| {
            if !pass && refusal.is_none() {
                refusal = Some(refuse(detail.clone()));
            }
            rules.push(RuleVerdict::new(rule, pass, detail));
        };
        let rejected = |reason| Disposition::Rejected { reason };
        let escalated = |reason| Disposition::Escalated { reason };

        let unknown: Vec<String> =
            actions.iter().filter(|name| menu.get(name).is_none()).map(|name| crate::text::clip(name, 80)).collect();
        let detail = match unknown.first() {
            Some(name) => format!("unknown action: {name}"),
            None => "every action is on the menu".to_owned(),
        };
        ask("on_the_menu", unknown.is_empty(), detail, rejected);
        let count = actions.len();
        ask("max_actions", count <= MAX_ACTIONS, format!("{count} actions, at most {MAX_ACTIONS}"), rejected);
        let detail = if report.needs_human { "the report asks for a person" } else { "the report asks for nobody" };
        ask("needs_human", !report.needs_human, detail.to_owned(), escalated);
        if !actions.is_empty() {
            let (confidence, threshold) = (report.confidence.value(), self.threshold);
            let passes = confidence >= threshold;
            let sign = if passes { "is at least" } else { "is below" };
            ask("confidence", passes, format!("confidence {confidence} {sign} {threshold}"), escalated);
        }

        let disposition = refusal.unwrap_or(match count {
            0 => Disposition::NoAction,
            _ => Disposition::WouldExecute,
        });
        let steps = actions.iter().map(|name| {
            let name = crate::text::clip(name, 80);
            match disposition.reason() {
                None => Step::new(name, None, Decision::Allow, "would be handed to the dispatcher"),
                Some(reason) => Step::new(name, None, Decision::Deny, reason),
            }
        });
        let steps = steps.collect();
        (disposition, Plan::new(steps, rules))
    }
}

#[async_trait]
impl Responder for PlanOnly {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let (disposition, plan) = self.plan(&triaged.report);
        Ok(Response::new(triaged.incident_id.clone(), disposition, plan, now))
    }

    async fn resolved(&self, _event: &DetectionEvent, _now: Timestamp) -> Result<(), RespondError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::menu::MenuEntry;
    use crate::names::ActionName;

    fn answer(actions: &[&str], confidence: f64, needs_human: bool) -> (Disposition, Plan) {
        let names = ["restart_pod", "scale_deployment", "rollback_deployment", "drain_node"];
        let entries = names.map(|name| MenuEntry::new(ActionName::new(name).unwrap(), "does it"));
        let report = TriageReport::new("s")
            .recommended_actions(actions.iter().copied())
            .confidence(Confidence::new(confidence).unwrap())
            .needs_human(needs_human);
        PlanOnly::new(ActionMenu::new(entries.into())).plan(&report)
    }

    fn escalated(reason: &str) -> Disposition {
        Disposition::Escalated { reason: reason.to_owned() }
    }

    #[test]
    fn the_threshold_itself_passes() {
        assert_eq!(answer(&["restart_pod"], 0.7, false).0, Disposition::WouldExecute);
        let (disposition, plan) = answer(&["restart_pod"], 0.699_999_9, false);
        assert_eq!(disposition, escalated("confidence 0.6999999 is below 0.7"));
        assert_eq!(plan.steps[0].decision, Decision::Deny);
    }

    #[test]
    fn an_unknown_action_rejects_the_whole_report() {
        for name in ["Restart_pod", "restart_pod ", "", "restart\u{200b}_pod", "rm -rf /"] {
            let (disposition, plan) = answer(&["restart_pod", name], 0.9, false);
            let wanted = format!("unknown action: {}", crate::text::clip(name, 80));
            assert_eq!(disposition, Disposition::Rejected { reason: wanted });
            assert!(plan.steps.iter().all(|step| step.decision == Decision::Deny));
        }
        // Also where it would escalate anyway.
        assert!(matches!(answer(&["nope"], 0.0, true).0, Disposition::Rejected { .. }));
    }

    #[test]
    fn duplicates_collapse_before_they_count() {
        let (disposition, plan) = answer(&["restart_pod"; 9], 0.9, false);
        assert_eq!((disposition, plan.steps.len()), (Disposition::WouldExecute, 1));
        let all = ["restart_pod", "scale_deployment", "rollback_deployment", "drain_node"];
        let reason = "4 actions, at most 3".to_owned();
        assert_eq!(answer(&all, 0.9, false).0, Disposition::Rejected { reason });
    }

    #[test]
    fn a_person_is_asked_for_or_nothing_is_needed() {
        assert_eq!(answer(&["restart_pod"], 0.9, true).0, escalated("the report asks for a person"));
        assert_eq!(answer(&[], 0.0, true).0, escalated("the report asks for a person"));
        assert_eq!(answer(&[], 0.1, false).0, Disposition::NoAction);
    }
}
