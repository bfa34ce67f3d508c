//! Triage: an event and its context in, a report out.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::TriageContext;
use crate::error::BoxError;
use crate::event::DetectionEvent;
use crate::names::{Confidence, IncidentId};

/// What a triager writes: untrusted input to everything after it.
///
/// Unknown keys are ignored on read; a duplicate key, a missing required one or a wrong type makes
/// the report invalid. Nothing is trimmed, case-folded or clamped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct TriageReport {
    /// What an engineer would write at minute three.
    pub summary: String,
    /// Likely causes, the likeliest first.
    pub likely_causes: Vec<String>,
    /// Names from the menu; compared byte for byte with the catalogue.
    pub recommended_actions: Vec<String>,
    /// A routing signal in `0..=1`.
    pub confidence: Confidence,
    /// Whether the triager itself asks for a person.
    pub needs_human: bool,
    /// Ids of the context items that the report rests on (`log:3`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

impl TriageReport {
    /// A report that recommends nothing, with confidence 0, for a person.
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            likely_causes: Vec::new(),
            recommended_actions: Vec::new(),
            confidence: Confidence::ZERO,
            needs_human: true,
            evidence: Vec::new(),
        }
    }

    /// Likely causes, the likeliest first.
    #[must_use]
    pub fn likely_causes(mut self, causes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.likely_causes = causes.into_iter().map(Into::into).collect();
        self
    }

    /// Names from the menu.
    #[must_use]
    pub fn recommended_actions(mut self, actions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.recommended_actions = actions.into_iter().map(Into::into).collect();
        self
    }

    /// The routing signal.
    #[must_use]
    pub fn confidence(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    /// Whether a person is asked for.
    #[must_use]
    pub fn needs_human(mut self, needs_human: bool) -> Self {
        self.needs_human = needs_human;
        self
    }

    /// Ids of the context items that the report rests on.
    #[must_use]
    pub fn evidence(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.evidence = ids.into_iter().map(Into::into).collect();
        self
    }

    /// The recommended actions in order, each once.
    #[must_use]
    pub fn distinct_actions(&self) -> Vec<&str> {
        let mut seen = Vec::new();
        for action in &self.recommended_actions {
            if !seen.contains(&action.as_str()) {
                seen.push(action.as_str());
            }
        }
        seen
    }
}

/// Where a report came from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Provenance {
    /// The triager's name.
    pub triager: String,
    /// The model's id, where one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The prompt's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// Tokens read, failed attempts included.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens written, failed attempts included.
    #[serde(default)]
    pub output_tokens: u64,
    /// How long it took.
    #[serde(default, with = "crate::time::human_serde")]
    #[schemars(with = "String")]
    pub latency: Duration,
    /// Whether the report came from a cache.
    #[serde(default)]
    pub cache_hit: bool,
    /// Why a fallback answered, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_reason: Option<String>,
    /// What it cost in US dollars, failed attempts included; absent where it is not known, which is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_dollars: Option<f64>,
    /// What a model wrote where it was no report: without secrets, cut at 2,000 characters, to be shown as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_reply: Option<String>,
    /// What is odd about the report (`unsupported_number`), by the triager's own names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

impl Provenance {
    /// The provenance of a triager that asks no model.
    pub fn new(triager: impl Into<String>) -> Self {
        Self { triager: triager.into(), ..Self::default() }
    }

    /// Why a fallback answered.
    #[must_use]
    pub fn fallback(mut self, reason: impl Into<String>) -> Self {
        self.fallback_reason = Some(reason.into());
        self
    }
}

/// What a triager is asked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TriageRequest {
    /// The incident.
    pub incident_id: IncidentId,
    /// The event that asks: the incident's first, or the one that raised it.
    pub event: DetectionEvent,
    /// All announced events of the incident so far, `event` among them.
    pub events: Vec<DetectionEvent>,
    /// What is known around it.
    pub context: TriageContext,
    /// The time of the question.
    pub now: Timestamp,
    /// The stage drops the question at this time.
    pub deadline: Timestamp,
}

impl TriageRequest {
    /// A request about one event.
    #[must_use]
    pub fn new(
        incident_id: IncidentId,
        event: DetectionEvent,
        context: TriageContext,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Self {
        let events = vec![event.clone()];
        Self { incident_id, event, events, context, now, deadline }
    }

    /// All announced events of the incident.
    #[must_use]
    pub fn events(mut self, events: Vec<DetectionEvent>) -> Self {
        self.events = events;
        self
    }
}

/// What a triager answers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Triage {
    /// The report.
    pub report: TriageReport,
    /// Where it came from.
    pub provenance: Provenance,
}

impl Triage {
    /// An answer.
    #[must_use]
    pub fn new(report: TriageReport, provenance: Provenance) -> Self {
        Self { report, provenance }
    }
}

/// The message from triage to remediation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Triaged {
    /// The incident.
    pub incident_id: IncidentId,
    /// The event that was triaged.
    pub event: DetectionEvent,
    /// The digest of the context that the triager saw.
    pub context_digest: String,
    /// The context items that the report cites: a policy can check their trust.
    #[serde(default)]
    pub cited: Vec<crate::context::ContextItem>,
    /// The report.
    pub report: TriageReport,
    /// Where it came from.
    pub provenance: Provenance,
    /// When the report was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

impl Triaged {
    /// Binds an answer to what was asked; only items that exist in the context are cited.
    #[must_use]
    pub fn new(request: &TriageRequest, triage: Triage, at: Timestamp) -> Self {
        let cited = triage.report.evidence.iter().filter_map(|id| request.context.item(id)).cloned().collect();
        Self {
            incident_id: request.incident_id.clone(),
            event: request.event.clone(),
            context_digest: request.context.digest(),
            cited,
            report: triage.report,
            provenance: triage.provenance,
            at,
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error("triager {triager:?} gave no report")]
#[non_exhaustive]
pub struct TriageError {
    /// Which triager.
    pub triager: String,
    /// Whether asking again may help.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl TriageError {
    /// An error that asking again may not meet.
    pub fn retryable(triager: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { triager: triager.into(), retryable: true, source: source.into() }
    }

    /// An error that stays.
    pub fn permanent(triager: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { triager: triager.into(), retryable: false, source: source.into() }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Compresses an incident's context into a report.
///
/// # Contract
/// - An implementation must answer by `request.deadline`; the stage drops the future then (cancel
///   safe) and escalates the incident.
/// - It picks names from a menu that the host gave it; it makes no target, command or parameter.
/// - It must not act and must not announce: the pipeline has announced before it asks.
/// - It should cite the context items that the report rests on.
/// - An `Err` or a panic escalates the incident with its reason; detection does not wait on it.
///
/// # Errors
/// [`TriageError`]: no report, and why.
///
/// # Implementing
/// ```
/// use aiops_core::{Provenance, Triage, TriageError, TriageReport, TriageRequest, Triager};
/// #[derive(Debug)]
/// struct AskAPerson;
///
/// #[async_trait::async_trait]
/// impl Triager for AskAPerson {
///     fn name(&self) -> &str { "ask-a-person" }
///     async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
///         Ok(Triage::new(TriageReport::new(request.event.explain()), Provenance::new(self.name())))
///     }
/// }
/// ```
#[async_trait]
pub trait Triager: fmt::Debug + Send + Sync + 'static {
    /// A stable name.
    fn name(&self) -> &str;

    /// One report for one incident.
    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError>;
}

macro_rules! forward_triager {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Triager + ?Sized> Triager for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
                (**self).triage(request).await
            }
        }
    };
}
forward_triager!(Arc);
forward_triager!(Box);

/// A triager made of a closure, see [`triager_fn`].
pub struct TriagerFn<F> {
    name: String,
    triage: F,
}

impl<F> fmt::Debug for TriagerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TriagerFn").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a triager of a closure.
///
/// ```
/// use aiops_core::{triager_fn, TriageReport};
/// let triager = triager_fn("ask", |request| async move { Ok(TriageReport::new(request.event.explain())) });
/// ```
pub fn triager_fn<F, Fut>(name: impl Into<String>, triage: F) -> TriagerFn<F>
where
    F: Fn(TriageRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<TriageReport, BoxError>> + Send + 'static,
{
    TriagerFn { name: name.into(), triage }
}

#[async_trait]
impl<F, Fut> Triager for TriagerFn<F>
where
    F: Fn(TriageRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<TriageReport, BoxError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        (self.triage)(request.clone())
            .await
            .map(|report| Triage::new(report, Provenance::new(&self.name)))
            .map_err(|source| TriageError::retryable(&self.name, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TriageReport, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn strict_where_it_matters_open_elsewhere() {
        let good = r#"{"summary":"s","likely_causes":["c"],"recommended_actions":["a","a"],"confidence":0.7,"needs_human":false,"mood":1}"#;
        let report = parse(good).unwrap();
        assert_eq!(report.distinct_actions(), ["a"]);
        for (bad, why) in [
            (good.replace("\"needs_human\":false", "\"needs_human\":\"no\""), "wrong type"),
            (good.replace("\"confidence\":0.7", "\"confidence\":\"0.9\""), "text as number"),
            (good.replace("\"confidence\":0.7,", ""), "missing"),
            (good.replace("\"mood\":1", "\"confidence\":0.1"), "duplicate key"),
            (good.replace("[\"c\"]", "\"c\""), "text as list"),
        ] {
            assert!(parse(&bad).is_err(), "{why}");
        }
    }
}
