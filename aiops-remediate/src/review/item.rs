//! One report that passed the threshold, as a reviewer sees it.

use aiops_core::{
    Confidence, Decision, Disposition, EventId, IncidentId, Outcome, Plan, Redactor, ReviewedCase, Target, Triaged,
    Verdict, text,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::audit::{AuditEntry, AuditKind};
use crate::store::{JournalState, ReportId, StepEnd};

/// Summaries, causes and reasons are cut here.
const TEXT: usize = 400;
/// Causes that are shown.
const CAUSES: usize = 3;
/// Steps that are shown; a policy allows three unless told otherwise.
const STEPS: usize = 32;

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReviewStep {
    /// The action.
    pub action: String,
    /// Its target.
    pub target: Option<Target>,
    /// What the policy said.
    pub decision: Decision,
    /// Why, or what became of it.
    pub reason: String,
    /// Whether it helped, once that is known.
    pub outcome: Option<Outcome>,
}

/// What a person said of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReviewVerdict {
    /// The word.
    pub verdict: Verdict,
    /// Whose.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why; may be empty.
    pub note: String,
    /// How many verdicts there are: this is the last one.
    pub given: u32,
}

/// One report that passed the threshold, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReviewItem {
    /// The number of its decision in the audit: what a verdict names it by.
    pub number: u64,
    /// The report.
    pub report: ReportId,
    /// When it was decided.
    pub at: Timestamp,
    /// Its incident.
    pub incident_id: IncidentId,
    /// The event that was triaged.
    pub event_id: EventId,
    /// The event's service.
    pub service: String,
    /// What was seen.
    pub alertname: String,
    /// The triager.
    pub triager: String,
    /// The model, where one was asked.
    pub model: Option<String>,
    /// What the report said of itself.
    pub confidence: Confidence,
    /// What it said.
    pub summary: String,
    /// Its first causes.
    pub causes: Vec<String>,
    /// The plan.
    pub steps: Vec<ReviewStep>,
    /// What became of the report; none where the audit does not say.
    pub disposition: Option<Disposition>,
    /// The last word on its approval: `approved by jane`.
    pub approval: Option<String>,
    /// What a person said of it.
    pub verdict: Option<ReviewVerdict>,
    #[serde(skip)]
    case: ReviewedCase,
}

impl ReviewItem {
    /// # Errors
    /// Why it cannot be reviewed: its inputs were left out, or do not read.
    pub(super) fn of(number: u64, entry: AuditEntry) -> Result<Self, String> {
        let inputs = entry.inputs.ok_or("the decision has no inputs")?;
        let triaged: Triaged = serde_json::from_value(inputs).map_err(|error| {
            let error = text::clip(&error.to_string(), 200);
            format!("the inputs of decision {number} do not read: {error}")
        })?;
        let clip = |words: &str| text::clip(words, TEXT);
        let report = &triaged.report;
        Ok(Self {
            number,
            report: entry.report.unwrap_or_else(|| ReportId::of(&triaged)),
            at: entry.at,
            incident_id: triaged.incident_id.clone(),
            event_id: triaged.event.event_id.clone(),
            service: clip(triaged.event.service.as_str()),
            alertname: clip(triaged.event.alertname()),
            triager: clip(&triaged.provenance.triager),
            model: triaged.provenance.model.as_deref().map(clip),
            confidence: report.confidence,
            summary: clip(&report.summary),
            causes: report.likely_causes.iter().take(CAUSES).map(|cause| clip(cause)).collect(),
            steps: entry.plan.map(steps).unwrap_or_default(),
            disposition: entry.disposition.map(clipped),
            approval: None,
            verdict: None,
            case: ReviewedCase::new(&triaged, Verdict::Unclear, entry.at),
        })
    }

    /// Takes in what the audit says after the decision.
    pub(super) fn went_on(&mut self, entry: AuditEntry) -> Result<(), String> {
        match entry.kind {
            AuditKind::Answer | AuditKind::Recovered => {
                self.disposition = entry.disposition.map(clipped).or(self.disposition.take());
                if let Some(plan) = entry.plan {
                    self.steps = steps(plan);
                }
            }
            AuditKind::Step => {
                let Some(step) = entry.step else { return Ok(()) };
                if let Some(known) = self.steps.get_mut(step.index) {
                    known.reason = match &step.state {
                        JournalState::Ended(end) => {
                            known.outcome = Some(end.outcome());
                            text::clip(&said(end), TEXT)
                        }
                        // As long as nothing follows: a crash left it there.
                        _ => "it began; the audit does not say how it ended".to_owned(),
                    };
                }
            }
            AuditKind::Approval => {
                let (word, by) = (entry.word.unwrap_or_default(), entry.by.unwrap_or_default());
                self.approval = Some(text::clip(&format!("{word} by {by}"), TEXT));
            }
            AuditKind::Verdict => {
                let word = entry.word.unwrap_or_default();
                let verdicts = [Verdict::Right, Verdict::Wrong, Verdict::Unclear];
                let verdict = verdicts.into_iter().find(|verdict| verdict.as_str() == word);
                let verdict = verdict.ok_or_else(|| format!("verdict {:?} is none", text::clip(&word, 40)))?;
                self.verdict = Some(ReviewVerdict {
                    verdict,
                    by: text::clip(&entry.by.unwrap_or_default(), TEXT),
                    at: entry.at,
                    note: text::clip(&entry.reason.unwrap_or_default(), TEXT),
                    given: self.verdict.as_ref().map_or(0, |before| before.given).saturating_add(1),
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// The report with its verdict, as calibration takes it; none without a verdict.
    #[must_use]
    pub fn reviewed(&self) -> Option<ReviewedCase> {
        let verdict = self.verdict.as_ref()?;
        let mut case = self.case.clone();
        (case.verdict, case.at) = (verdict.verdict, verdict.at);
        Some(case)
    }

    /// The audit entry of a verdict on this report.
    #[must_use]
    pub fn verdict_entry(
        &self,
        verdict: Verdict,
        by: &str,
        note: &str,
        at: Timestamp,
        redactor: &Redactor,
    ) -> AuditEntry {
        let mut entry = AuditEntry::new(AuditKind::Verdict, at);
        entry.report = Some(self.report.clone());
        entry.incident_id = Some(self.incident_id.clone());
        entry.event_id = Some(self.event_id.clone());
        entry.said(verdict.as_str(), by, note, redactor)
    }
}

fn said(end: &StepEnd) -> String {
    match end {
        StepEnd::Executed { proof, .. } => format!("done: {proof}"),
        StepEnd::AlreadyDone { proof } => format!("done already: {proof}"),
        StepEnd::NotRun { reason } | StepEnd::Unknown { reason } => reason.clone(),
    }
}

/// The disposition with a reason that is safe to show.
fn clipped(disposition: Disposition) -> Disposition {
    match disposition {
        Disposition::Escalated { reason } => Disposition::Escalated { reason: text::clip(&reason, TEXT) },
        Disposition::Rejected { reason } => Disposition::Rejected { reason: text::clip(&reason, TEXT) },
        other => other,
    }
}

fn steps(plan: Plan) -> Vec<ReviewStep> {
    let steps = plan.steps.into_iter().take(STEPS).map(|step| ReviewStep {
        action: text::clip(&step.action, TEXT),
        target: step.target,
        decision: step.decision,
        reason: text::clip(&step.reason, TEXT),
        outcome: step.outcome,
    });
    steps.collect()
}
