//! Deploys as continuous delivery systems tell them: CDEvents, plain and in each form of CloudEvents.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used)]

use aiops_core::testing::ManualClock;
use aiops_core::{Deploy, DeployLog, DeployWindow};
use aiops_detectors::client::reqwest;
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::server::{AllowEveryone, DeployIntake, axum};
use serde_json::{Value, json};

struct Host {
    url: String,
    log: DeployLog,
}

impl Host {
    async fn new(environments: &[&str]) -> Self {
        let (log, now) = (DeployLog::new(50), "2026-11-25T03:00:00Z".parse().unwrap());
        let intake = DeployIntake::new(log.clone(), AllowEveryone).with_clock(ManualClock::new(now));
        let router = intake.environments(environments.iter().copied()).router();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/deploys", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, log }
    }

    async fn post(&self, content_type: &str, body: &Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(&self.url).header("content-type", content_type);
        let response = request.body(body.to_string()).send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    fn deploys(&self, service: &str) -> Vec<Deploy> {
        self.log.deploys(&service.into())
    }
}

/// An event as the specification has it, with all that a sender may add.
fn event(what: &str, version: &str, id: &str) -> Value {
    json!({
        "context": {
            "version": version, "id": id, "chainId": "4c8cb7dd", "source": "/ci/argo",
            "type": format!("dev.cdevents.service.{what}.{version}"), "timestamp": "2026-11-25T02:59:30.5Z",
            "links": [{"linkType": "END", "from": {"contextId": "5328c37f"}}]
        },
        "subject": {
            "id": "checkout", "source": "/ci/argo", "type": "service",
            "content": {"environment": {"id": "prod"}, "artifactId": "pkg:oci/checkout@sha256%3A0b31b1?tag=v2"}
        },
        "customData": {"any": "thing"}
    })
}

fn cloud_event(id: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/ci/argo", "type": data["context"]["type"],
        "datacontenttype": "application/json", "data": data})
}

const ALL_TAKEN: &str = r#"{"accepted":1,"rejected":[]}"#;

#[tokio::test]
async fn each_type_in_each_form_is_a_completed_rollout_that_holds_its_service() {
    let host = Host::new(&[]).await;
    // The versions of the published releases, and of a draft.
    let forms = [
        ("application/json", event("deployed", "0.2.0", "a")),
        ("application/json", json!([event("upgraded", "0.1.1", "b")])),
        ("application/cloudevents+json", cloud_event("1", event("rolledback", "0.3.0-draft", "c"))),
        (
            "application/cloudevents-batch+json; charset=utf-8",
            json!([cloud_event("2", event("deployed", "0.2.0", "d"))]),
        ),
    ];
    for (content_type, body) in &forms {
        let (status, answer) = host.post(content_type, body).await;
        assert_eq!((status, answer.to_string().as_str()), (200, ALL_TAKEN), "{content_type}");
    }
    let deploys = host.deploys("checkout");
    let ids: Vec<&str> = deploys.iter().map(|deploy| deploy.deploy_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c", "d"]);
    let at: Timestamp = "2026-11-25T02:59:30.5Z".parse().unwrap();
    for deploy in &deploys {
        assert_eq!((deploy.started, deploy.completed), (None, Some(at)));
        assert_eq!(deploy.version.as_deref(), Some("sha256:0b31b1"));
        let (from, to) = DeployWindow::default().of(deploy).unwrap();
        assert_eq!((from, to.as_second() - from.as_second()), (at, 600));
    }
    // Sent again, as a broker may: the same deploy.
    host.post(forms[0].0, &forms[0].1).await;
    assert_eq!(host.deploys("checkout").len(), 4);
}

#[tokio::test]
async fn other_environments_hold_nothing() {
    let host = Host::new(&["prod", "prod-eu"]).await;
    let mut staging = event("deployed", "0.2.0", "a");
    staging["subject"]["content"]["environment"]["id"] = json!("staging");
    let mut nowhere = event("deployed", "0.2.0", "b");
    nowhere["subject"]["content"]["environment"] = Value::Null;
    let (status, answer) = host.post("application/json", &json!([staging, nowhere])).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)));
    assert_eq!(answer["rejected"][0]["field"], "subject.content.environment.id");
    assert!(host.deploys("checkout").is_empty());
    host.post("application/json", &event("deployed", "0.2.0", "c")).await;
    assert_eq!(host.deploys("checkout").len(), 1);
}

#[tokio::test]
async fn what_is_no_such_event_is_told_by_field() {
    let host = Host::new(&[]).await;
    let with = |pointer: &str, value: Value| {
        let mut event = event("deployed", "0.2.0", "a");
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let bad = [
        (event("removed", "0.2.0", "a"), "context.type"),
        (event("deployed", "", "a"), "context.type"),
        (with("/context/type", json!("dev.cdevents.build.finished.0.2.0")), "context.type"),
        (with("/context/type", json!(1)), "context.type"),
        (with("/context/id", json!(" ")), "context.id"),
        (with("/context/timestamp", json!("today")), "context.timestamp"),
        (with("/context/timestamp", json!("2026-11-25T03:05:01Z")), "context.timestamp"),
        (with("/subject/id", Value::Null), "subject.id"),
        (with("/subject/id", json!("s".repeat(257))), "subject.id"),
        (cloud_event("1", with("/subject/id", json!({}))), "data.subject.id"),
        (
            json!({"specversion": "1.0", "type": "dev.cdevents.service.deployed.0.2.0", "data": "x"}),
            "data.context.type",
        ),
    ];
    let batch: Vec<&Value> = bad.iter().map(|(item, _)| item).collect();
    let (status, answer) = host.post("application/json", &json!(batch)).await;
    let fields: Vec<&str> =
        answer["rejected"].as_array().unwrap().iter().map(|rejected| rejected["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (422, bad.iter().map(|(_, field)| *field).collect()));
    assert!(host.deploys("checkout").is_empty());
    assert_eq!(host.post("text/plain", &json!({})).await.0, 415);
}
