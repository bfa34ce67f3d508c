//! The channel by way of Alertmanager: one alert for each incident, kept open until it resolves.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aiops_core::testing::{ManualClock, MetricRecorder, check_notifier, samples};
use aiops_core::{
    CancellationToken, Clock, DetectionEvent, MemoryStateStore, Notice, NoticeKind, Notifier, Receipt, Severity,
    StateError, StateStore, Versioned,
};
use aiops_detectors::client::{
    Alertmanager, AlertmanagerNotifier, AlertmanagerNotifierBuilder, Endpoint, KeepAlertsOpen, reqwest,
};
use aiops_detectors::jiff::Timestamp;
use serde_json::Value;

mod http_double;
use http_double::{Double, Reply};

const MINUTE: Duration = Duration::from_secs(60);

fn event(clock: &ManualClock, severity: Severity) -> DetectionEvent {
    let mut event = samples::event("checkout", "one", clock.now());
    event.severity = severity;
    event
}

fn notice(clock: &ManualClock, severity: Severity, kind: NoticeKind) -> Notice {
    let event = event(clock, severity);
    Notice::new(event.incident_id.clone().unwrap(), event, kind, clock.now())
}

fn announced() -> NoticeKind {
    NoticeKind::Announced { held: 0, reason: None }
}

fn updated(clock: &ManualClock) -> NoticeKind {
    let triaged = Box::new(samples::triaged(event(clock, Severity::Warning), &["restart_pod"]));
    NoticeKind::Updated { triaged: Some(triaged), response: None }
}

fn escalated() -> NoticeKind {
    NoticeKind::Escalated { reason: "low confidence".to_owned(), response: None }
}

fn builder(double: &Double, clock: &ManualClock) -> AlertmanagerNotifierBuilder {
    let endpoint = Endpoint::new(&double.url, reqwest::Client::new()).unwrap().retries(0);
    Alertmanager::new(endpoint).notifier().with_clock(clock.clone())
}

/// A server that takes everything, and the channel to it.
async fn taken(clock: &ManualClock) -> (Double, AlertmanagerNotifier, KeepAlertsOpen) {
    let double = Double::start(|_, _| Reply::ok("")).await;
    let (notifier, keep_open) = builder(&double, clock).build();
    (double, notifier, keep_open)
}

/// One alert of a request.
#[derive(Debug, Clone)]
struct Posted {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

/// The alerts of every request so far.
fn posted(double: &Double) -> Vec<Vec<Posted>> {
    let request = |request: http_double::Request| {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/api/v2/alerts"));
        assert!(request.head.contains("content-type: application/json"), "{}", request.head);
        let alerts: Vec<Value> = serde_json::from_str(&request.body).unwrap();
        let alerts = alerts.into_iter().map(|alert| Posted {
            labels: serde_json::from_value(alert["labels"].clone()).unwrap(),
            annotations: serde_json::from_value(alert["annotations"].clone()).unwrap(),
            starts_at: alert["startsAt"].as_str().unwrap().parse().unwrap(),
            ends_at: alert["endsAt"].as_str().unwrap().parse().unwrap(),
        });
        alerts.collect()
    };
    double.requests().into_iter().map(request).collect()
}

#[tokio::test]
async fn the_channel_passes_its_conformance_suite() {
    let clock = ManualClock::default();
    let (double, notifier, _keep_open) = taken(&clock).await;
    let sent = || posted(&double).concat().iter().map(|alert| format!("{alert:?}")).collect();
    check_notifier(&notifier, sent, &["<script", "<http", "](http", "<!channel>"]).await.unwrap();
}

/// What a model, a log line or a label may hold, and a receiver would render or open.
const PAYLOADS: [&str; 20] = [
    "<https://evil.example/x|the runbook>",
    "![x](https://evil.example/?q=secret)",
    "[click](javascript:alert(1))",
    "see http://evil.com now",
    "WWW.evil.ru/a",
    "ask mailto:a@evil.io",
    "data:text/html;base64,PHNjcmlwdD4=",
    "@here @channel @everyone",
    "<!channel> <!here|now> <@U123ABC>",
    "<script>alert('x')</script>",
    "\" onload=\"x() <img src=x>",
    "<a href=//evil.example>x</a>",
    "\u{1b}]8;;https://evil.example\u{1b}\\runbook\u{1b}]8;;\u{1b}\\",
    "\u{1b}[31mred\u{1b}[0m",
    "\u{9b}2Jcleared",
    "gnp\u{202e}.exe",
    "fail\u{200b}over \u{e0061}",
    "one\r\nX-Header: two",
    "tel:112 sms:112 file:///etc/passwd",
    "evil.example/login?next=https%3A%2F%2Fx",
];

#[tokio::test]
async fn no_text_of_a_model_or_a_workload_becomes_a_link_a_mention_or_a_sequence() {
    const RENDERED: [&str; 19] = [
        "://",
        "<",
        ">",
        "](",
        "@",
        "javascript:",
        "mailto:",
        "data:",
        "tel:",
        "sms:",
        "file:",
        "evil.example",
        "evil.com",
        "evil.ru",
        "evil.io",
        "WWW.evil",
        "\n",
        "\u{1b}",
        "\u{9b}",
    ];
    let clock = ManualClock::default();
    let (double, notifier, _keep_open) = taken(&clock).await;
    for payload in PAYLOADS {
        let mut triaged = samples::triaged(event(&clock, Severity::Warning), &["restart_pod"]);
        triaged.report.summary = payload.to_owned();
        triaged.report.likely_causes = vec![payload.to_owned(), format!("x {payload}")];
        triaged.report.recommended_actions = vec![payload.to_owned()];
        let reported = NoticeKind::Updated { triaged: Some(Box::new(triaged)), response: None };
        let asked = NoticeKind::Escalated { reason: payload.to_owned(), response: None };
        let held = NoticeKind::Announced { held: 1, reason: Some(payload.to_owned()) };
        for kind in [held, reported, asked] {
            let mut notice = notice(&clock, Severity::Warning, kind);
            notice.explain = payload.to_owned();
            notifier.notify(&notice, None).await.unwrap();
        }
        let sent = posted(&double).concat().pop().unwrap();
        for name in ["summary", "triage", "likely_causes", "recommended_actions", "reason", "escalated"] {
            let text = &sent.annotations[name];
            for mark in RENDERED {
                assert!(!text.contains(mark), "{payload:?}: {mark:?} in {name}: {text:?}");
            }
            let hidden = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{e0000}'..='\u{e007f}')
            };
            assert!(!text.chars().any(hidden), "{payload:?} in {name}: {text:?}");
            assert!(!text.is_empty(), "{payload:?}: {name}");
        }
    }
    // What people read stays readable, and a name that routes go by stays the name.
    let mut plain = notice(&clock, Severity::Warning, escalated());
    plain.incident_id = "inc-plain".into();
    plain.event.service = "shop.example.com".into();
    plain.explain = "restart_pod of checkout-7d9f: 0.85 s (v2.1.0), see https://runbooks.internal/x".to_owned();
    notifier.notify(&plain, None).await.unwrap();
    let sent = posted(&double).concat().pop().unwrap();
    assert_eq!(sent.labels["service"], "shop.example.com");
    assert_eq!(
        sent.annotations["summary"],
        "restart_pod of checkout-7d9f: 0.85 s (v2.1.0), see https[:]//runbooks.internal/x"
    );
}

#[tokio::test]
async fn announcement_report_escalation_and_resolve_are_one_alert() {
    let clock = ManualClock::default();
    let (double, notifier, _keep_open) = taken(&clock).await;
    let mut receipt: Option<Receipt> = None;
    for kind in [announced(), updated(&clock), escalated(), NoticeKind::Resolved] {
        // Another episode of the incident, lower and of another name, changes no label.
        let mut notice = notice(&clock, Severity::Warning, kind);
        if receipt.is_some() {
            notice.event.severity = Severity::Info;
            notice.event.labels.insert("alertname".to_owned(), "LogBurst".to_owned());
        }
        receipt = Some(notifier.notify(&notice, receipt.as_ref()).await.unwrap());
        clock.advance(MINUTE);
    }
    let alerts = posted(&double).concat();
    let labels = [
        ("aiops_incident_id", "inc-one"),
        ("aiops_kind", "metric_anomaly"),
        ("alertname", "P99LatencyAnomaly"),
        ("service", "checkout"),
        ("severity", "warning"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(alerts.len(), 4);
    for alert in &alerts {
        assert_eq!((&alert.labels, alert.starts_at), (&labels, alerts[0].starts_at));
    }
    let [opened, reported, escalated, resolved] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(opened.ends_at - opened.starts_at, "5m".parse().unwrap());
    assert!(opened.annotations["summary"].contains("value 0.85 s, expected 0.12 s"), "{opened:?}");
    assert_eq!(reported.annotations["recommended_actions"], "restart_pod");
    // What was said before stays.
    assert_eq!(escalated.annotations["triage"], "checkout is slow since its deploy of v2");
    assert_eq!(escalated.annotations["escalated"], "low confidence");
    assert!(resolved.ends_at < clock.now() && resolved.ends_at > escalated.starts_at);
}

#[tokio::test]
async fn what_was_held_back_opens_nothing() {
    let clock = ManualClock::default();
    let (double, notifier, keep_open) = taken(&clock).await;
    let held = || NoticeKind::Suppressed { summary: "d1: 8 sightings in 7m, nothing was announced".to_owned() };
    let receipt = notifier.notify(&notice(&clock, Severity::Warning, held()), None).await.unwrap();
    assert_eq!((posted(&double).len(), keep_open.resend().await.unwrap()), (0, 0));
    // On an alert that is open it is a note.
    let opened = notifier.notify(&notice(&clock, Severity::Warning, announced()), Some(&receipt)).await.unwrap();
    notifier.notify(&notice(&clock, Severity::Warning, held()), Some(&opened)).await.unwrap();
    assert_eq!(posted(&double).concat()[1].annotations["suppressed"], "d1: 8 sightings in 7m, nothing was announced");
}

#[tokio::test]
async fn a_rise_ends_the_lower_alert_as_it_opens_the_higher_one() {
    let clock = ManualClock::default();
    let (double, notifier, keep_open) = taken(&clock).await;
    let first = notifier.notify(&notice(&clock, Severity::Warning, announced()), None).await.unwrap();
    clock.advance(MINUTE);
    notifier.notify(&notice(&clock, Severity::Critical, announced()), Some(&first)).await.unwrap();
    let rise = posted(&double).pop().unwrap();
    let seen: Vec<(&str, bool)> =
        rise.iter().map(|alert| (alert.labels["severity"].as_str(), alert.ends_at > clock.now())).collect();
    assert_eq!(seen, [("warning", false), ("critical", true)]);
    assert_eq!(rise[0].labels["aiops_incident_id"], rise[1].labels["aiops_incident_id"]);
    // From then on there is only the higher one.
    assert_eq!(keep_open.resend().await.unwrap(), 1);
    assert_eq!(posted(&double).pop().unwrap()[0].labels["severity"], "critical");
}

#[tokio::test]
async fn an_open_alert_is_sent_again_before_it_expires_and_a_resolved_one_is_not() {
    let clock = ManualClock::default();
    let (double, notifier, keep_open) = taken(&clock).await;
    let shutdown = CancellationToken::new();
    let keeping = tokio::spawn(keep_open.run(shutdown.clone()));
    let opened = notifier.notify(&notice(&clock, Severity::Warning, announced()), None).await.unwrap();
    for _ in 0..10 {
        let before = posted(&double).concat().pop().unwrap().ends_at;
        clock.wait_for_sleepers(1).await;
        clock.set(clock.next_wake().unwrap());
        clock.wait_for_sleepers(1).await;
        let sent = posted(&double).concat();
        assert!(clock.now() < before && sent.last().unwrap().ends_at > before);
        assert_eq!(sent[0].labels, sent.last().unwrap().labels);
    }
    notifier.notify(&notice(&clock, Severity::Warning, NoticeKind::Resolved), Some(&opened)).await.unwrap();
    let requests = posted(&double).len();
    clock.set(clock.next_wake().unwrap());
    clock.wait_for_sleepers(1).await;
    assert_eq!(posted(&double).len(), requests);
    shutdown.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn a_failed_resolve_leaves_the_alert_to_expire_and_is_an_error() {
    let clock = ManualClock::default();
    let double = Double::start(|number, _| if number == 1 { Reply::Body(500, "\"no\"".into()) } else { Reply::ok("") });
    let double = double.await;
    let (notifier, keep_open) = builder(&double, &clock).build();
    let opened = notifier.notify(&notice(&clock, Severity::Warning, announced()), None).await.unwrap();
    let resolved = notice(&clock, Severity::Warning, NoticeKind::Resolved);
    assert!(notifier.notify(&resolved, Some(&opened)).await.unwrap_err().is_retryable());
    assert_eq!(keep_open.resend().await.unwrap(), 0);
    // The pipeline sends it again, with the receipt of before: the labels are those of the alert.
    notifier.notify(&resolved, Some(&opened)).await.unwrap();
    let alerts = posted(&double).concat();
    assert_eq!(alerts[0].labels, alerts.last().unwrap().labels);
}

#[tokio::test]
async fn what_comes_late_opens_nothing_but_a_persons_turn_does() {
    let clock = ManualClock::default();
    let (double, notifier, _keep_open) = taken(&clock).await;
    let opened = notifier.notify(&notice(&clock, Severity::Warning, announced()), None).await.unwrap();
    let resolved = notice(&clock, Severity::Warning, NoticeKind::Resolved);
    let resolved = notifier.notify(&resolved, Some(&opened)).await.unwrap();
    let report = notice(&clock, Severity::Warning, updated(&clock));
    let late = notifier.notify(&report, Some(&resolved)).await.unwrap();
    assert_eq!((posted(&double).len(), &late), (2, &resolved));
    notifier.notify(&notice(&clock, Severity::Warning, escalated()), Some(&late)).await.unwrap();
    assert_eq!(posted(&double).len(), 3);
    // A report of an incident whose announcement another channel took is news here.
    notifier.notify(&report, None).await.unwrap();
    assert_eq!(posted(&double).len(), 4);
}

#[tokio::test]
async fn a_restart_keeps_alerts_open_and_their_labels() {
    let (clock, store) = (ManualClock::default(), Arc::new(MemoryStateStore::default()));
    let double = Double::start(|_, _| Reply::ok("")).await;
    let channel =
        || builder(&double, &clock).label("team", "shop").state(Arc::<MemoryStateStore>::clone(&store)).build();
    let (notifier, _keep_open) = channel();
    notifier.notify(&notice(&clock, Severity::Warning, announced()), None).await.unwrap();
    let (notifier, keep_open) = channel();
    assert_eq!(keep_open.resend().await.unwrap(), 1);
    // Without the receipt, and by an event of another name.
    let mut resolved = notice(&clock, Severity::Warning, NoticeKind::Resolved);
    resolved.event.labels.insert("alertname".to_owned(), "LogBurst".to_owned());
    notifier.notify(&resolved, None).await.unwrap();
    let alerts = posted(&double).concat();
    assert_eq!(alerts[0].labels["team"], "shop");
    assert!(alerts.iter().all(|alert| alert.labels == alerts[0].labels), "{alerts:?}");
    let (_notifier, keep_open) = channel();
    assert_eq!(keep_open.resend().await.unwrap(), 0);
}

/// A store that is down for its first calls.
#[derive(Debug)]
struct LateStore {
    down: AtomicUsize,
    store: Arc<MemoryStateStore>,
}

#[async_trait::async_trait]
impl StateStore for LateStore {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        if self.down.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(StateError::Unavailable { doing: "load", key: key.to_owned(), source: "down".into() });
        }
        self.store.load(key).await
    }

    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        self.store.save(key, bytes, expected).await
    }
}

#[tokio::test]
async fn a_store_that_comes_late_gives_back_what_is_open_and_not_what_ended_meanwhile() {
    let (clock, store) = (ManualClock::default(), Arc::new(MemoryStateStore::default()));
    let double = Double::start(|_, _| Reply::ok("")).await;
    let about = |name: &str, kind| {
        let event = samples::event("checkout", name, clock.now());
        Notice::new(event.incident_id.clone().unwrap(), event, kind, clock.now())
    };
    let (notifier, _keep_open) = builder(&double, &clock).state(Arc::<MemoryStateStore>::clone(&store)).build();
    for name in ["stays", "ends"] {
        notifier.notify(&about(name, announced()), None).await.unwrap();
    }
    let late = LateStore { down: AtomicUsize::new(3), store };
    let (notifier, keep_open) = builder(&double, &clock).state(late).build();
    assert_eq!(keep_open.resend().await.unwrap(), 0);
    notifier.notify(&about("ends", NoticeKind::Resolved), None).await.unwrap();
    notifier.notify(&about("new", announced()), None).await.unwrap();
    assert_eq!(keep_open.resend().await.unwrap(), 2);
    let sent = posted(&double).pop().unwrap();
    let incidents: Vec<&str> = sent.iter().map(|alert| alert.labels["aiops_incident_id"].as_str()).collect();
    assert_eq!(incidents, ["inc-new", "inc-stays"]);
}

#[tokio::test]
async fn an_alert_without_a_notice_for_a_day_and_those_beyond_the_bound_are_left_to_expire() {
    let (clock, metrics) = (ManualClock::default(), MetricRecorder::default());
    let _recording = metrics::set_default_local_recorder(&metrics);
    let (_double, notifier, keep_open) = taken(&clock).await;
    for number in 0..1_010 {
        let event = samples::event("checkout", &number.to_string(), clock.now());
        notifier.notify(&samples::notice(event), None).await.unwrap();
    }
    assert_eq!(keep_open.resend().await.unwrap(), 1_000);
    assert_eq!(metrics.value("aiops_alertmanager_forgotten_total"), Some(10.0));
    clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(keep_open.resend().await.unwrap(), 0);
    assert_eq!(metrics.value("aiops_alertmanager_forgotten_total"), Some(1_010.0));
}

#[tokio::test]
async fn labels_of_the_host_are_added_and_take_no_place_of_the_alerts_own() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::ok("")).await;
    let builder =
        builder(&double, &clock).label("team", "shop").label("service", "other").carry_labels(["cluster", "zone"]);
    let (notifier, _keep_open) = builder.build();
    let mut notice = notice(&clock, Severity::Warning, announced());
    notice.event.labels.insert("cluster".to_owned(), "eu".to_owned());
    notice.event.labels.insert("pod".to_owned(), "p-1".to_owned());
    notifier.notify(&notice, None).await.unwrap();
    let labels = posted(&double).concat().pop().unwrap().labels;
    assert_eq!(
        (labels["team"].as_str(), labels["cluster"].as_str(), labels["service"].as_str()),
        ("shop", "eu", "checkout")
    );
    assert!(!labels.contains_key("pod") && !labels.contains_key("zone"));
}
