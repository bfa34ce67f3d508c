//! The intake routers, over HTTP: recorded webhooks, bad items, strangers, garbage and floods.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::testing::{ManualClock, MetricRecorder, RecordingNotifier};
use aiops_core::{
    Clock, Correlator, CorrelatorConfig, DeployLog, DetectionEvent, DetectionStage, IdentityScheme, MemoryBus,
    Observer, PipelineEvent, RolloutKind, Severity, StageParts,
};
use aiops_detectors::AlertMapping;
use aiops_detectors::client::reqwest;
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::server::{AlertIntake, AllowEveryone, Authoriser, BearerToken, Denied, DeployIntake, axum};
use serde_json::{Value, json};

const TOKEN: &str = "a token of the host";

fn recorded(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alertmanager").join(name))
        .unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The host's server; it ends with the test's runtime.
async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Posts JSON as the host's systems do; status and answer.
async fn post(url: &str, body: impl Into<String>) -> (u16, Value) {
    answer(request(url, body).header("authorization", format!("Bearer {TOKEN}"))).await
}

fn request(url: &str, body: impl Into<String>) -> reqwest::RequestBuilder {
    reqwest::Client::new().post(url).header("content-type", "application/json").body(body.into())
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// What a detection stage made of the pushed events.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<Decided>>>);

/// A decision, and the event that it is about.
type Decided = (String, Option<DetectionEvent>);

impl Observer for Seen {
    fn observe(&self, event: &PipelineEvent<'_>) {
        if let PipelineEvent::Correlated { correlated, .. } = event {
            let decision = format!("{:?}", correlated.decision).to_lowercase();
            self.0.lock().unwrap().push((decision, correlated.event.clone()));
        }
    }
}

/// A stage without detectors, and a router before it.
struct Host {
    url: String,
    stage: DetectionStage,
    clock: ManualClock,
    seen: Seen,
}

impl Host {
    async fn with(capacity: usize, set: impl FnOnce(AlertIntake) -> AlertIntake) -> Self {
        let (clock, seen) = (ManualClock::new(at("2026-11-25T03:02:30Z")), Seen::default());
        let parts = StageParts::builder().with_clock(clock.clone()).notify(RecordingNotifier::new("test"));
        let parts = parts.observe(seen.clone()).build();
        let correlator = Correlator::new(CorrelatorConfig::default()).unwrap();
        let stage = DetectionStage::builder(parts, correlator).intake_capacity(capacity).build();
        let intake = AlertIntake::new(stage.intake(), BearerToken::new(TOKEN)).with_clock(clock.clone());
        let url = format!("{}/alertmanager", serve(set(intake).router()).await);
        Self { url, stage, clock, seen }
    }

    async fn new() -> Self {
        Self::with(100, |intake| intake).await
    }

    /// What the stage decided of what came in since the last time.
    async fn decided(&mut self) -> Vec<Decided> {
        self.stage.tick(self.clock.now(), &MemoryBus::default()).await.unwrap();
        std::mem::take(&mut self.seen.0.lock().unwrap())
    }

    async fn decisions(&mut self) -> Vec<String> {
        self.decided().await.into_iter().map(|(decision, _)| decision).collect()
    }
}

/// One alert of a webhook.
fn alert(status: &str, fingerprint: &str, labels: Value) -> Value {
    json!({"status": status, "labels": labels, "annotations": {}, "startsAt": "2026-11-25T03:02:22Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": fingerprint})
}

fn webhook(alerts: impl IntoIterator<Item = Value>) -> String {
    json!({"version": "4", "status": "firing", "alerts": alerts.into_iter().collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn every_recorded_webhook_becomes_events() {
    let mut host = Host::new().await;
    for (name, alerts) in [
        ("am_webhook_firing.json", &[("DeployInProgress", "cart", Severity::Info, "509ae98a84c549f2")][..]),
        ("am_webhook_p99.json", &[("P99LatencyAnomaly", "checkout", Severity::Warning, "2bbbc513bf1b22af")]),
        (
            "am_webhook_group_of_two.json",
            &[
                ("HighErr", "pay", Severity::Critical, "2739ea79289013fe"),
                ("HighErr", "pay2", Severity::Critical, "2ebfabf305e33a2e"),
            ],
        ),
    ] {
        assert_eq!(post(&host.url, recorded(name)).await, (200, json!({"accepted": alerts.len(), "rejected": []})));
        let decided = host.decided().await;
        assert_eq!(decided.len(), alerts.len(), "{name}");
        for ((decision, event), (alertname, service, severity, upstream)) in decided.iter().zip(alerts) {
            let event = event.as_ref().unwrap();
            assert_eq!(
                (decision.as_str(), event.alertname(), event.service.as_str()),
                ("announced", *alertname, *service)
            );
            assert_eq!((event.severity, event.upstream_id.as_deref()), (*severity, Some(*upstream)));
            assert_eq!((event.kind.as_str(), event.source.as_str()), ("metric_anomaly", "alertmanager"));
            assert_eq!(event.observed(), host.clock.now());
        }
    }
    // The group still fires, one of its two has ended.
    host.clock.advance(Duration::from_secs(2));
    post(&host.url, recorded("am_webhook_partial_resolved.json")).await;
    let decided = host.decided().await;
    let told = decided.iter().map(|(decision, event)| (decision.as_str(), event.as_ref().unwrap().service.as_str()));
    assert_eq!(told.collect::<Vec<_>>(), [("resolved", "pay"), ("repeat", "pay2")]);
}

#[tokio::test]
async fn a_bad_alert_rejects_itself_alone_and_is_told_by_field() {
    let metrics = MetricRecorder::default();
    let _recording = metrics::set_default_local_recorder(&metrics);
    let mut host = Host::new().await;
    let good = |n: usize| alert("firing", &format!("f{n}"), json!({"alertname": format!("A{n}"), "service": "cart"}));
    let without = |field: &str| {
        let mut alert = good(9);
        alert.as_object_mut().unwrap().remove(field);
        alert
    };
    let with = |field: &str, value: Value| {
        let mut alert = good(9);
        alert[field] = value;
        alert
    };
    let bad = [
        (json!("x"), ""),
        (without("labels"), "labels"),
        (with("labels", json!({"alertname": "A", "n": 1})), "labels.n"),
        (with("labels", json!({"service": "cart"})), "labels.alertname"),
        (with("labels", json!({"alertname": "A", "aiops_kind": ""})), "labels.aiops_kind"),
        (without("status"), "status"),
        (with("status", json!("FIRING")), "status"),
        (with("startsAt", json!("yesterday")), "startsAt"),
        (without("fingerprint"), "fingerprint"),
        (with("fingerprint", json!("f".repeat(200))), "fingerprint"),
    ];
    let batch = bad.iter().map(|(alert, _)| alert.clone());
    let (status, answer) = post(&host.url, webhook([good(1)].into_iter().chain(batch.clone()).chain([good(2)]))).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)));
    let fields: Vec<(usize, &str)> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rejected| (rejected["index"].as_u64().unwrap() as usize, rejected["field"].as_str().unwrap()))
        .collect();
    assert_eq!(fields, (1..).zip(bad.iter().map(|(_, field)| *field)).collect::<Vec<_>>());
    assert_eq!(host.decisions().await, ["announced", "announced"]);
    assert_eq!(metrics.value("aiops_intake_rejected_total"), Some(10.0));
    assert_eq!(metrics.value("aiops_intake_accepted_total"), Some(2.0));
    // Where nothing was taken, the sender is told that it was in vain.
    let (status, answer) = post(&host.url, webhook(batch)).await;
    assert_eq!((status, &answer["accepted"], answer["rejected"].as_array().unwrap().len()), (422, &json!(0), 10));
    assert_eq!(post(&host.url, webhook([])).await.0, 200);
}

#[tokio::test]
async fn an_identity_resolves_with_its_last_alert() {
    let mut host = Host::new().await;
    let of = |status: &str, instance: &str| {
        alert(status, instance, json!({"alertname": "HighErr", "service": "pay", "instance": instance}))
    };
    for (batch, decisions) in [
        (vec![of("firing", "a"), of("firing", "b")], vec!["announced", "repeat"]),
        (vec![of("resolved", "a"), of("firing", "b")], vec!["repeat"]),
        (vec![of("resolved", "b")], vec!["resolved"]),
        (vec![of("firing", "a")], vec!["announced"]),
        (vec![of("resolved", "a")], vec!["resolved"]),
        // Again, and of one that never fired.
        (vec![of("resolved", "a"), of("resolved", "c")], vec!["ignored", "ignored"]),
    ] {
        host.clock.advance(Duration::from_secs(60));
        assert_eq!(post(&host.url, webhook(batch)).await.0, 200);
        assert_eq!(host.decisions().await, decisions);
    }
}

#[tokio::test]
async fn a_label_of_the_identity_tells_alerts_apart_and_must_be_there() {
    let set = |intake: AlertIntake| intake.identity_labels(IdentityScheme::with_labels(["cluster"]));
    let mut host = Host::with(100, set).await;
    let of = |status: &str, cluster: &str| {
        alert(status, cluster, json!({"alertname": "HighErr", "service": "pay", "cluster": cluster}))
    };
    post(&host.url, webhook([of("firing", "eu"), of("firing", "us")])).await;
    // Not held back for the other cluster's.
    post(&host.url, webhook([of("resolved", "eu")])).await;
    assert_eq!(host.decisions().await.len(), 3);
    let (status, answer) = post(&host.url, webhook([alert("firing", "x", json!({"alertname": "HighErr"}))])).await;
    assert_eq!((status, &answer["rejected"][0]["field"]), (422, &json!("labels")));
}

#[tokio::test]
async fn kinds_services_and_severities_come_by_the_hosts_mapping() {
    let mapping = AlertMapping::default().service_labels(["app"]).severity("page", Severity::Critical);
    let mut host = Host::with(100, |intake| intake.mapping(mapping)).await;
    let labels = json!({"alertname": "A", "app": "cart", "severity": "page", "aiops_kind": "log_burst"});
    post(&host.url, webhook([alert("firing", "f", labels)])).await;
    let event = host.decided().await.pop().unwrap().1.unwrap();
    assert_eq!(
        (event.kind.as_str(), event.service.as_str(), event.severity),
        ("log_burst", "cart", Severity::Critical)
    );
}

#[tokio::test]
async fn our_own_alerts_open_no_incident_and_cut_ones_are_counted() {
    let metrics = MetricRecorder::default();
    let _recording = metrics::set_default_local_recorder(&metrics);
    let mut host = Host::new().await;
    let own = alert("firing", "f", json!({"alertname": "A", "service": "cart", "aiops_incident_id": "inc-1"}));
    let mut body: Value = serde_json::from_str(&webhook([own])).unwrap();
    body["truncatedAlerts"] = json!(7);
    assert_eq!(post(&host.url, body.to_string()).await, (200, json!({"accepted": 1, "rejected": []})));
    assert!(host.decisions().await.is_empty());
    assert_eq!(metrics.value("aiops_intake_own_total"), Some(1.0));
    assert_eq!(metrics.value("aiops_intake_truncated_total"), Some(7.0));
}

#[tokio::test]
async fn strangers_are_kept_out_before_their_body_is_read() {
    let mut host = Host::with(100, |intake| intake.max_body(64)).await;
    for authorization in ["", "Bearer", "Bearer ", "Bearer a token of the hosT", "Basic a token of the host", TOKEN] {
        let (status, answer) =
            answer(request(&host.url, "x".repeat(10_000)).header("authorization", authorization)).await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("unauthenticated")), "{authorization}");
    }
    let (status, _) = answer(request(&host.url, recorded("am_webhook_p99.json"))).await;
    assert_eq!(status, 401);
    assert!(host.decisions().await.is_empty());
}

/// The authoriser's word on everyone.
#[derive(Debug)]
struct Word(Denied);

#[async_trait::async_trait]
impl Authoriser for Word {
    async fn authorise(&self, _: &axum::http::request::Parts) -> Result<(), Denied> {
        Err(self.0)
    }
}

#[tokio::test]
async fn the_authorisers_word_is_the_answer() {
    for (word, status, code) in [(Denied::Forbidden, 403, "forbidden"), (Denied::Unavailable, 503, "undecided")] {
        let log = DeployLog::new(50);
        let url = format!("{}/deploys", serve(DeployIntake::new(log.clone(), Word(word)).router()).await);
        let (got, answer) = post(&url, r#"{"service": "web", "deploy_id": "1", "phase": "started"}"#).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)));
        assert!(log.deploys(&"web".into()).is_empty());
    }
}

#[tokio::test]
async fn what_is_no_webhook_gets_a_typed_answer() {
    let mut host = Host::with(100, |intake| intake.max_body(10_000)).await;
    for (body, status, code, field) in [
        ("x".repeat(10_001), 413, "too_large", Value::Null),
        (String::new(), 400, "malformed", Value::Null),
        ("{\"alerts\":[".to_owned(), 400, "malformed", Value::Null),
        ("[]".to_owned(), 400, "malformed", json!("alerts")),
        ("{}".to_owned(), 400, "malformed", json!("alerts")),
        ("{\"alerts\":null}".to_owned(), 400, "malformed", json!("alerts")),
        ("[".repeat(9_000), 400, "malformed", Value::Null),
    ] {
        let (got, answer) = post(&host.url, body.clone()).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body:.20}");
        assert_eq!(answer["error"]["field"], field, "{body:.20}");
    }
    let authorised = |request: reqwest::RequestBuilder| request.header("authorization", format!("Bearer {TOKEN}"));
    let form = reqwest::Client::new().post(&host.url).header("content-type", "text/plain").body("{\"alerts\":[]}");
    assert_eq!(answer(authorised(form)).await.1["error"]["code"], "media_type");
    let (status, answer) = answer(authorised(reqwest::Client::new().get(&host.url))).await;
    assert_eq!((status, &answer["error"]["code"]), (405, &json!("method")));
    // A body that does not say how long it is.
    let endless = reqwest::Client::new().post(&host.url).header("transfer-encoding", "chunked");
    let endless = authorised(endless.header("content-type", "application/json").body("x".repeat(20_000)));
    assert_eq!(self::answer(endless).await.0, 413);
    assert!(host.decisions().await.is_empty());
}

#[tokio::test]
async fn a_batch_larger_than_the_buffer_gets_through_and_one_that_nobody_takes_is_told_to_come_again() {
    let mut host = Host::with(2, |intake| intake).await;
    let batch: Vec<Value> =
        (0..6).map(|n| alert("firing", &format!("f{n}"), json!({"alertname": format!("A{n}")}))).collect();
    let posting = tokio::spawn({
        let (url, body) = (host.url.clone(), webhook(batch.clone()));
        async move { post(&url, body).await }
    });
    let mut announced = 0;
    while !posting.is_finished() {
        announced += host.decisions().await.len();
        tokio::task::yield_now().await;
    }
    announced += host.decisions().await.len();
    assert_eq!((posting.await.unwrap().0, announced), (200, 6));

    let posting = tokio::spawn({
        let (url, body) = (host.url.clone(), webhook(batch));
        async move { post(&url, body).await }
    });
    host.clock.wait_for_sleepers(1).await;
    host.clock.set(host.clock.next_wake().unwrap());
    let (status, answer) = posting.await.unwrap();
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("busy")));
    let Host { url, stage, .. } = host;
    drop(stage);
    let (status, answer) = post(&url, webhook([alert("firing", "f", json!({"alertname": "A"}))])).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("stopping")));
}

async fn deploys() -> (String, DeployLog, ManualClock) {
    let (log, clock) = (DeployLog::new(50), ManualClock::new(at("2026-11-25T03:00:00Z")));
    let intake = DeployIntake::new(log.clone(), BearerToken::new(TOKEN)).with_clock(clock.clone());
    (format!("{}/deploys", serve(intake.max_body(20_000).router()).await), log, clock)
}

#[tokio::test]
async fn steps_of_rollouts_reach_the_deploy_log() {
    let (url, log, clock) = deploys().await;
    let started = json!({"service": "checkout", "deploy_id": "4711", "phase": "started", "version": "v2", "later": 1});
    assert_eq!(post(&url, started.to_string()).await, (200, json!({"accepted": 1, "rejected": []})));
    let steps = json!([
        {"service": "checkout", "deploy_id": "4711", "phase": "completed", "at": "2026-11-25T03:04:59Z", "note": "fix"},
        {"service": "cart", "deploy_id": "1", "phase": "failed", "kind": "own_rollback", "version": null},
    ]);
    assert_eq!(post(&url, steps.to_string()).await.0, 200);
    let deploy = log.deploys(&"checkout".into()).pop().unwrap();
    assert_eq!((deploy.started, deploy.completed), (Some(clock.now()), Some(at("2026-11-25T03:04:59Z"))));
    assert_eq!((deploy.version.as_deref(), deploy.note.as_deref()), (Some("v2"), Some("fix")));
    assert_eq!(log.deploys(&"cart".into())[0].kind, RolloutKind::OwnRollback);
}

#[tokio::test]
async fn a_bad_step_rejects_itself_alone_and_is_told_by_field() {
    let (url, log, _clock) = deploys().await;
    let step = |field: &str, value: Value| {
        let mut step = json!({"service": "web", "deploy_id": "1", "phase": "started"});
        step[field] = value;
        step
    };
    let bad = [
        (json!(1), ""),
        (step("service", json!(" ")), "service"),
        (step("service", Value::Null), "service"),
        (step("deploy_id", json!(4711)), "deploy_id"),
        (step("phase", json!("done")), "phase"),
        (step("phase", Value::Null), "phase"),
        (step("kind", json!("rollback")), "kind"),
        (step("at", json!("2026-11-25T03:05:01Z")), "at"),
        (step("at", json!(1_795_575_600)), "at"),
        (step("version", json!("v".repeat(300))), "version"),
        (step("note", json!("n".repeat(5_000))), "note"),
    ];
    let batch: Vec<&Value> = bad.iter().map(|(step, _)| step).collect();
    let (status, answer) = post(&url, json!(batch).to_string()).await;
    let fields: Vec<&str> =
        answer["rejected"].as_array().unwrap().iter().map(|rejected| rejected["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (422, bad.iter().map(|(_, field)| *field).collect()));
    assert!(log.deploys(&"web".into()).is_empty());
    for (body, status) in [("\"x\"", 400), ("x", 400), (&"x".repeat(20_001), 413)] {
        assert_eq!(post(&url, body).await.0, status);
    }
    assert_eq!(self::answer(request(&url, "{}")).await.0, 401);
}

#[tokio::test]
async fn a_host_may_say_that_anyone_may_push() {
    let log = DeployLog::new(50);
    let url = format!("{}/deploys", serve(DeployIntake::new(log.clone(), AllowEveryone).router()).await);
    let step = r#"{"service": "web", "deploy_id": "1", "phase": "started"}"#;
    assert_eq!(answer(request(&url, step)).await.0, 200);
    assert_eq!(log.deploys(&"web".into()).len(), 1);
}
