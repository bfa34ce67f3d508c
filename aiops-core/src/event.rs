//! The detection event: the one thing that crosses from detection to the other layers.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fingerprint::{Fingerprint, Identity};
use crate::names::{EpisodeId, EventId, IncidentId, ServiceName};
use crate::signal::Signal;

/// What was seen: the field report's three kinds, and a host's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String", extend("minLength" = 1))]
#[non_exhaustive]
pub enum EventKind {
    /// A metric left its expected band.
    MetricAnomaly,
    /// Error logs came faster than their baseline.
    LogBurst,
    /// Spans failed or slowed beyond their baseline.
    TraceErrorSpike,
    /// A host's own kind, kept as it is written.
    Other(String),
}

impl EventKind {
    /// The kind as it stands in JSON and in fingerprints.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::MetricAnomaly => "metric_anomaly",
            Self::LogBurst => "log_burst",
            Self::TraceErrorSpike => "trace_error_spike",
            Self::Other(kind) => kind,
        }
    }
}

impl From<&str> for EventKind {
    fn from(text: &str) -> Self {
        match text {
            "metric_anomaly" => Self::MetricAnomaly,
            "log_burst" => Self::LogBurst,
            "trace_error_spike" => Self::TraceErrorSpike,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EventKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(serde::de::Error::custom("an event kind must not be empty"));
        }
        Ok(Self::from(text.as_str()))
    }
}

/// How bad it is: the values of Prometheus' `severity` label, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a record.
    Info,
    /// Worth a look in working hours.
    Warning,
    /// Worth waking someone.
    Critical,
}

impl Severity {
    /// The severity as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether the event says that the anomaly is there or that it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is there.
    #[default]
    Firing,
    /// It ended.
    Resolved,
}

fn is_firing(status: &Status) -> bool {
    *status == Status::Firing
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One detection, as it crosses from the detection layer to the others.
///
/// The first nine fields are the field report's (section 2) and are valid alone; the rest is
/// optional on read. Unknown fields are ignored on read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct DetectionEvent {
    /// UUIDv7 for ours; a foreign id is kept as it came.
    pub event_id: EventId,
    /// What was seen.
    pub kind: EventKind,
    /// The service that it is about.
    pub service: ServiceName,
    /// How bad it is.
    pub severity: Severity,
    /// When the episode was first detected. It does not move within an episode.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub detected_at: Timestamp,
    /// Which detector saw it.
    pub source: String,
    /// The numbers behind it.
    pub signal: Signal,
    /// Sorted labels; carries `alertname`, and `service.version` where it is known.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The dedup key with time, one per episode.
    pub fingerprint: Fingerprint,

    /// Firing, or resolved.
    #[serde(default, skip_serializing_if = "is_firing")]
    pub status: Status,
    /// When this sighting was made; `detected_at` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub observed_at: Option<Timestamp>,
    /// The continuous anomaly that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode_id: Option<EpisodeId>,
    /// The outage that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<IncidentId>,
    /// The upstream system's own id, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<String>,
    /// Sightings held back since the last announcement of this identity.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: u64,
}

impl DetectionEvent {
    /// Starts an event. `at` is when it was detected and observed.
    pub fn builder(
        kind: EventKind,
        service: impl Into<ServiceName>,
        severity: Severity,
        at: Timestamp,
        source: impl Into<String>,
    ) -> DetectionEventBuilder {
        DetectionEventBuilder {
            event: Self {
                event_id: EventId::default(),
                kind,
                service: service.into(),
                severity,
                detected_at: at,
                source: source.into(),
                signal: Signal::default(),
                labels: BTreeMap::new(),
                fingerprint: Fingerprint::default(),
                status: Status::Firing,
                observed_at: Some(at),
                episode_id: None,
                incident_id: None,
                upstream_id: None,
                repeats: 0,
            },
        }
    }

    /// When this sighting was made: `observed_at`, else `detected_at`. Every decision goes by it.
    #[must_use]
    pub fn observed(&self) -> Timestamp {
        self.observed_at.unwrap_or(self.detected_at)
    }

    /// The `alertname` label, else the source.
    #[must_use]
    pub fn alertname(&self) -> &str {
        self.labels.get("alertname").map_or(self.source.as_str(), String::as_str)
    }

    /// Its incident; a foreign event without one is an incident of its own.
    pub(crate) fn incident(&self) -> IncidentId {
        self.incident_id.clone().unwrap_or_else(|| IncidentId::new(format!("inc-{}", self.fingerprint)))
    }

    /// The identity with all labels; an [`IdentityScheme`](crate::IdentityScheme) keeps the
    /// configured ones.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            kind: self.kind.clone(),
            service: self.service.clone(),
            alertname: self.alertname().to_owned(),
            labels: self.labels.clone(),
        }
    }

    /// One sentence for a person: what, where, the numbers and the rule they broke.
    ///
    /// Text from labels is stripped of control and invisible characters.
    ///
    /// ```
    /// use aiops_core::{DetectionEvent, EventKind, Severity, Signal};
    /// let event = DetectionEvent::builder(
    ///     EventKind::MetricAnomaly, "checkout", Severity::Warning, jiff::Timestamp::UNIX_EPOCH, "zscore")
    ///     .alertname("P99LatencyAnomaly")
    ///     .signal(Signal::new(0.85).expected(0.12).score(7.1).threshold(3.0).unit("s")
    ///         .window(std::time::Duration::from_secs(3600)).n(12))
    ///     .build();
    /// assert_eq!(event.explain(), "P99LatencyAnomaly on checkout: value 0.85 s, expected 0.12 s, \
    ///     score 7.1 against threshold 3, window 1h, 12 samples");
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        let name = crate::text::clip(self.alertname(), 120);
        let service = if self.service.is_empty() {
            "an unnamed service".to_owned()
        } else {
            crate::text::clip(self.service.as_str(), 120)
        };
        format!("{name} on {service}: {}", self.signal.explain())
    }
}

/// Builds a [`DetectionEvent`]; the pipeline fills in fingerprint, episode and incident.
#[derive(Debug, Clone)]
#[must_use]
pub struct DetectionEventBuilder {
    event: DetectionEvent,
}

impl DetectionEventBuilder {
    /// The alert's name, part of the identity.
    pub fn alertname(self, name: impl Into<String>) -> Self {
        self.label("alertname", name)
    }

    /// One label.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.event.labels.insert(name.into(), value.into());
        self
    }

    /// Many labels.
    pub fn labels(mut self, labels: impl IntoIterator<Item = (String, String)>) -> Self {
        self.event.labels.extend(labels);
        self
    }

    /// The numbers.
    pub fn signal(mut self, signal: Signal) -> Self {
        self.event.signal = signal;
        self
    }

    /// The id, where the host makes it; otherwise [`build`](Self::build) draws a random one.
    pub fn event_id(mut self, id: EventId) -> Self {
        self.event.event_id = id;
        self
    }

    /// The upstream system's own id: such an alert stays open until it is resolved.
    pub fn upstream_id(mut self, id: impl Into<String>) -> Self {
        self.event.upstream_id = Some(id.into());
        self
    }

    /// Marks the event as resolved.
    pub fn resolved(mut self) -> Self {
        self.event.status = Status::Resolved;
        self
    }

    /// The event, with the field report's fingerprint (no identity labels).
    #[must_use]
    pub fn build(self) -> DetectionEvent {
        let mut event = self.event;
        if event.event_id.as_str().is_empty() {
            event.event_id = EventId::random(event.detected_at);
        }
        event.fingerprint = crate::fingerprint::IdentityScheme::default()
            .reduce(&event.identity())
            .map(|identity| identity.fingerprint(event.detected_at))
            .unwrap_or_default();
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_reports_nine_fields_are_valid_alone() {
        let text = r#"{"event_id":"e1","kind":"log_burst","service":"checkout","severity":"critical",
            "detected_at":"2025-05-05T08:05:00Z","source":"loki","signal":{"z":5.1,"rate":40},
            "labels":{"alertname":"LogBurst"},"fingerprint":"9c3c84d025b7a40b","later":1}"#;
        let event: DetectionEvent = serde_json::from_str(text).unwrap();
        assert_eq!(event.kind, EventKind::LogBurst);
        assert_eq!(event.status, Status::Firing);
        assert_eq!(event.observed(), event.detected_at);
        assert_eq!(event.signal.extra["rate"], serde_json::json!(40));
    }

    #[test]
    fn json_reads_back() {
        let event = DetectionEvent::builder("disk".into(), "db", Severity::Info, Timestamp::UNIX_EPOCH, "host")
            .alertname("DiskFull//dev/sda1")
            .upstream_id("u-1")
            .build();
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<DetectionEvent>(&text).unwrap(), event);
        assert_eq!(event.kind, EventKind::Other("disk".to_owned()));
    }

    #[test]
    fn hostile_labels_are_stripped_in_the_sentence() {
        let event =
            DetectionEvent::builder(EventKind::LogBurst, "a\u{1b}]8;;x", Severity::Info, Timestamp::UNIX_EPOCH, "s")
                .alertname("x\ny")
                .build();
        assert!(!event.explain().contains(['\u{1b}', '\n']));
    }
}
