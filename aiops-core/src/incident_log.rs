//! The timeline of incidents: every stage appends, pages and context sources read.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::BoxError;
use crate::event::DetectionEvent;
use crate::lock::lock;
use crate::names::{IncidentId, ServiceName};
use crate::notify::NoticeKind;
use crate::responder::Response;
use crate::triage::Triaged;

/// What happened in an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "entry", rename_all = "snake_case")]
#[non_exhaustive]
pub enum IncidentEntry {
    /// An event was announced, raised or announced again.
    Announced {
        /// The event.
        event: Box<DetectionEvent>,
    },
    /// An episode ended.
    Resolved {
        /// The event that ended it.
        event: Box<DetectionEvent>,
    },
    /// A report was made.
    Triaged {
        /// The report.
        triaged: Box<Triaged>,
    },
    /// A report was answered.
    Responded {
        /// The answer.
        response: Box<Response>,
    },
    /// People were told.
    Notified {
        /// On which channel.
        channel: String,
        /// What.
        notice: Box<NoticeKind>,
    },
}

impl IncidentEntry {
    /// One line of plain text for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let clip = |text: &str| crate::text::clip(text, 400);
        match self {
            Self::Announced { event } => format!("announced: {}", event.explain()),
            Self::Resolved { event } => {
                format!("ended: {} on {}", clip(event.alertname()), clip(event.service.as_str()))
            }
            Self::Triaged { triaged } => {
                format!("triage by {}: {}", clip(&triaged.provenance.triager), clip(&triaged.report.summary))
            }
            Self::Responded { response } => {
                let reason = response.disposition.reason().map(|reason| format!(": {}", clip(reason)));
                let steps = response.plan.steps.iter().map(|step| format!("; {}: {}", step.action, clip(&step.reason)));
                format!("{}{}{}", response.disposition.as_str(), reason.unwrap_or_default(), steps.collect::<String>())
            }
            Self::Notified { channel, .. } => format!("told on {}", clip(channel)),
        }
    }
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct IncidentRecord {
    /// The incident.
    pub incident_id: IncidentId,
    /// The service of the event behind it.
    pub service: ServiceName,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub entry: IncidentEntry,
}

impl IncidentRecord {
    /// A line.
    #[must_use]
    pub fn new(incident_id: IncidentId, service: ServiceName, at: Timestamp, entry: IncidentEntry) -> Self {
        Self { incident_id, service, at, entry }
    }
}

/// Whether an incident still has an open episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// At least one announced episode is open.
    Open,
    /// All have ended.
    Resolved,
}

/// Which incidents are wanted; a field that is not set matches all.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct IncidentQuery {
    /// This incident.
    pub incident_id: Option<IncidentId>,
    /// Incidents with a record of one of these services.
    pub services: Option<Vec<ServiceName>>,
    /// In this state.
    pub state: Option<IncidentState>,
    /// With a record at or after this time.
    pub from: Option<Timestamp>,
    /// With a record before this time.
    pub to: Option<Timestamp>,
    /// At most so many, the newest first. 0 = the implementation's own bound.
    pub limit: usize,
}

impl IncidentQuery {
    /// One incident.
    #[must_use]
    pub fn incident(id: IncidentId) -> Self {
        Self { incident_id: Some(id), ..Self::default() }
    }

    /// Incidents of these services.
    #[must_use]
    pub fn services(mut self, services: impl IntoIterator<Item = ServiceName>) -> Self {
        self.services = Some(services.into_iter().collect());
        self
    }

    /// Incidents in this state.
    #[must_use]
    pub fn state(mut self, state: IncidentState) -> Self {
        self.state = Some(state);
        self
    }

    /// Incidents with a record in `from..to`.
    #[must_use]
    pub fn between(mut self, from: Timestamp, to: Timestamp) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// One incident with its timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Incident {
    /// The incident.
    pub incident_id: IncidentId,
    /// Open or resolved.
    pub state: IncidentState,
    /// Its services, the first announced one first.
    pub services: Vec<ServiceName>,
    /// Its records, in the order in which they were appended.
    pub records: Vec<IncidentRecord>,
}

impl Incident {
    /// The latest announced event of each episode that has not ended, in order of announcement.
    #[must_use]
    pub fn firing(&self) -> Vec<&DetectionEvent> {
        let mut firing: Vec<&DetectionEvent> = Vec::new();
        for record in &self.records {
            match &record.entry {
                IncidentEntry::Announced { event } => {
                    match firing.iter_mut().find(|known| known.episode_id == event.episode_id) {
                        Some(known) => *known = event,
                        None => firing.push(event),
                    }
                }
                IncidentEntry::Resolved { event } => firing.retain(|known| known.episode_id != event.episode_id),
                _ => {}
            }
        }
        firing
    }
}

/// A log that could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} the incident log")]
#[non_exhaustive]
pub struct IncidentLogError {
    /// What was being done.
    pub doing: &'static str,
    /// Whether trying again may help.
    pub retryable: bool,
    /// Why.
    #[source]
    pub source: BoxError,
}

impl IncidentLogError {
    /// An error that trying again may not meet.
    pub fn retryable(doing: &'static str, source: impl Into<BoxError>) -> Self {
        Self { doing, retryable: true, source: source.into() }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Keeps the timeline of incidents.
///
/// # Contract
/// - What `append` took, `query` gives, in the order of the appends of one incident.
/// - An incident is open while an announced episode of it has not been resolved.
/// - Memory or disk is bounded: the oldest resolved incidents go first, and are counted.
/// - The log informs people and context; no decision rests on it, so a failing log stops nothing.
///
/// # Errors
/// [`IncidentLogError`]: counted by the stage, nothing else waits on it.
///
/// # Implementing
/// ```
/// use aiops_core::{Incident, IncidentLog, IncidentLogError, IncidentQuery, IncidentRecord, MemoryIncidentLog};
/// #[derive(Debug)]
/// struct Printing(MemoryIncidentLog);
///
/// #[async_trait::async_trait]
/// impl IncidentLog for Printing {
///     async fn append(&self, record: IncidentRecord) -> Result<(), IncidentLogError> {
///         println!("{} {}", record.at, record.incident_id);
///         self.0.append(record).await
///     }
///     async fn query(&self, query: &IncidentQuery) -> Result<Vec<Incident>, IncidentLogError> {
///         self.0.query(query).await
///     }
/// }
/// ```
#[async_trait]
pub trait IncidentLog: fmt::Debug + Send + Sync + 'static {
    /// Adds one line.
    async fn append(&self, record: IncidentRecord) -> Result<(), IncidentLogError>;

    /// Incidents that match, the newest first.
    async fn query(&self, query: &IncidentQuery) -> Result<Vec<Incident>, IncidentLogError>;
}

macro_rules! forward_incident_log {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: IncidentLog + ?Sized> IncidentLog for $pointer<T> {
            async fn append(&self, record: IncidentRecord) -> Result<(), IncidentLogError> {
                (**self).append(record).await
            }

            async fn query(&self, query: &IncidentQuery) -> Result<Vec<Incident>, IncidentLogError> {
                (**self).query(query).await
            }
        }
    };
}
forward_incident_log!(Arc);
forward_incident_log!(Box);

/// Incidents kept when the host says nothing: some days of a busy platform.
const DEFAULT_INCIDENTS: usize = 1_000;
/// Records kept for one incident; the first and the newest stay.
const RECORDS_OF_ONE: usize = 1_000;

#[derive(Debug, Default)]
struct Kept {
    incidents: BTreeMap<IncidentId, Incident>,
    /// Oldest first.
    order: VecDeque<IncidentId>,
}

/// The timeline in memory, bounded.
#[derive(Debug)]
pub struct MemoryIncidentLog {
    kept: Mutex<Kept>,
    capacity: usize,
}

impl Default for MemoryIncidentLog {
    fn default() -> Self {
        Self::new(DEFAULT_INCIDENTS)
    }
}

impl MemoryIncidentLog {
    /// A log of at most `capacity` incidents (at least one).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { kept: Mutex::default(), capacity: capacity.max(1) }
    }
}

fn matches(incident: &Incident, query: &IncidentQuery) -> bool {
    let in_time = |record: &IncidentRecord| {
        query.from.is_none_or(|from| record.at >= from) && query.to.is_none_or(|to| record.at < to)
    };
    query.incident_id.as_ref().is_none_or(|id| *id == incident.incident_id)
        && query.state.is_none_or(|state| state == incident.state)
        && query.services.as_ref().is_none_or(|wanted| incident.services.iter().any(|service| wanted.contains(service)))
        && ((query.from.is_none() && query.to.is_none()) || incident.records.iter().any(in_time))
}

#[async_trait]
impl IncidentLog for MemoryIncidentLog {
    async fn append(&self, record: IncidentRecord) -> Result<(), IncidentLogError> {
        let mut kept = lock(&self.kept);
        let id = record.incident_id.clone();
        if !kept.incidents.contains_key(&id) {
            kept.order.push_back(id.clone());
        }
        let incident = kept.incidents.entry(id.clone()).or_insert_with(|| Incident {
            incident_id: id,
            state: IncidentState::Open,
            services: Vec::new(),
            records: Vec::new(),
        });
        if !incident.services.contains(&record.service) {
            incident.services.push(record.service.clone());
        }
        let moves = matches!(record.entry, IncidentEntry::Announced { .. } | IncidentEntry::Resolved { .. });
        incident.records.push(record);
        if moves {
            incident.state = if incident.firing().is_empty() { IncidentState::Resolved } else { IncidentState::Open };
        }
        if incident.records.len() > RECORDS_OF_ONE {
            incident.records.remove(1);
            metrics::counter!("aiops_incident_log_dropped_total", "what" => "record").increment(1);
        }
        while kept.order.len() > self.capacity {
            let resolved = kept
                .order
                .iter()
                .position(|id| kept.incidents.get(id).is_none_or(|incident| incident.state == IncidentState::Resolved));
            if let Some(id) = kept.order.remove(resolved.unwrap_or(0)) {
                kept.incidents.remove(&id);
                metrics::counter!("aiops_incident_log_dropped_total", "what" => "incident").increment(1);
            }
        }
        Ok(())
    }

    async fn query(&self, query: &IncidentQuery) -> Result<Vec<Incident>, IncidentLogError> {
        let kept = lock(&self.kept);
        let limit = if query.limit == 0 { self.capacity } else { query.limit };
        let newest_first = kept.order.iter().rev().filter_map(|id| kept.incidents.get(id));
        Ok(newest_first.filter(|incident| matches(incident, query)).take(limit).cloned().collect())
    }
}
