//! Every notice of every kind carries the event's sentence: value, expected, score, threshold, window.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{RecordingNotifier, samples};
use aiops_core::{
    DetectionEvent, Disposition, Notice, Pipeline, Plan, RespondError, Responder, Response, TriageReport, Triaged,
    triager_fn,
};
use common::{after, anomaly, event, start, word};

const PARTS: [&str; 5] = ["value 0.85 s", "expected 0.12 s", "score 7.1", "threshold 3", "window 1h"];

fn carries_all(notice: &Notice) {
    let json = serde_json::to_value(notice).unwrap();
    for text in [notice.explain.as_str(), &notice.line(), json["explain"].as_str().unwrap()] {
        for part in PARTS {
            assert!(text.contains(part), "{:?} lacks {part}: {text}", notice.kind);
        }
    }
    assert_eq!(notice.explain, notice.event.explain());
}

#[test]
fn of_every_kind() {
    let event = event("checkout", aiops_core::Severity::Warning, start());
    // One of each kind; a unit test beside the samples is exhaustive over the enum.
    for kind in samples::notice_kinds(&event, "long text ".repeat(500).as_str()) {
        carries_all(&Notice::new("inc-1".into(), event.clone(), kind, start()));
    }
}

/// Answers each service's report with the disposition of its name.
#[derive(Debug)]
struct ByName;

#[async_trait::async_trait]
impl Responder for ByName {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let reason = "by name".to_owned();
        let disposition = match triaged.event.service.as_str() {
            "executed" => Disposition::Executed,
            "would_execute" => Disposition::WouldExecute,
            "awaiting_approval" => Disposition::AwaitingApproval,
            "escalated" => Disposition::Escalated { reason },
            "rejected" => Disposition::Rejected { reason },
            "duplicate" => Disposition::Duplicate,
            _ => Disposition::NoAction,
        };
        Ok(Response::new(triaged.incident_id.clone(), disposition, Plan::default(), now))
    }

    async fn resolved(&self, _: &DetectionEvent, _: Timestamp) -> Result<(), RespondError> {
        Ok(())
    }
}

#[tokio::test]
async fn of_a_pipeline_from_announcement_to_resolve() {
    let pager = Arc::new(RecordingNotifier::new("pager"));
    let triager = triager_fn("rules", |request| async move {
        match request.event.service.as_str() {
            "untriaged" => Err("the model is gone".into()),
            _ => Ok(TriageReport::new("slow")),
        }
    });
    let mut builder = Pipeline::builder().notify(Arc::clone(&pager)).triager(triager).responder(ByName);
    for service in [
        "executed",
        "would_execute",
        "awaiting_approval",
        "escalated",
        "rejected",
        "duplicate",
        "no_action",
        "untriaged",
    ] {
        builder = builder.detector(anomaly(service, 30, 60, 600));
    }
    let mut replay = builder.replay(start()).unwrap();
    replay.run_to(after(1_800)).await.unwrap();
    replay.finish().await.unwrap();

    let notices = pager.notices();
    notices.iter().for_each(carries_all);
    let seen: BTreeSet<&str> = notices.iter().map(|notice| word(&notice.kind)).collect();
    let wanted = ["announced", "awaiting", "escalated", "resolved", "responded", "triaged"];
    assert_eq!(seen, BTreeSet::from(wanted), "the kinds that a pipeline makes");
}
