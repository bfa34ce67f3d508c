//! Triage context: what is known around an event, gathered, sorted, cut and numbered.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::BoxError;
use crate::event::DetectionEvent;
use crate::names::{IncidentId, ServiceName};
use crate::redact::{Redactions, Redactor};

/// What kind of thing a context item tells about; it is the first part of the item's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContextKind {
    /// A deploy of the service (the last 3).
    Deploy,
    /// An error-log fingerprint (the top 10 of the last 15 minutes).
    Log,
    /// A related alert on the service or on a dependency.
    Alert,
    /// The service's SLO burn rate.
    Slo,
    /// A host's own.
    #[serde(untagged)]
    Other(String),
}

impl ContextKind {
    /// The kind as it stands in an item id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Deploy => "deploy",
            Self::Log => "log",
            Self::Alert => "alert",
            Self::Slo => "slo",
            Self::Other(kind) => kind,
        }
    }

    /// How many items of the kind a context holds unless the host says otherwise (field report,
    /// section 5: three deploys, ten log fingerprints).
    #[must_use]
    pub fn default_limit(&self) -> usize {
        match self {
            Self::Deploy => 3,
            Self::Log | Self::Alert | Self::Other(_) => 10,
            Self::Slo => 5,
        }
    }
}

/// Who could have written an item's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Workloads or outsiders: log text, attributes, annotations, commit notes. An attacker may
    /// have written it.
    External,
    /// People of the team.
    Operator,
    /// Our detectors, the deploy API's id, time and version, alert names from the team's rules.
    System,
}

/// What a source is asked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ContextQuery {
    /// The event that asks: the incident's first, or the one that raised it.
    pub event: DetectionEvent,
    /// The incident.
    pub incident_id: IncidentId,
    /// All services of the incident, the event's first.
    pub services: Vec<ServiceName>,
    /// The time of the question.
    pub now: Timestamp,
    /// The collector drops the question at this time and lists the source as missing.
    pub deadline: Timestamp,
}

impl ContextQuery {
    /// A question about one event; more services can be added.
    #[must_use]
    pub fn new(event: DetectionEvent, incident_id: IncidentId, now: Timestamp, deadline: Timestamp) -> Self {
        let services = vec![event.service.clone()];
        Self { event, incident_id, services, now, deadline }
    }

    /// All services of the incident; the event's own is kept first.
    #[must_use]
    pub fn services(mut self, services: impl IntoIterator<Item = ServiceName>) -> Self {
        for service in services {
            if !self.services.contains(&service) {
                self.services.push(service);
            }
        }
        self
    }
}

/// One thing that a source found, before the collector sorts, cuts and numbers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ContextFinding {
    /// What it tells about.
    pub kind: ContextKind,
    /// Who could have written it.
    pub trust: Trust,
    /// The service, where there is one.
    pub service: Option<ServiceName>,
    /// When it happened, where there is a time.
    pub at: Option<Timestamp>,
    /// One line for a person or a model.
    pub text: String,
    /// Larger is more important; equal weights are sorted newest first.
    pub weight: f64,
    /// The typed facts behind the line, for rules.
    pub data: Value,
}

impl ContextFinding {
    /// A finding without service, time or data, of weight 0.
    pub fn new(kind: ContextKind, trust: Trust, text: impl Into<String>) -> Self {
        Self { kind, trust, service: None, at: None, text: text.into(), weight: 0.0, data: Value::Null }
    }

    /// The service that it is about.
    #[must_use]
    pub fn service(mut self, service: impl Into<ServiceName>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// When it happened.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// How important it is.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = if weight.is_finite() { weight } else { 0.0 };
        self
    }

    /// The typed facts behind the line.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    /// Takes secrets out of the line and of the strings of the data.
    pub fn redact(&mut self, redactor: &Redactor) -> Redactions {
        let redacted = redactor.redact(&self.text);
        let mut found = redacted.found;
        if let std::borrow::Cow::Owned(text) = redacted.text {
            self.text = text;
        }
        found.merge(redactor.redact_value(&mut self.data));
        found
    }
}

/// A finding with the id by which a report cites it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ContextItem {
    /// `log:3`: kind and place after sorting and cutting, counted from 1.
    pub id: String,
    /// What it tells about.
    pub kind: ContextKind,
    /// Who could have written it.
    pub trust: Trust,
    /// The service, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// When it happened, where there is a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub at: Option<Timestamp>,
    /// One line, free of control and invisible characters.
    pub text: String,
    /// The typed facts behind the line.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// What the context should hold and does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// The source, or the kind that was cut.
    pub what: String,
    /// Why: it failed, ran out of time, or was cut (`3 of 7 shown`).
    pub reason: String,
}

/// The gathered context, ready for a triager.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct TriageContext {
    /// The items, by kind, then by weight.
    pub items: Vec<ContextItem>,
    /// What failed or was cut.
    pub missing: Vec<Missing>,
}

impl TriageContext {
    /// Sorts, cuts to each kind's limit, numbers and cleans the findings. The result does not depend
    /// on the order in which sources answered.
    #[must_use]
    pub fn assemble(mut findings: Vec<ContextFinding>, mut missing: Vec<Missing>) -> Self {
        findings.sort_by(|a, b| {
            a.kind
                .cmp(&b.kind)
                .then(b.weight.total_cmp(&a.weight))
                .then(b.at.cmp(&a.at))
                .then_with(|| a.service.cmp(&b.service))
                .then_with(|| a.text.cmp(&b.text))
        });
        let mut items = Vec::new();
        for group in findings.chunk_by(|a, b| a.kind == b.kind) {
            let limit = group[0].kind.default_limit();
            if group.len() > limit {
                let reason = format!("{limit} of {} shown", group.len());
                missing.push(Missing { what: group[0].kind.as_str().to_owned(), reason });
            }
            items.extend(group.iter().take(limit).enumerate().map(|(index, finding)| ContextItem {
                id: format!("{}:{}", finding.kind.as_str(), index + 1),
                kind: finding.kind.clone(),
                trust: finding.trust,
                service: finding.service.clone(),
                at: finding.at,
                text: crate::text::clip(&finding.text, 500),
                data: finding.data.clone(),
            }));
        }
        missing.sort_by(|a, b| (&a.what, &a.reason).cmp(&(&b.what, &b.reason)));
        Self { items, missing }
    }

    /// The item with this id.
    #[must_use]
    pub fn item(&self, id: &str) -> Option<&ContextItem> {
        self.items.iter().find(|item| item.id == id)
    }

    /// 16 hex digits over the whole context: equal context, equal digest.
    #[must_use]
    pub fn digest(&self) -> String {
        crate::fingerprint::sha1_head(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }
}

/// A source that could not answer.
#[derive(Debug, thiserror::Error)]
#[error("context source {origin:?} could not answer")]
#[non_exhaustive]
pub struct ContextError {
    /// Which source.
    pub origin: String,
    /// Whether asking again may help.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl ContextError {
    /// An error that asking again may not meet.
    pub fn retryable(origin: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { origin: origin.into(), retryable: true, source: source.into() }
    }

    /// An error that stays until a person changes something.
    pub fn permanent(origin: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { origin: origin.into(), retryable: false, source: source.into() }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Tells what it knows around an event.
///
/// # Contract
/// - An implementation must label each finding with who could have written its text, and must not
///   label foreign text as [`Trust::System`].
/// - It should return summaries, not raw data, and no more than a few dozen findings; the collector
///   sorts, cuts and numbers.
/// - Sources are asked concurrently, each with a deadline; the future is dropped then (cancel safe).
/// - An `Err`, a panic or a late answer lists the source as missing and costs nothing else.
///
/// # Errors
/// [`ContextError`]; it reaches the context as a missing source, without its text.
///
/// # Implementing
/// ```
/// use aiops_core::{ContextError, ContextFinding, ContextKind, ContextQuery, ContextSource, Trust};
/// #[derive(Debug)]
/// struct OnCallNotes;
///
/// #[async_trait::async_trait]
/// impl ContextSource for OnCallNotes {
///     fn name(&self) -> &str { "on-call-notes" }
///     async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
///         let note = format!("{} was moved to new nodes this morning", query.event.service);
///         Ok(vec![ContextFinding::new(ContextKind::Other("note".into()), Trust::Operator, note)
///             .service(query.event.service.clone())])
///     }
/// }
/// ```
#[async_trait]
pub trait ContextSource: fmt::Debug + Send + Sync + 'static {
    /// A stable name, unique in the pipeline.
    fn name(&self) -> &str;

    /// What is known, by the time of `query.now`.
    async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError>;
}

macro_rules! forward_context_source {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: ContextSource + ?Sized> ContextSource for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
                (**self).gather(query).await
            }
        }
    };
}
forward_context_source!(Arc);
forward_context_source!(Box);

/// A context source made of a closure, see [`context_fn`].
pub struct ContextFn<F> {
    name: String,
    gather: F,
}

impl<F> fmt::Debug for ContextFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextFn").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a context source of a closure.
///
/// ```
/// use aiops_core::{context_fn, ContextFinding, ContextKind, Trust};
/// let source = context_fn("shift", |_query| async {
///     Ok(vec![ContextFinding::new(ContextKind::Other("shift".into()), Trust::Operator, "night shift")])
/// });
/// ```
pub fn context_fn<F, Fut>(name: impl Into<String>, gather: F) -> ContextFn<F>
where
    F: Fn(ContextQuery) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<ContextFinding>, BoxError>> + Send + 'static,
{
    ContextFn { name: name.into(), gather }
}

#[async_trait]
impl<F, Fut> ContextSource for ContextFn<F>
where
    F: Fn(ContextQuery) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<ContextFinding>, BoxError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
        (self.gather)(query.clone()).await.map_err(|source| ContextError::retryable(&self.name, source))
    }
}
