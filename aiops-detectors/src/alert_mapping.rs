//! From alerts of Prometheus' kind to events: what both the client and the webhook of Alertmanager read.

use std::collections::BTreeMap;

use aiops_core::{DetectionEvent, EventId, EventKind, Severity};
use jiff::Timestamp;

use crate::source::Labels;

/// The label that names an event's kind; without it an alert is a metric anomaly.
pub(crate) const KIND_LABEL: &str = "aiops_kind";
/// The label by which the notifier's own alerts are known: they never come back as events.
pub(crate) const INCIDENT_LABEL: &str = "aiops_incident_id";
/// The event's source; the alert's own system is not known.
const SOURCE: &str = "alertmanager";

/// One alert as it came, checked as far as its types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UpstreamAlert {
    pub(crate) labels: Labels,
    pub(crate) resolved: bool,
    pub(crate) starts_at: Timestamp,
    pub(crate) fingerprint: String,
}

impl UpstreamAlert {
    /// Whether this library's own notifier posted it.
    pub(crate) fn is_own(&self) -> bool {
        self.labels.contains_key(INCIDENT_LABEL)
    }
}

/// What is wrong with one alert or deploy: the field, by its path, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub(crate) struct FieldFault {
    pub(crate) field: String,
    pub(crate) reason: &'static str,
}

impl FieldFault {
    pub(crate) fn new(field: impl Into<String>, reason: &'static str) -> Self {
        Self { field: field.into(), reason }
    }
}

/// How the labels of an alert become an event.
///
/// | event | alert |
/// |---|---|
/// | kind | label `aiops_kind`, else `metric_anomaly` |
/// | service | the first of the service labels that is there and not empty; none: an unnamed service |
/// | severity | label `severity`: `info`, `warning`, `critical`, or what the host adds; else `warning` |
/// | `alertname` | label `alertname`, which must be there |
/// | `detected_at` | `startsAt`, or now where that lies ahead |
/// | `upstream_id` | Alertmanager's fingerprint |
/// | labels | all labels |
///
/// ```
/// use aiops_core::Severity;
/// use aiops_detectors::AlertMapping;
/// let mapping = AlertMapping::default().service_labels(["app", "job"]).severity("page", Severity::Critical);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct AlertMapping {
    service_labels: Vec<String>,
    severities: BTreeMap<String, Severity>,
}

impl Default for AlertMapping {
    /// Services from `service`, else `job`; Prometheus' usual three severities.
    fn default() -> Self {
        let severities = [Severity::Info, Severity::Warning, Severity::Critical];
        Self {
            service_labels: vec!["service".to_owned(), "job".to_owned()],
            severities: severities.into_iter().map(|severity| (severity.as_str().to_owned(), severity)).collect(),
        }
    }
}

impl AlertMapping {
    /// The labels that may name the service, the first one first; `service` and `job` unless set.
    pub fn service_labels(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.service_labels = names.into_iter().map(Into::into).collect();
        self
    }

    /// What one more value of the label `severity` means.
    pub fn severity(mut self, value: impl Into<String>, severity: Severity) -> Self {
        self.severities.insert(value.into(), severity);
        self
    }

    /// The event of an alert that was seen at `now`.
    pub(crate) fn event(&self, alert: UpstreamAlert, now: Timestamp) -> Result<DetectionEvent, FieldFault> {
        let UpstreamAlert { labels, resolved, starts_at, fingerprint } = alert;
        let filled = |name: &str| labels.get(name).filter(|value| !value.is_empty());
        if filled("alertname").is_none() {
            return Err(FieldFault::new("labels.alertname", "is missing or empty"));
        }
        let kind = labels.get(KIND_LABEL).map_or(EventKind::MetricAnomaly, |kind| EventKind::from(kind.as_str()));
        if kind.as_str().is_empty() {
            return Err(FieldFault::new("labels.aiops_kind", "is empty"));
        }
        let service = self.service_labels.iter().find_map(|name| filled(name)).cloned().unwrap_or_default();
        let severity = labels.get("severity").and_then(|value| self.severities.get(value));
        let status = if resolved { "resolved" } else { "firing" };
        let id = EventId::derived(now, &format!("{fingerprint}|{starts_at}|{status}"));
        let event = DetectionEvent::builder(
            kind,
            service,
            severity.copied().unwrap_or(Severity::Warning),
            starts_at.min(now),
            SOURCE,
        )
        .event_id(id)
        .upstream_id(fingerprint)
        .labels(labels);
        let mut event = if resolved { event.resolved() } else { event }.build();
        // Seen now, whatever `endsAt` says: a resolve comes after the sightings that it ends.
        event.observed_at = Some(now);
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use aiops_core::{Status, fingerprint};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn alert(labels: &[(&str, &str)]) -> UpstreamAlert {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        UpstreamAlert { labels, resolved: false, starts_at: at(1_000), fingerprint: "2bbbc513bf1b22af".to_owned() }
    }

    #[test]
    fn labels_become_kind_service_and_severity() {
        let mapping = AlertMapping::default().severity("page", Severity::Critical);
        for (labels, kind, service, severity) in [
            (&[("alertname", "A")][..], "metric_anomaly", "", Severity::Warning),
            (&[("alertname", "A"), ("job", "cart"), ("severity", "info")], "metric_anomaly", "cart", Severity::Info),
            (&[("alertname", "A"), ("job", "node"), ("service", "cart")], "metric_anomaly", "cart", Severity::Warning),
            (&[("alertname", "A"), ("job", "node"), ("service", "")], "metric_anomaly", "node", Severity::Warning),
            (&[("alertname", "A"), ("aiops_kind", "log_burst")], "log_burst", "", Severity::Warning),
            (&[("alertname", "A"), ("aiops_kind", "disk"), ("severity", "page")], "disk", "", Severity::Critical),
            (&[("alertname", "A"), ("severity", "Critical")], "metric_anomaly", "", Severity::Warning),
        ] {
            let event = mapping.event(alert(labels), at(2_000)).unwrap();
            let seen = (event.kind.as_str(), event.service.as_str(), event.severity);
            assert_eq!(seen, (kind, service, severity), "{labels:?}");
            assert_eq!(event.upstream_id.as_deref(), Some("2bbbc513bf1b22af"));
            assert_eq!((event.detected_at, event.observed()), (at(1_000), at(2_000)));
            assert_eq!(event.fingerprint, fingerprint(kind, service, "A", at(1_000)));
        }
    }

    #[test]
    fn what_has_no_name_or_no_kind_is_a_fault_of_that_field() {
        for (labels, field) in [
            (&[("service", "cart")][..], "labels.alertname"),
            (&[("alertname", "")], "labels.alertname"),
            (&[("alertname", "A"), ("aiops_kind", "")], "labels.aiops_kind"),
        ] {
            assert_eq!(AlertMapping::default().event(alert(labels), at(2_000)).unwrap_err().field, field);
        }
    }

    #[test]
    fn an_alert_from_the_future_began_now_and_a_resolve_is_seen_now() {
        let early = UpstreamAlert { starts_at: at(9_000), resolved: true, ..alert(&[("alertname", "A")]) };
        let event = AlertMapping::default().event(early, at(2_000)).unwrap();
        assert_eq!((event.detected_at, event.observed(), event.status), (at(2_000), at(2_000), Status::Resolved));
    }
}
