//! A whole pipeline in virtual time: announced first, one triage for an incident, one disposition.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{
    DependencyGraph, DetectionEvent, Disposition, Pipeline, PipelineBuilder, Plan, RespondError, Responder, Response,
    Severity, Sighting, TriageReport, Triaged, triager_fn,
};
use common::{Journal, Pager, Witness, after, anomaly, event, seeing, start};

#[derive(Debug)]
struct People(Journal);

#[async_trait::async_trait]
impl Responder for People {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        self.0.add(format!("asked {}", triaged.event.service));
        let disposition = Disposition::Escalated { reason: "people decide here".into() };
        Ok(Response::new(triaged.incident_id.clone(), disposition, Plan::default(), now))
    }

    async fn resolved(&self, event: &DetectionEvent, _: Timestamp) -> Result<(), RespondError> {
        self.0.add(format!("told of the end {}", event.service));
        Ok(())
    }
}

fn pipeline(journal: &Journal) -> PipelineBuilder {
    let asked = journal.clone();
    let triager = triager_fn("rules", move |request| {
        asked.add(format!("asks of {} events", request.events.len()));
        async move { Ok(TriageReport::new("it is slow")) }
    });
    Pipeline::builder().notify(Pager(journal.clone())).triager(triager).responder(People(journal.clone()))
}

async fn play(pipeline: PipelineBuilder, seconds: u64) {
    let mut replay = pipeline.replay(start()).unwrap();
    replay.run_to(after(seconds)).await.unwrap();
    replay.finish().await.unwrap();
}

#[tokio::test]
async fn one_incident_from_announcement_to_resolve() {
    let journal = Journal::default();
    play(pipeline(&journal).detector(anomaly("checkout", 30, 60, 300)), 1_800).await;
    let expected = [
        "announced checkout",
        "asks of 1 events",
        "triaged checkout",
        "asked checkout",
        "escalated checkout",
        "resolved checkout",
        "told of the end checkout",
    ];
    assert_eq!(journal.lines(), expected);
}

#[tokio::test]
async fn an_incident_of_many_events_is_triaged_once() {
    let journal = Journal::default();
    let services = ["web", "cart", "checkout", "stock", "db"];
    let mut builder = pipeline(&journal).graph(DependencyGraph::new(services.windows(2).map(|w| (w[0], w[1]))));
    for (service, begin) in services.iter().zip([60, 60, 90, 120, 600]) {
        builder = builder.detector(anomaly(service, 30, begin, 1_500));
    }
    play(builder, 1_800).await;
    assert_eq!(journal.count("announced"), services.len());
    // Three were there after 60 s (90 and 120 after the first at 60); db came long after and attached.
    assert_eq!(journal.count("asks"), 1, "{:?}", journal.lines());
    assert_eq!(journal.count("asked"), 1);
    let lines = journal.lines();
    let first_report = lines.iter().position(|line| line.starts_with("asks")).unwrap();
    let announced_before = lines[..first_report].iter().filter(|line| line.starts_with("announced")).count();
    assert!(announced_before >= 3, "{lines:?}");
}

#[tokio::test]
async fn a_rise_in_severity_is_triaged_once_more_and_at_once() {
    let journal = Journal::default();
    let rising = seeing("rising", 30, |tick| {
        let severity = if tick.now < after(600) { Severity::Warning } else { Severity::Critical };
        Sighting::Firing(Box::new(event("checkout", severity, tick.now)))
    });
    play(pipeline(&journal).detector(rising), 900).await;
    assert_eq!(journal.count("announced"), 2);
    assert_eq!(journal.count("asks"), 2);
}

#[tokio::test]
async fn two_replays_of_the_same_data_take_the_same_steps() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (journal, witness) = (Journal::default(), Journal::default());
        let mut builder = pipeline(&journal).observe(Witness(witness.clone()));
        for service in ["web", "cart", "checkout"] {
            builder = builder.detector(anomaly(service, 30, 90, 600));
        }
        play(builder, 3_600).await;
        runs.push((journal.lines(), witness.lines()));
    }
    assert!(runs[0].1.len() > 30);
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn pushed_events_take_the_same_path() {
    let journal = Journal::default();
    let mut replay = pipeline(&journal).replay(start()).unwrap();
    replay.ingest(event("checkout", Severity::Warning, after(10))).await.unwrap();
    replay.ingest(event("checkout", Severity::Warning, after(40))).await.unwrap();
    let mut end = event("checkout", Severity::Warning, after(100));
    end.status = aiops_core::Status::Resolved;
    replay.ingest(end).await.unwrap();
    replay.finish().await.unwrap();
    assert_eq!(journal.count("announced"), 1);
    assert_eq!(journal.count("asks"), 1);
    assert_eq!(journal.count("resolved"), 1);
}

#[test]
fn a_pipeline_that_cannot_work_says_all_that_is_missing() {
    let journal = Journal::default();
    let faults = Pipeline::builder().responder(People(journal)).build().unwrap_err();
    assert_eq!(faults.faults().len(), 3, "{faults}");
    let twice = || anomaly("checkout", 30, 0, 0);
    let faults = Pipeline::builder().detector(twice()).detector(twice()).notify(aiops_core::LogNotifier);
    assert!(faults.build().unwrap_err().to_string().contains("\"latency-checkout\" is there twice"));
    let wait = Duration::from_secs(1);
    assert!(Pipeline::builder().intake(8).notify(aiops_core::LogNotifier).notify_deadline(wait).build().is_ok());
}
