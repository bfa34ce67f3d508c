//! Alertmanager: alerts opened and resolved there and read from there.

use std::time::Duration;

use aiops_core::testing::samples;
use aiops_core::{CancellationToken, EventId, IncidentId, Notice, NoticeKind, Notifier};
use aiops_detectors::client::{Alertmanager, AlertmanagerAlert, AlertmanagerState, ClientErrorKind, Endpoint, reqwest};
use aiops_detectors::jiff::Timestamp;
use serde_json::{Value, json};

use crate::url_of;

pub(crate) fn alertmanager() -> Alertmanager {
    Alertmanager::new(Endpoint::new(&url_of("AM_URL", "alertmanager"), reqwest::Client::new()).unwrap())
}

/// Unlike any of another run: the server remembers whom it told what.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", EventId::random(Timestamp::now()).as_str().split('-').next_back().unwrap())
}

/// Posts to the server's own API, as its other users do.
pub(crate) async fn post(path: &str, body: &Value) {
    let url = format!("{}/api/v2/{path}", url_of("AM_URL", "alertmanager"));
    let request = reqwest::Client::new().post(url).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
}

async fn one(incident: &str) -> Option<AlertmanagerAlert> {
    let matcher = format!("aiops_incident_id=\"{incident}\"");
    let mut alerts = alertmanager().alerts(&[&matcher]).await.unwrap();
    assert!(alerts.len() <= 1, "{alerts:?}");
    alerts.pop()
}

#[tokio::test]
#[ignore = "needs alertmanager: .ci/services up alertmanager"]
async fn alertmanager_alerts_are_read_with_what_holds_them() {
    let service = unique("reader");
    let alert =
        |name: &str| json!({"labels": {"alertname": name, "service": service}, "annotations": {"summary": "x"}});
    post("alerts", &json!([alert("AiopsTestDeploy"), alert("AiopsTestHeld"), alert("AiopsTestQuiet")])).await;
    let matcher = |name: &str, value: &str| json!({"name": name, "value": value, "isRegex": false, "isEqual": true});
    let now = Timestamp::now();
    let silence = json!({"matchers": [matcher("service", &service), matcher("alertname", "AiopsTestQuiet")],
        "startsAt": now, "endsAt": now + Duration::from_secs(60), "createdBy": "aiops", "comment": "test"});
    post("silences", &silence).await;
    let matcher = format!("service=\"{service}\"");
    let alerts = alertmanager().alerts(&[&matcher]).await.unwrap();
    let find = |name: &str| alerts.iter().find(|alert| alert.labels["alertname"] == name).unwrap();
    let (deploy, held, quiet) = (find("AiopsTestDeploy"), find("AiopsTestHeld"), find("AiopsTestQuiet"));
    assert_eq!(alerts.len(), 3);
    assert!(deploy.silenced_by.is_empty() && deploy.inhibited_by.is_empty());
    assert_ne!(deploy.state, AlertmanagerState::Suppressed);
    assert_eq!((held.state, &held.inhibited_by), (AlertmanagerState::Suppressed, &vec![deploy.fingerprint.clone()]));
    assert_eq!((quiet.state, quiet.silenced_by.len()), (AlertmanagerState::Suppressed, 1));
    assert_eq!((deploy.annotations["summary"].as_str(), &deploy.receivers[..]), ("x", &["nobody".to_owned()][..]));

    let error = alertmanager().alerts(&["service=~\"(\""]).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ClientErrorKind::Refused, Some(400)));
    assert!(error.reason.contains("missing closing )"), "{error}");
}

#[cfg(feature = "server")]
#[tokio::test]
#[ignore = "needs alertmanager: .ci/services up alertmanager"]
async fn alertmanager_an_incident_opens_once_stays_open_and_resolves_once() {
    let told = hook::listen("AM_NOTIFIER_PORT").await;
    // The shortest: it would expire in the middle of the test unless it is sent again.
    let hold = Duration::from_secs(10);
    let (notifier, keep_open) = alertmanager().notifier().label("aiops_test", "notifier").hold(hold).build();
    let shutdown = CancellationToken::new();
    let keeping = tokio::spawn(keep_open.run(shutdown.clone()));
    let incident = unique("inc");
    let notice = |kind| {
        let event = samples::event("checkout", "real", Timestamp::now());
        Notice::new(IncidentId::new(&incident), event, kind, Timestamp::now())
    };
    let about = |told: &[Value]| -> Vec<(String, usize)> {
        let ours = told.iter().filter(|body| body["groupLabels"]["aiops_incident_id"] == incident.as_str());
        ours.map(|body| (body["status"].as_str().unwrap().to_owned(), body["alerts"].as_array().unwrap().len()))
            .collect()
    };

    let first = notifier.notify(&notice(NoticeKind::Announced { held: 0, reason: None }), None).await.unwrap();
    tokio::time::sleep(hold + Duration::from_secs(3)).await;
    let open = one(&incident).await.unwrap();
    assert_eq!((open.state, open.labels["service"].as_str()), (AlertmanagerState::Active, "checkout"));
    let escalated = NoticeKind::Escalated { reason: "low confidence".to_owned(), response: None };
    let second = notifier.notify(&notice(escalated), Some(&first)).await.unwrap();
    let escalated = one(&incident).await.unwrap();
    assert_eq!((&escalated.fingerprint, escalated.starts_at), (&open.fingerprint, open.starts_at));
    assert_eq!(escalated.annotations["escalated"], "low confidence");
    // Some of its intervals, in which it might tell more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(about(&told.lock().unwrap()), [("firing".to_owned(), 1)]);

    notifier.notify(&notice(NoticeKind::Resolved), Some(&second)).await.unwrap();
    assert_eq!(one(&incident).await, None);
    // Longer than until a resend, and than it would take to expire.
    tokio::time::sleep(hold + Duration::from_secs(3)).await;
    assert_eq!(about(&told.lock().unwrap()), [("firing".to_owned(), 1), ("resolved".to_owned(), 1)]);
    shutdown.cancel();
    keeping.await.unwrap();
}

#[cfg(feature = "server")]
#[tokio::test]
#[ignore = "needs alertmanager: .ci/services up alertmanager"]
async fn alertmanager_its_webhook_opens_and_resolves_an_episode() {
    use std::sync::Arc;

    use aiops_core::{
        Correlator, CorrelatorConfig, DetectionStage, IncidentLog, IncidentQuery, IncidentState, LogNotifier,
        MemoryBus, MemoryIncidentLog, StageParts,
    };
    use aiops_detectors::server::{AlertIntake, BearerToken};

    let log = Arc::new(MemoryIncidentLog::default());
    let parts = StageParts::builder().notify(LogNotifier).incident_log(Arc::<MemoryIncidentLog>::clone(&log)).build();
    let mut stage = DetectionStage::builder(parts, Correlator::new(CorrelatorConfig::default()).unwrap()).build();
    // As .ci/services.d/alertmanager.sh sets it.
    let token = BearerToken::new("aiops-test-token");
    hook::serve("AM_INTAKE_PORT", AlertIntake::new(stage.intake(), token).router()).await;

    let service = unique("intake");
    let labels = json!({"alertname": "HighErr", "service": service, "severity": "critical", "aiops_test": "intake"});
    post("alerts", &json!([{"labels": labels}])).await;
    let matcher = format!("service=\"{service}\"");
    let fingerprint = alertmanager().alerts(&[&matcher]).await.unwrap().pop().unwrap().fingerprint;
    let mut state_of = async |state| {
        for _ in 0..200 {
            stage.tick(Timestamp::now(), &MemoryBus::default()).await.unwrap();
            let query = IncidentQuery::default().services([service.as_str().into()]).state(state);
            if let Some(incident) = log.query(&query).await.unwrap().pop() {
                return incident;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no incident of {service} is {state:?}")
    };
    let open = state_of(IncidentState::Open).await;
    let event = open.firing()[0];
    assert_eq!((event.upstream_id.as_deref(), event.alertname()), (Some(fingerprint.as_str()), "HighErr"));
    let end = Timestamp::now() - Duration::from_secs(1);
    post("alerts", &json!([{"labels": labels, "startsAt": end - Duration::from_secs(60), "endsAt": end}])).await;
    assert_eq!(state_of(IncidentState::Resolved).await.incident_id, open.incident_id);
}

/// What the server posts to.
#[cfg(feature = "server")]
mod hook {
    use std::sync::{Arc, Mutex};

    use aiops_detectors::server::axum;
    use serde_json::Value;

    use crate::url_of;

    pub(super) async fn serve(variable: &str, router: axum::Router) {
        let address = format!("127.0.0.1:{}", url_of(variable, "alertmanager"));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// Keeps the bodies that are posted.
    pub(super) async fn listen(variable: &str) -> Arc<Mutex<Vec<Value>>> {
        let bodies = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::<Mutex<Vec<Value>>>::clone(&bodies);
        let take = move |body: String| {
            kept.lock().unwrap().push(serde_json::from_str(&body).unwrap());
            std::future::ready(())
        };
        serve(variable, axum::Router::new().fallback(take)).await;
        bodies
    }
}
