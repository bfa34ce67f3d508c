//! What is written into the audit log: one entry for each thing that was decided or is about to be done.

use std::fmt;

use aiops_core::{
    ActionName, Disposition, EventId, Fingerprint, IncidentId, Plan, Recovered, Redactor, Response, RuleInput, Target,
    Triaged,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{JournalEntry, JournalState, KillSwitch, ReportId, ReportRecord, StepEnd};

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditKind {
    /// A report was decided, with its inputs and every rule's verdict; nothing of it has run.
    Decision,
    /// A step is about to execute (`executing`), or went on from there.
    Step,
    /// A report's plan has ended.
    Answer,
    /// An approval was asked for, given, refused, or ran out.
    Approval,
    /// What a crash had left open was found out.
    Recovered,
    /// A person took a lock away from its holder.
    ForcedRelease,
    /// The kill switch was set.
    KillSwitch,
    /// A person said what a report was worth.
    Verdict,
    /// A host's own kind, kept as it is written.
    Other(String),
}

impl AuditKind {
    /// The kind as it stands in JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(kind) => kind,
            known => known.label(),
        }
    }

    /// One of a fixed set, for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Step => "step",
            Self::Answer => "answer",
            Self::Approval => "approval",
            Self::Recovered => "recovered",
            Self::ForcedRelease => "forced_release",
            Self::KillSwitch => "kill_switch",
            Self::Verdict => "verdict",
            Self::Other(_) => "other",
        }
    }
}

impl From<&str> for AuditKind {
    fn from(text: &str) -> Self {
        let known = [
            Self::Decision,
            Self::Step,
            Self::Answer,
            Self::Approval,
            Self::Recovered,
            Self::ForcedRelease,
            Self::KillSwitch,
            Self::Verdict,
        ];
        known.into_iter().find(|kind| kind.label() == text).unwrap_or_else(|| Self::Other(text.to_owned()))
    }
}

impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for AuditKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AuditKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(serde::de::Error::custom("an audit kind must not be empty"));
        }
        Ok(Self::from(text.as_str()))
    }
}

/// One step, as an entry shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditStep {
    /// Which step of the report's plan, counted from 0.
    pub index: usize,
    /// The action.
    pub action: ActionName,
    /// Its target.
    pub target: Target,
    /// The fencing token that it runs under.
    pub token: u64,
    /// How far it is: `executing` stands there before the effect.
    #[serde(flatten)]
    pub state: JournalState,
}

/// One entry, without its place in the chain. Its texts are redacted when it is made.
///
/// ```
/// use aiops_core::{Plan, Redactor, testing::samples};
/// use aiops_remediate::{AuditEntry, ReportRecord};
/// let event = samples::event("checkout", "1", "2025-05-05T08:05:00Z".parse()?);
/// let record = ReportRecord::new(samples::triaged(event, &["restart_pod"]), Plan::default(), jiff::Timestamp::UNIX_EPOCH);
/// let entry = AuditEntry::decision(&record, &Redactor::default());
/// assert_eq!(entry.kind.as_str(), "decision");
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When it was decided.
    pub at: Timestamp,
    /// What it is about.
    pub kind: AuditKind,
    /// The report, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportId>,
    /// The incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<IncidentId>,
    /// The event that was triaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// The event's fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Who: a person, or a process by its name as a holder of locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The word that was given: `approved`, `refused`, `expired`; `on`, `off`; `right`, `wrong`, `unclear`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// Why, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was decided about: the triaged report, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Value>,
    /// The steps and every rule that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The step that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<AuditStep>,
    /// What became of the report, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
    /// The version of the catalogue that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<String>,
    /// The version of the policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl AuditEntry {
    /// An entry of a kind, to be filled in.
    #[must_use]
    pub fn new(kind: AuditKind, at: Timestamp) -> Self {
        Self {
            at,
            kind,
            report: None,
            incident_id: None,
            event_id: None,
            fingerprint: None,
            by: None,
            word: None,
            reason: None,
            inputs: None,
            plan: None,
            step: None,
            disposition: None,
            catalogue: None,
            policy: None,
        }
    }

    /// A report was decided: to be written before anything acts on it.
    #[must_use]
    pub fn decision(record: &ReportRecord, redactor: &Redactor) -> Self {
        let response = record.response.as_ref();
        Self {
            inputs: Some(inputs(&record.triaged, redactor)),
            plan: Some(redacted_plan(&record.plan, redactor)),
            disposition: response.map(|response| redacted_disposition(&response.disposition, redactor)),
            catalogue: Some(record.catalogue.clone()),
            policy: Some(record.policy.clone()),
            ..Self::new(AuditKind::Decision, record.at).about(&record.triaged)
        }
    }

    /// A step reaches a state: `executing` is to be written before `execute` is called, `ended` after it.
    #[must_use]
    pub fn step(entry: &JournalEntry, state: &JournalState, at: Timestamp, redactor: &Redactor) -> Self {
        let request = &entry.request;
        let step = AuditStep {
            index: entry.index,
            action: request.action.clone(),
            target: request.target.clone(),
            token: request.fencing_token,
            state: redacted_state(state, redactor),
        };
        Self {
            report: Some(entry.report.clone()),
            incident_id: Some(request.incident_id.clone()),
            fingerprint: Some(request.fingerprint.clone()),
            step: Some(step),
            ..Self::new(AuditKind::Step, at)
        }
    }

    /// A report's plan has ended, after its effects.
    #[must_use]
    pub fn answer(triaged: &Triaged, response: &Response, redactor: &Redactor) -> Self {
        Self {
            plan: Some(redacted_plan(&response.plan, redactor)),
            disposition: Some(redacted_disposition(&response.disposition, redactor)),
            ..Self::new(AuditKind::Answer, response.at).about(triaged)
        }
    }

    /// What a crash had left open was found out.
    #[must_use]
    pub fn recovered(recovered: &Recovered, redactor: &Redactor) -> Self {
        let answer = Self::answer(&recovered.triaged, &recovered.response, redactor);
        Self { kind: AuditKind::Recovered, ..answer }
    }

    /// An approval was decided: `word` says how (`approved`, `refused`, `expired`, `void`). To be written
    /// before what was approved runs.
    #[must_use]
    pub fn approval(triaged: &Triaged, word: &str, by: &str, reason: &str, at: Timestamp, redactor: &Redactor) -> Self {
        Self::new(AuditKind::Approval, at).about(triaged).said(word, by, reason, redactor)
    }

    /// A person takes a lock away from its holder: to be written before the lock is gone. `key` is what
    /// was locked.
    #[must_use]
    pub fn forced_release(key: &str, holder: &str, by: &str, reason: &str, at: Timestamp, redactor: &Redactor) -> Self {
        let why = format!("lock {key} taken from {holder}: {reason}");
        Self::new(AuditKind::ForcedRelease, at).said("released", by, &why, redactor)
    }

    /// The kill switch is set: to be written before it is.
    #[must_use]
    pub fn kill_switch(switch: &KillSwitch, redactor: &Redactor) -> Self {
        let word = if switch.on { "on" } else { "off" };
        Self::new(AuditKind::KillSwitch, switch.at).said(word, &switch.by, &switch.reason, redactor)
    }

    /// Whose word it was, and why. The name is not redacted: an audit that does not say who is none.
    #[must_use]
    pub fn said(mut self, word: &str, by: &str, reason: &str, redactor: &Redactor) -> Self {
        let reason = (!reason.is_empty()).then(|| redactor.redact(reason).text.into_owned());
        (self.word, self.by, self.reason) = (Some(word.to_owned()), Some(by.to_owned()), reason);
        self
    }

    /// The report that it is about.
    #[must_use]
    pub fn about(self, triaged: &Triaged) -> Self {
        Self {
            report: Some(ReportId::of(triaged)),
            incident_id: Some(triaged.incident_id.clone()),
            event_id: Some(triaged.event.event_id.clone()),
            fingerprint: Some(triaged.event.fingerprint.clone()),
            ..self
        }
    }
}

/// A report without secrets. Names of JSON fields are ours, so that only its texts are looked at.
fn inputs(triaged: &Triaged, redactor: &Redactor) -> Value {
    match serde_json::to_value(triaged) {
        Ok(mut value) => {
            redactor.redact_value(&mut value);
            value
        }
        // No type of the report has keys that are no text; the decision is written all the same.
        Err(error) => Value::String(format!("(the report could not be written: {error})")),
    }
}

fn redact(text: &mut String, redactor: &Redactor) {
    let redacted = redactor.redact(text);
    if !redacted.found.is_empty() {
        *text = redacted.text.into_owned();
    }
}

fn redacted_plan(plan: &Plan, redactor: &Redactor) -> Plan {
    let mut plan = plan.clone();
    let rules = plan.steps.iter_mut().flat_map(|step| {
        redact(&mut step.action, redactor);
        redact(&mut step.reason, redactor);
        &mut step.rules
    });
    for rule in rules.chain(&mut plan.rules) {
        redact(rule.detail.to_mut(), redactor);
        for (_, input) in &mut rule.inputs {
            if let RuleInput::Text(text) = input {
                redact(text.to_mut(), redactor);
            }
        }
    }
    plan
}

fn redacted_disposition(disposition: &Disposition, redactor: &Redactor) -> Disposition {
    let mut disposition = disposition.clone();
    if let Disposition::Escalated { reason } | Disposition::Rejected { reason } = &mut disposition {
        redact(reason, redactor);
    }
    disposition
}

fn redacted_state(state: &JournalState, redactor: &Redactor) -> JournalState {
    let mut state = state.clone();
    match &mut state {
        JournalState::Verifying { proof, .. } => redact(proof, redactor),
        JournalState::Ended(end) => match end {
            StepEnd::Executed { proof, .. } | StepEnd::AlreadyDone { proof } => redact(proof, redactor),
            StepEnd::NotRun { reason } | StepEnd::Unknown { reason } => redact(reason, redactor),
        },
        JournalState::Started | JournalState::Executing { .. } => {}
    }
    state
}
