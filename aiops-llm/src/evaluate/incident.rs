//! One recorded incident, and what is right about it.

use aiops_core::jiff::Timestamp;
use aiops_core::{DetectionEvent, IncidentId, TriageContext, TriageRequest, text};
use serde::{Deserialize, Serialize};

/// What a triager was asked, and what a right answer is. One line of JSON; unknown keys are refused, since a slip in
/// an expectation would score as something else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RecordedIncident {
    /// Unique in its set: 1 to 80 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Groups that it is counted in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The event that asks.
    pub event: DetectionEvent,
    /// The incident's other events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<DetectionEvent>,
    /// What was known around it.
    #[serde(default)]
    pub context: TriageContext,
    /// The time of the question; that of the event's sighting where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Timestamp>,
    /// What is right.
    pub expected: Expected,
}

/// What a right answer is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Expected {
    /// The cause is right if one of these holds. An empty list: a report is right that names no cause. Absent: causes
    /// are not scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causes: Option<Vec<CauseKeywords>>,
    /// Actions that would help.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acceptable_actions: Vec<String>,
    /// Actions that would do harm.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbidden_actions: Vec<String>,
    /// Whether a person must be asked. Absent: not scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub should_escalate: Option<bool>,
}

/// Words by which a cause is recognised.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CauseKeywords {
    /// All of these, at least one. `load test|loadtest` is either of them.
    pub required: Vec<String>,
    /// None of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbidden: Vec<String>,
}

impl CauseKeywords {
    /// Whether a cause says so. Case does not count; a keyword must stand alone: `db` is not in `dbx`.
    ///
    /// ```
    /// use aiops_llm::evaluate::CauseKeywords;
    /// let words = CauseKeywords { required: vec!["checkout".into(), "v2|deploy".into()], forbidden: vec!["not".into()] };
    /// assert!(words.matches("Checkout is slow since the deploy"));
    /// assert!(!words.matches("checkout-v20 is slow") && !words.matches("not checkout's deploy"));
    /// ```
    #[must_use]
    pub fn matches(&self, cause: &str) -> bool {
        let cause = text::printable(cause).to_lowercase();
        let says = |keyword: &String| {
            keyword.split('|').any(|word| stands_in(&cause, text::printable(word).trim().to_lowercase().as_str()))
        };
        self.required.iter().all(says) && !self.forbidden.iter().any(says)
    }
}

fn stands_in(text: &str, word: &str) -> bool {
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
        })
}

impl RecordedIncident {
    /// An incident of one event, nothing of which is scored yet.
    #[must_use]
    pub fn new(name: impl Into<String>, event: DetectionEvent, context: TriageContext) -> Self {
        let name = name.into();
        Self { name, tags: Vec::new(), event, events: Vec::new(), context, now: None, expected: Expected::default() }
    }

    /// What a triager is asked, to be answered by `deadline`, a time of the clock that the triager runs by.
    #[must_use]
    pub fn request(&self, deadline: Timestamp) -> TriageRequest {
        let incident = self.event.incident_id.clone();
        let incident = incident.unwrap_or_else(|| IncidentId::new(format!("inc-{}", self.name)));
        let now = self.now.unwrap_or_else(|| self.event.observed());
        let request = TriageRequest::new(incident, self.event.clone(), self.context.clone(), now, deadline);
        let others = self.events.iter().filter(|other| other.event_id != self.event.event_id).cloned();
        let events = std::iter::once(self.event.clone()).chain(others).collect();
        request.events(events)
    }
}
