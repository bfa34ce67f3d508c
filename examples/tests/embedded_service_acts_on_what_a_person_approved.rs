//! The embedded service from an alert to its end: webhook, report, approval on the page, action, resolved.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{
    CancellationToken, Incident, IncidentLog, IncidentQuery, IncidentState, MemoryIncidentLog, VirtualClock,
};
use aiops_examples::embedded::{Embedded, Staff, embedded};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;

const TOKEN: &str = "intake0token";

struct Answer {
    status: StatusCode,
    location: String,
    cookie: String,
    body: String,
}

async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (location, cookie) = (header("location").unwrap_or_default(), header("set-cookie").unwrap_or_default());
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, location, cookie, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn page(app: &Router, cookie: &str, path: &str) -> Answer {
    send(app, Request::get(path).header("cookie", cookie).body(Body::empty()).unwrap()).await
}

fn staff() -> Staff {
    let people = [("ada", "secret1"), ("bob", "secret2")];
    Staff::new(&people.map(|(name, secret)| (name.to_owned(), secret.to_owned())))
}

/// Status, where it leads, and the session.
async fn login(app: &Router, secret: &str) -> (StatusCode, String, String) {
    let answer = send(app, Request::post("/login").body(Body::from(format!("secret={secret}"))).unwrap()).await;
    (answer.status, answer.location, answer.cookie.split(';').next().unwrap_or_default().to_owned())
}

async fn alert(app: &Router, status: &str, at: Timestamp) {
    let labels = json!({"alertname": "PodHangs", "service": "cart", "namespace": "shop", "pod": "cart-1", "severity": "critical"});
    let alert = json!({"status": status, "labels": labels, "annotations": {}, "startsAt": at, "endsAt": at, "fingerprint": "509ae98a84c549f2"});
    let body = json!({"version": "4", "status": status, "alerts": [alert]});
    let request = Request::post("/intake/alertmanager")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = send(app, request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

/// The address of the first approval on the first page.
async fn waiting(app: &Router, cookie: &str) -> String {
    let first = page(app, cookie, "/aiops/page").await;
    let link = first.body.split("href=\"page/approvals/").nth(1).unwrap().split('"').next().unwrap();
    format!("/aiops/page/approvals/{link}")
}

/// Presses "Approve" on a page that was shown.
async fn approve(app: &Router, cookie: &str, path: &str, shown: &str) -> StatusCode {
    let field = |name: &str| {
        let value = shown.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap();
        format!("{name}={}", value.split('"').next().unwrap())
    };
    let body = format!("{}&decision=approve", ["token", "incident_id", "digest"].map(field).join("&"));
    let request = Request::post(path)
        .header("cookie", cookie)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    send(app, request).await.status
}

async fn only(incidents: &MemoryIncidentLog) -> Incident {
    incidents.query(&IncidentQuery::default()).await.unwrap().remove(0)
}

fn has_executed(incident: &Incident) -> bool {
    format!("{:?}", incident.records).contains("disposition: Executed")
}

/// Lets the pipeline work, a second at a time, until something is so.
async fn until(clock: &VirtualClock, what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        if so().await {
            return;
        }
        clock.advance(Duration::from_secs(1));
    }
    panic!("{what} did not come within ten minutes");
}

#[tokio::test]
async fn an_alert_is_acted_on_once_a_person_on_call_approved_it() {
    let start: Timestamp = "2026-11-25T03:00:00Z".parse().unwrap();
    let clock = VirtualClock::new(start);
    let Embedded { app, pipeline, cluster, dispatcher, incidents } = embedded(&staff(), TOKEN, clock.clone()).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(shutdown.clone()));

    // The service's own page and login stand beside the rest.
    assert_eq!(page(&app, "", "/").await.body, "the shop's own page");
    assert_eq!(page(&app, "", "/aiops/page").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&app, "guess").await.0, StatusCode::UNAUTHORIZED);
    let (_, location, ada) = login(&app, "secret1").await;
    assert_eq!(location, "/aiops/page");
    let (_, _, bob) = login(&app, "secret2").await;

    alert(&app, "firing", start).await;
    until(&clock, "an approval", async || !dispatcher.approvals().await.unwrap().is_empty()).await;
    let path = waiting(&app, &bob).await;
    let shown = page(&app, &ada, &path).await.body;
    for text in ["restart_pod", "cart-1", "team-shop", "uid"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(cluster.effects().is_empty());
    assert_eq!(approve(&app, &bob, &path, &page(&app, &bob, &path).await.body).await, StatusCode::FORBIDDEN);
    assert_eq!(approve(&app, &ada, &path, &shown).await, StatusCode::SEE_OTHER);
    assert_eq!(approve(&app, &ada, &path, &shown).await, StatusCode::CONFLICT);

    until(&clock, "the action", async || !cluster.effects().is_empty()).await;
    until(&clock, "its end", async || has_executed(&only(&incidents).await)).await;
    assert_eq!(cluster.effects().len(), 1, "{:?}", cluster.effects());

    alert(&app, "resolved", start).await;
    let resolved = async || only(&incidents).await.state == IncidentState::Resolved;
    until(&clock, "the end of the incident", resolved).await;
    let shown = page(&app, &bob, &format!("/aiops/page/incidents/{}", only(&incidents).await.incident_id)).await.body;
    for text in ["resolved", "house rules", "executed", "restart_pod"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert_eq!(cluster.effects().len(), 1);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
