//! Every message of ours is a CloudEvent, and what comes from newer or other builds is kept or told.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{RecordingNotifier, ScriptedTriager, samples};
use aiops_core::{
    CancellationToken, DETECTIONS, Delivery, DetectionEvent, Disposition, Envelope, EventBus, MemoryBus, Plan,
    Response, StageParts, Subscription, TraceContext, TriageReport, TriageStage, dead_letter_topic,
};
use jsonschema::Validator;
use serde_json::{Value, json};

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

/// The rules of the specification.
fn cloud_events() -> Validator {
    validator(include_str!("data/cloudevents_1_0.json"))
}

/// The schema that its authors publish.
fn published() -> Validator {
    validator(include_str!("data/cloudevents_published.json"))
}

fn event() -> DetectionEvent {
    samples::event("checkout", "1", Timestamp::UNIX_EPOCH)
}

/// One of each kind, and each as a dead letter.
fn messages() -> Vec<Envelope> {
    let triaged = samples::triaged(event(), &["restart_pod"]);
    let response = Response::new("inc-1".into(), Disposition::AwaitingApproval, Plan::default(), Timestamp::UNIX_EPOCH);
    let mut foreign = event();
    // Its names hold what must not break an envelope.
    foreign.service = "caf\u{e9} | %\n\u{1f525}".into();
    foreign.incident_id = None;
    let messages = [
        Envelope::detection(&event()),
        Envelope::detection(&foreign),
        Envelope::triaged(&triaged),
        Envelope::response(&triaged.event.event_id, &response),
    ];
    let dead = messages.clone().map(|message| message.into_dead_letter("does not read:\nline 3", 5));
    messages.into_iter().chain(dead).collect()
}

#[test]
fn each_fits_the_specification() {
    let schemas = [cloud_events(), published()];
    for message in messages() {
        let value = serde_json::to_value(&message).unwrap();
        for schema in &schemas {
            let faults: Vec<String> = schema.iter_errors(&value).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{faults:?}: {value:#}");
        }
        assert_eq!(serde_json::from_value::<Envelope>(value).unwrap(), message);
        assert!(message.trace().is_some());
    }
}

#[test]
fn the_published_schema_can_refuse() {
    let published = published();
    let good = serde_json::to_value(Envelope::detection(&event())).unwrap();
    assert!(published.is_valid(&good));
    for (attribute, value) in
        [("id", json!("")), ("source", json!("/a b")), ("type", Value::Null), ("time", json!("yesterday"))]
    {
        let mut bad = good.clone();
        bad[attribute] = value;
        assert!(!published.is_valid(&bad), "{bad:#}");
    }
}

/// The schema can refuse.
#[test]
fn what_is_no_cloud_event_does_not_fit() {
    let cloud_events = cloud_events();
    let good = serde_json::to_value(Envelope::detection(&event())).unwrap();
    for (attribute, value) in [
        ("specversion", json!("0.3")),
        ("id", json!("")),
        ("source", json!("/a b")),
        ("type", Value::Null),
        ("time", json!("yesterday")),
        ("datacontenttype", json!("")),
        ("Attribute", json!("x")),
        ("an_attribute", json!("x")),
        ("attribute", json!({"nested": 1})),
        ("attribute", json!(1.5)),
        ("traceparent", json!("00-1-2-3")),
        ("data_base64", json!("AA==")),
    ] {
        let mut bad = good.clone();
        bad[attribute] = value;
        assert!(!cloud_events.is_valid(&bad), "{attribute} {bad:#}");
    }
    for attribute in ["specversion", "id", "source", "type"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(attribute);
        assert!(!cloud_events.is_valid(&bad), "without {attribute}");
    }
}

async fn next(inbox: &mut Box<dyn Subscription>) -> Delivery {
    inbox.next().await.unwrap().unwrap()
}

/// What a stage of this build makes of what a newer one publishes.
#[tokio::test(start_paused = true)]
async fn unknown_fields_are_read_over_and_unknown_versions_are_dead_letters_with_a_reason() {
    let bus = Arc::new(MemoryBus::default());
    let mut dead = bus.subscribe(&dead_letter_topic(DETECTIONS), "operator").await.unwrap();
    let mut reports = bus.subscribe(aiops_core::TRIAGED, "test").await.unwrap();
    let parts = StageParts::builder().notify(RecordingNotifier::new("test")).build();
    let triager = ScriptedTriager::new("rules").then(TriageReport::new("slow"));
    let mut stage = TriageStage::builder(parts, triager).group_wait(Duration::ZERO).build();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (bus, shutdown) = (Arc::clone(&bus), shutdown.clone());
        async move { stage.run(bus, shutdown).await }
    });
    tokio::task::yield_now().await;

    let message = Envelope::detection(&event());
    let mut newer = message.clone();
    newer.kind = "dev.aiops.detection.v2".to_owned();
    let mut avro = message.clone();
    avro.datacontenttype = "application/avro".to_owned();
    for (message, reason) in [
        (newer, "is of type \"dev.aiops.detection.v2\"; this build reads \"dev.aiops.detection.v1\""),
        (avro, "has datacontenttype \"application/avro\""),
    ] {
        bus.publish(DETECTIONS, message).await.unwrap();
        let letter = next(&mut dead).await;
        let why = letter.envelope().extensions["deadletterreason"].as_str().unwrap().to_owned();
        assert!(why.contains(reason), "{why}");
        letter.ack().await.unwrap();
    }

    // More than this build knows, in the envelope and in the event.
    let mut value = serde_json::to_value(message).unwrap();
    value["futureattribute"] = json!("kept");
    value["data"]["future_field"] = json!({"of": "v1.1"});
    bus.publish(DETECTIONS, serde_json::from_value(value).unwrap()).await.unwrap();
    let report = next(&mut reports).await;
    assert_eq!(report.envelope().to_triaged().unwrap().event, event());
    report.ack().await.unwrap();
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// A trace that does not read begins anew, as the standard asks; the message is good all the same.
#[test]
fn a_trace_that_does_not_read_costs_no_message() {
    let mut message = Envelope::detection(&event());
    let own = message.trace().unwrap();
    message.traceparent = Some("garbage".to_owned());
    assert_eq!((message.trace(), message.to_detection().unwrap()), (None, event()));
    let incident = event().incident_id.unwrap();
    assert_eq!(TraceContext::of_incident(&incident, "anything").trace_id(), own.trace_id());
}
