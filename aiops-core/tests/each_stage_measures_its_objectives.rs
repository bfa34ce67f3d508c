//! Freshness, latency and errors of each stage, counted against the host's objectives.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use aiops_core::testing::{MetricRecorder, RecordingNotifier, RecordingResponder};
use aiops_core::{
    Detector, Disposition, Objectives, Pipeline, Severity, Sighting, TriageReport, detector_fn, triager_fn,
};
use common::{after, anomaly, event, seeing, start};

/// What a replay of ten minutes counted.
async fn counted(
    detector: impl Detector,
    notifier: RecordingNotifier,
    triager_works: bool,
    responder: RecordingResponder,
    objectives: &str,
) -> MetricRecorder {
    let recorder = MetricRecorder::default();
    let triager = triager_fn("rules", move |_| async move {
        if triager_works { Ok(TriageReport::new("slow")) } else { Err("overloaded".into()) }
    });
    let objectives: Objectives = serde_json::from_str(objectives).unwrap();
    let pipeline = Pipeline::builder().detector(detector).notify(notifier).triager(triager).responder(responder);
    let mut replay = pipeline.objectives(objectives).replay(start()).unwrap();
    // The recorder is the thread's, and the replay works in this one.
    let guard = metrics::set_default_local_recorder(&recorder);
    replay.run_to(after(600)).await.unwrap();
    replay.finish().await.unwrap();
    drop(guard);
    recorder
}

fn slo(recorder: &MetricRecorder, stage: &str, slo: &str) -> (f64, f64) {
    let of = |met: &str| recorder.series(&format!("aiops_stage_slo_total{{met={met},slo={slo},stage={stage}}}"));
    (of("yes").unwrap_or_default(), of("no").unwrap_or_default())
}

fn channel() -> RecordingNotifier {
    RecordingNotifier::new("test")
}

fn responder() -> RecordingResponder {
    RecordingResponder::new(Disposition::NoAction)
}

#[tokio::test]
async fn what_is_in_time_is_within_them() {
    let detector = anomaly("checkout", 30, 0, 120);
    let recorder = counted(detector, channel(), true, responder(), "{}").await;
    assert_eq!(slo(&recorder, "detection", "freshness"), (4.0, 0.0), "four firing sightings");
    assert_eq!(slo(&recorder, "detection", "errors"), (21.0, 0.0), "20 evaluations and one announcement");
    for (stage, kind) in
        [("detection", "latency"), ("triage", "freshness"), ("triage", "latency"), ("triage", "errors")]
    {
        assert_eq!(slo(&recorder, stage, kind), (1.0, 0.0), "{stage} {kind}");
    }
    for kind in ["freshness", "latency", "errors"] {
        assert_eq!(slo(&recorder, "remediation", kind), (1.0, 0.0), "{kind}");
    }
    // The event waits a minute for company before its report is begun.
    assert_eq!(recorder.series("aiops_stage_freshness_seconds{stage=triage}"), Some(60.0));
    assert_eq!(recorder.series("aiops_stage_latency_seconds{stage=detection}"), Some(0.0));
}

#[tokio::test]
async fn what_is_late_is_not() {
    // Data that is five minutes old, and a minute's wait that is too long for this host.
    let detector = seeing("late", 30, |tick| {
        let at = aiops_core::time::minus(tick.now, Duration::from_secs(300));
        Sighting::Firing(Box::new(event("checkout", Severity::Warning, at)))
    });
    let objectives = r#"{"triage": {"freshness": "30s", "latency": "2m"}}"#;
    let recorder = counted(detector, channel(), true, responder(), objectives).await;
    assert_eq!(slo(&recorder, "detection", "freshness"), (0.0, 20.0));
    assert_eq!(slo(&recorder, "triage", "freshness"), (0.0, 1.0));
    assert_eq!(slo(&recorder, "triage", "latency"), (1.0, 0.0));
}

#[tokio::test]
async fn what_fails_is_an_error_of_its_stage() {
    let fails = detector_fn("down", Duration::from_secs(30), |_| async { Err("connection refused".into()) });
    let recorder = counted(fails, channel(), true, responder(), "{}").await;
    assert_eq!(slo(&recorder, "detection", "errors"), (0.0, 20.0));

    let recorder = counted(anomaly("a", 30, 0, 60), channel().failing(2), false, responder(), "{}").await;
    let (well, unwell) = slo(&recorder, "detection", "errors");
    assert_eq!((well, unwell), (21.0, 2.0), "20 evaluations, two tries in vain, one that was taken");
    assert_eq!(slo(&recorder, "triage", "errors"), (0.0, 1.0), "a stand-in for a report");
    assert_eq!(slo(&recorder, "remediation", "errors"), (1.0, 0.0), "which is answered all the same");

    let recorder = counted(anomaly("a", 30, 0, 60), channel(), true, responder().failing(1), "{}").await;
    assert_eq!(slo(&recorder, "remediation", "errors"), (1.0, 1.0), "the second attempt");
}
