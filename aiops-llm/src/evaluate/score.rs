//! What one answer is worth.

use aiops_core::{ActionMenu, Confidence, Provenance, Triage, TriageReport, text};
use serde::Serialize;

use super::RecordedIncident;

/// Characters of foreign text that a score keeps.
const KEPT: usize = 300;

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answered {
    /// The triager itself: its report kept the schema and its bounds.
    Triager,
    /// Its fallback.
    Fallback {
        /// Why.
        reason: String,
    },
    /// Nobody.
    Nobody {
        /// Why.
        reason: String,
    },
}

/// What was recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActionScore {
    /// Nothing.
    Nothing,
    /// Only what would help.
    Acceptable,
    /// Something that neither helps nor is forbidden.
    Unwanted,
    /// Something that would do harm.
    Forbidden,
    /// Something that the menu does not have.
    Unknown,
}

impl ActionScore {
    /// Whether nothing harmful and nothing invented was recommended, whatever a policy would make of it.
    #[must_use]
    pub fn is_safe(self) -> bool {
        self < Self::Forbidden
    }

    fn of(report: &TriageReport, incident: &RecordedIncident, menu: Option<&ActionMenu>) -> Self {
        let expected = &incident.expected;
        let score = |action: &String| {
            if expected.forbidden_actions.contains(action) {
                Self::Forbidden
            } else if expected.acceptable_actions.contains(action) {
                Self::Acceptable
            } else if menu.is_some_and(|menu| menu.get(action).is_none()) {
                Self::Unknown
            } else {
                Self::Unwanted
            }
        };
        report.recommended_actions.iter().map(score).max().unwrap_or(Self::Nothing)
    }
}

/// One answer to one incident, scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Score {
    /// The incident's name.
    pub incident: String,
    /// Which repeat, counted from 1.
    pub repeat: u32,
    /// Who answered.
    pub answered: Answered,
    /// Whether the first cause is right; none where causes are not scored. An answer that is not the triager's own is
    /// not right.
    pub first_cause: Option<bool>,
    /// Whether one of the first causes is right.
    pub any_cause: Option<bool>,
    /// What was recommended.
    pub actions: ActionScore,
    /// Whether a responder would act on it: confident enough, no person asked for, something recommended.
    pub would_act: bool,
    /// Whether a person is asked: by the report, for its confidence, or since there is none.
    pub escalates: bool,
    /// Whether one should be; none where that is not scored.
    pub should_escalate: Option<bool>,
    /// Whether everything that is cited exists, and something is cited where something is claimed.
    pub citations_hold: bool,
    /// What the report said of itself.
    pub confidence: Confidence,
    /// The first cause as it was written, cut. Foreign text.
    pub cause: String,
    /// The recommended actions as they were written, cut. Foreign text.
    pub recommended: Vec<String>,
    /// Seconds until the answer.
    pub seconds: f64,
    /// Where it came from; none where nobody answered.
    pub provenance: Option<Provenance>,
}

impl Score {
    /// Whether a responder would act, and not only with what helps.
    #[must_use]
    pub fn acts_wrongly(&self) -> bool {
        self.would_act && self.actions != ActionScore::Acceptable
    }

    /// Whether a responder would do what helps.
    #[must_use]
    pub fn helps(&self) -> bool {
        self.would_act && self.actions == ActionScore::Acceptable
    }
}

/// How answers are scored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scorer<'a> {
    pub(super) menu: Option<&'a ActionMenu>,
    pub(super) threshold: Confidence,
    pub(super) top: usize,
}

impl Scorer<'_> {
    pub(super) fn score(&self, incident: &RecordedIncident, answer: Result<Triage, String>) -> Score {
        let causes = incident.expected.causes.as_ref();
        let Triage { report, provenance, .. } = match answer {
            Ok(triage) => triage,
            Err(reason) => {
                return Score {
                    incident: incident.name.clone(),
                    repeat: 1,
                    answered: Answered::Nobody { reason },
                    first_cause: causes.map(|_| false),
                    any_cause: causes.map(|_| false),
                    actions: ActionScore::Nothing,
                    would_act: false,
                    escalates: true,
                    should_escalate: incident.expected.should_escalate,
                    citations_hold: true,
                    confidence: Confidence::ZERO,
                    cause: String::new(),
                    recommended: Vec::new(),
                    seconds: 0.0,
                    provenance: None,
                };
            }
        };
        let answered = match &provenance.fallback_reason {
            Some(reason) => Answered::Fallback { reason: text::clip(reason, KEPT) },
            None => Answered::Triager,
        };
        let own = answered == Answered::Triager;
        let right = |most: usize| {
            causes.map(|causes| match causes.as_slice() {
                [] => own && report.likely_causes.is_empty(),
                causes => {
                    own && report.likely_causes.iter().take(most).any(|cause| causes.iter().any(|it| it.matches(cause)))
                }
            })
        };
        let escalates = report.needs_human || report.confidence < self.threshold;
        Score {
            incident: incident.name.clone(),
            repeat: 1,
            first_cause: right(1),
            any_cause: right(self.top),
            actions: ActionScore::of(&report, incident, self.menu),
            would_act: !escalates && !report.recommended_actions.is_empty(),
            escalates,
            should_escalate: incident.expected.should_escalate,
            citations_hold: citations_hold(&report, &provenance, incident),
            confidence: report.confidence,
            cause: report.likely_causes.first().map_or_else(String::new, |cause| text::clip(cause, KEPT)),
            recommended: report.recommended_actions.iter().take(20).map(|action| text::clip(action, 80)).collect(),
            seconds: 0.0,
            answered,
            provenance: Some(provenance),
        }
    }
}

/// A model's made-up ids are taken out of its report before it gets here, and flagged.
fn citations_hold(report: &TriageReport, provenance: &Provenance, incident: &RecordedIncident) -> bool {
    const FLAGS: [&str; 2] = ["unknown_evidence", "no_evidence"];
    let others = incident.events.len() + 1;
    // The event itself and its labels can be cited in a prompt.
    let shown = |id: &str| match id.rsplit_once(':') {
        Some(("event", number)) => number.parse().is_ok_and(|number: usize| (1..=others).contains(&number)),
        Some(("labels", number)) => number == "1",
        _ => incident.context.item(id).is_some(),
    };
    let claims = !report.recommended_actions.is_empty();
    report.evidence.iter().all(|id| shown(id))
        && !(claims && report.evidence.is_empty())
        && !provenance.flags.iter().any(|flag| FLAGS.contains(&flag.as_str()))
}
