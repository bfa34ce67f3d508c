//! Alerts that Alertmanager holds, read and told as related alerts.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::path::Path;
use std::sync::Arc;

use aiops_core::testing::{check_context_source, samples};
use aiops_core::{ContextQuery, ContextSource, DependencyGraph, MemoryIncidentLog, RelatedAlerts, error_chain};
use aiops_detectors::client::{
    Alertmanager, AlertmanagerAlerts, AlertmanagerState, ClientError, ClientErrorKind, Endpoint, reqwest,
};
use aiops_detectors::jiff::Timestamp;

mod http_double;
use http_double::{Double, Reply};

fn recorded(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alertmanager").join(name))
        .unwrap()
}

fn client(double: &Double) -> Alertmanager {
    Alertmanager::new(Endpoint::new(&double.url, reqwest::Client::new()).unwrap().retries(0))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

async fn answer(status: u16, body: &str) -> Result<usize, ClientError> {
    let body = body.to_owned();
    let double = Double::start(move |_, _| Reply::Body(status, body.clone())).await;
    client(&double).alerts(&[]).await.map(|alerts| alerts.len())
}

#[tokio::test]
async fn a_bare_list_is_read_with_state_and_what_holds_each() {
    let double = Double::start(|_, _| Reply::ok(recorded("am_v2_alerts.json"))).await;
    let alerts = client(&double).alerts(&["service=~\"cart|checkout\"", "severity!=\"\""]).await.unwrap();
    let filters: Vec<String> = reqwest::Url::parse(&format!("http://double{}", double.requests()[0].target))
        .unwrap()
        .query_pairs()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    assert_eq!(filters, ["filter service=~\"cart|checkout\"", "filter severity!=\"\""]);
    let [p99, deploy, manual] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((p99.state, p99.labels["alertname"].as_str()), (AlertmanagerState::Active, "P99LatencyAnomaly"));
    assert_eq!((p99.starts_at, p99.ends_at), (at("2026-11-25T03:00:54.658Z"), at("2026-11-25T03:05:56.658Z")));
    assert_eq!((p99.fingerprint.as_str(), &p99.receivers[..]), ("2bbbc513bf1b22af", &["hook".to_owned()][..]));
    assert_eq!(p99.annotations["summary"], "P99 anomaly on checkout");
    assert_eq!(deploy.state, AlertmanagerState::Suppressed);
    assert_eq!(deploy.silenced_by, ["3cff3788-2259-4a2c-b60a-61a0b2cbfaed"]);
    assert!(manual.inhibited_by.is_empty() && answer(200, "[]").await.unwrap() == 0);
}

#[tokio::test]
async fn an_error_is_a_text_as_json() {
    let error = answer(400, &recorded("am_v2_error_bad_filter.json")).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ClientErrorKind::Refused, Some(400)));
    assert!(error.reason.starts_with("error parsing regexp: missing closing )"), "{error}");
    for (status, body, kind) in [
        (200, "", ClientErrorKind::Malformed),
        (200, "{\"alerts\":[]}", ClientErrorKind::Malformed),
        (200, "[{\"labels\":{\"a\":\"secret\"}}]", ClientErrorKind::Malformed),
        (404, "404 page not found, secret", ClientErrorKind::NotFound),
        (401, "secret", ClientErrorKind::Unauthorized),
        (503, "secret", ClientErrorKind::Unavailable),
    ] {
        let error = answer(status, body).await.unwrap_err();
        assert!(error.kind == kind && !error_chain(&error).contains("secret"), "{status}: {error}");
    }
}

fn query(service: &str) -> ContextQuery {
    let event = samples::event(service, "one", at("2026-11-25T03:02:00Z"));
    ContextQuery::new(event, "inc-one".into(), at("2026-11-25T03:03:00Z"), at("2026-11-25T03:03:30Z"))
}

async fn source(body: String) -> (Double, AlertmanagerAlerts) {
    let double = Double::start(move |_, _| Reply::ok(body.clone())).await;
    let related =
        RelatedAlerts::new(Arc::new(MemoryIncidentLog::default()), DependencyGraph::new([("web", "checkout")]));
    let source = AlertmanagerAlerts::new(client(&double), related);
    (double, source)
}

#[tokio::test]
async fn what_fires_on_a_dependency_is_told_as_a_related_alert() {
    let (_double, source) = source(recorded("am_v2_alerts.json")).await;
    // Whoever may set labels there, or post: none of it is the word of a trusted system.
    check_context_source(&source, &query("web"), &["P99LatencyAnomaly", "checkout"]).await.unwrap();
    let found = source.gather(&query("web")).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0]
            .text
            .starts_with("P99LatencyAnomaly fires on checkout (dependency, 1 call away) since 2026-11-25T03:00:54"),
        "{}",
        found[0].text
    );
    assert_eq!((&found[0].data["severity"], &found[0].data["depends_on"]), (&"warning".into(), &serde_json::json!({})));
    // The event that asks is known, whoever saw it.
    assert!(source.gather(&query("checkout")).await.unwrap().is_empty());
    // Both of cart's are silenced.
    assert!(source.gather(&query("cart")).await.unwrap().is_empty());
}

#[tokio::test]
async fn inhibited_alerts_are_told_and_our_own_are_not() {
    let inhibited = recorded("am_v2_alerts.json").replace(
        "\"inhibitedBy\":[],\"silencedBy\":[\"3cff",
        "\"inhibitedBy\":[\"2bbbc513bf1b22af\"],\"silencedBy\":[],\"x\":[\"3cff",
    );
    let (_double, source) = source(inhibited.clone()).await;
    assert_eq!(source.gather(&query("cart")).await.unwrap().len(), 2);
    let own = inhibited.replace("\"alertname\":\"Manual\"", "\"alertname\":\"Manual\",\"aiops_incident_id\":\"inc-1\"");
    let (_double, source) = self::source(own).await;
    assert_eq!(source.gather(&query("cart")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error_that_may_pass() {
    let related = RelatedAlerts::new(Arc::new(MemoryIncidentLog::default()), DependencyGraph::default());
    let endpoint = Endpoint::new("http://127.0.0.1:1", reqwest::Client::new()).unwrap().retries(0);
    let source = AlertmanagerAlerts::new(Alertmanager::new(endpoint), related);
    let error = source.gather(&query("web")).await.unwrap_err();
    assert!(error.is_retryable() && error.origin == "alertmanager-alerts", "{error}");
}
