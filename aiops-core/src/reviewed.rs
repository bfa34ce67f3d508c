//! What a person found a report to be worth, once the incident was understood.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{Confidence, EventId, IncidentId};
use crate::triage::Triaged;

/// A person's word on a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first cause was the true one, and what was recommended was right.
    Right,
    /// It was not.
    Wrong,
    /// Nobody can say: such a case counts neither way.
    Unclear,
}

impl Verdict {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Unclear => "unclear",
        }
    }
}

/// A report with its verdict: what calibration is measured on.
///
/// Confidences of different models or prompts do not compare, so both are named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ReviewedCase {
    /// The event that was triaged.
    pub event_id: EventId,
    /// Its incident.
    pub incident_id: IncidentId,
    /// The triager's name.
    pub triager: String,
    /// The model's id, where one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The prompt's version, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// What the report said of itself.
    pub confidence: Confidence,
    /// What a person said of it.
    pub verdict: Verdict,
    /// When the person said it.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

impl ReviewedCase {
    /// The verdict on a report, given at `at`.
    #[must_use]
    pub fn new(triaged: &Triaged, verdict: Verdict, at: Timestamp) -> Self {
        Self {
            event_id: triaged.event.event_id.clone(),
            incident_id: triaged.incident_id.clone(),
            triager: triaged.provenance.triager.clone(),
            model: triaged.provenance.model.clone(),
            prompt_version: triaged.provenance.prompt_version.clone(),
            confidence: triaged.report.confidence,
            verdict,
            at,
        }
    }

    /// Confidence and truth; none where the verdict is unclear.
    #[cfg(feature = "calibration")]
    #[cfg_attr(docsrs, doc(cfg(feature = "calibration")))]
    #[must_use]
    pub fn judged(&self) -> Option<crate::calibration::Judged> {
        let correct = match self.verdict {
            Verdict::Right => true,
            Verdict::Wrong => false,
            Verdict::Unclear => return None,
        };
        Some(crate::calibration::Judged::new(self.confidence, correct))
    }
}
