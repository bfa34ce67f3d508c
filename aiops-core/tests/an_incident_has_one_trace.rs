//! One incident is one trace over three processes: in the messages, and in the spans of each.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::{LogRecorder, RecordingNotifier, RecordingResponder, ScriptedTriager, samples};
use aiops_core::{
    CancellationToken, Correlator, CorrelatorConfig, DETECTIONS, DetectionStage, Disposition, Envelope, EventBus,
    MemoryBus, RESPONSES, RemediationStage, Severity, StageParts, TRIAGED, TraceContext, TriageReport, TriageStage,
};
use common::{PausedClock, event, start};

/// As one process has them: nothing is shared but the bus.
fn parts(clock: PausedClock) -> Arc<StageParts> {
    StageParts::builder().with_clock(clock).notify(RecordingNotifier::new("test")).build()
}

/// The messages of a topic, once each stage has done its work on one event that was handed to detection
/// or, with a trace of its own, to the bus.
async fn messages(given: Option<Envelope>, log: &LogRecorder) -> Vec<Envelope> {
    let (clock, shutdown) = (PausedClock::new(), CancellationToken::new());
    let bus = Arc::new(MemoryBus::builder().with_clock(clock).build());
    let mut inboxes = Vec::new();
    for topic in [DETECTIONS, TRIAGED, RESPONSES] {
        inboxes.push(bus.subscribe(topic, "test").await.unwrap());
    }
    let triager = ScriptedTriager::new("rules").then(TriageReport::new("slow"));
    let responder = RecordingResponder::new(Disposition::NoAction);
    let mut triage = TriageStage::builder(parts(clock), triager).group_wait(Duration::ZERO).build();
    let mut remediation = RemediationStage::builder(parts(clock), responder).build();
    let guard = tracing::subscriber::set_default(log.clone());
    let stages = [
        tokio::spawn({
            let (bus, shutdown) = (Arc::clone(&bus), shutdown.clone());
            async move { triage.run(bus, shutdown).await }
        }),
        tokio::spawn({
            let (bus, shutdown) = (Arc::clone(&bus), shutdown.clone());
            async move { remediation.run(bus, shutdown).await }
        }),
    ];
    tokio::task::yield_now().await;
    match given {
        Some(envelope) => bus.publish(DETECTIONS, envelope).await.unwrap(),
        None => {
            let correlator = Correlator::new(CorrelatorConfig::default()).unwrap();
            let mut detection = DetectionStage::builder(parts(clock), correlator).build();
            detection.ingest(event("checkout", Severity::Warning, start()), start(), &*bus).await.unwrap();
        }
    }
    let mut messages = Vec::new();
    for inbox in &mut inboxes {
        let delivery = inbox.next().await.unwrap().unwrap();
        messages.push(delivery.envelope().clone());
        delivery.ack().await.unwrap();
    }
    shutdown.cancel();
    for stage in stages {
        stage.await.unwrap().unwrap();
    }
    drop(guard);
    messages
}

fn traces(messages: &[Envelope]) -> Vec<TraceContext> {
    messages.iter().map(|message| message.trace().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn from_detection_to_the_answer() {
    let log = LogRecorder::default();
    let traces = traces(&messages(None, &log).await);
    let id = traces[0].trace_id();
    assert!(traces.iter().all(|trace| trace.trace_id() == id), "{traces:?}");
    let mut spans: Vec<String> = traces.iter().map(TraceContext::span_id).collect();
    spans.dedup();
    assert_eq!(spans.len(), 3, "each step is a span of its own: {traces:?}");
    for (stage, trace) in ["detection", "triage", "remediation"].iter().zip(&traces) {
        let span = log.spans().into_iter().find(|span| span.name == *stage).unwrap();
        assert_eq!((&span.fields["trace_id"], &span.fields["span_id"]), (&id, &trace.span_id()), "{stage}");
        assert_eq!(span.level, tracing::Level::DEBUG);
    }
}

/// Another producer began it: its trace goes on, with what its tracing system added.
#[tokio::test(start_paused = true)]
async fn a_trace_that_came_with_the_event_goes_on() {
    let given =
        TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Some("vendor=1")).unwrap();
    let mut event = samples::event("checkout", "1", start());
    event.observed_at = Some(start());
    let messages = messages(Some(Envelope::detection(&event).with_trace(&given)), &LogRecorder::default()).await;
    for trace in traces(&messages) {
        assert_eq!((trace.trace_id(), trace.tracestate()), (given.trace_id(), Some("vendor=1")));
        assert!(trace.traceparent().ends_with("-00"), "it is not sampled there: {trace:?}");
    }
}
