//! What several tests share: events, reports and scratch files.
#![allow(dead_code)]

pub(crate) mod acts;
pub(crate) mod broken;
pub(crate) mod careless;
pub(crate) mod faulty;
pub(crate) mod stores;

use std::path::PathBuf;

use aiops_core::{
    ActionName, ActionRequest, Confidence, DetectionEvent, EventId, EventKind, IncidentId, Provenance, Severity,
    Signal, Target, Triage, TriageContext, TriageReport, TriageRequest, Triaged,
};
use jiff::Timestamp;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_746_432_000 + seconds).unwrap()
}

pub(crate) fn name(action: &str) -> ActionName {
    ActionName::new(action).unwrap()
}

/// A fresh path for a database of this test.
pub(crate) fn scratch_database(file: &str) -> PathBuf {
    let path = scratch(file);
    remove_database(&path);
    path
}

/// Removes a database and its log.
pub(crate) fn remove_database(path: &std::path::Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
}

/// A fresh path for a file of this test.
pub(crate) fn scratch(file: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let _ = std::fs::remove_file(&path);
    path
}

/// Opens a file that a process had open which has died: it is free once the last thread of that one is gone,
/// and, where tests start processes, once these have closed what they were born with.
pub(crate) fn once_free<T, E: std::error::Error + 'static>(open: impl Fn() -> Result<T, E>) -> T {
    let mut tries = 0;
    loop {
        let opened = open();
        let held = |error: &E| aiops_core::error_chain(error).contains("another process has");
        if !opened.as_ref().is_err_and(held) || tries == 1_000_000 {
            return opened.unwrap();
        }
        tries += 1;
        std::thread::yield_now();
    }
}

pub(crate) fn event(number: u64, service: &str, labels: &[(&str, &str)], detected_at: Timestamp) -> DetectionEvent {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    DetectionEvent::builder(EventKind::MetricAnomaly, service, Severity::Warning, detected_at, "test")
        .alertname(format!("Alert{number}"))
        .labels(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        .signal(Signal::new(9.0).expected(1.0).score(8.0).threshold(3.0))
        .event_id(EventId::v7(detected_at, random))
        .build()
}

/// A confident report on an event that recommends these actions.
pub(crate) fn triaged(event: DetectionEvent, actions: &[&str]) -> Triaged {
    let report = TriageReport::new("the pod hangs")
        .recommended_actions(actions.iter().copied())
        .confidence(Confidence::new(0.9).unwrap())
        .needs_human(false);
    triaged_with(event, report)
}

pub(crate) fn triaged_with(event: DetectionEvent, report: TriageReport) -> Triaged {
    let now = event.observed();
    let incident = IncidentId::new(format!("inc-{}", event.fingerprint));
    let request = TriageRequest::new(incident, event, TriageContext::default(), now, now);
    Triaged::new(&request, Triage::new(report, Provenance::new("test")), now)
}

pub(crate) fn request(action: &str, pod: &str, fingerprint_of: u64) -> ActionRequest {
    let event = event(fingerprint_of, "cart", &[], at(0));
    let target = Target::new([("namespace", "shop"), ("pod", pod)]);
    ActionRequest::new(name(action), target, event.service, event.fingerprint, IncidentId::new("inc-1"), at(60))
        .dry_run(false)
}
