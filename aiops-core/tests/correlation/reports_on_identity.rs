//! What users of such systems reported on identity; the number is that of the row in the list of
//! reports.

use aiops_core::{CorrelationDecision as D, DetectionEvent, Severity};

use crate::support::{correlator, event, show, shown, warning};

#[test]
fn row_5_the_sources_own_fingerprint_is_kept_verbatim() {
    let mut subject = correlator("{}");
    let mut foreign: DetectionEvent = warning(0);
    foreign.fingerprint = serde_json::from_str(r#""Am-7f3c 01""#).unwrap();
    let got = show(&mut subject, foreign).event.unwrap();
    assert_eq!(got.upstream_id.as_deref(), Some("Am-7f3c 01"));
    assert_eq!(got.fingerprint, warning(0).fingerprint);
    let mut both = warning(30);
    both.fingerprint = serde_json::from_str(r#""other""#).unwrap();
    both.upstream_id = Some("set by the sender".to_owned());
    assert_eq!(show(&mut subject, both).event.unwrap().upstream_id.as_deref(), Some("set by the sender"));
}

#[test]
fn row_6_pushed_and_pulled_events_have_one_fingerprint() {
    let json = r#"{"event_id":"e1","kind":"metric_anomaly","service":"checkout","severity":"warning",
        "detected_at":"2025-05-05T08:00:00Z","source":"zscore","signal":{},"labels":{"alertname":"P99"},
        "fingerprint":""}"#;
    let pushed: DetectionEvent = serde_json::from_str(json).unwrap();
    let pulled = warning(0);
    assert_eq!(pushed.detected_at, pulled.detected_at);
    let mut subject = correlator("{}");
    let now = pulled.observed();
    let sighting = aiops_core::Sighting::Firing(Box::new(pulled));
    let first = subject.sight(sighting, crate::support::EVERY, now).unwrap();
    let second = subject.observe(pushed, now);
    assert_eq!((first.decision, second.decision), (D::Announced, D::Repeat));
    assert_eq!(first.fingerprint(), second.fingerprint());
}

#[test]
fn row_7_an_absent_identity_label_is_an_error_and_not_a_shared_key() {
    let mut subject = correlator(r#"{"identity_labels":["host"]}"#);
    let on = |host: Option<&str>| {
        let mut event = warning(0);
        event.labels.extend(host.map(|host| ("host".to_owned(), host.to_owned())));
        event
    };
    let missing = show(&mut subject, on(None));
    assert_eq!(missing.decision, D::Invalid);
    assert!(missing.reason.unwrap().contains("identity label \"host\" is missing"));
    for host in ["", "h1", "h2"] {
        assert_eq!(shown(&mut subject, on(Some(host))), D::Announced, "host {host:?}");
    }
    assert_eq!(shown(&mut subject, on(Some(""))), D::Repeat);
    let resolve =
        subject.resolve(&crate::support::identity("checkout", "P99"), crate::support::at(1), crate::support::at(1));
    assert_eq!(resolve.decision, D::Invalid, "a resolve needs it, too");
}

#[test]
fn row_8_one_alertname_on_two_services_stays_two() {
    let mut subject = correlator("{}");
    let a = show(&mut subject, event(0, "a", "P99", Severity::Warning));
    let b = show(&mut subject, event(0, "b", "P99", Severity::Warning));
    assert_eq!((a.decision, b.decision), (D::Announced, D::Announced));
    assert_ne!(a.fingerprint(), b.fingerprint());
    assert_ne!(a.incident_id(), b.incident_id());
}
