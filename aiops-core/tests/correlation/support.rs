//! Events and correlators for the tests.

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{
    Correlated, CorrelationDecision, Correlator, CorrelatorConfig, DetectionEvent, EventId, EventKind, Identity,
    Severity,
};
use proptest::prelude::ProptestConfig;

/// The start of every test: a bucket's edge.
const START: i64 = 1_746_432_000;

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 3_600;
pub(crate) const EVERY: Duration = Duration::from_secs(30);

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

/// Ten thousand cases, unless `CORRELATION_CASES` says how many. A failing one becomes a test with a name, not a file of seeds.
pub(crate) fn cases() -> ProptestConfig {
    let cases = std::env::var("CORRELATION_CASES").map_or(10_000, |text| text.parse().unwrap());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// The seconds of the test's time scale.
pub(crate) fn seconds(at: Timestamp) -> i64 {
    at.as_second() - START
}

pub(crate) fn identity(service: &str, alertname: &str) -> Identity {
    Identity::new(EventKind::MetricAnomaly, service, alertname)
}

pub(crate) fn event(observed: i64, service: &str, alertname: &str, severity: Severity) -> DetectionEvent {
    let id = EventId::new(format!("{service}/{alertname}/{severity}/{observed}"));
    DetectionEvent::builder(EventKind::MetricAnomaly, service, severity, at(observed), "zscore")
        .alertname(alertname)
        .event_id(id)
        .build()
}

pub(crate) fn warning(observed: i64) -> DetectionEvent {
    event(observed, "checkout", "P99", Severity::Warning)
}

pub(crate) fn critical(observed: i64) -> DetectionEvent {
    event(observed, "checkout", "P99", Severity::Critical)
}

pub(crate) fn correlator(json: &str) -> Correlator {
    Correlator::new(serde_json::from_str::<CorrelatorConfig>(json).unwrap()).unwrap()
}

/// Shows an event to a correlator at the moment when it was observed.
pub(crate) fn show(correlator: &mut Correlator, event: DetectionEvent) -> Correlated {
    let now = event.observed();
    correlator.observe(event, now)
}

pub(crate) fn shown(correlator: &mut Correlator, event: DetectionEvent) -> CorrelationDecision {
    show(correlator, event).decision
}
