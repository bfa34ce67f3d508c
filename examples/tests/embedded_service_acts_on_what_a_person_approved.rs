//! The embedded service from an alert to its end: webhook, report, approval on the page, action, resolved.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aiops_core::jiff::Timestamp;
use aiops_core::{
    CancellationToken, Incident, IncidentLog, IncidentQuery, IncidentState, MemoryIncidentLog, SystemClock,
    VirtualClock,
};
use aiops_examples::embedded::{Embedded, Staff, embedded};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request as Posted;
use axum::http::{Request, StatusCode, Uri};
use axum::routing::{get, post};
use serde_json::json;
use tower::ServiceExt;

/// What Alertmanager of `.ci/services` sends.
const TOKEN: &str = "aiops-test-token";

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

fn of_services(name: &str) -> String {
    let up = ".ci/services up alertmanager prometheus";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: {up}"))
}

/// The other side of the servers works in real time.
async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < Duration::from_secs(180), "{what} did not come within three minutes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn serve(port: &str, app: Router) {
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
}

/// A number goes bad, Prometheus sees it, Alertmanager tells it, a person approves, and all of it ends.
#[tokio::test]
#[ignore = "needs alertmanager and prometheus: .ci/services up alertmanager prometheus"]
async fn a_real_alert_is_acted_on_and_ends() {
    let Embedded { app, pipeline, cluster, dispatcher, incidents } = embedded(&staff(), TOKEN, SystemClock).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(shutdown.clone()));
    // Alertmanager of the tests posts to one path on the port of each test.
    let intake = app.clone();
    let forward = async move |mut request: Posted| {
        *request.uri_mut() = Uri::from_static("/intake/alertmanager");
        intake.oneshot(request).await
    };
    serve(&of_services("AM_EMBEDDED_PORT"), Router::new().route("/alertmanager", post(forward))).await;
    let hangs = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&hangs);
    let metrics = async move || format!("embedded_pod_hangs {}\n", u8::from(told.load(Ordering::Relaxed)));
    serve(&of_services("PROM_EMBEDDED_PORT"), Router::new().route("/metrics", get(metrics))).await;
    let url = of_services("AM_URL");
    let targets = json!([{"targets": [url.strip_prefix("http://").unwrap()]}]);
    std::fs::write(of_services("PROM_ALERTMANAGERS"), targets.to_string()).unwrap();

    let (_, _, ada) = login(&app, "secret1").await;
    eventually("an approval", async || !dispatcher.approvals().await.unwrap().is_empty()).await;
    let path = waiting(&app, &ada).await;
    let shown = page(&app, &ada, &path).await.body;
    assert_eq!(approve(&app, &ada, &path, &shown).await, StatusCode::SEE_OTHER);
    eventually("the action", async || !cluster.effects().is_empty()).await;
    eventually("its end", async || has_executed(&only(&incidents).await)).await;
    hangs.store(false, Ordering::Relaxed);
    let resolved = async || only(&incidents).await.state == IncidentState::Resolved;
    eventually("the end of the incident", resolved).await;
    assert_eq!(cluster.effects().len(), 1, "{:?}", cluster.effects());
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
