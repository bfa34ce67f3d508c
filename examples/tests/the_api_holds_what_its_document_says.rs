//! The embedded service, with its pipeline at work, against the OpenAPI document that it serves.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{CancellationToken, Clock, VirtualClock};
use aiops_examples::embedded::{Embedded, Staff, embedded};
use aiops_remediate::sim::Cluster;
use aiops_remediate::{Dispatcher, KillSwitch};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tower::ServiceExt;

const TOKEN: &str = "aiops-test-token";
/// Seconds of the service's time between two alerts: what was done to one pod may be done again.
const BETWEEN: usize = 1_200;
/// Seconds of the service's time that go by at once.
const STEP: usize = 10;

/// Method and path of each request that was answered with 200.
type Answered = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Held for reading by each request: the time limits of a body are of the service's time, which must not jump meanwhile.
type Still = Arc<RwLock<()>>;

/// The example knows people by a cookie, the document by a token: this host takes the token.
fn by_token(app: Router, answered: Answered, still: Still) -> Router {
    Router::new().fallback(async move |mut request: Request| {
        request.headers_mut().remove(COOKIE);
        let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if let Some(session) = sent.and_then(|secret| HeaderValue::from_str(&format!("session={secret}")).ok()) {
            request.headers_mut().insert(COOKIE, session);
        }
        let asked = (request.method().to_string(), request.uri().path().to_owned());
        let _held = still.read().await;
        let answer = app.oneshot(request).await;
        if answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::OK) {
            answered.lock().unwrap().insert(asked);
        }
        answer
    })
}

async fn alert(app: &Router, clock: &VirtualClock, status: &str, number: usize, pod: &str) {
    let labels = json!({"alertname": format!("PodHangs{number}"), "service": "cart", "namespace": "shop",
        "pod": pod, "severity": "critical"});
    let at = clock.now();
    let alert = json!({"status": status, "labels": labels, "annotations": {}, "startsAt": at, "endsAt": at,
        "fingerprint": format!("{number:016x}")});
    let body = json!({"version": "4", "status": status, "alerts": [alert]});
    let request = Request::post("/intake/alertmanager")
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    assert_eq!(app.clone().oneshot(request.unwrap()).await.unwrap().status(), StatusCode::OK);
}

/// Time goes on, by an alert after the other, whenever nothing waits for a person.
async fn alerts(app: Router, clock: VirtualClock, dispatcher: Arc<Dispatcher>, cluster: Cluster, still: Still) {
    // One that was restarted is another pod.
    let mut pod = String::new();
    for second in (0..).step_by(STEP) {
        let number = second / BETWEEN;
        if second % BETWEEN == 0 {
            // What is asked may have stopped everything.
            let off = KillSwitch::off("test", "goes on", clock.now());
            dispatcher.set_kill_switch(off).await.unwrap();
            pod = cluster.pods()[0].name.clone();
            alert(&app, &clock, "firing", number, &pod).await;
        } else if second % BETWEEN == BETWEEN / 2 {
            alert(&app, &clock, "resolved", number, &pod).await;
        }
        while !dispatcher.approvals().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let held = still.write().await;
        clock.advance(Duration::from_secs(STEP as u64));
        drop(held);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Whether a path is one of a template: `/v1/approvals/{id}`.
fn is_of(path: &str, template: &str) -> bool {
    let (path, template): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
    path.len() == template.len() && path.iter().zip(template).all(|(part, name)| name.starts_with('{') || *part == name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs schemathesis: .ci/services up schemathesis"]
async fn every_answer_is_one_that_the_document_has() {
    let program = std::env::var("SCHEMATHESIS").unwrap_or_else(|_| panic!(".ci/services up schemathesis"));
    let clock = VirtualClock::new("2026-11-25T03:00:00Z".parse().unwrap());
    let staff = Staff::new(&[("ada".to_owned(), "secret1".to_owned())]);
    let Embedded { app, pipeline, cluster, dispatcher, .. } = embedded(&staff, TOKEN, clock.clone()).unwrap();
    let (shutdown, still) = (CancellationToken::new(), Still::default());
    let running = tokio::spawn(pipeline.run(shutdown.clone()));
    let alerting = tokio::spawn(alerts(app.clone(), clock, Arc::clone(&dispatcher), cluster, Arc::clone(&still)));
    while dispatcher.approvals().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/aiops", listener.local_addr().unwrap());
    let (served, answered) = (app.clone(), Answered::default());
    let router = by_token(served, Arc::clone(&answered), still);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let check = move || {
        Command::new(program)
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .args(["--config-file=/dev/null", "run", &format!("{url}/openapi.json"), "--url", &url])
            .args(["--header", "Authorization: Bearer secret1", "--checks=all", "--continue-on-failure"])
            .args(["--max-examples=30", "--seed=1", "--generation-database=none", "--no-color"])
            .output()
            .unwrap()
    };
    let checked = tokio::task::spawn_blocking(check).await.unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    println!("{said}{}", String::from_utf8_lossy(&checked.stderr));
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis.txt"), &*said).unwrap();
    assert!(checked.status.success(), "the server does not do what its document says");
    alerting.abort();

    // An operation that only ever refused was not looked at.
    let document = app.oneshot(Request::get("/aiops/openapi.json").body(Body::empty()).unwrap()).await.unwrap();
    let document = to_bytes(document.into_body(), usize::MAX).await.unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    let answered = answered.lock().unwrap().clone();
    for (template, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let of_it =
                |(asked, path): &(String, String)| *asked == method && is_of(path, &format!("/aiops{template}"));
            assert!(answered.iter().any(of_it), "{method} {template} was never answered with 200");
        }
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
