//! PagerDuty's Events API v2: one alert an incident, with what was refused, why and where to read on. The answers
//! are those of its documentation.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod http_double;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::{ManualClock, MetricRecorder, RecordingNotifier, check_notifier, samples};
use aiops_core::{
    Clock, Decision, DetectionEvent, Disposition, IncidentId, Notice, NoticeKind, Notifier, Pipeline, Plan, Receipt,
    Response, Severity, Step, error_chain,
};
use aiops_remediate::ActionCatalogue;
use aiops_remediate::notify::{HookError, PagerDutyBuilder, PagerDutyNotifier, PagerDutySeverity, reqwest};
use http_double::{Double, Reply};
use serde_json::{Value, json};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const TAKEN: &str = r#"{"status": "success", "message": "Event processed", "dedup_key": "samplekeyhere"}"#;
const INVALID: &str = r#"{"status": "invalid event", "message": "Event object is invalid",
    "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#;

const CATALOGUE: &str = "actions:
  - {name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false, runbook: 'https://wiki.internal/restart'}
  - {name: drain_node, owner: infra, blast_radius: node, requires_approval: true, runbook: 'ask infra'}
";

fn taken() -> Reply {
    Reply::Body(202, TAKEN.to_owned())
}

fn event(clock: &ManualClock) -> DetectionEvent {
    samples::event("checkout", "one", clock.now())
}

fn notice(clock: &ManualClock, kind: NoticeKind) -> Notice {
    Notice::new("inc-one".into(), event(clock), kind, clock.now())
}

fn announced() -> NoticeKind {
    NoticeKind::Announced { held: 0, reason: None }
}

fn suppressed() -> NoticeKind {
    NoticeKind::Suppressed { summary: "d1: 8 sightings in 7m, nothing was announced".to_owned() }
}

fn updated(clock: &ManualClock) -> NoticeKind {
    NoticeKind::Updated { triaged: Some(Box::new(samples::triaged(event(clock), &["restart_pod"]))), response: None }
}

/// A plan of which one step was refused, and so the other one did not run either.
fn escalated(clock: &ManualClock) -> NoticeKind {
    let reason = "no target: label node".to_owned();
    let steps = vec![
        Step::new("drain_node", None, Decision::Deny, reason.clone()),
        Step::new("restart_pod", None, Decision::Deny, reason.clone()),
    ];
    let disposition = Disposition::Escalated { reason: reason.clone() };
    let response = Response::new("inc-one".into(), disposition, Plan::new(steps, vec![]), clock.now());
    NoticeKind::Escalated { reason, response: Some(Box::new(response)) }
}

fn builder(double: &Double, clock: &ManualClock) -> PagerDutyBuilder {
    PagerDutyNotifier::builder(KEY, reqwest::Client::new())
        .url(&format!("{}/v2/enqueue", double.url))
        .with_clock(clock.clone())
        .runbooks(ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap())
}

fn bodies(double: &Double) -> Vec<Value> {
    double.requests().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
}

/// Sends them one after the other, each with the receipt before it.
async fn send(notifier: &PagerDutyNotifier, notices: &[Notice]) -> Option<Receipt> {
    let mut receipt = None;
    for notice in notices {
        receipt = Some(notifier.notify(notice, receipt.as_ref()).await.unwrap());
    }
    receipt
}

#[tokio::test]
async fn the_channel_passes_its_conformance_suite() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| taken()).await;
    let notifier = builder(&double, &clock).build().unwrap();
    let sent = || bodies(&double).iter().map(texts).collect();
    let active = ["http://", "https://", "@here", "mailto:"];
    check_notifier(&notifier, sent, &active).await.unwrap();
}

/// All texts of an event but its key, decoded, with the incident's.
fn texts(body: &Value) -> String {
    fn all(value: &Value, out: &mut String) {
        match value {
            Value::String(text) => out.extend([text, " "]),
            Value::Array(items) => items.iter().for_each(|item| all(item, out)),
            Value::Object(fields) => fields.values().for_each(|field| all(field, out)),
            _ => {}
        }
    }
    let mut out = String::new();
    all(body, &mut out);
    out
}

#[tokio::test]
async fn a_trigger_holds_what_the_documentation_asks_for() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| taken()).await;
    let receipt = send(&builder(&double, &clock).build().unwrap(), &[notice(&clock, announced())]).await.unwrap();
    assert_eq!(receipt.value(), &json!({"open": true}));
    let request = &double.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v2/enqueue"));
    assert!(request.head.contains("content-type: application/json"), "{}", request.head);
    let explain = event(&clock).explain();
    let expected = json!({
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "inc-one",
        "client": "aiops",
        "links": [],
        "payload": {
            "summary": format!("warning: {explain}"),
            "source": "checkout",
            "component": "checkout",
            "class": "P99LatencyAnomaly",
            "severity": "warning",
            "timestamp": "2025-05-05T08:05:00Z",
            "custom_details": {
                "incident_id": "inc-one",
                "notice": "announced",
                "evidence": explain,
                "detected_at": "2025-05-05T08:05:00Z",
                "fingerprint": event(&clock).fingerprint.as_str(),
            },
        },
    });
    assert_eq!(bodies(&double)[0], expected);
}

#[tokio::test]
async fn an_escalation_says_what_was_refused_why_and_where_to_read_on() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| taken()).await;
    let notices =
        [notice(&clock, announced()), notice(&clock, escalated(&clock)), notice(&clock, NoticeKind::Resolved)];
    let receipt = send(&builder(&double, &clock).build().unwrap(), &notices).await.unwrap();
    assert_eq!(receipt.value(), &json!({"open": false}));
    let bodies = bodies(&double);
    assert!(bodies.iter().all(|body| body["dedup_key"] == "inc-one"), "one alert: {bodies:?}");
    let escalated = &bodies[1];
    let details = &escalated["payload"]["custom_details"];
    assert_eq!(details["reason"], "no target: label node");
    assert_eq!(
        details["refused"],
        "drain_node: refused: no target: label node\nrestart_pod: refused: no target: label node"
    );
    // "ask infra" is no address: it makes no link.
    assert_eq!(
        escalated["links"],
        json!([{"href": "https://wiki.internal/restart", "text": "runbook of restart_pod"}])
    );
    let summary = escalated["payload"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("escalated: no target: label node (not run: drain_node, restart_pod) | "), "{summary}");
    let resolve = json!({"routing_key": KEY, "event_action": "resolve", "dedup_key": "inc-one"});
    assert_eq!(bodies[2], resolve);
}

#[test]
fn news_of_what_is_not_open_open_nothing_and_are_counted() {
    let recorder = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let clock = ManualClock::default();
            let double = Double::start(|_, _| taken()).await;
            let notifier = builder(&double, &clock).build().unwrap();
            send(&notifier, &[notice(&clock, suppressed())]).await;
            assert_eq!(double.requests().len(), 0, "what was held back pages nobody");
            let late = [announced(), NoticeKind::Resolved, updated(&clock), suppressed()];
            send(&notifier, &late.map(|kind| notice(&clock, kind))).await;
            assert_eq!(double.requests().len(), 2, "a report that came after the end opens no new page");
            let in_time = [announced(), updated(&clock), suppressed(), NoticeKind::Resolved];
            send(&notifier, &in_time.map(|kind| notice(&clock, kind))).await;
            let details = bodies(&double)[3]["payload"]["custom_details"].clone();
            assert_eq!(details["summary"], "checkout is slow since its deploy of v2");
            assert_eq!(details["causes"], "checkout: deployed v2 6 min before");
            assert_eq!(double.requests().len(), 6);
        });
    });
    assert_eq!(recorder.value("aiops_notify_left_out_total"), Some(3.0));
}

#[tokio::test]
async fn severities_are_the_hosts_to_map() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| taken()).await;
    let notifier = builder(&double, &clock).severity(Severity::Warning, PagerDutySeverity::Error).build().unwrap();
    for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
        let mut notice = notice(&clock, announced());
        notice.event.severity = severity;
        notifier.notify(&notice, None).await.unwrap();
    }
    let sent: Vec<Value> = bodies(&double).iter().map(|body| body["payload"]["severity"].clone()).collect();
    assert_eq!(sent, ["info", "error", "critical"]);
}

#[tokio::test]
async fn what_is_too_long_for_pagerduty_is_cut_and_the_key_stays_one_key() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| taken()).await;
    let notifier = builder(&double, &clock).build().unwrap();
    let mut sent = Vec::new();
    for end in ["a", "b"] {
        let mut notice = notice(&clock, NoticeKind::Escalated { reason: "é".repeat(5_000), response: None });
        notice.incident_id = IncidentId::new("i".repeat(300) + end);
        notice.explain = "x".repeat(5_000);
        notifier.notify(&notice, None).await.unwrap();
        sent.push(bodies(&double).pop().unwrap());
    }
    for body in &sent {
        assert!(body["payload"]["summary"].as_str().unwrap().chars().count() <= 1_024);
        assert_eq!(body["dedup_key"].as_str().unwrap().chars().count(), 255);
    }
    assert_ne!(sent[0]["dedup_key"], sent[1]["dedup_key"]);
}

#[tokio::test]
async fn an_invalid_event_is_refused_with_its_errors_and_without_the_key() {
    let clock = ManualClock::default();
    for (status, body, wanted) in [
        (
            400,
            INVALID.to_owned(),
            "Event object is invalid: Length of 'routing_key' is incorrect (should be 32 characters)",
        ),
        (400, format!("{{\"message\": \"no service {KEY}\"}}"), "no service [redacted]"),
        (403, "not json".to_owned(), "not json"),
    ] {
        let double = Double::start(move |_, _| Reply::Body(status, body.clone())).await;
        let error =
            builder(&double, &clock).build().unwrap().notify(&notice(&clock, announced()), None).await.unwrap_err();
        let prefix = format!("channel \"pagerduty\" did not take the notice: the server refused it, status {status}");
        assert_eq!(error_chain(&error), format!("{prefix}: {wanted}"));
        assert!(!error.is_retryable());
        assert_eq!(double.requests().len(), 1, "it is not tried again");
    }
}

#[tokio::test]
async fn a_page_that_is_no_answer_of_pagerduty_is_no_acceptance() {
    let clock = ManualClock::default();
    for reply in [
        Reply::ok(TAKEN),
        Reply::Body(202, "<html>log in</html>".to_owned()),
        Reply::Body(202, r#"{"status": "queued"}"#.to_owned()),
        Reply::Body(202, String::new()),
    ] {
        let double = Double::start(move |_, _| reply.clone()).await;
        let notifier = builder(&double, &clock).retries(0).build().unwrap();
        let error = notifier.notify(&notice(&clock, announced()), None).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().downcast_ref::<HookError>().unwrap();
        assert!(matches!(source, HookError::Malformed { .. }) && error.is_retryable(), "{source}");
    }
}

#[test]
fn what_may_pass_is_tried_a_few_times_and_counted() {
    let recorder = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let clock = ManualClock::default();
            let double = Double::start(|_, _| Reply::Body(500, String::new())).await;
            let notifier = builder(&double, &clock).build().unwrap();
            let notice = notice(&clock, announced());
            let waits = async {
                for wait in [500, 1_000].map(Duration::from_millis) {
                    http_double::pass(&clock, wait).await;
                }
            };
            let (outcome, ()) = tokio::join!(notifier.notify(&notice, None), waits);
            assert!(outcome.unwrap_err().is_retryable());
            assert_eq!(double.requests().len(), 3);
        });
    });
    assert_eq!(recorder.value("aiops_notify_retries_total"), Some(2.0));
}

#[test]
fn a_key_that_is_none_is_told_without_showing_it() {
    let builder = |key: &str| PagerDutyNotifier::builder(key, reqwest::Client::new());
    let error = builder("too short").build().unwrap_err();
    assert_eq!(error.to_string(), "notifier cannot be built: the integration key is not 32 letters and digits");
    let good = builder(KEY).build().unwrap();
    assert!(!format!("{good:?}").contains(KEY) && !format!("{:?}", builder(KEY)).contains(KEY));
}

/// Row of the issue: a failing channel falls to the next, and is counted.
#[test]
fn a_failing_pager_falls_to_the_next_channel_and_is_counted() {
    let recorder = MetricRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let clock = ManualClock::default();
            let double = Double::start(|_, _| Reply::Body(400, INVALID.to_owned())).await;
            let next = Arc::new(RecordingNotifier::new("next"));
            let mut replay = Pipeline::builder()
                .intake(8)
                .notify(builder(&double, &clock).build().unwrap())
                .notify(Arc::<RecordingNotifier>::clone(&next))
                .replay(clock.now())
                .unwrap();
            let mut event = event(&clock);
            (event.episode_id, event.incident_id) = (None, None);
            replay.ingest(event).await.unwrap();
            replay.finish().await.unwrap();
            assert_eq!(next.notices().len(), 1);
        });
    });
    assert_eq!(recorder.value("aiops_notify_failed_total"), Some(1.0));
}
